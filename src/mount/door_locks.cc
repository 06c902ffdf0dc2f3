// Locks of files. The kernel numbers the owners: a process for fcntl(), an open file for flock()
// and F_OFD_SETLK.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "mount/attributes.h"
#include "mount/door.h"

namespace benchfs::mount {
namespace {

using client::LockOwner;
using wire::LockMode;

}  // namespace

rt::Task<void> Door::get_lock(fuse_req_t req,
                              wire::InodeId inode,
                              std::uint64_t owner,
                              struct flock lock) {
  Request request(req);
  Result<wire::LockReply> found =
      co_await fs_.locks().test(inode, {.number = owner}, to_wanted(lock));
  if (!found) {
    co_return request.fail(found.error());
  }
  request.reply_lock(to_flock(*found, lock));
}

// A wait ends with a signal, or with the lock; the kernel asks without waiting for F_SETLK.
rt::Task<void> Door::set_lock(fuse_req_t req,
                              std::uint64_t handle,
                              LockOwner owner,
                              client::FileLocks::Wanted wanted,
                              bool waits) {
  Request request(req);
  std::shared_ptr<client::OpenFile> open = file(handle);
  if (open == nullptr) {
    co_return request.fail(EBADF);
  }
  if (wanted.mode != LockMode::kNone) {
    std::vector<LockOwner>& owners = lock_owners_[handle];
    if (std::ranges::find(owners, owner) == owners.end()) {
      owners.push_back(owner);
    }
  }
  for (;;) {
    if (Status usable = fs_.open_files().check(*open); !usable) {
      co_return request.fail(usable.error());
    }
    Result<wire::LockReply> reply = co_await fs_.locks().lock(open->id(), owner, wanted, waits);
    if (!reply) {
      co_return request.fail(reply.error());
    }
    if (reply->mode == static_cast<std::uint32_t>(LockMode::kNone)) {
      co_return request.done();
    }
    if (!waits || request.is_interrupted()) {
      co_return request.fail(waits ? EINTR : EAGAIN);
    }
  }
}

rt::Task<void> Door::flush(fuse_req_t req, wire::InodeId inode, std::uint64_t owner) {
  Request request(req);
  LockOwner process{.number = owner};
  for (auto& [handle, owners] : lock_owners_) {
    auto open = files_.find(handle);
    if (open != files_.end() && open->second.file->id() == inode) {
      std::erase(owners, process);
    }
  }
  co_await fs_.locks().release(inode, process);
  request.done();
}

void Door::release_locks(std::uint64_t handle) {
  auto owners = lock_owners_.extract(handle);
  std::shared_ptr<client::OpenFile> open = file(handle);
  if (owners.empty() || open == nullptr) {
    return;
  }
  for (LockOwner owner : owners.mapped()) {
    (void)requests_.spawn(fs_.locks().release(open->id(), owner));
  }
}

}  // namespace benchfs::mount
