// Shared by the commands of `benchfs`: registration, global options, exit codes, error messages.
//
// A command is one function that adds a subcommand to the application and sets Context::exit_code
// in its callback. Single-threaded, except for the client it connects.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "client/client.h"

namespace benchfs::args {
class Command;
}

namespace benchfs::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitSilent = 3,  // of status and stats: servers do not answer, but none is known to be dead
  kExitLost = 4,    // of status: all servers are alive, but one was restarted and lost its data
  kExitNotExecutable = 126,  // of run, as of a shell
  kExitNotFound = 127,
  kExitReaderGone = 141,  // as if SIGPIPE had ended the program: "benchfs tree | head"
};

struct Context {
  std::string registry_dir;
  std::optional<double> timeout_s;  // --timeout; each command has its own default
  int exit_code = kExitOk;

  [[nodiscard]] Nanos timeout(Nanos fallback) const;
  // Connects to the file system of registry_dir; --timeout bounds connecting and each operation.
  // `only`: in this way, whatever the environment says.
  [[nodiscard]] Result<std::unique_ptr<client::Client>> connect(
      std::optional<rpc::Transport> only = std::nullopt) const;
  // Does the same for a command with its own client settings; fills in registry_dir.
  [[nodiscard]] Result<std::unique_ptr<client::Client>> connect(
      client::Options options, std::optional<rpc::Transport> only = std::nullopt) const;
};

// Advice for the user about the error, to be appended to the message; "" when there is none.
std::string_view hint_for(const Error& error);

// Writes "benchfs COMMAND: SUBJECT: REASON" to standard error and returns kExitFailed. `subject` is
// a path, a node id, …; an empty one is left out. The hint for an error is appended.
int report(std::string_view command, std::string_view subject, std::string_view reason);
int report(std::string_view command, std::string_view subject, const Error& error);

// --- one line a command: void add_<name>_command(args::Command& app, Context& context),
// implemented in command_<name>.cc and called by main.cc in the order of the help ---
void add_up_command(args::Command& app, Context& context);
void add_down_command(args::Command& app, Context& context);
void add_restart_command(args::Command& app, Context& context);
void add_status_command(args::Command& app, Context& context);
void add_stats_command(args::Command& app, Context& context);
void add_set_command(args::Command& app, Context& context);
// ls, tree, stat, find, cat, cp, …: see cli/files/commands.h.
void add_file_commands(args::Command& app, Context& context);
// mount, umount.
void add_mount_commands(args::Command& app, Context& context);
// run, check
void add_run_command(args::Command& app, Context& context);
void add_bench_command(args::Command& app, Context& context);
void add_help_command(args::Command& app, Context& context);
void add_completion_command(args::Command& app, Context& context);

}  // namespace benchfs::cli
