#include "rpc/sharing.h"

#include <algorithm>
#include <cerrno>
#include <set>

#include "base/pid_file.h"
#include "base/safe_dir.h"
#include "net/address.h"
#include "net/interfaces.h"

namespace benchfs::rpc {
namespace {

// The daemon of a shard: "node_0" of "node_0", and also of its shard "node_0.1".
Result<ProcessRecord> daemon_of(const Result<SafeDir>& pids, const std::string& node_id) {
  if (!pids) {
    return std::unexpected(pids.error());
  }
  Result<PidFile::Content> file = PidFile::read(*pids, node_id);
  std::size_t dot = node_id.rfind('.');
  if (!file && dot != std::string::npos) {
    file = PidFile::read(*pids, node_id.substr(0, dot));
  }
  return file ? Result<ProcessRecord>(file->process) : std::unexpected(file.error());
}

Result<SafeDir> open_pids(const std::string& registry_dir) {
  BENCHFS_TRY(SafeDir dir, SafeDir::open(registry_dir, Owner::kTrusted));
  return dir.subdirectory("pid");
}

}  // namespace

net::Sharing sharing_with_servers(const std::string& registry_dir,
                                  const cluster::ServerList& list) {
  net::Sharing most = net::Sharing::kNothing;  // of servers elsewhere nothing can be shared
  net::Sharing least = net::Sharing::kMemory;
  std::set<std::string> local = net::local_ips();
  Result<SafeDir> pids = open_pids(registry_dir);
  for (const cluster::Server& server : list.servers) {
    auto address = net::make_address(server.ip, server.port);
    if (!address || (!address->is_loopback() && !local.contains(server.ip))) {
      continue;
    }
    most = net::Sharing::kMemory;
    Result<ProcessRecord> daemon = daemon_of(pids, server.node_id);
    if (!daemon && daemon.error().posix == ENOENT) {
      continue;  // not started as one
    }
    bool is_seen = daemon && is_running(*daemon);
    least = std::min(least, is_seen ? net::sharing_with(daemon->pid) : net::Sharing::kNothing);
  }
  return std::min(most, least);
}

}  // namespace benchfs::rpc
