// A service that executes operations on names, and cuts the connection of the client that asks in
// the phase of the request that the client chooses.
#pragma once

#include <array>
#include <atomic>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "rpc/server.h"
#include "rpc/testing/call_history.h"
#include "rt/reactor.h"

namespace benchfs::rpc::testing {

// When the connection ends, as a request sees it. The first four are the client's own doing.
enum class Cut : std::uint8_t {
  kNever,
  kBeforeSending,      // the client does not know yet
  kBeforeArrival,      // the request has left
  kGivenUp,            // not cut: the deadline passes while it is executed
  kEvicted,            // to make room, in any phase
  kQueued,             // arrived, waits to be executed
  kBeforeExecution,    // is about to be executed, after a wait
  kRunning,            // executed, not answered; asked again while it still runs
  kBeforeReply,        // the reply finds no connection
  kAfterReply,         // the reply was sent
  kAfterReplyUnread,   // the same, and the client has not read it
  kDuringReconnection  // again when the client has registered again
};
inline constexpr std::size_t kCuts = 12;
std::string_view to_string(Cut cut);

// Serves mkdir, rename and append as create, rename and append of Operation. Inode or parent is the
// number of the call, whose high half is its client; mode, new parent or length the Cut.
class CuttingService final : public Service {
 public:
  static constexpr std::size_t kMaxClients = 16;
  // The history is borrowed.
  explicit CuttingService(CallHistory& history) : history_(history), cut_new_(*this) {}

  // On the server's thread, before the first request.
  void attach(Server& server, rt::Reactor& reactor) {
    server_ = &server;
    reactor_ = &reactor;
  }
  rt::Task<void> handle(Request& request) override;
  void on_client_registered(wire::SessionId session, std::uint64_t client_uid) override;
  void on_client_gone(std::uint64_t, Departure, pid_t) override {}
  void on_invalidate_ack(wire::SessionId, std::uint64_t) override {}

  // The state that the operations left behind; call it on the server's thread.
  [[nodiscard]] const Names& left() const { return names_; }
  // Requests cut by this service. Any thread.
  [[nodiscard]] std::uint64_t cuts(Cut cut) const { return cuts_[static_cast<std::size_t>(cut)]; }
  // The last call of that client whose connection ended after its reply was sent. Any thread.
  [[nodiscard]] std::uint64_t replied(std::size_t client) const { return replied_[client]; }

 private:
  struct Asked {
    std::uint64_t call = 0;
    Cut cut = Cut::kNever;
    Operation operation;
  };
  // Cuts clients in the pass after they registered.
  struct CutNew final : rt::Mail {
    explicit CutNew(CuttingService& owner) : service(owner) {}
    void on_mail() override;
    CuttingService& service;
    std::vector<std::uint64_t> uids;
  };

  static Result<Asked> parse(const Request& request);
  Outcome execute(const Asked& asked);
  rt::Task<void> answer(Request& request, const Asked& asked, Outcome outcome);
  void cut(const Request& request, Cut when);
  void cut_if(const Request& request, const Asked& asked, Cut when) {
    if (asked.cut == when) {
      cut(request, when);
    }
  }

  CallHistory& history_;
  Server* server_ = nullptr;
  rt::Reactor* reactor_ = nullptr;
  Names names_;
  std::unordered_set<std::uint64_t> seen_;          // calls
  std::vector<std::uint64_t> cut_when_registered_;  // uids
  CutNew cut_new_;
  std::array<std::atomic<std::uint64_t>, kCuts> cuts_{};
  std::array<std::atomic<std::uint64_t>, kMaxClients> replied_{};
};

}  // namespace benchfs::rpc::testing
