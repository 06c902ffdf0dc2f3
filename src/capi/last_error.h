// Errors on their way to a C caller: a negative errno value, and a sentence kept for the thread.
//
//   "rename /a to /b: No such file or directory"
#pragma once

#include <cerrno>
#include <new>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "capi/inside.h"

namespace benchfs::capi {

// The caller's request, for the sentence that describes its failure. Borrowed until the call
// returns.
struct Call {
  const char* operation;
  const char* path = nullptr;    // nullptr: none is known
  const char* target = nullptr;  // of rename and symlink: the second one
};

// Keeps the error's sentence for benchfs_get_error() and returns the negative errno value.
int report(const Call& call, const Error& error) noexcept;
// The same for a call from a signal handler that interrupted one of our functions: -EDEADLK. Safe
// in signal handlers.
int report_interrupted() noexcept;
// The text that benchfs_get_error() returns in this thread.
const char* last_error() noexcept;

// The return value for C: the value of a Result (0 for a Status), or the negative errno value.
// `body` takes nothing and returns the Result; running out of memory in it is -ENOMEM.
template <typename C, typename Body>
C answer(const Call& call, Body&& body) noexcept {
  Entry entry;
  if (!entry.is_first()) [[unlikely]] {
    return static_cast<C>(report_interrupted());
  }
  try {
    auto result = std::forward<Body>(body)();
    if (!result) {
      return static_cast<C>(report(call, result.error()));
    }
    if constexpr (std::is_void_v<typename decltype(result)::value_type>) {
      return C{0};
    } else {
      return static_cast<C>(*result);
    }
  } catch (const std::bad_alloc&) {
    return static_cast<C>(report(call, Error{Errc::kPosix, ENOMEM, {}}));
  }
}

// The same for functions that return a pointer: nullptr and errno.
template <typename Body>
auto answer_pointer(const Call& call, Body&& body) noexcept ->
    typename decltype(body())::value_type {
  Entry entry;
  if (!entry.is_first()) [[unlikely]] {
    errno = -report_interrupted();
    return nullptr;
  }
  try {
    auto result = std::forward<Body>(body)();
    if (result) {
      return *result;
    }
    errno = -report(call, result.error());
  } catch (const std::bad_alloc&) {
    errno = -report(call, Error{Errc::kPosix, ENOMEM, {}});
  }
  return nullptr;
}

}  // namespace benchfs::capi
