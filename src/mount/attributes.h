// Attributes, open flags and errors in the kernel's terms.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <cstdint>

#include "base/error.h"
#include "client/io/file_locks.h"
#include "mount/fuse.h"
#include "wire/attr.h"
#include "wire/messages.h"

namespace benchfs::mount {

struct stat to_stat(const wire::Attr& attr);
// The kernel caches no attributes unless the caller says so.
fuse_entry_param to_entry(const wire::Attr& attr, double name_timeout = 0);
// `to_set`: FUSE_SET_ATTR_*.
wire::SetAttrRequest to_request(const struct stat& wanted, int to_set);
// Of open(2), without those for creating.
std::uint32_t to_open_flags(int flags);
// Ranges of fcntl() locks, as libfuse has them: l_start from the start of the file, l_len 0 to its
// end.
client::FileLocks::Wanted to_wanted(const struct flock& lock);
// `asked`, when nothing is in its way.
struct flock to_flock(const wire::LockReply& reply, struct flock asked);
// What a program sees: an answer of the file system as it is; a server that is lost or silent is
// EIO or ETIMEDOUT.
int to_errno(const Error& error);

}  // namespace benchfs::mount
