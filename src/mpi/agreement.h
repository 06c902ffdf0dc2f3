// How the ranks of a job agree that all is well before the next step, and that one of them tells
// people why when it is not.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "daemon/daemon.h"
#include "mpi/ranks.h"

namespace benchfs::mpi {

template <typename T>
using Outcome = std::expected<T, daemon::Failure>;

inline std::unexpected<daemon::Failure> give_up(int exit_code, std::string text) {
  return std::unexpected(daemon::Failure{exit_code, std::move(text)});
}

// Collective. What each rank has to say, in the order of ranks. If any of them failed: the exit
// code, the same everywhere, after the first of them has logged why.
std::expected<std::vector<std::int64_t>, int> agree(Ranks& ranks,
                                                    const Outcome<std::int64_t>& own,
                                                    Deadline deadline);

}  // namespace benchfs::mpi
