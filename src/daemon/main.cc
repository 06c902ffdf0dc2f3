// benchfsd: one daemon of a BenchFS file system. Exit codes are those of sysexits.h.
#include <sysexits.h>

#include <csignal>
#include <cstdio>
#include <string>

#include "args/command.h"
#include "base/log.h"
#include "daemon/command_line.h"
#include "daemon/daemon.h"
#include "daemon/daemon_config.h"

namespace benchfs::daemon {
namespace {

int fail_start(const Error& error) {
  std::fprintf(stderr,
               "benchfsd: %s\n",
               error.code == Errc::kConfig ? error.context.c_str() : error.message().c_str());
  return error.code == Errc::kConfig ? EX_CONFIG : EX_NOINPUT;
}

Status check_required(DaemonConfig& config) {
  if (config.node_id.empty()) {
    return fail(Errc::kConfig, "node.id is missing; give --node-id ID or set it in the file");
  }
  return settle_directories(config);
}

int run(int argc, char** argv) {
  args::Command app("One daemon of a BenchFS file system.", "benchfsd");
  CommandLine line;
  app.set_version_flag("--version", "benchfsd " BENCHFS_VERSION);
  line.define(app, CommandLine::Launch::kAlone);
  app.footer(
      "SIGTERM and SIGINT shut it down cleanly; a second one kills it.\n"
      "Example: benchfsd --node-id node_0 --registry-dir /tmp/reg --engine memory");
  if (args::Parsed parsed = app.parse(argc, argv); parsed != args::Parsed::kDone) {
    return parsed == args::Parsed::kAnswered ? EX_OK : EX_USAGE;
  }
  DaemonConfig config;
  if (Status loaded = line.load(config); !loaded) {
    return fail_start(loaded.error());
  }
  if (line.print_config()) {
    std::fputs(format_config(config.settings()).c_str(), stdout);
    return std::fflush(stdout) == 0 ? EX_OK : EX_IOERR;
  }
  if (Status complete = check_required(config); !complete) {
    return fail_start(complete.error());
  }
  set_log_name("benchfsd");
  init_log(static_cast<LogLevel>(config.log_level));
  Daemon daemon(config, line.ready_fd());
  return daemon.run();
}

}  // namespace
}  // namespace benchfs::daemon

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // under ulimit -f writes fail with EFBIG instead
  return benchfs::daemon::run(argc, argv);
}
