#include "bench/client_processes.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

extern "C" char** environ;

namespace benchfs::bench {
namespace {

constexpr int kTickMs = 200;
constexpr Nanos kEndGrace = std::chrono::seconds(1);

std::string describe(int status) {
  if (WIFSIGNALED(status)) {
    int signal = WTERMSIG(status);
    return fmt::format("died of signal {} ({})", signal, sigdescr_np(signal));
  }
  return fmt::format("exited with status {}", WEXITSTATUS(status));
}

Result<pid_t> spawn(const ClientProcesses::Config& config, int socket) {
  std::vector<std::string> words = {"benchfs"};
  words.insert(words.end(), config.arguments.begin(), config.arguments.end());
  words.push_back(config.command);
  std::vector<char*> argv;
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO);
  pid_t pid = -1;
  int error = posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return fail_system(error, fmt::format("cannot start a {} process", config.what));
  }
  return pid;
}

}  // namespace

Result<ClientProcesses> ClientProcesses::launch(const Config& config) {
  ClientProcesses processes(config);
  for (std::uint32_t rank = 0; rank < config.clients; ++rank) {
    std::array<int, 2> sockets{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
      return fail_system(errno, "socketpair");
    }
    Channel ours(sockets[0]);
    Channel theirs(sockets[1]);
    BENCHFS_TRY(pid_t pid, spawn(config, theirs.fd()));
    processes.members_.push_back(Member{pid, std::move(ours)});
  }
  return processes;
}

ClientProcesses::~ClientProcesses() {
  for (Member& member : members_) {
    if (member.pid > 0) {
      kill(member.pid, SIGKILL);
    }
  }
  for (Member& member : members_) {
    if (member.pid > 0) {
      waitpid(member.pid, nullptr, 0);
    }
  }
}

Status ClientProcesses::send_to(std::uint32_t rank, const nlohmann::json& message) {
  if (!members_[rank].channel.send(message)) {
    return fail(Errc::kDisconnected, how_it_ended(rank));
  }
  return {};
}

Status ClientProcesses::send_to_all(const nlohmann::json& message) {
  for (std::uint32_t rank = 0; rank < members_.size(); ++rank) {
    BENCHFS_TRY_VOID(send_to(rank, message));
  }
  return {};
}

Result<bool> ClientProcesses::hear(std::uint32_t rank, nlohmann::json& answer) {
  auto message = members_[rank].channel.try_receive();
  if (!message) {
    return fail(Errc::kDisconnected, how_it_ended(rank));
  }
  if (!*message) {
    return false;
  }
  answer = std::move(**message);
  if (auto error = answer.find("error"); error != answer.end()) {
    return fail(Errc::kCancelled, fmt::format("client {}: {}", rank, error->get<std::string>()));
  }
  return true;
}

Result<std::vector<nlohmann::json>> ClientProcesses::gather(const std::function<void()>& on_tick) {
  std::vector<nlohmann::json> answers(members_.size());
  std::vector<bool> heard(members_.size(), false);
  std::vector<pollfd> entries;
  for (const Member& member : members_) {
    entries.push_back({member.channel.fd(), POLLIN, 0});
  }
  for (std::size_t missing = members_.size(); missing > 0;) {
    for (std::uint32_t rank = 0; rank < members_.size(); ++rank) {
      if (heard[rank]) {
        continue;
      }
      BENCHFS_TRY(bool whole, hear(rank, answers[rank]));
      if (whole) {
        heard[rank] = true;
        entries[rank].fd = -1;
        --missing;
      }
    }
    if (missing == 0) {
      break;
    }
    if (deadline_.passed()) {
      auto silent = static_cast<std::size_t>(std::ranges::find(heard, false) - heard.begin());
      return fail(Errc::kDeadline,
                  fmt::format("{} of {} {} processes did not answer in time, the first is {}",
                              missing,
                              members_.size(),
                              what_,
                              silent));
    }
    if (poll(entries.data(), entries.size(), kTickMs) <= 0) {
      on_tick();
    }
  }
  return answers;
}

std::string ClientProcesses::how_it_ended(std::uint32_t rank) {
  pid_t pid = std::exchange(members_[rank].pid, -1);
  if (pid <= 0) {
    return fmt::format("{} {} is gone already", what_, rank);
  }
  // Its socket is closed, so it should be exiting; kill it if it is not.
  int status = 0;
  Deadline grace = Deadline::after(kEndGrace);
  while (waitpid(pid, &status, WNOHANG) == 0) {
    if (grace.passed()) {
      kill(pid, SIGKILL);
      waitpid(pid, &status, 0);
      break;
    }
    (void)poll(nullptr, 0, 1);
  }
  return fmt::format("{} {} (process {}) {}", what_, rank, pid, describe(status));
}

Status ClientProcesses::join() {
  for (std::uint32_t rank = 0; rank < members_.size(); ++rank) {
    // The stream ends when the process exits.
    auto message = members_[rank].channel.receive(deadline_);
    if (message || message.error().code != Errc::kDisconnected) {
      return fail(Errc::kDeadline, fmt::format("{} {} did not exit in time", what_, rank));
    }
    int status = 0;
    waitpid(std::exchange(members_[rank].pid, -1), &status, 0);
    if (status != 0) {
      return fail(Errc::kInternal, fmt::format("{} {} {}", what_, rank, describe(status)));
    }
  }
  return {};
}

}  // namespace benchfs::bench
