// The start of every program of an MPI job: its arguments, MPI, its name in the log.
#pragma once

#include <functional>
#include <string>

#include "mpi/ranks.h"

namespace benchfs::args {
class Command;
}

namespace benchfs::mpi {

// Parses, starts MPI and calls `body` on every rank. Returns its exit code, or EX_USAGE for a wrong
// command line, which only rank 0 reports. Stop signals are blocked.
int run_program(args::Command& app, int argc, char** argv, const std::function<int(Ranks&)>& body);

// Says on rank 0 what is wrong with the command line. Returns EX_USAGE.
int complain(args::Command& app, const Ranks& ranks, const std::string& text);

}  // namespace benchfs::mpi
