// One shard: one thread that owns a reactor, a UCX worker and listener, an io_uring, a metadata
// table, a chunk store and a client registry. One line of the server list.
//
// create() and run() belong to the same thread. A shard shares no mutable state with other shards,
// of this process or another; it talks to them as a client.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "cluster/common_settings.h"
#include "net/address.h"
#include "server/config.h"

namespace benchfs::server {

// What must be the same on all servers of a file system; they refuse each other otherwise.
std::vector<cluster::CommonSetting> common_settings(const ShardConfig& config);

class Shard {
 public:
  // Opens everything, listens, and adds the shard to the server list. After it returned, clients
  // can connect as soon as run() is under way and the list is complete.
  static Result<std::unique_ptr<Shard>> create(ShardConfig config);
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;
  ~Shard();

  // Serves until stop(). Errors: the server list did not become complete in time, or contradicts
  // this shard; requests did not end.
  Status run();

  // From any thread or a signal handler. First call: finish requests under way (at most 2 s), tell
  // the clients, cut short what still runs (5 s), end. Second call: without the 2 s.
  void stop();

  [[nodiscard]] const net::SocketAddress& address() const;  // as in the server list
  [[nodiscard]] std::uint64_t run_id() const;               // in force after create()
  [[nodiscard]] const ShardConfig& config() const;

 private:
  struct Parts;
  Shard();
  std::unique_ptr<Parts> parts_;
};

}  // namespace benchfs::server
