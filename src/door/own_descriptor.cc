#include "door/own_descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace benchfs::door {

// The kernel's table of descriptors has 64 places at first, and to enlarge it takes 11 ms in a
// program with threads.
Result<OwnDescriptor> OwnDescriptor::create(Fd fd) {
  constexpr int kHigh = 48;
  struct stat info{};
  if (fstat(fd.get(), &info) != 0) {
    return fail_system(errno, "a descriptor of the node door");
  }
  int moved = fcntl(fd.get(), F_DUPFD_CLOEXEC, kHigh);
  if (moved < 0 && errno == EINVAL) {  // beyond the limit of descriptors
    moved = fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
  }
  if (moved < 0) {
    return fail_system(errno, "a descriptor of the node door");
  }
  OwnDescriptor own;
  own.fd_ = moved;
  own.device_ = info.st_dev;
  own.inode_ = info.st_ino;
  return own;
}

OwnDescriptor::~OwnDescriptor() {
  if (is_ours()) {
    ::close(fd_);
  }
}

bool OwnDescriptor::is_ours() const {
  struct stat info{};
  return fd_ >= 0 && fstat(fd_, &info) == 0 && info.st_dev == device_ && info.st_ino == inode_;
}

void OwnDescriptor::swap(OwnDescriptor& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
}

}  // namespace benchfs::door
