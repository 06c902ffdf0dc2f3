// Runs a task for every element of a list, a bounded number of them at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/error.h"
#include "rt/scope.h"

namespace benchfs::cli {

namespace internal {

template <typename Each>
rt::Task<void> take_turns(std::size_t* next, std::size_t count, const Each* each) {
  while (*next < count) {
    std::size_t index = (*next)++;
    co_await (*each)(index);
  }
}

}  // namespace internal

// `each` is called with 0 … count - 1 and returns a Task<void>; it must not itself be a capturing
// coroutine, but may call one with what it captured. Run it through Client::run.
template <typename Each>
rt::CoStatus fan_out(std::size_t count, std::size_t limit, Each each) {
  rt::Scope scope;
  rt::Group group(scope);
  std::size_t next = 0;
  for (std::size_t i = 0; i < std::min(count, limit); ++i) {
    group.add(internal::take_turns(&next, count, &each));
  }
  (void)co_await group.wait();
  co_await scope.join();
  co_return Status{};
}

}  // namespace benchfs::cli
