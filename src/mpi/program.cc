#include "mpi/program.h"

#include <CLI/CLI.hpp>

#include <fmt/format.h>
#include <sysexits.h>

#include <cstdio>

#include "args/command.h"
#include "base/log.h"
#include "daemon/daemon.h"

namespace benchfs::mpi {

int run_program(args::Command& command,
                int argc,
                char** argv,
                const std::function<int(Ranks&)>& body) {
  CLI::App& app = command.cli11();
  std::string complaint;
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {
      return app.exit(error);
    }
    complaint = error.what();
  }
  // MPI makes threads, which must not take these signals.
  daemon::block_stop_signals();
  Result<Ranks> ranks = Ranks::start(&argc, &argv);
  if (!ranks) {
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), ranks.error().message().c_str());
    return EX_OSERR;
  }
  set_log_name(fmt::format("{} rank {} on {}", app.get_name(), ranks->rank(), ranks->host()));
  return complaint.empty() ? body(*ranks) : complain(command, *ranks, complaint);
}

int complain(args::Command& app, const Ranks& ranks, const std::string& text) {
  if (ranks.rank() == 0) {
    const std::string& name = app.cli11().get_name();
    std::fprintf(stderr, "%s: %s\nTry: %s --help\n", name.c_str(), text.c_str(), name.c_str());
  }
  return EX_USAGE;
}

}  // namespace benchfs::mpi
