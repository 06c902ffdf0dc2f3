#include "mpi/desk.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"

namespace benchfs::mpi {

Desk::Desk() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  BENCHFS_CHECK(fd_ >= 0);
}

Desk::~Desk() {
  ::close(fd_);
}

void Desk::call(const std::function<void()>& task) {
  std::unique_lock lock(mutex_);
  task_ = &task;
  eventfd_write(fd_, 1);
  done_.wait(lock, [this] { return task_ == nullptr; });
}

void Desk::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  eventfd_write(fd_, 1);
}

bool Desk::serve() {
  eventfd_t count = 0;
  eventfd_read(fd_, &count);
  std::unique_lock lock(mutex_);
  if (task_ != nullptr) {
    const std::function<void()>& task = *task_;
    lock.unlock();
    task();
    lock.lock();
    task_ = nullptr;
    done_.notify_one();
  }
  return !closed_;
}

}  // namespace benchfs::mpi
