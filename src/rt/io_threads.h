// Disk operations on helper threads, for kernels and containers without io_uring.
//
// The reactor submits operations and takes them back when they are done; a descriptor becomes
// readable when there are any. Operations run in the order they were submitted, as many at a time
// as there are threads. A system call that hangs keeps its thread.
//
// Thread: the reactor's.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"
#include "rt/uring.h"

namespace benchfs::rt {

class IoThreads {
 public:
  static Result<std::unique_ptr<IoThreads>> create(unsigned threads);
  IoThreads(const IoThreads&) = delete;
  IoThreads& operator=(const IoThreads&) = delete;
  // Nothing may be under way.
  ~IoThreads();

  // The operation is borrowed until take_done() returns it.
  void submit(Uring::Operation& operation);
  [[nodiscard]] bool has_done() const { return has_done_.load(std::memory_order_seq_cst); }
  // All that are done, oldest first, linked by next_.
  Uring::Operation* take_done();
  [[nodiscard]] int fd() const { return event_fd_; }

 private:
  // Operations linked by next_.
  struct List {
    Uring::Operation* head = nullptr;
    Uring::Operation* tail = nullptr;
    void push(Uring::Operation& operation);
    Uring::Operation* pop();
  };

  IoThreads() = default;
  void run();

  int event_fd_ = -1;
  std::atomic<bool> has_done_{false};
  std::mutex mutex_;  // guards what follows
  std::condition_variable submitted_;
  List waiting_;
  List done_;
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace benchfs::rt
