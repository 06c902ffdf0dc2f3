// A mount that only the calling process and those that it starts see.
//
// Thread: any, in a process with one thread.
#pragma once

#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace benchfs::mount {

// Gives the process a mount namespace of its own, and a user namespace with the same user and group
// if it may not have one otherwise, and mounts there. Returns the kernel's end of the mount, for
// another process to serve (MountOptions::device): until one does, every access to the directory
// waits. Errors say what is missing and what to do about it.
Result<Fd> mount_in_own_namespace(const std::string& directory, const std::string& source);

}  // namespace benchfs::mount
