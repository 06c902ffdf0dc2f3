#include "rt/reactor.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/check.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/own_descriptor.h"

namespace benchfs::rt {
namespace {

thread_local Reactor* bound_reactor = nullptr;

// Coroutines resumed in one pass before the pollers are looked at again.
constexpr std::size_t kResumeBudget = 256;
// Passes between two looks at the timers, which cost a look at the clock: while there is work, and
// while spinning; when yielding or after a sleep they are looked at in every pass.
constexpr std::uint32_t kTimerCheckBusy = 32;
constexpr std::uint32_t kTimerCheckSpinning = 16;
// A poller that refuses to arm although it has nothing to do (a peer's full shared-memory FIFO does
// that to UCX) must not keep the daemon awake: after this long we sleep anyway, for kForcedSleep.
constexpr Nanos kArmPatience = std::chrono::milliseconds(1);
constexpr Nanos kForcedSleep = std::chrono::milliseconds(1);
// A program that closes our descriptors while one of its threads sleeps on them does not wake it.
constexpr Nanos kLongestGuestSleep = std::chrono::seconds(1);

// While it lives others may use what the reactor's thread owns.
class Shared {
 public:
  explicit Shared(Sharing* sharing) : sharing_(sharing) {
    if (sharing_ != nullptr) {
      sharing_->begin();
    }
  }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() {
    if (sharing_ != nullptr) {
      sharing_->end();
    }
  }

 private:
  Sharing* sharing_;
};

}  // namespace

Reactor* Reactor::current() {
  return bound_reactor;
}

Reactor::Binding::Binding(Reactor& reactor) : previous_(bound_reactor) {
  bound_reactor = &reactor;
}
Reactor::Binding::~Binding() {
  bound_reactor = previous_;
}

Result<std::unique_ptr<Reactor>> Reactor::create(IdleConfig idle, bool is_guest) {
  std::unique_ptr<Reactor> reactor(
      new Reactor(idle, is_guest));  // lint: allow new private constructor
  BENCHFS_TRY_VOID(reactor->make_descriptors());
  return reactor;
}

Reactor::~Reactor() {
  BENCHFS_CHECK(pollers_.empty());
  deliver_mail();  // what keeps itself until then would stay for ever
  close_own(epoll_fd_);
  close_own(wake_fd_);
}

Status Reactor::make_descriptors() {
  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  struct stat info{};
  if (!wake.is_open() || !epoll.is_open() || ::fstat(wake.get(), &info) != 0) {
    return fail_system(errno, "creating the event descriptors of a reactor");
  }
  if (is_guest_) {
    BENCHFS_TRY(wake, keep_descriptor(std::move(wake)));
    BENCHFS_TRY(epoll, keep_descriptor(std::move(epoll)));
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = this;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
    return fail_system(errno, "watching the wake-up descriptor of a reactor");
  }
  device_ = info.st_dev;
  inode_ = info.st_ino;
  epoll_fd_ = epoll.release();
  wake_fd_ = wake.release();
  return {};
}

bool Reactor::is_own(int fd) const {
  struct stat info{};
  return !is_guest_ || (::fstat(fd, &info) == 0 && info.st_dev == device_ && info.st_ino == inode_);
}

void Reactor::close_own(int fd) const {
  if (fd >= 0 && is_own(fd)) {
    close(fd);
  }
}

bool Reactor::renew_descriptors() {
  if (!is_guest_ || (is_own(wake_fd_) && is_own(epoll_fd_))) [[likely]] {
    return true;
  }
  int old_wake = wake_fd_;
  int old_epoll = epoll_fd_;
  if (!make_descriptors()) {
    return false;
  }
  close_own(old_wake == wake_fd_ || old_wake == epoll_fd_ ? -1 : old_wake);
  close_own(old_epoll == wake_fd_ || old_epoll == epoll_fd_ ? -1 : old_epoll);
  // One whose descriptor the program has closed as well finds that out by itself.
  return std::ranges::all_of(pollers_, [this](Poller* poller) { return watch(*poller); });
}

bool Reactor::watch(Poller& poller) const {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &poller;
  return epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, poller.fd(), &event) == 0;
}

