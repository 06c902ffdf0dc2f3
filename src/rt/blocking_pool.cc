#include "rt/blocking_pool.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/signal_block.h"

namespace benchfs::rt {

// State that the pool and the helper thread share. It lives until neither of them needs it, nor the
// reactor, to which it is posted as mail.
class internal::BlockingQueue final : public Mail,
                                      public std::enable_shared_from_this<BlockingQueue> {
 public:
  explicit BlockingQueue(Reactor& reactor) : reactor_(&reactor) {}

  Status push(std::shared_ptr<BlockingWork> work) {
    std::lock_guard lock(mutex_);
    if (waiting_.size() >= BlockingPool::kMaxQueued) {
      return fail(Errc::kBusy, "too many blocking operations wait behind one that does not end");
    }
    if (!has_thread_) {
      SignalBlock block;
      try {
        std::thread([self = shared_from_this()] { self->serve(); }).detach();
      } catch (const std::system_error& error) {
        return fail_system(error.code().value(), "starting a thread for blocking operations");
      }
      has_thread_ = true;
    }
    waiting_.push_back(std::move(work));
    changed_.notify_one();
    return {};
  }

  void close() {
    std::deque<std::shared_ptr<BlockingWork>> dropped;
    std::lock_guard lock(mutex_);
    reactor_ = nullptr;
    dropped.swap(waiting_);
    changed_.notify_one();
  }

  void on_mail() override {
    std::vector<std::shared_ptr<BlockingWork>> done;
    std::shared_ptr<BlockingQueue> self;
    {
      std::lock_guard lock(mutex_);
      done.swap(done_);
      self.swap(posted_);
    }
    for (const auto& work : done) {
      work->is_done_ = true;
      work->done_.wake_all();
    }
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return reactor_ == nullptr || !waiting_.empty(); });
      if (reactor_ == nullptr) {
        return;
      }
      std::shared_ptr<BlockingWork> work = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      work->run();
      lock.lock();
      done_.push_back(std::move(work));
      if (reactor_ != nullptr && posted_ == nullptr) {
        posted_ = shared_from_this();
        reactor_->post(*this);
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Reactor* reactor_;  // null when the pool is gone
  bool has_thread_ = false;
  std::deque<std::shared_ptr<BlockingWork>> waiting_;
  std::vector<std::shared_ptr<BlockingWork>> done_;  // and not told yet
  std::shared_ptr<BlockingQueue> posted_;  // keeps it while it is in the reactor's mailbox
};

BlockingPool::BlockingPool(Reactor& reactor)
    : queue_(std::make_shared<internal::BlockingQueue>(reactor)) {}

BlockingPool::~BlockingPool() {
  queue_->close();
}

Status BlockingPool::enqueue(std::shared_ptr<internal::BlockingWork> work) {
  return queue_->push(std::move(work));
}

}  // namespace benchfs::rt
