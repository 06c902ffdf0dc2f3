// The one definition of Paths::with_names.
#pragma once

#include <utility>

#include "client/paths/paths.h"

namespace benchfs::client {

template <typename T, typename... Params, typename... Args>
rt::CoResult<T> Paths::with_names(Deadline deadline,
                                  rt::CoResult<T> (Paths::*operation)(Attempt&, Params...),
                                  Args... args) {
  Attempt::Gone last;
  for (;;) {
    Attempt attempt(deadline, directories_.version());
    if (backend_.config.check_permissions) [[unlikely]] {
      attempt.act_as(Credentials::of_process(Ids::kEffective));
    }
    Result<T> result = co_await (this->*operation)(attempt, args...);
    if (attempt.begins_again() && !deadline.passed()) [[unlikely]] {
      continue;
    }
    if (result || !attempt.gone().is_valid()) [[likely]] {
      co_return result;
    }
    for (wire::InodeId gone : {attempt.gone().first, attempt.gone().second}) {
      if (attempt.is_begin(gone)) {
        co_return std::unexpected(co_await explain_begin(gone, result.error(), deadline));
      }
    }
    if (attempt.gone() == last) {
      co_return std::unexpected(lost_inode(last));
    }
    if (deadline.passed()) {
      co_return fail(Errc::kDeadline, "the name was replaced each time it was looked up");
    }
    last = attempt.gone();
    if (attempt.is_directory_gone()) {
      directories_.clear();
    }
  }
}

}  // namespace benchfs::client
