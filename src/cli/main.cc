// benchfs: a local cluster, its files, its benchmarks, from the command line.
#include <CLI/CLI.hpp>

#include <csignal>

#include "base/log.h"
#include "cli/command.h"

namespace benchfs::cli {
namespace {

void add_global_options(CLI::App& app, Context& context) {
  context.registry_dir = default_registry_dir();
  app.add_option("--registry-dir", context.registry_dir, "Directory with the server list")
      ->envname("BENCHFS_REGISTRY_DIR")
      ->type_name("DIR")
      ->capture_default_str();
  app.add_option("--timeout", context.timeout_s, "Give up an operation after this long")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, 86400.0));
}

int run(int argc, char** argv) {
  CLI::App app("BenchFS: an ad-hoc parallel file system for one job.", "benchfs");
  Context context;
  app.set_version_flag("--version", "benchfs " BENCHFS_VERSION);
  // Exactly one command, and its arguments are never taken for another one.
  app.require_subcommand(1);
  app.fallthrough();  // global options may follow the command
  add_global_options(app, context);
  add_up_command(app, context);
  add_down_command(app, context);
  add_status_command(app, context);
  add_file_commands(app, context);
  add_bench_command(app, context);

  app.footer("Remote paths are written bfs:/…; 'benchfs COMMAND --help' explains a command.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return context.exit_code;
}

}  // namespace
}  // namespace benchfs::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  benchfs::init_log(benchfs::LogLevel::kWarn);
  return benchfs::cli::run(argc, argv);
}
