// Checks the history of one round: the names below its directory, and each of its files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "history/operation.h"

namespace benchfs::history {

// A fault that was inflicted on a process or connection, shown with a violation in its time.
struct Fault {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::string text;
};

struct Rules {
  // A daemon died: names and files that it held are lost, and names are not checked.
  bool may_lose = false;
  // A client that is out of touch for longer is forgotten, and what it is sending is sent again.
  Nanos grace = Nanos::max();
};

struct Report {
  std::vector<std::string> violations;  // each with the window of history that shows it
  std::size_t objects = 0;
  std::size_t undecided = 0;  // the search gave up; says nothing
};

Report check_round(const std::vector<Operation>& history,
                   const std::vector<Fault>& faults,
                   const Rules& rules);

}  // namespace benchfs::history
