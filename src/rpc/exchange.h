// One call on a connection (rpc/connection.h): awaited, sends the request and gives its reply as a
// Result<Reply>. Errors: kDeadline; kUnknownSession (not executed: establish and send again); those
// of a broken connection (effect unknown if was_sent()); kPosix (the file system's answer); what
// the server's RPC layer said.
//
// One attempt. `phase` says who holds the call's memory, `outcome` what is known of its end:
//
//   waiting for slot --admitted--> sending --it has left---> waiting for reply --------> done
//        |                            |                         |     \                 ^
//        |                            |                  (rendezvous) receiving -------->|
//        +--deadline, closed----------+--deadline, closed: when the link lets go---------+
//
//   open --reply--> replied        at any time from sending on; first comes, first counts
//   open --deadline, end of the connection--> failed
//   replied --its data must be fetched--> open again while receiving
//
// While sending and receiving, header and data are the link's: only closing the connection ends
// that earlier. It may be awaited again after an error, once the connection is ready again: it
// keeps its slot of the window and its request id until it is destroyed, so that the server knows
// it again.
//
// Lives in its caller's frame, which a request that leaves at once and a reply that arrives whole
// never leave; everything else is Connection::exchange_slowly(), or for an attempt by try_begin()
// its sequel.
//
// Thread: the reactor's.
#pragma once

#include <boost/intrusive/list.hpp>
#include <coroutine>
#include <cstdint>
#include <optional>

#include "link/link.h"
#include "rpc/call.h"
#include "rt/sync.h"
#include "rt/task.h"
#include "wire/codec.h"

namespace benchfs::rpc {

class Connection;

class Exchange {
 public:
  // Goes on with an attempt by try_begin() that failed other than by the file system's answer, or
  // whose data must be fetched (needs_sequel()); or with each.
  class Sequel {
   public:
    // What is to be resumed; it resumes `caller` at its end. Nothing is resumed in place.
    virtual std::coroutine_handle<> go_on(std::coroutine_handle<> caller) = 0;

   protected:
    explicit Sequel(bool wants_each) : wants_each_(wants_each) {}
    ~Sequel() = default;

   private:
    friend class Exchange;
    bool wants_each_;
  };

  // `now` may be of the coarse clock.
  Exchange(Connection& connection, const Call& call, Deadline deadline, MonoTime now)
      : connection_(connection), call_(call), deadline_(deadline), began_(now), phase_began_(now) {}
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange();

  [[nodiscard]] MonoTime began() const { return began_; }
  // Before the first attempt, when the connection had to be made first: sending begins now.
  void begin_late() { enter(CallPhase::kSending); }
  // The last error came from the server: the request arrived, and sending it again changes nothing
  // unless the error says so.
  [[nodiscard]] bool is_answered() const { return outcome_ == Outcome::kReplied; }
  // In the last attempt the link took the request: the server may have it.
  [[nodiscard]] bool was_sent() const { return was_sent_; }
  // The server no longer knows whether it has executed the request.
  [[nodiscard]] bool is_forgotten() const;

  // The first attempt. True when the request has left: await_resume() gives its end when `caller`
  // is resumed, unless the sequel has gone on. False when it could not leave at once: await it.
  bool try_begin(std::coroutine_handle<> caller, Sequel& sequel);
  // For the sequel.
  rt::CoResult<Reply> end_slowly();

  [[nodiscard]] bool await_ready() const { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller);
  Result<Reply> await_resume();
  // Of an attempt that is over and needs no sequel: instead of await_resume(), the reply in its
  // place; null when it is an error.
  [[nodiscard]] const Reply* success() const {
    return has_failed() || reply_header_.status != 0 ? nullptr : &reply_;
  }
  [[nodiscard]] bool is_answer(int posix_errno) const {
    return !has_failed() && reply_header_.status == posix_errno;
  }
  [[nodiscard]] bool needs_sequel() const { return has_failed() || !held_.is_empty(); }

 private:
  friend class Connection;
  using QueueHook = boost::intrusive::list_member_hook<
      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
  enum class Outcome : std::uint8_t { kOpen, kReplied, kFailed };

  bool leave_at_once(std::coroutine_handle<> caller);
  // Who goes on now that the attempt has ended.
  std::coroutine_handle<> next();
  // The server's file system has not answered.
  [[nodiscard]] bool has_failed() const;
  // Once it was admitted; request ids are never 0.
  [[nodiscard]] bool has_slot() const { return id_.value != 0; }
  void enter(CallPhase phase) {
    phase_ = phase;
    phase_began_ = mono_now();
  }
  void fail_with(Error error) {
    outcome_ = Outcome::kFailed;
    error_ = std::move(error);
  }

  Connection& connection_;
  const Call& call_;
  Deadline deadline_;
  MonoTime began_;
  MonoTime phase_began_;
  wire::RequestId id_;
  std::uint64_t epoch_ = 0;    // of the connection it was sent on
  std::uint64_t memory_ = 0;   // of the server, when it was last sent
  std::uint64_t notices_ = 0;  // that were sent before it
  CallPhase phase_ = CallPhase::kSending;
  Outcome outcome_ = Outcome::kOpen;
  bool was_sent_ = false;
  std::uint32_t held_bytes_ = 0;
  link::Held held_;                 // a rendezvous reply to be fetched
  std::coroutine_handle<> handle_;  // resumed when it is over
  Sequel* sequel_ = nullptr;
  link::Operation send_;
  std::optional<rt::Task<void>> detour_;  // the coroutine of what did not go at once

  // While it waits to be admitted, and the bulk bytes it has in the window then.
  QueueHook queue_hook_;
  rt::WaitQueue* turn_ = nullptr;
  std::uint64_t ticket_ = 0;
  std::uint64_t room_ = 0;

  Error error_{Errc::kOk};
  wire::ReplyHeader reply_header_;
  Reply reply_;
  wire::HeaderBuffer<> header_;

 public:
  using Queue = boost::intrusive::list<
      Exchange,
      boost::intrusive::member_hook<Exchange, QueueHook, &Exchange::queue_hook_>,
      boost::intrusive::constant_time_size<false>>;
};

using CallQueue = Exchange::Queue;

}  // namespace benchfs::rpc
