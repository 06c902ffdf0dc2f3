#include "mpi/main_thread.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "base/check.h"

namespace benchfs::mpi {

MainThread::MainThread() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  BENCHFS_CHECK(fd_ >= 0);
}

MainThread::~MainThread() {
  ::close(fd_);
}

void MainThread::call(const std::function<void()>& task) {
  std::unique_lock lock(mutex_);
  task_ = &task;
  eventfd_write(fd_, 1);
  done_.wait(lock, [this] { return task_ == nullptr; });
}

void MainThread::close() {
  std::lock_guard lock(mutex_);
  closed_ = true;
  eventfd_write(fd_, 1);
}

bool MainThread::serve() {
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
