// A session of libfuse that is mounted somewhere; destroyed, it gives up the descriptor, and a
// mount that is still there is dead.
//
// Thread: the one that made it.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "mount/door.h"
#include "mount/fuse.h"

namespace benchfs::mount {

struct MountOptions {
  std::string mount_point;
  std::string source;        // shown by mount(8) and df
  bool allow_other = false;  // users besides the one who mounts
  // The kernel's end of a mount that was made elsewhere (private_mount.h), or -1. The session owns
  // it once it is made.
  int device = -1;
};

class KernelSession {
 public:
  // `door` serves the requests; it is borrowed. Errors say why it cannot be mounted.
  static Result<std::unique_ptr<KernelSession>> mount(Door& door, const MountOptions& options);
  KernelSession(const KernelSession&) = delete;
  KernelSession& operator=(const KernelSession&) = delete;
  ~KernelSession();

  [[nodiscard]] fuse_session* get() { return session_; }

 private:
  explicit KernelSession(fuse_session* session) : session_(session) {}
  fuse_session* session_;
};

}  // namespace benchfs::mount
