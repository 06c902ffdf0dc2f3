// A source of events that a reactor polls: the UCX worker, the io_uring.
#pragma once

namespace benchfs::rt {

class Poller {
 public:
  virtual ~Poller() = default;

  // Does what is pending without blocking; true when anything was done. Handlers store results and
  // schedule coroutines, they never resume one.
  virtual bool poll() = 0;

  // Called before the reactor sleeps. False: something arrived, do not sleep. After true, fd()
  // becomes readable with the next event.
  virtual bool prepare_to_sleep() = 0;

  // What it waits for is under way on another core: who does it has done something since the last
  // look. So it comes before giving this core away would end.
  [[nodiscard]] virtual bool is_under_way() { return false; }

  // Descriptor for epoll, level triggered; constant for the life of the poller.
  [[nodiscard]] virtual int fd() const = 0;
};

}  // namespace benchfs::rt
