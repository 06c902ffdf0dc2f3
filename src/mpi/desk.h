// Where one thread has things done by another: what may only be done by the main thread.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>

namespace benchfs::mpi {

class Desk {
 public:
  Desk();
  Desk(const Desk&) = delete;
  Desk& operator=(const Desk&) = delete;
  ~Desk();

  // --- the thread that asks ---
  // Returns when the serving thread has called `task`.
  void call(const std::function<void()>& task);
  // Nothing will be asked any more.
  void close();

  // --- the thread that serves ---
  // Readable when there is something to do.
  [[nodiscard]] int fd() const { return fd_; }
  // Does what is asked. False when it is closed.
  bool serve();

 private:
  int fd_;
  std::mutex mutex_;
  std::condition_variable done_;
  // Guarded by mutex_.
  const std::function<void()>* task_ = nullptr;
  bool closed_ = false;
};

}  // namespace benchfs::mpi
