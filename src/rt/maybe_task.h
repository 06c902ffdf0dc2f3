// MaybeTask<T> holds a value that is already known, or the Task that produces it. For functions
// that rarely wait: the usual call makes no coroutine frame and does not suspend its caller.
#pragma once

#include <concepts>
#include <coroutine>
#include <utility>
#include <variant>

#include "rt/task.h"

namespace benchfs::rt {

template <typename T>
class [[nodiscard]] MaybeTask {
 public:
  template <typename U>
    requires std::convertible_to<U&&, T>
  MaybeTask(U&& value) : what_(std::in_place_index<0>, std::forward<U>(value)) {}  // NOLINT
  MaybeTask(Task<T> task) : what_(std::in_place_index<1>, std::move(task)) {}      // NOLINT

  [[nodiscard]] bool await_ready() const noexcept { return what_.index() == 0; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) noexcept {
    handle_ = std::get<1>(what_).start(awaiting);
    return handle_;
  }
  T await_resume() { return handle_ ? handle_.promise().take() : std::move(std::get<0>(what_)); }

 private:
  std::variant<T, Task<T>> what_;
  Task<T>::Handle handle_;
};

}  // namespace benchfs::rt
