#include "rpc/pooled_call.h"

#include <fmt/format.h>

#include <utility>

#include "rpc/connection_pool.h"

namespace benchfs::rpc {

PooledCall::PooledCall(ConnectionPool& pool,
                       wire::ShardId shard,
                       const Call& call,
                       Deadline deadline,
                       MonoTime now,
                       Follower* follower)
    : Sequel(follower != nullptr),
      pool_(pool),
      shard_(shard),
      call_(call),
      deadline_(deadline),
      follower_(follower) {
  // Inode numbers come from servers; one of another file system must not lead astray.
  if (shard.value < pool.size()) [[likely]] {
    exchange_.emplace(pool.at(shard), call, deadline, now);
  }
}

std::coroutine_handle<> PooledCall::await_suspend(std::coroutine_handle<> caller) {
  if (exchange_->try_begin(caller, *this)) [[likely]] {
    return std::noop_coroutine();
  }
  detour_.emplace(call_slowly());
  return detour_->start(caller);
}

std::coroutine_handle<> PooledCall::go_on(std::coroutine_handle<> caller) {
  bool is_over = !exchange_->needs_sequel();
  if (is_over && follower_->is_end()) [[likely]] {
    return caller;
  }
  detour_.emplace(is_over ? leave_and_follow() : end_slowly());
  return detour_->start(caller);
}

rt::Task<void> PooledCall::follow() {
  if (follower_ != nullptr && !follower_->is_end()) {
    co_await leave_and_follow();
  }
}

// What follows may need a slot of the same window, and so may all the others that have one.
rt::Task<void> PooledCall::leave_and_follow() {
  exchange_.reset();
  result_.reset();
  co_await follower_->go_on();
}

rt::Task<void> PooledCall::call_slowly() {
  if (pool_.at(shard_).state() == Connection::State::kReady) {
    co_await repeat_if_failed(co_await *exchange_);
  } else {
    result_.emplace(co_await pool_.call_again(
        pool_.at(shard_), *exchange_, call_, deadline_, Error{Errc::kOk}));
  }
  co_await follow();
}

rt::Task<void> PooledCall::end_slowly() {
  co_await repeat_if_failed(co_await exchange_->end_slowly());
  co_await follow();
}

rt::Task<void> PooledCall::repeat_if_failed(Result<Reply> reply) {
  if (!reply && reply.error().code != Errc::kPosix) {
    reply = co_await pool_.call_again(
        pool_.at(shard_), *exchange_, call_, deadline_, std::move(reply.error()));
  }
  result_.emplace(std::move(reply));
}

Result<Reply> PooledCall::await_resume() {
  if (result_) [[unlikely]] {
    return *std::move(result_);
  }
  if (!exchange_) [[unlikely]] {
    return fail(Errc::kInvalidArgument,
                fmt::format("{} on shard {}: there are {}",
                            wire::to_string(call_.opcode),
                            shard_.value,
                            pool_.size()));
  }
  return exchange_->await_resume();
}

const Reply* PooledCall::success() const {
  if (result_) [[unlikely]] {
    return *result_ ? &**result_ : nullptr;
  }
  return exchange_ ? exchange_->success() : nullptr;
}

bool PooledCall::is_answer(int posix_errno) const {
  return result_ ? !*result_ && result_->error().is_posix(posix_errno)
                 : exchange_ && exchange_->is_answer(posix_errno);
}

}  // namespace benchfs::rpc