void Reactor::add_poller(Poller& poller) {
  renew_descriptors();
  bool is_watched = watch(poller);
  BENCHFS_CHECK(is_watched || is_guest_);
  pollers_.push_back(&poller);
}

void Reactor::remove_poller(Poller& poller) {
  if (is_own(epoll_fd_)) {
    epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, poller.fd(), nullptr);
  }
  std::erase(pollers_, &poller);
}

void Reactor::post(Mail& mail) {
  Mail* head = mail_.load(std::memory_order_relaxed);
  do {
    mail.next_ = head;
  } while (!mail_.compare_exchange_weak(
      head, &mail, std::memory_order_seq_cst, std::memory_order_relaxed));
  if (sleeping_.load(std::memory_order_seq_cst)) {
    wake();
  }
}

void Reactor::wake() {
  std::uint64_t one = 1;
  int fd = wake_fd_;
  if (is_own(fd)) {
    [[maybe_unused]] ssize_t written = write(fd, &one, sizeof one);
  }
}

bool Reactor::deliver_mail() {
  if (mail_.load(std::memory_order_relaxed) == nullptr) {
    return false;
  }
  Mail* newest = mail_.exchange(nullptr, std::memory_order_acquire);
  Mail* oldest = nullptr;
  while (newest != nullptr) {  // the list is last in, first out: turn it round
    Mail* next = newest->next_;
    newest->next_ = oldest;
    oldest = newest;
    newest = next;
  }
  while (oldest != nullptr) {
    Mail* next = oldest->next_;
    oldest->on_mail();
    oldest = next;
  }
  return true;
}

bool Reactor::resume_ready() {
  std::size_t count = std::min(ready_.size(), kResumeBudget);
  for (std::size_t i = 0; i < count; ++i) {
    ready_.pop().resume();
  }
  stats_.resumed += count;
  return count > 0;
}

bool Reactor::turn() {
  ++stats_.passes;
  bool worked = deliver_mail();
  for (std::size_t i = 0; i < pollers_.size(); ++i) {
    worked |= pollers_[i]->poll();
  }
  std::uint32_t check_every = worked                ? kTimerCheckBusy
                              : idle_.is_spinning() ? kTimerCheckSpinning
                                                    : 1;
  if (!timers_.empty() && ++passes_since_timer_check_ >= check_every) {
    passes_since_timer_check_ = 0;
    std::optional<MonoTime> known = idle_.just_yielded();
    worked |= timers_.fire(known ? *known : mono_now()) > 0;
  }
  worked |= resume_ready();
  return worked;
}

void Reactor::step(Deadline deadline) {
  if (turn()) {
    idle_.on_work();
    arm_refused_since_.reset();
  } else if (on_idle()) {
    sleep(deadline);
    idle_.on_work();
  }
  if (sharing_ != nullptr && sharing_->is_wanted()) [[unlikely]] {
    sharing_->lend();
  }
}

bool Reactor::on_idle() {
  bool is_contended = idle_.is_contended();
  bool is_under_way = is_contended && std::ranges::any_of(pollers_, &Poller::is_under_way);
  bool may_yield = !idle_.is_spinning() || (is_contended && !is_under_way);
  Shared shared(may_yield ? sharing_ : nullptr);
  return idle_.on_idle(is_under_way);
}

bool Reactor::run_until(const bool& done, Deadline deadline) {
  Binding binding(*this);
  idle_.on_work();
  std::uint64_t sleeps = stats_.sleeps;
  while (!done) {
    step(deadline);
    // The clock is only looked at after a sleep; a busy reactor is bounded by its callers'
    // deadlines.
    if (stats_.sleeps != sleeps) {
      sleeps = stats_.sleeps;
      if (deadline.passed()) {
        break;
      }
    }
  }
  return done;
}

bool Reactor::prepare_to_sleep() {
  renew_descriptors();
  if (!ready_.empty() || mail_.load(std::memory_order_seq_cst) != nullptr) {
    return false;
  }
  return std::ranges::all_of(pollers_, [](Poller* poller) { return poller->prepare_to_sleep(); });
}

