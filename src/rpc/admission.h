// Who may become a client of a server: the connections that are accepted and not registered yet,
// and what a registration must show.
//
//   (nobody) --connection request--> unregistered --register--> challenged --proof, admit()--> the
//   server's, a session
//   unregistered --proof over the challenge of the node door, admit()--> the same
//   unregistered, challenged --refuse(), malformed message, time--> closed
//
// Unregistered peers can only register. They are bounded in number and in time, so that peers who
// only connect cannot use the server's memory or descriptors up. With a secret, a registration must
// prove it over a challenge that is made for this connection and used once, so that a recorded
// proof is worth nothing; all that is remembered is the challenge.
//
// Thread: the reactor's. Worker and owner are borrowed; unregistered links are ours.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/clock.h"
#include "base/error.h"
#include "cluster/secret.h"
#include "net/silent_connections.h"
#include "net/worker.h"
#include "wire/header.h"

namespace benchfs::rpc {

// A RegisterClient of an unregistered peer, and whether it may register.
struct Registration {
  link::Link* link = nullptr;
  net::SocketAddress address;
  wire::RegisterClientRequestHeader header;
  std::string client_id;
  Errc verdict = Errc::kOk;
};

class Admission final : public net::ConnectionAcceptor {
 public:
  struct Config {
    std::uint32_t max_unregistered =
        1000;  // connections; more are rejected. Silent ones count apart
    Nanos register_timeout = std::chrono::seconds(10);
    std::optional<cluster::Secret> secret;  // without one anybody may register
  };
  struct Stats {
    std::uint64_t accepted = 0;
    std::uint64_t turned_away = 0;     // too many were unregistered
    std::uint64_t no_descriptors = 0;  // turned away: this process may not open more
    std::uint64_t silent = 0;          // did not even speak UCX
    std::uint64_t malformed = 0;       // registrations that do not parse or come at a wrong time
    std::uint64_t challenged = 0;
    std::uint64_t wrong_proofs = 0;
    std::uint64_t register_timeouts = 0;
  };

  // `owner` hears of failed links, registered or not; it passes the news on to drop().
  Admission(net::Worker& worker, link::Owner& owner, const Config& config)
      : worker_(worker), owner_(owner), config_(config) {}
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;
  ~Admission() override { clear(); }

  // Where the listener is: connections there that never become a connection request are ended too.
  Status watch(const net::SocketAddress& listener);

  // Registrations are refused with kNotReady before open() and after close(); after close(), new
  // connections are rejected.
  void open(std::uint64_t run_id);
  void close() { state_ = State::kClosed; }
  [[nodiscard]] bool is_open() const { return state_ == State::kOpen; }
  // Closes every unregistered link.
  void clear();

  void on_connection_request(ucp_conn_request_h request, const net::SocketAddress& peer) override;

  // A link that was made in another way than over the listener. False: too many are unregistered,
  // or nobody may register any more; the link stays the caller's.
  bool accept(link::Link& link);

  // Looks at a RegisterClient. Nothing when it is not one of an unregistered peer, is malformed, or
  // was answered with a challenge; else the caller ends it with admit() or refuse().
  std::optional<Registration> examine(const link::Incoming& message);
  // The link is the caller's from now on.
  void admit(const Registration& registration);
  // Answers with `code` and closes.
  void refuse(const Registration& registration, Errc code);

  // The link is the caller's from now on, and does not register; false if it is none of these.
  bool release(link::Link& link) { return unregistered_.erase(&link) > 0; }
  // Closes an unregistered link; false if it is none.
  bool drop(link::Link& link);
  // The same for who sent `message` and showed its link: it may only register.
  void drop_sender(const link::Incoming& message);
  // Closes those that took too long.
  void sweep(MonoTime now);

  [[nodiscard]] std::uint32_t size() const {
    return static_cast<std::uint32_t>(unregistered_.size());
  }
  [[nodiscard]] const Stats& stats() const { return stats_; }

 private:
  enum class State : std::uint8_t { kStarting, kOpen, kClosed };
  struct Unregistered {
    net::SocketAddress address;
    MonoTime accepted_at;
    std::optional<wire::Challenge> challenge;
  };

  bool has_descriptors();
  [[nodiscard]] Errc judge(const Registration& registration) const;
  void send_challenge(const Registration& registration, Unregistered& peer);
  void end_silent(MonoTime now);
  Errc check_proof(const Registration& registration, Unregistered& peer);

  net::Worker& worker_;
  link::Owner& owner_;
  Config config_;
  State state_ = State::kStarting;
  std::uint64_t run_id_ = 0;
  std::unordered_map<link::Link*, Unregistered> unregistered_;
  std::unique_ptr<net::SilentConnections> silent_;
  MonoTime next_look_;  // for silent connections
  Stats stats_;
};

}  // namespace benchfs::rpc
