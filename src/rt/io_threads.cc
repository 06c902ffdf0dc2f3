#include "rt/io_threads.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/signal_block.h"

namespace benchfs::rt {

void IoThreads::List::push(Uring::Operation& operation) {
  operation.next_ = nullptr;
  (head == nullptr ? head : tail->next_) = &operation;
  tail = &operation;
}

Uring::Operation* IoThreads::List::pop() {
  Uring::Operation* operation = head;
  if (operation != nullptr) {
    head = operation->next_;
    operation->next_ = nullptr;
  }
  return operation;
}

Result<std::unique_ptr<IoThreads>> IoThreads::create(unsigned threads) {
  std::unique_ptr<IoThreads> pool(new IoThreads());  // lint: allow new private constructor
  pool->event_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (pool->event_fd_ < 0) {
    return fail_system(errno, "creating the event descriptor of the I/O threads");
  }
  Status started;
  SignalBlock block;
  try {
    for (unsigned i = 0; i < threads; ++i) {
      pool->threads_.emplace_back([raw = pool.get()] { raw->run(); });
    }
  } catch (const std::system_error& error) {
    started = fail_system(error.code().value(), "starting an I/O thread");
  }
  if (!started) {
    return std::unexpected(std::move(started).error());
  }
  return pool;
}

IoThreads::~IoThreads() {
  {
    std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  submitted_.notify_all();
  for (std::thread& thread : threads_) {
    thread.join();
  }
  if (event_fd_ >= 0) {
    close(event_fd_);
  }
}

void IoThreads::submit(Uring::Operation& operation) {
  {
    std::lock_guard lock(mutex_);
    waiting_.push(operation);
  }
  submitted_.notify_one();
}

Uring::Operation* IoThreads::take_done() {
  // Drain the descriptor before taking the list, so that later completions make it readable again.
  std::uint64_t drained = 0;
  [[maybe_unused]] ssize_t got = read(event_fd_, &drained, sizeof drained);
  std::lock_guard lock(mutex_);
  has_done_.store(false, std::memory_order_seq_cst);
  return std::exchange(done_, {}).head;
}

void IoThreads::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    submitted_.wait(lock, [this] { return waiting_.head != nullptr || is_stopping_; });
    Uring::Operation* operation = waiting_.pop();
    if (operation == nullptr) {
      return;
    }
    lock.unlock();
    operation->execute();
    lock.lock();
    bool is_first = done_.head == nullptr;
    done_.push(*operation);
    has_done_.store(true, std::memory_order_seq_cst);
    if (is_first) {
      std::uint64_t one = 1;
      [[maybe_unused]] ssize_t written = write(event_fd_, &one, sizeof one);
    }
  }
}

}  // namespace benchfs::rt
