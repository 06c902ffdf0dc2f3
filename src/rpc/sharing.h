// Finds out what a client may share with the servers of its host.
#pragma once

#include <string>

#include "cluster/server_list.h"
#include "net/memory_access.h"

namespace benchfs::rpc {

// Finds the daemons of this host by the process ids that they leave in the registry directory. One
// that should be here and is not seen is in another namespace: then nothing is shared. Blocks.
net::Sharing sharing_with_servers(const std::string& registry_dir, const cluster::ServerList& list);

}  // namespace benchfs::rpc
