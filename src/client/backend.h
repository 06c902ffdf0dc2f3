// What every part of a client uses: the connections, the settings, and a scope for requests that
// run side by side.
//
// Thread: the client's reactor.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "client/timeouts.h"
#include "rpc/connection_pool.h"
#include "rt/scope.h"

namespace benchfs::client {

struct FileSystemConfig {
  Timeouts timeouts;
  std::uint32_t eager_bytes = 16U << 10;  // writes up to this ride in the request
  // From this length on, bytes of shards that share their memory are copied by this program and not
  // sent: less than the copy costs another round trip. 0: never.
  std::uint32_t direct_bytes = 32U << 10;
  std::uint32_t parallel_transfers = 16;  // parts of one large read or write under way
  // Who owns what is made, unless permissions are checked: then the process's effective ids.
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  // Whether calls by path, and changes of attributes of open files, are refused as Linux would
  // refuse them to this process. Calls by inode are not: the kernel of a mount has checked them.
  bool check_permissions = false;
  // Where programs see the root; "" when they name it by itself. Symlinks with absolute targets are
  // followed below it only: a path that leads elsewhere fails with EREMOTE.
  std::string mount_prefix;
};

struct Backend {
  rpc::ConnectionPool& pool;
  FileSystemConfig config;
  rt::Scope scope;
  // Called when something is to go on, or to be heard, though nobody calls, until it succeeds.
  std::function<Status()> on_kept_driven = {};
  bool is_kept_driven = false;

  // Errors: kSystem (no thread), after which it can be tried again.
  Status keep_driven() {
    if (is_kept_driven || !on_kept_driven) {
      return {};
    }
    BENCHFS_TRY_VOID(on_kept_driven());
    is_kept_driven = true;
    return {};
  }
  // Goes on though nobody calls, or else when somebody does. False: the client ends.
  bool spawn(rt::Task<void> task) {
    (void)keep_driven();
    return scope.spawn(std::move(task));
  }

  [[nodiscard]] Deadline metadata_deadline(MonoTime now = mono_now_coarse()) const {
    return Deadline::at(now + config.timeouts.metadata);
  }
  [[nodiscard]] Deadline data_deadline() const { return Deadline::after(config.timeouts.data); }
  [[nodiscard]] Deadline administration_deadline() const {
    return Deadline::after(config.timeouts.administration);
  }
  [[nodiscard]] const std::string& node(wire::ShardId shard) const { return pool.at(shard).name(); }
};

}  // namespace benchfs::client
