// A mount from its beginning to its end. Entry of this folder.
//
// Thread: the caller's, which drives the client meanwhile.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"
#include "client/client.h"
#include "mount/kernel_session.h"

namespace benchfs::mount {

struct ServeOptions {
  MountOptions mount;
  bool page_cache = false;
  std::function<void()> on_ready;  // it is mounted and serves
};

// Mounts and serves until it is unmounted, or until SIGTERM, SIGINT or SIGHUP, which unmount it:
// what mappings have written is written back, the mount point is free at once, and programs that
// still use the mount may finish for a few seconds.
Status serve(client::Client& client, ServeOptions options);

}  // namespace benchfs::mount
