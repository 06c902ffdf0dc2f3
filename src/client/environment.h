// Settings of clients from the environment: for programs that set none themselves.
//
//   BENCHFS_METADATA_TIMEOUT_MS  BENCHFS_DATA_TIMEOUT_MS  BENCHFS_ADMINISTRATION_TIMEOUT_MS
//   BENCHFS_CONNECT_TIMEOUT_MS   one attempt to connect and register
//   BENCHFS_SILENCE_LIMIT_MS     a server that says nothing for so long while a call waits is dead
//   BENCHFS_TRANSPORT            how servers of this node are reached: node (through their door
//                                only), ucx, or auto (through their door if there is one)
//   BENCHFS_UCX_SHARED_MEMORY    1: UCX may use its shared memory on this node, for comparisons;
//                                the daemons need network.shared_memory
//   BENCHFS_CHECK_PERMISSIONS    1: this client checks permissions (client/permissions.h)
//   BENCHFS_DIRECT_BYTES         from this length on, bytes of a daemon of this node that keeps
//   chunks
//                                in memory are copied by the program itself; 0: never, to compare
//
// A variable that is empty counts as not set.
#pragma once

#include <string>

#include "base/error.h"
#include "client/client.h"

namespace benchfs::client {

// Where `benchfs up` puts the server list, and everybody looks, when nothing else is said.
std::string default_registry_dir();
// Changes what the environment names. Errors: kConfig, a value that is none.
Status apply_environment(Options& options);

}  // namespace benchfs::client
