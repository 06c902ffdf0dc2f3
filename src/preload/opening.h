// Opening files below the prefix: shared by the entries of open() and of stdio.
#pragma once

#include <sys/types.h>

#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/places.h"

namespace benchfs::preload {

// The descriptor, or a negative errno value.
long open_ours(const Target& at, int flags, mode_t mode);
// `path` is in the file system.
long open_ours(const char* path, int flags, mode_t mode);
// Opens an open file once more, as a path in /proc/self/fd does. The same answers.
long open_again(Description& description, int flags);
// open(2) for a path of either kind.
int open_any(Counter& counter, int directory, const char* path, int flags, mode_t mode);
// close(2) for a descriptor of either kind.
int close_any(int fd);

// dlopen(3) of a library below the prefix.
void* open_own_library(const char* path, int flags);

mode_t current_umask();
void read_umask();

// In the child of fork(): who holds the lock of spawn actions is a thread of the parent.
void forget_spawn_actions_lock();

}  // namespace benchfs::preload
