// What functions that take a path have in common, wherever the path begins.
#pragma once

#include <cstddef>

#include "base/error.h"
#include "capi/context.h"
#include "wire/messages.h"

namespace benchfs::capi {

Status set_attr(benchfs_context* context,
                client::Path path,
                const wire::SetAttrRequest& request,
                bool follow);
// `flags`: those of renameat2(2).
Status rename(benchfs_context* context, client::Path from, client::Path to, unsigned flags);
// Copies as much of the target as fits.
Result<std::size_t> readlink(benchfs_context* context,
                             client::Path path,
                             char* buffer,
                             std::size_t size);

}  // namespace benchfs::capi
