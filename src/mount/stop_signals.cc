#include "mount/stop_signals.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace benchfs::mount {
namespace {

std::atomic<int> event_descriptor{-1};
std::atomic<bool> has_arrived{false};

void on_signal(int /*number*/) {
  int saved = errno;
  has_arrived = true;
  std::uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(event_descriptor, &one, sizeof one);
  errno = saved;
}

}  // namespace

Result<std::unique_ptr<StopSignals>> StopSignals::create() {
  std::unique_ptr<StopSignals> signals(new StopSignals());  // lint: allow new private constructor
  signals->event_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!signals->event_.is_open()) {
    return fail_system(errno, "eventfd");
  }
  has_arrived = false;
  event_descriptor = signals->event_.get();
  struct sigaction action{};
  action.sa_handler = on_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &action, &signals->before_[i]);
  }
  return signals;
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &before_[i], nullptr);
  }
  event_descriptor = -1;
}

bool StopSignals::poll() {
  if (!has_arrived.load(std::memory_order_relaxed)) {
    return false;
  }
  has_arrived = false;
  std::uint64_t count = 0;
  [[maybe_unused]] ssize_t got = ::read(event_.get(), &count, sizeof count);
  requested_.set();
  return true;
}

}  // namespace benchfs::mount
