// A context and its worker, made together.
#pragma once

#include <memory>

#include "base/error.h"
#include "net/context.h"
#include "net/worker.h"

namespace benchfs::net {

struct Transport {
  std::unique_ptr<Context> context;
  std::unique_ptr<Worker> worker;
};

// If shared memory is unavailable (a small or full /dev/shm, kernel limits), the network is used
// even within the host, and the log says so. Errors: those of Context and Worker.
Result<Transport> open_transport(ContextConfig config,
                                 rt::Reactor& reactor,
                                 Worker::Threads threads);

}  // namespace benchfs::net
