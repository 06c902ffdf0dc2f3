// Errors on their way to a C caller: a negative errno value, and a sentence kept for the thread.
#pragma once

#include <cerrno>
#include <new>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace benchfs::capi {

// Keeps the error's sentence for benchfs_get_error() and returns the negative errno value.
int report(const Error& error) noexcept;
// What benchfs_get_error() returns in this thread.
const char* last_error() noexcept;

// The return value for C: the value of a Result (0 for a Status), or the negative errno value.
// `body` takes nothing and returns the Result; running out of memory in it is -ENOMEM.
template <typename C, typename Body>
C answer(Body&& body) noexcept {
  try {
    auto result = std::forward<Body>(body)();
    if (!result) {
      return static_cast<C>(report(result.error()));
    }
    if constexpr (std::is_void_v<typename decltype(result)::value_type>) {
      return C{0};
    } else {
      return static_cast<C>(*result);
    }
  } catch (const std::bad_alloc&) {
    return static_cast<C>(report(Error{Errc::kPosix, ENOMEM, {}}));
  }
}

// The same for functions that return a pointer: nullptr and errno.
template <typename Body>
auto answer_pointer(Body&& body) noexcept -> typename decltype(body())::value_type {
  try {
    auto result = std::forward<Body>(body)();
    if (result) {
      return *result;
    }
    errno = -report(result.error());
  } catch (const std::bad_alloc&) {
    errno = -report(Error{Errc::kPosix, ENOMEM, {}});
  }
  return nullptr;
}

}  // namespace benchfs::capi
