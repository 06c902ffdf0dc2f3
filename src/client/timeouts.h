// How long a client waits, by the class of the operation. Each covers everything it takes:
// connecting, registering, waiting, and all retries.
#pragma once

#include <chrono>

#include "base/clock.h"

namespace benchfs::client {

struct Timeouts {
  Nanos metadata = std::chrono::seconds(30);        // names, attributes, open, close
  Nanos data = std::chrono::seconds(60);            // one read, write, append or fsync
  Nanos administration = std::chrono::seconds(10);  // pings, statistics, free space

  static Timeouts all(Nanos span) {
    return {.metadata = span, .data = span, .administration = span};
  }
};

}  // namespace benchfs::client
