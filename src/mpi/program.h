// The start of every program of an MPI job: its arguments, MPI, its name in the log.
#pragma once

#include <functional>
#include <string>

#include "mpi/ranks.h"

namespace CLI {
class App;
}

namespace benchfs::mpi {

// Parses, starts MPI and calls `body` on every rank. Returns its exit code, or EX_USAGE for a wrong
// command line, which only rank 0 reports. Stop signals are blocked.
int run_program(CLI::App& app, int argc, char** argv, const std::function<int(Ranks&)>& body);

// Says on rank 0 what is wrong with the command line. Returns EX_USAGE.
int complain(const CLI::App& app, const Ranks& ranks, const std::string& text);

}  // namespace benchfs::mpi
