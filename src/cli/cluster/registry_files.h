// The files that BenchFS puts into a registry directory, told apart from those of others.
//
// A directory is ours when its server list, a copy of a server's line or a pid file says so. A file
// that only has one of our names is never touched: people mistype directories. Nothing is reached
// through a symbolic link, and only regular files of this user's are removed (base/safe_dir.h).
//
// Single-threaded, blocking. Hold a RegistryLock for everything that removes.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/safe_dir.h"
#include "cli/cluster/registry.h"

namespace benchfs::cli {

// Whether servers may use `dir`, and whether what is there may be cleaned up: it is ours, or holds
// none of our names. Errors: kConfig, naming what is not from BenchFS.
Status check_registry(const SafeDir& dir);
// The same for a command that starts a cluster: a directory that holds anything else, and nothing
// of ours, is refused, too.
Status check_new_registry(const SafeDir& dir);

// Removes what servers that have ended left: list, copies, secret, pid files, the record of their
// start, and directories that are empty then; no logs and no data. After check_registry(). Returns
// the daemons that did not shut down cleanly: those that do remove their pid file themselves.
std::vector<DaemonInfo> clean_registry(const SafeDir& dir);

// The same, and removes the logs of the daemons that shut down cleanly: those that the registry
// knows, and `more`.
std::vector<DaemonInfo> clean_cluster(const SafeDir& dir, std::span<const std::string> more);

// Where `benchfs up` sends the output of a daemon.
std::string log_path(const std::string& dir, const std::string& node_id);
// Opens a new log for writing. The log of an earlier daemon that is still there becomes NAME.old.
Result<Fd> begin_log(const SafeDir& dir, const std::string& node_id);

// The last lines of a daemon's log, each indented.
std::string log_tail(const SafeDir& dir, const std::string& node_id);
// For people: where its log is and how it ends, or that it has none.
std::string describe_log(const SafeDir& dir, const std::string& node_id);

}  // namespace benchfs::cli
