#include "rpc/connection.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"
#include "base/random.h"

namespace benchfs::rpc {
namespace {

// After a close on purpose, messages that were sent before have this long to leave.
constexpr Nanos kCloseFlush = std::chrono::milliseconds(200);

}  // namespace

Connection::Connection(rt::Reactor& reactor,
                       Dialer& dialer,
                       const ClientIdentity& identity,
                       wire::ShardId shard,
                       std::string name,
                       net::SocketAddress address,
                       const Heartbeat& heartbeat,
                       ConnectionObserver& observer)
    : reactor_(reactor),
      dialer_(dialer),
      identity_(identity),
      shard_(shard),
      name_(std::move(name)),
      address_(address),
      observer_(observer),
      sequence_(random_id() >> 24),
      heartbeat_(heartbeat) {
  for (std::uint32_t slot = wire::kMaxWindow; slot > 0; --slot) {
    free_slots_.push_back(static_cast<std::uint8_t>(slot - 1));
  }
}

Connection::~Connection() {
  BENCHFS_CHECK(pending_count_ == 0);
  shut(Error{Errc::kCancelled, 0, "the client is closing"}, Nanos::zero());
}

rt::CoStatus Connection::establish(Deadline deadline) {
  for (;;) {
    std::uint64_t detours = detours_;
    Status ready = co_await establish_once(deadline);
    if (ready || detours_ == detours || deadline.passed()) {
      co_return ready;
    }
  }
}

rt::CoStatus Connection::establish_once(Deadline deadline) {
  if (state_ == State::kReady) {
    co_return Status{};
  }
  if (state_ == State::kClosed) {
    co_return co_await do_establish(deadline);
  }
  while (state_ == State::kConnecting || state_ == State::kRegistering) {
    rt::Wake wake = co_await state_changed_.wait(deadline);
    if (wake != rt::Wake::kReady) {
      co_return fail(Errc::kDeadline, phase_text(mono_now()));
    }
  }
  if (state_ == State::kReady) {
    co_return Status{};
  }
  co_return std::unexpected(last_error_);
}

rt::CoStatus Connection::do_establish(Deadline deadline) {
  state_ = State::kConnecting;
  attempt_began_ = mono_now();
  std::uint64_t epoch = ++epoch_;
  ++stats_.connects;
  Result<link::Link*> link = dialer_.connect(shard_, address_, *this);
  if (!link) {
    Error error =
        std::move(link.error())
            .with_prefix(fmt::format("connecting to {} at {}", name_, address_.to_string()));
    shut(error, Nanos::zero());
    co_return std::unexpected(error);
  }
  link_ = *link;
  Status registered = co_await send_registration(deadline);
  if (!registered) {
    if (epoch_ == epoch) {  // else it is closed, or somebody else's next connection
      shut(registered.error(), Nanos::zero());
    }
    co_return registered;
  }
  co_return Status{};
}

void Connection::on_connection_close(wire::CloseReason reason) {
  // A server evicts a session only when all its requests are answered, so calls that still wait
  // here were not executed. With other reasons, requests may be in flight.
  bool evicted = reason == wire::CloseReason::kEviction;
  stats_.evictions += evicted ? 1 : 0;
  bool replaced = reason == wire::CloseReason::kReplaced;
  shut(Error{evicted    ? Errc::kUnknownSession
             : replaced ? Errc::kRefused
                        : Errc::kDisconnected,
             0,
             replaced ? fmt::format("another client registered with {} as {}", name_, identity_.id)
                      : fmt::format("{} closed the connection", name_)},
       Nanos::zero());
}

// No reason comes with a rejection.
Error Connection::failed_attempt(const link::Outcome& why) const {
  if (why.code == Errc::kRefused) {
    return Error{
        Errc::kUnreachable,
        0,
        fmt::format("{} at {} rejected the connection: it has no descriptors left for more "
                    "clients (raise ulimit -n where it runs, or lower clients.max_clients), "
                    "or it is stopping; its log says which",
                    name_,
                    address_.to_string())};
  }
  return link::error_of(
      why,
      fmt::format(
          "connection to {} at {}, {}", name_, address_.to_string(), phase_text(mono_now())));
}

void Connection::on_link_failed(link::Link&, const link::Outcome& why) {
  bool is_attempt = state_ == State::kConnecting || state_ == State::kRegistering;
  if (!is_attempt) {
    shut(link::error_of(why, fmt::format("connection to {} at {}", name_, address_.to_string())),
         Nanos::zero());
    return;
  }
  shut(failed_attempt(why), Nanos::zero());
}

bool Connection::notify(wire::Opcode opcode,
                        std::span<const std::byte> body,
                        std::span<const std::byte> tail) {
  if (state_ != State::kReady) {
    return false;
  }
  if (link_->operations() >= kMaxUnsentNotices) [[unlikely]] {
    shut(Error{Errc::kDisconnected, 0, fmt::format("{} does not read what it is sent", name_)},
         Nanos::zero());
    return false;
  }
  wire::HeaderBuffer<> message;
  message.append(wire::NoticeHeader{grant_.session_id});
  message.append_bytes(body);
  message.append_bytes(tail);
  link_->send_and_forget(static_cast<std::uint16_t>(opcode), std::as_const(message).bytes());
  ++stats_.notices;
  return true;
}

void Connection::close() {
  if (state_ == State::kReady) {
    wire::GoodbyeHeader goodbye{grant_.session_id};
    link_->send_and_forget(static_cast<std::uint16_t>(wire::Opcode::kGoodbye),
                           std::as_bytes(std::span(&goodbye, 1)));
  }
  shut(Error{Errc::kCancelled, 0, "the client is closing"},
       state_ == State::kReady ? kCloseFlush : Nanos::zero());
}

void Connection::shut(const Error& why, Nanos flush) {
  if (state_ == State::kClosed && link_ == nullptr) {
    return;
  }
  bool was_ready = state_ == State::kReady;
  state_ = State::kClosed;
  was_lost_ = why.code != Errc::kUnknownSession;
  ++epoch_;
  last_error_ = why;
  link::Link* link = std::exchange(link_, nullptr);
  for (Exchange* exchange : slots_) {
    if (exchange != nullptr) {
      finish(*exchange, why);
    }
  }
  if (link != nullptr) {
    link->close(flush);  // completes sends and receives in flight
  }
  if (was_ready && why.code != Errc::kCancelled) {
    observer_.on_connection_lost(*this);
  }
  state_changed_.wake_all();
  wake_waiting();
}

// --- Errors for callers --------------------------------------------------------------------------

// About an attempt to connect.
std::string Connection::phase_text(MonoTime now) const {
  CallPhase phase =
      state_ == State::kRegistering ? CallPhase::kRegistering : CallPhase::kConnecting;
  return fmt::format("{} for {:.3f} s", to_string(phase), seconds(now - attempt_began_));
}

std::string Connection::phase_text(const Exchange& exchange, MonoTime now) const {
  return fmt::format(
      "{} for {:.3f} s", to_string(exchange.phase_), seconds(now - exchange.phase_began_));
}

std::vector<WaitingCall> Connection::waiting() const {
  std::vector<WaitingCall> calls;
  MonoTime now = mono_now();
  for (const Exchange* exchange : slots_) {
    if (exchange != nullptr && exchange->phase_ != CallPhase::kDone) {
      calls.push_back({exchange->call_.opcode, exchange->phase_, now - exchange->began_});
    }
  }
  return calls;
}

}  // namespace benchfs::rpc
