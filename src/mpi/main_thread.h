// Runs tasks of another thread on the main thread, where for example all MPI calls must be made.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>

namespace benchfs::mpi {

class MainThread {
 public:
  MainThread();
  MainThread(const MainThread&) = delete;
  MainThread& operator=(const MainThread&) = delete;
  ~MainThread();

  // --- the other thread ---
  // Returns when the main thread has called `task`.
  void call(const std::function<void()>& task);
  // No task will follow.
  void close();

  // --- the main thread ---
  // Readable when there is a task.
  [[nodiscard]] int fd() const { return fd_; }
  // Runs the task that waits. False once closed.
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