std::optional<MonoTime> Reactor::next_timer() const {
  return timers_.empty() ? std::nullopt : std::optional(timers_.next());
}

void Reactor::sleep(Deadline deadline) {
  set_sleeping(true);
  MonoTime now = mono_now();
  bool forced = false;
  if (!prepare_to_sleep()) {
    bool only_arm_refused = ready_.empty() && mail_.load(std::memory_order_seq_cst) == nullptr;
    if (!only_arm_refused) {
      arm_refused_since_.reset();
    } else if (!arm_refused_since_) {
      arm_refused_since_ = now;
    }
    forced = only_arm_refused && now - *arm_refused_since_ > kArmPatience;
    if (!forced) {
      set_sleeping(false);
      return;
    }
  } else {
    arm_refused_since_.reset();
  }
  if (!timers_.empty()) {
    deadline = deadline.earlier(Deadline::at(timers_.next()));
  }
  if (forced) {
    return sleep_beside_refusers(deadline.earlier(Deadline::at(now + kForcedSleep)).remaining(now));
  }
  if (is_guest_) {
    deadline = deadline.earlier(Deadline::at(now + kLongestGuestSleep));
  }
  timespec timeout{};
  if (!deadline.is_never()) {
    Nanos left = deadline.remaining(now);
    timeout.tv_sec = left.count() / 1'000'000'000;
    timeout.tv_nsec = left.count() % 1'000'000'000;
  }
  ++stats_.sleeps;
  std::array<epoll_event, 4> events;
  int count = 0;
  {
    Shared shared(sharing_);
    count = wait_for_events(events, deadline.is_never() ? nullptr : &timeout);
  }
  passes_since_timer_check_ = kTimerCheckBusy;
  set_sleeping(false);
  for (int i = 0; i < count; ++i) {
    if (events[static_cast<std::size_t>(i)].data.ptr == this) {
      drain_wake();
    }
  }
}

int Reactor::wait_for_events(std::span<epoll_event> events, const timespec* timeout) {
  auto most = static_cast<int>(events.size());
  if (has_epoll_pwait2_) {
    int count = epoll_pwait2(epoll_fd_, events.data(), most, timeout, nullptr);
    if (count >= 0 || errno == EINTR) {
      return count;
    }
    has_epoll_pwait2_ = false;
    BENCHFS_LOG(kInfo,
                "the reactor sleeps by ppoll: {}",
                Error::from_system(errno, "epoll_pwait2 (Linux 5.11) is not available").message());
  }
  // epoll_wait() counts in milliseconds; an epoll descriptor can be polled itself.
  pollfd watched{.fd = epoll_fd_, .events = POLLIN, .revents = 0};
  if (::ppoll(&watched, 1, timeout, nullptr) <= 0) {
    return 0;
  }
  return epoll_wait(epoll_fd_, events.data(), most, 0);
}

// Without the descriptors of pollers that refuse to arm, which may be readable for as long as they
// do.
void Reactor::sleep_beside_refusers(Nanos most) {
  std::array<pollfd, 8> watched;
  watched[0] = {.fd = wake_fd_, .events = POLLIN, .revents = 0};
  nfds_t count = 1;
  for (Poller* poller : pollers_) {
    if (count < watched.size() && poller->prepare_to_sleep()) {
      watched[count++] = {.fd = poller->fd(), .events = POLLIN, .revents = 0};
    }
  }
  ++stats_.sleeps;
  timespec timeout{.tv_sec = 0, .tv_nsec = most.count()};
  {
    Shared shared(sharing_);
    ::ppoll(watched.data(), count, &timeout, nullptr);
  }
  passes_since_timer_check_ = kTimerCheckBusy;
  set_sleeping(false);
  if (watched[0].revents != 0) {
    drain_wake();
  }
}

void Reactor::drain_wake() {
  std::uint64_t drained = 0;
  if (is_own(wake_fd_)) {
    [[maybe_unused]] ssize_t got = read(wake_fd_, &drained, sizeof drained);
  }
}

}  // namespace benchfs::rt
