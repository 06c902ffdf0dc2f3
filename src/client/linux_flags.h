// Flags of Linux's calls as those of our messages. Unknown ones are left out: the callers refuse
// them before.
#pragma once

#include <sys/xattr.h>

#include <cstdint>
#include <cstdio>

#include "wire/messages.h"

namespace benchfs::client {

// RENAME_NOREPLACE and RENAME_EXCHANGE.
inline std::uint32_t rename_flags(unsigned flags) {
  return ((flags & RENAME_NOREPLACE) != 0 ? wire::kRenameNoReplace : 0U) |
         ((flags & RENAME_EXCHANGE) != 0 ? wire::kRenameExchange : 0U);
}

// XATTR_CREATE and XATTR_REPLACE.
inline std::uint32_t xattr_flags(int flags) {
  return ((flags & XATTR_CREATE) != 0 ? wire::kXattrCreate : 0U) |
         ((flags & XATTR_REPLACE) != 0 ? wire::kXattrReplace : 0U);
}

}  // namespace benchfs::client
