#include "rt/timer.h"

#include "base/check.h"

namespace benchfs::rt {

Timer::~Timer() {
  disarm();
}

void Timer::disarm() {
  if (queue_ != nullptr) {
    queue_->remove(*this);
  }
}

TimerQueue::~TimerQueue() {
  BENCHFS_CHECK(heap_.empty());
}

void TimerQueue::place(std::size_t index, Timer* timer) {
  heap_[index] = timer;
  timer->index_ = index;
}

void TimerQueue::sift_up(std::size_t index) {
  Timer* timer = heap_[index];
  while (index > 0) {
    std::size_t parent = (index - 1) / 2;
    if (heap_[parent]->when_ <= timer->when_) {
      break;
    }
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, timer);
}

void TimerQueue::sift_down(std::size_t index) {
  Timer* timer = heap_[index];
  for (;;) {
    std::size_t child = 2 * index + 1;
    if (child >= heap_.size()) {
      break;
    }
    if (child + 1 < heap_.size() && heap_[child + 1]->when_ < heap_[child]->when_) {
      ++child;
    }
    if (timer->when_ <= heap_[child]->when_) {
      break;
    }
    place(index, heap_[child]);
    index = child;
  }
  place(index, timer);
}

void TimerQueue::arm(Timer& timer, MonoTime when) {
  timer.disarm();
  timer.queue_ = this;
  timer.when_ = when;
  heap_.push_back(&timer);
  timer.index_ = heap_.size() - 1;
  sift_up(timer.index_);
}

void TimerQueue::remove(Timer& timer) {
  std::size_t index = timer.index_;
  Timer* last = heap_.back();
  heap_.pop_back();
  timer.queue_ = nullptr;
  if (last != &timer) {
    place(index, last);
    sift_up(index);
    sift_down(last->index_);
  }
}

std::size_t TimerQueue::fire(MonoTime now) {
  std::size_t fired = 0;
  std::size_t limit = heap_.size();
  while (fired < limit && !heap_.empty() && heap_.front()->when_ <= now) {
    Timer* timer = heap_.front();
    remove(*timer);
    ++fired;
    timer->on_timer();
  }
  return fired;
}

}  // namespace benchfs::rt
