#include "cli/bench_interrupt.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/fd.h"
#include "cli/files/remove_tree.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

sigset_t interrupt_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

void kill_children() {
  std::ifstream children(fmt::format("/proc/self/task/{}/children", getpid()));
  for (pid_t pid = 0; children >> pid;) {
    ::kill(pid, SIGKILL);
  }
}

}  // namespace

BenchInterrupt::BenchInterrupt() {
  sigset_t signals = interrupt_signals();
  pthread_sigmask(SIG_BLOCK, &signals, &before_);
  wake_fd_ = eventfd(0, EFD_CLOEXEC);
  watcher_ = std::thread([this] { watch(); });
}

BenchInterrupt::~BenchInterrupt() {
  eventfd_write(wake_fd_, 1);
  watcher_.join();
  ::close(wake_fd_);
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void BenchInterrupt::watch() {
  sigset_t signals = interrupt_signals();
  Fd signal(signalfd(-1, &signals, SFD_CLOEXEC));
  for (;;) {
    pollfd fds[2] = {{signal.get(), POLLIN, 0}, {wake_fd_, POLLIN, 0}};
    ::poll(fds, 2, -1);
    if (fds[1].revents != 0) {
      return;
    }
    signalfd_siginfo info{};
    if (::read(signal.get(), &info, sizeof info) != sizeof info) {
      continue;
    }
    kill_children();
    if (came_.exchange(true)) {
      std::_Exit(kExitInterrupted);
    }
  }
}

void remove_bench_files(const Context& context,
                        const std::string& command,
                        const std::string& directory) {
  Result<std::unique_ptr<client::Client>> client = context.connect();
  if (!client || !(*client)->run((*client)->fs().stat(directory))) {
    return;
  }
  client->reset();
  if (std::optional<Session> session = Session::open(context, command)) {
    remove_tree(*session, directory);
    if (session->exit_code() == kExitOk) {
      report(command, "bfs:" + directory, "removed, because the benchmark did not end");
    }
  }
}

}  // namespace benchfs::cli
