// Awaiting without a coroutine: what a thread needs that is not one, and has something that
// coroutines await.
#pragma once

#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

#include "rt/frame_pool.h"

namespace benchfs::rt {

// The object with await_ready() and the rest; `awaitable` is at its end.
template <typename Awaitable>
decltype(auto) awaiter_of(Awaitable& awaitable) {
  if constexpr (requires { std::move(awaitable).operator co_await(); }) {
    return std::move(awaitable).operator co_await();
  } else {
    return (awaitable);
  }
}

template <typename Awaitable>
using AwaitedBy = decltype(awaiter_of(std::declval<Awaitable&>()).await_resume());

// Something to be resumed in place of a coroutine. It may be resumed again and again.
class ResumeFlag {
 public:
  ResumeFlag() : frame_(raise(is_raised_).handle) {}
  ResumeFlag(const ResumeFlag&) = delete;
  ResumeFlag& operator=(const ResumeFlag&) = delete;
  ~ResumeFlag() { frame_.destroy(); }

  // To be resumed next; is_raised() is false until then.
  [[nodiscard]] std::coroutine_handle<> lower() {
    is_raised_ = false;
    return frame_;
  }
  [[nodiscard]] const bool& is_raised() const { return is_raised_; }

 private:
  struct Frame {
    struct promise_type {
      static void* operator new(std::size_t size) { return allocate_frame(size); }
      static void operator delete(void* frame, std::size_t size) noexcept {
        free_frame(frame, size);
      }
      Frame get_return_object() noexcept {
        return {std::coroutine_handle<promise_type>::from_promise(*this)};
      }
      std::suspend_always initial_suspend() noexcept { return {}; }
      std::suspend_always final_suspend() noexcept { return {}; }
      void return_void() noexcept {}
      [[noreturn]] void unhandled_exception() noexcept { std::terminate(); }
    };
    std::coroutine_handle<> handle;
  };
  static Frame raise(bool& flag) {
    for (;;) {
      flag = true;
      co_await std::suspend_always{};
    }
  }

  bool is_raised_ = false;
  std::coroutine_handle<> frame_;
};

}  // namespace benchfs::rt
