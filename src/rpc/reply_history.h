// The replies one client was given to operations that must not be applied twice, kept so that a
// request that is sent again over a new connection gets its first answer.
//
// A slot per slot of the client's window (the low bits of a request id). A client uses a slot for
// one call at a time and keeps it until the call has ended, however often it is sent, with a
// sequence that only grows: so a slot needs to remember one reply, and remembers it for as long as
// it can be asked for. Slots are made on first use: most clients use few.
//
// Survives the sessions of the client (rpc/server.h), not the server.
// Thread: the shard's.
#pragma once

#include <array>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "rpc/call.h"
#include "wire/header.h"
#include "wire/ids.h"

namespace benchfs::rpc {

class Request;

class ReplyHistory {
 public:
  struct Slot {
    std::uint64_t sequence = 0;
    Request* running = nullptr;     // being served; its reply goes to who asked last
    std::uint32_t reply_bytes = 0;  // 0 = not answered
    std::array<std::byte, kMaxReply> reply;
  };

  enum class Verdict : std::uint8_t {
    kNew,       // serve it
    kRunning,   // being served: slot().running
    kAnswered,  // send the kept reply
    kStale,     // of a call that has ended: nobody waits for it
  };
  struct Lookup {
    Verdict verdict;
    Slot* slot;  // valid unless kStale; kNew has taken it
  };

  // `id.slot()` must be below wire::kMaxWindow. A new request in a slot whose last one still runs
  // says that its caller gave that one up: the running request is left without a slot.
  Lookup find(wire::RequestId id);
  // The slot's request was given its reply: keeps it.
  static void answer(Slot& slot, std::span<const std::byte> reply);
  // The slot's request was not executed: it may come again.
  static void forget(Slot& slot);

  [[nodiscard]] bool is_running() const;

 private:
  std::vector<std::unique_ptr<Slot>> slots_;
};

// The histories of all clients of a server, by client uid. A client without a session keeps its
// history for a while, for it may come back; at most `limit` histories are kept, those that have
// been without a session longest go first. Only clients that have a session, or requests that still
// run, are kept above the limit. `now` never goes back. O(1) but for expire() and set_limit().
class ReplyHistories {
 public:
  explicit ReplyHistories(std::size_t limit) : limit_(limit) {}

  struct Joined {
    ReplyHistory* history;  // valid until leave()
    bool is_known;          // it was there: what this client sent before is remembered
  };
  // A session of the client begins.
  Joined join(std::uint64_t client_uid, MonoTime now);
  // A session of the client ended; `finally`: it will not come back.
  void leave(std::uint64_t client_uid, bool finally, MonoTime now);
  // Forgets the client. False: it has a session, or requests that still run.
  bool forget(std::uint64_t client_uid);
  // Forgets clients that have been without a session since before `since`.
  void expire(MonoTime since);
  void set_limit(std::size_t limit, MonoTime now);

  [[nodiscard]] std::size_t size() const { return by_uid_.size(); }

 private:
  struct Kept {
    ReplyHistory history;
    std::uint64_t uid = 0;
    std::uint32_t sessions = 0;
    MonoTime left_at;  // while there are no sessions
    boost::intrusive::list_member_hook<> away_hook;
  };
  using AwayList = boost::intrusive::list<
      Kept,
      boost::intrusive::member_hook<Kept, boost::intrusive::list_member_hook<>, &Kept::away_hook>>;
  void drop(Kept& kept);
  void shrink(std::size_t size, std::size_t looks, MonoTime now);

  std::size_t limit_;
  std::unordered_map<std::uint64_t, Kept> by_uid_;
  AwayList away_;  // those without a session, by left_at
};

}  // namespace benchfs::rpc
