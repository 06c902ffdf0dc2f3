#include "base/own_descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace benchfs {

namespace {

// The kernel's table of descriptors has 64 places at first, and to enlarge it takes 11 ms in a
// program with threads.
int move_up(int fd) {
  constexpr int kHigh = 48;
  int moved = fcntl(fd, F_DUPFD_CLOEXEC, kHigh);
  if (moved < 0 && errno == EINVAL) {  // beyond the limit of descriptors
    moved = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  }
  if (moved >= 0) {
    ::close(fd);
  }
  return moved;
}

DescriptorKeeper keep = move_up;

}  // namespace

void set_descriptor_keeper(DescriptorKeeper keeper) {
  keep = keeper;
}

Result<Fd> keep_descriptor(Fd fd) {
  int moved = keep(fd.get());
  if (moved < 0) {
    return fail_system(errno, "a descriptor of the client");
  }
  (void)fd.release();
  return Fd(moved);
}

Result<OwnDescriptor> OwnDescriptor::create(Fd fd) {
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) {
    return fail_system(errno, "a descriptor of the client");
  }
  BENCHFS_TRY(Fd kept, keep_descriptor(std::move(fd)));
  OwnDescriptor own;
  own.fd_ = kept.release();
  own.device_ = info.st_dev;
  own.inode_ = info.st_ino;
  return own;
}

OwnDescriptor OwnDescriptor::trusted(Fd fd) {
  OwnDescriptor own;
  own.fd_ = fd.release();
  return own;
}

OwnDescriptor::~OwnDescriptor() {
  if (is_ours()) {
    ::close(fd_);
  }
}

bool OwnDescriptor::is_ours() const {
  struct stat info{};
  bool is_trusted = device_ == 0 && inode_ == 0;
  return fd_ >= 0 && (is_trusted ||
                      (fstat(fd_, &info) == 0 && info.st_dev == device_ && info.st_ino == inode_));
}

void OwnDescriptor::swap(OwnDescriptor& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
}

}  // namespace benchfs
