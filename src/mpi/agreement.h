// The ranks of a job agree that a step succeeded before the next one begins; if it did not, exactly
// one rank says why.
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

// Collective. Returns the values of all ranks, in rank order. If any rank failed, returns the exit
// code, the same everywhere, after the first failed rank has logged why.
std::expected<std::vector<std::int64_t>, int> agree(Ranks& ranks,
                                                    const Outcome<std::int64_t>& own,
                                                    Deadline deadline);

}  // namespace benchfs::mpi
