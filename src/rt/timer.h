// Timers of one reactor: a binary heap of nodes that live in their owners. No allocation a timer.
#pragma once

#include <cstddef>
#include <vector>

#include "base/clock.h"

namespace benchfs::rt {

class TimerQueue;

// One timer. The owner derives from it or holds it; it must not move while armed and disarms itself
// when destroyed.
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  virtual ~Timer();

  // Called on the reactor, once, with the timer disarmed; may arm it again.
  virtual void on_timer() = 0;

  [[nodiscard]] bool is_armed() const { return queue_ != nullptr; }
  void disarm();

 private:
  friend class TimerQueue;
  TimerQueue* queue_ = nullptr;
  std::size_t index_ = 0;
  MonoTime when_;
};

class TimerQueue {
 public:
  TimerQueue() = default;
  TimerQueue(const TimerQueue&) = delete;
  TimerQueue& operator=(const TimerQueue&) = delete;
  ~TimerQueue();

  void arm(Timer& timer, MonoTime when);  // re-arms an armed timer
  // Fires what is due; returns how many. Timers that are armed for the past during the call fire in
  // the next one.
  std::size_t fire(MonoTime now);
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] MonoTime next() const { return heap_.front()->when_; }

 private:
  friend class Timer;
  void remove(Timer& timer);
  void sift_up(std::size_t index);
  void sift_down(std::size_t index);
  void place(std::size_t index, Timer* timer);

  std::vector<Timer*> heap_;
};

}  // namespace benchfs::rt
