#include "net/transport.h"

#include <utility>

#include "base/log.h"

namespace benchfs::net {
namespace {

Result<Transport> try_to_open(const ContextConfig& config,
                              rt::Reactor& reactor,
                              Worker::Threads threads) {
  Transport transport;
  BENCHFS_TRY(transport.context, Context::create(config));
  BENCHFS_TRY(transport.worker, Worker::create(*transport.context, reactor, threads));
  return transport;
}

}  // namespace

Result<Transport> open_transport(ContextConfig config,
                                 rt::Reactor& reactor,
                                 Worker::Threads threads) {
  auto transport = try_to_open(config, reactor, threads);
  bool may_be_memory = !transport && transport.error().code != Errc::kSystem;
  if (!may_be_memory || config.sharing == Sharing::kNothing) {
    return transport;
  }
  Error why = std::move(transport.error());
  config.sharing = Sharing::kNothing;
  transport = try_to_open(config, reactor, threads);
  if (transport) {
    BENCHFS_LOG(
        kWarn,
        "shared memory cannot be used, so the network is used within this host too ({}); is "
        "there room in /dev/shm (df /dev/shm), and what do ulimit -a and ipcs -l allow?",
        why.message());
  }
  return transport;
}

}  // namespace benchfs::net
