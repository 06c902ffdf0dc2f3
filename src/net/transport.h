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

// Where shared memory cannot be had (a small or full /dev/shm, limits of the kernel), the network
// is used within the host too, and a line in the log says so. Errors: those of Context and Worker.
Result<Transport> open_transport(ContextConfig config,
                                 rt::Reactor& reactor,
                                 Worker::Threads threads);

}  // namespace benchfs::net
