// The times of the protocol of marks (docs/adr/0012-sizes-by-marks.md). The same on every shard.
#pragma once

#include "base/clock.h"

namespace benchfs::server {

struct MarkTimes {
  // A chunk shard trusts the answer to a mark for so long, counted from when it sent the mark.
  Nanos trust = std::chrono::seconds(10);
  // When it asks anew while it still trusts the old answer.
  Nanos renew = std::chrono::seconds(5);
  // The home waits for so long until no shard trusts an answer any more.
  Nanos forgotten = std::chrono::seconds(11);
};

}  // namespace benchfs::server
