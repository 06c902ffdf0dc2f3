// The entries of sigaction() and signal().
//
// The kernel calls one handler of ours, which calls the program's. Inside the library it sends the
// signal again, to its own thread, and blocks it there until the call has ended: then the kernel
// calls the handler as it would have at once, with the same siginfo_t. The common case costs a
// counter, and no system call.
#include "preload/signals.h"

#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "preload/entry.h"
#include "preload/real.h"
#include "preload/settings.h"
#include "preload/together.h"

namespace benchfs::preload {

namespace internal {

thread_local Inside inside = {0, 0, 0};

void let_handlers_run() {
  int before = errno;
  std::uint64_t signals = inside.waiting;
  inside.waiting = 0;
  real().syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &signals, nullptr, sizeof signals);
  errno = before;
}

}  // namespace internal

namespace {

using Handler = void (*)(int, siginfo_t*, void*);

// What the program wants; valid where the kernel has our handler.
struct Wanted {
  std::atomic<Handler> handler;
  std::atomic<int> flags;
};
BENCHFS_TOGETHER Wanted all_wanted[_NSIG];

// Of flags that the kernel does not get as the program gives them.
constexpr int kOneTime = static_cast<int>(SA_RESETHAND);
constexpr int kOwnFlags = SA_SIGINFO | kOneTime;

constexpr std::uint64_t bit_of(int number) {
  return std::uint64_t{1} << (number - 1);
}

// Those that a thread gets for what it does itself cannot wait.
bool can_wait(int number) {
  constexpr std::uint64_t kOwnDoing = bit_of(SIGILL) | bit_of(SIGTRAP) | bit_of(SIGABRT) |
                                      bit_of(SIGBUS) | bit_of(SIGFPE) | bit_of(SIGSEGV) |
                                      bit_of(SIGSYS);
  return number > 0 && number < _NSIG && (kOwnDoing & bit_of(number)) == 0;
}

// Sends it again, for the end of the call. False: it cannot.
bool put_off(int number, siginfo_t* info, void* context) {
  std::uint64_t signal = bit_of(number);
  // With SA_NODEFER the signal is not blocked in its handler.
  real().syscall(SYS_rt_sigprocmask, SIG_BLOCK, &signal, nullptr, sizeof signal);
  if (real().syscall(SYS_rt_tgsigqueueinfo, real().getpid(), gettid(), number, info) != 0) {
    return false;
  }
  sigaddset(&static_cast<ucontext_t*>(context)->uc_sigmask, number);
  internal::inside.waiting |= signal;
  return true;
}

void handle(int number, siginfo_t* info, void* context) {
  int before = errno;
  if (internal::inside.depth > 0 && put_off(number, info, context)) {
    errno = before;
    return;
  }
  errno = before;
  ++internal::inside.handled;
  Wanted& wanted = all_wanted[number];
  if ((wanted.flags & kOneTime) != 0) {
    struct sigaction once{};
    once.sa_handler = SIG_DFL;
    real().sigaction(number, &once, nullptr);
  }
  wanted.handler.load()(number, info, context);
}

bool is_handler(const struct sigaction& action) {
  return action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN;
}

int set_action(int number, const struct sigaction* action, struct sigaction* before) {
  if (!settings().is_active || !can_wait(number)) {
    return real().sigaction(number, action, before);
  }
  Wanted& wanted = all_wanted[number];
  Handler handler_before = wanted.handler;
  int flags_before = wanted.flags;
  struct sigaction ours{};
  if (action != nullptr && is_handler(*action)) {
    ours = *action;
    ours.sa_sigaction = handle;
    ours.sa_flags = (ours.sa_flags & ~kOwnFlags) | SA_SIGINFO;
    if (action->sa_sigaction != handle) {  // which sigset() may have told the program
      wanted.handler = action->sa_sigaction;
      wanted.flags = action->sa_flags;
    }
    action = &ours;
  }
  if (real().sigaction(number, action, before) != 0) {
    wanted.handler = handler_before;
    wanted.flags = flags_before;
    return -1;
  }
  if (before != nullptr && before->sa_sigaction == handle) {
    before->sa_sigaction = handler_before;
    before->sa_flags = (before->sa_flags & ~kOwnFlags) | (flags_before & kOwnFlags);
  }
  return 0;
}

// Those that end system calls, though signal() set their handlers: what siginterrupt() said.
std::atomic<std::uint64_t> interrupting{0};

// As BSD and glibc have it: system calls go on after the handler.
sighandler_t set_handler(int number, sighandler_t handler) {
  if (handler == SIG_ERR || number < 1 || number >= _NSIG) {
    errno = EINVAL;
    return SIG_ERR;
  }
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = handler;
  action.sa_flags = (interrupting & bit_of(number)) != 0 ? 0 : SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, number);
  return set_action(number, &action, &before) == 0 ? before.sa_handler : SIG_ERR;
}

}  // namespace

ENTRY(int, sigaction, int number, const struct sigaction* action, struct sigaction* before) {
  return set_action(number, action, before);
}
ENTRY(int, __sigaction, int number, const struct sigaction* action, struct sigaction* before) {
  return set_action(number, action, before);
}
ENTRY(sighandler_t, signal, int number, sighandler_t handler) {
  return set_handler(number, handler);
}
ENTRY(int, siginterrupt, int number, int interrupts) {
  struct sigaction action{};
  if (set_action(number, nullptr, &action) != 0) {
    return -1;
  }
  if (interrupts != 0) {
    interrupting |= bit_of(number);
    action.sa_flags &= ~SA_RESTART;
  } else {
    interrupting &= ~bit_of(number);
    action.sa_flags |= SA_RESTART;
  }
  return set_action(number, &action, nullptr);
}
ENTRY(sighandler_t, bsd_signal, int number, sighandler_t handler) {
  return set_handler(number, handler);
}
ENTRY(sighandler_t, ssignal, int number, sighandler_t handler) {
  return set_handler(number, handler);
}

}  // namespace benchfs::preload
