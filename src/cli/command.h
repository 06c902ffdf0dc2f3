// What the commands of `benchfs` share: registration, global options, exit codes, error lines.
//
// A command is one function that adds a subcommand to the application and sets Context::exit_code
// in its callback. Single-threaded up to the client it connects.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"
#include "client/client.h"

namespace CLI {
class App;
}

namespace benchfs::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,
  kExitUsage = 2,
  kExitSilent = 3,  // of status and stats: servers do not answer, but none is known to be dead
  kExitReaderGone = 141,  // as if SIGPIPE had ended the program: "benchfs tree | head"
};

struct Context {
  std::string registry_dir;
  std::optional<double> timeout_s;  // --timeout; each command has its own default
  int exit_code = kExitOk;

  [[nodiscard]] Nanos timeout(Nanos fallback) const;
  // Connects to the file system of registry_dir; --timeout bounds connecting and each operation.
  [[nodiscard]] Result<std::unique_ptr<client::Client>> connect() const;
  // The same for a command with settings of its own; registry_dir is filled in.
  [[nodiscard]] Result<std::unique_ptr<client::Client>> connect(client::Options options) const;
};

// --registry-dir, else BENCHFS_REGISTRY_DIR, else this.
std::string default_registry_dir();

// Whether servers have announced themselves there.
bool has_server_list(const std::string& registry_dir);

// What a user can do about it, as an addition to the message; "" where there is nothing to say.
std::string_view hint_for(const Error& error);

// Writes "benchfs COMMAND: SUBJECT: REASON" to standard error and returns kExitFailed. `subject` is
// a path, a node id, …; an empty one is left out. An error's hint follows.
int report(std::string_view command, std::string_view subject, std::string_view reason);
int report(std::string_view command, std::string_view subject, const Error& error);

// --- one line a command: void add_<name>_command(CLI::App& app, Context& context), implemented in
// command_<name>.cc and called by main.cc in the order of the help ---
void add_up_command(CLI::App& app, Context& context);
void add_down_command(CLI::App& app, Context& context);
void add_status_command(CLI::App& app, Context& context);
void add_stats_command(CLI::App& app, Context& context);
void add_set_command(CLI::App& app, Context& context);
// ls, tree, stat, cat, cp, mv, rm, mkdir, rmdir, touch, truncate, df, du: see cli/files/commands.h.
void add_file_commands(CLI::App& app, Context& context);
void add_bench_command(CLI::App& app, Context& context);

}  // namespace benchfs::cli
