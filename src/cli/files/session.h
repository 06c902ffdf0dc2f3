// One run of a file command: its name for messages, its client, and its exit code so far.
#pragma once

#include <csignal>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "cli/command.h"
#include "client/client.h"

namespace benchfs::cli {

class Session {
 public:
  // Connects; reports and returns nothing when that fails.
  static std::optional<Session> open(const Context& context, std::string_view command);

  template <typename Call>
  auto run(Call&& call) {
    return client_->run(std::forward<Call>(call));
  }
  [[nodiscard]] client::FileSystem& fs() { return client_->fs(); }
  [[nodiscard]] client::Client& client() { return *client_; }

  // The path in BenchFS that an argument names; reports an argument that names none.
  std::optional<std::string> remote_path(const std::string& argument);

  // Prints "benchfs COMMAND: SUBJECT: REASON" and makes the command fail in the end.
  void fail(std::string_view subject, const Error& error);
  void fail(std::string_view subject, std::string_view reason);
  [[nodiscard]] int exit_code() const { return exit_code_; }

 private:
  Session(std::string command, std::unique_ptr<client::Client> client)
      : command_(std::move(command)), client_(std::move(client)) {}

  std::string command_;
  std::unique_ptr<client::Client> client_;
  int exit_code_ = kExitOk;
};

// The text that a POSIX tool would print for an error, such as "No such file or directory". Errors
// of the cluster keep their own message.
std::string reason_of(const Error& error);

// The first Ctrl-C asks the command to stop at a convenient point; the second ends the program.
class InterruptGuard {
 public:
  InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard();
  // May be called from any thread.
  static bool is_interrupted();

 private:
  struct sigaction previous_;
};
inline constexpr int kExitInterrupted = 128 + SIGINT;

// The process's umask, which the file system itself does not apply.
unsigned process_umask();

}  // namespace benchfs::cli
