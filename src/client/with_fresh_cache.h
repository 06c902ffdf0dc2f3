// The one definition of FileSystem::with_fresh_cache.
#pragma once

#include <cerrno>
#include <utility>

#include "client/file_system.h"

namespace benchfs::client {

template <typename T, typename... Args>
rt::CoResult<T> FileSystem::with_fresh_cache(rt::CoResult<T> (FileSystem::*operation)(Args...),
                                             Args... args) {
  Result<T> result = co_await (this->*operation)(args...);
  if (result || !result.error().is_posix(ESTALE)) {
    co_return result;
  }
  directories_.clear();
  result = co_await (this->*operation)(args...);
  if (!result && result.error().is_posix(ESTALE)) {
    co_return fail_errno(ENOENT);
  }
  co_return result;
}

}  // namespace benchfs::client
