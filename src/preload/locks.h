// Locks of files below the prefix: fcntl(), lockf(), flock().
//
// Record locks belong to the process, as POSIX says, and end when it closes any descriptor of the
// file. Locks of flock() and F_OFD_SETLK belong to the open file; here they end with the process
// that took them, so only the process that opened the file may take them.
#pragma once

#include <fcntl.h>

#include "preload/descriptions.h"
#include "preload/entry.h"

namespace benchfs::preload {

// fcntl() with F_SETLK and its like, of a descriptor that is ours. The caller holds nothing.
int lock_by_fcntl(Counter& counter, int fd, int command, struct flock* lock);
// To be asked before the file is mapped shared and writable. Programs that lock records of what
// they map share it with other processes, which would not see what is written: of those one process
// may map it at a time. 0, or the errno value.
int lock_for_mapping(Description& description);
// A descriptor of the open file was closed in this process.
void after_close(Description& description);
// The last one was, before the handle is closed.
void release_own_locks(Description& description);
// In the child of fork().
void forget_locks();
// Before the process ends by itself: who waits for its end may lock at once. The servers notice any
// other end a little later.
void release_all_locks();

}  // namespace benchfs::preload
