// A descriptor of ours in somebody else's program, which may close it and open its own under the
// number.
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "base/error.h"
#include "base/fd.h"

namespace benchfs::door {

class OwnDescriptor {
 public:
  OwnDescriptor() = default;
  // Under a number that programs rarely use by themselves. Errors: kSystem.
  static Result<OwnDescriptor> create(Fd fd);
  OwnDescriptor(OwnDescriptor&& other) noexcept { swap(other); }
  OwnDescriptor& operator=(OwnDescriptor&& other) noexcept {
    swap(other);
    return *this;
  }
  // Closes it if it is still ours.
  ~OwnDescriptor();

  [[nodiscard]] int get() const { return fd_; }
  // Whether it is still what it was. Costs a system call.
  [[nodiscard]] bool is_ours() const;

 private:
  void swap(OwnDescriptor& other) noexcept;

  int fd_ = -1;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace benchfs::door
