// A descriptor of ours in somebody else's program, which may close it and open its own under the
// number.
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/fd.h"

namespace benchfs {

// Where descriptors go that a program does not know of: a function that moves one out of the
// program's way and returns its new number, or -1 with errno; it keeps close-on-exec. For who
// stands between the program and the kernel, and knows better than we do. Before any is made.
using DescriptorKeeper = int (*)(int fd);
void set_descriptor_keeper(DescriptorKeeper keeper);
// Moves it, to a number that programs rarely use by themselves if there is no keeper. Errors:
// kSystem.
Result<Fd> keep_descriptor(Fd fd);

class OwnDescriptor {
 public:
  OwnDescriptor() = default;
  // Moves it as keep_descriptor() does. Errors: kSystem.
  static Result<OwnDescriptor> create(Fd fd);
  // As it is, and trusted: in a process of ours.
  static OwnDescriptor trusted(Fd fd);
  OwnDescriptor(OwnDescriptor&& other) noexcept { swap(other); }
  OwnDescriptor& operator=(OwnDescriptor&& other) noexcept {
    swap(other);
    return *this;
  }
  // Closes it if it is still ours.
  ~OwnDescriptor();

  [[nodiscard]] int get() const { return fd_; }
  // Whether it is still what it was; event descriptors are not told from each other. Costs a system
  // call.
  [[nodiscard]] bool is_ours() const;

 private:
  void swap(OwnDescriptor& other) noexcept;

  int fd_ = -1;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace benchfs
