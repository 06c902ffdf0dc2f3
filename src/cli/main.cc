// benchfs: a local cluster, its files, its benchmarks, from the command line.
#include <CLI/CLI.hpp>

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <string>
#include <system_error>
#include <vector>

#include "args/command.h"
#include "base/log.h"
#include "cli/command.h"
#include "client/environment.h"

namespace benchfs::cli {
namespace {

void add_global_options(args::Command& app, Context& context) {
  context.registry_dir = client::default_registry_dir();
  app.add_option("--registry-dir",
                 context.registry_dir,
                 "Directory with the server list of the cluster to use")
      ->envname("BENCHFS_REGISTRY_DIR")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--timeout",
                 context.timeout_s,
                 "Longest wait for the cluster (default 10), and for each operation (30); for\n"
                 "the daemons in up, down and restart (10), for each server in status (0.4)")
      ->type_name("SECONDS")
      ->range(0.001, 86400.0);
}

// The help of every command mentions the global options.
void mention_global_options(CLI::App& command) {
  std::string footer = command.get_footer();
  command.footer(footer + (footer.empty() ? "" : "\n\n") +
                 "The options of 'benchfs --help' also apply: --registry-dir, --timeout.");
  for (CLI::App* below : command.get_subcommands([](const CLI::App*) { return true; })) {
    mention_global_options(*below);
  }
}

// "benchfs cp: PATH is required", and how to get help.
std::string explain_usage(const CLI::App* app, const CLI::Error& error) {
  std::vector<std::string> rest = app->remaining(true);
  std::string command = app->get_name();
  for (auto given = app->get_subcommands(); !given.empty(); given = app->get_subcommands()) {
    app = given.back();
    command += " " + app->get_name();
  }
  std::string reason = error.what();
  if (app->get_require_subcommand_min() > 0 && !rest.empty()) {
    const char* what = rest.front().starts_with('-') ? "option" : "command";
    reason = fmt::format("unknown {} '{}'", what, rest.front());
  }
  return fmt::format("{}: {}\nTry: {} --help\n", command, reason, command);
}

// Output that cannot be written is a failure, except when its reader has closed the pipe.
int end_output(const CLI::App& app, int error_number, int exit_code) {
  if (std::fflush(stdout) != 0) {
    error_number = errno;
  }
  if (error_number == 0 && std::ferror(stdout) == 0) {
    return exit_code;
  }
  pollfd output{STDOUT_FILENO, 0, 0};
  bool is_reader_gone =
      error_number == EPIPE || (::poll(&output, 1, 0) > 0 && (output.revents & POLLERR) != 0);
  if (is_reader_gone) {
    return kExitReaderGone;
  }
  auto given = app.get_subcommands();
  return report(given.empty() ? "" : given.front()->get_name(),
                "standard output",
                error_number == 0 ? "the output could not be written completely"
                                  : std::generic_category().message(error_number));
}

int run(int argc, char** argv) {
  args::Command app("BenchFS: an ad-hoc parallel file system for one job.", "benchfs");
  Context context;
  app.set_version_flag("--version", "benchfs " BENCHFS_VERSION);
  // Require exactly one command, and never take its arguments for another one.
  app.require_subcommand(1);
  app.fallthrough();  // global options may follow the command
  add_global_options(app, context);
  add_up_command(app, context);
  add_down_command(app, context);
  add_restart_command(app, context);
  add_status_command(app, context);
  add_stats_command(app, context);
  add_set_command(app, context);
  add_file_commands(app, context);
  add_mount_commands(app, context);
  add_run_command(app, context);
  add_bench_command(app, context);
  add_help_command(app, context);
  add_completion_command(app, context);

  for (CLI::App* command : app.cli11().get_subcommands([](const CLI::App*) { return true; })) {
    mention_global_options(*command);
  }
  app.footer(
      "Remote paths are written bfs:/…; 'benchfs help COMMAND' explains a command.\n"
      "Exit codes: 0 success, 1 failure (standard error says why), 2 wrong usage,\n3 a server is "
      "silent (status, stats and set), 4 a server was restarted (status).\n"
      "\n"
      "  benchfs up --engine memory      start a cluster on this machine\n"
      "  benchfs cp -r ./input bfs:/     copy a directory in\n"
      "  benchfs ls -l bfs:/input\n"
      "  benchfs down                    stop it; the stored files are lost");
  app.cli11().failure_message(explain_usage);
  int error_number = 0;
  try {
    args::Parsed parsed = app.parse(argc, argv);
    if (parsed != args::Parsed::kDone) {
      context.exit_code = parsed == args::Parsed::kAnswered ? kExitOk : kExitUsage;
    }
  } catch (const std::system_error& error) {  // of fmt::print
    if (std::ferror(stdout) == 0) {
      throw;
    }
    error_number = error.code().value();
  }
  return end_output(app.cli11(), error_number, context.exit_code);
}

}  // namespace
}  // namespace benchfs::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  benchfs::init_log(benchfs::LogLevel::kWarn);
  return benchfs::cli::run(argc, argv);
}
