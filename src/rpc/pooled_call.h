// One call of a ConnectionPool: awaited once, at once; its errors are those of
// ConnectionPool::call().
//
// Lives in its caller's frame, which a call over a ready connection that needs no second attempt
// never leaves; everything else is a coroutine of its own.
//
// Thread: the reactor's.
#pragma once

#include <coroutine>
#include <optional>

#include "rpc/call.h"
#include "rpc/exchange.h"
#include "rt/task.h"
#include "wire/ids.h"

namespace benchfs::rpc {

class ConnectionPool;

class PooledCall final : private Exchange::Sequel {
 public:
  // Looks at the end of a call before its caller is resumed, and may go on with something else.
  class Follower {
   public:
    // success() and is_answer() tell.
    virtual bool is_end() = 0;
    virtual rt::Task<void> go_on() = 0;

   protected:
    ~Follower() = default;
  };

  // `call` and `follower` are borrowed. `now` may be of the coarse clock.
  PooledCall(ConnectionPool& pool,
             wire::ShardId shard,
             const Call& call,
             Deadline deadline,
             MonoTime now = mono_now_coarse(),
             Follower* follower = nullptr);
  PooledCall(const PooledCall&) = delete;
  PooledCall& operator=(const PooledCall&) = delete;
  ~PooledCall() = default;

  // There is no such shard.
  [[nodiscard]] bool await_ready() const { return !exchange_; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller);
  Result<Reply> await_resume();
  // Instead of await_resume(): the reply in its place; null: await_resume() has the error.
  [[nodiscard]] const Reply* success() const;
  // Whether this was the file system's answer.
  [[nodiscard]] bool is_answer(int posix_errno) const;

 private:
  std::coroutine_handle<> go_on(std::coroutine_handle<> caller) override;
  // From the beginning, and after a first attempt.
  rt::Task<void> call_slowly();
  rt::Task<void> end_slowly();
  rt::Task<void> repeat_if_failed(Result<Reply> reply);
  rt::Task<void> follow();
  rt::Task<void> leave_and_follow();

  ConnectionPool& pool_;
  wire::ShardId shard_;
  const Call& call_;
  Deadline deadline_;
  Follower* follower_;
  std::optional<Exchange> exchange_;
  std::optional<rt::Task<void>> detour_;
  std::optional<Result<Reply>> result_;  // of the detour
};

}  // namespace benchfs::rpc
