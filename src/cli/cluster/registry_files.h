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

// Checks that servers may use `dir` and that its files may be cleaned up: it is ours, or holds none
// of our names. Errors: kConfig, naming a file that is not from BenchFS.
Status check_registry(const SafeDir& dir);
// Does the same for a command that starts a cluster, and also refuses a directory that holds other
// files but none of ours.
Status check_new_registry(const SafeDir& dir);

// Removes the files of servers that have ended: list, copies, secret, pid files, the record of
// their start, and directories that are empty then, but no logs and no data. Call check_registry()
// first. Returns the daemons that did not shut down cleanly; the others removed their pid files
// themselves.
std::vector<DaemonInfo> clean_registry(const SafeDir& dir);

// Does the same, and also removes the logs of the daemons that shut down cleanly: those that the
// registry knows, and `more`.
std::vector<DaemonInfo> clean_cluster(const SafeDir& dir, std::span<const std::string> more);

// The file to which `benchfs up` sends the output of a daemon.
std::string log_path(const std::string& dir, const std::string& node_id);
// Opens a new log for writing. The log of an earlier daemon that is still there becomes NAME.old.
Result<Fd> begin_log(const SafeDir& dir, const std::string& node_id);

// The last lines of a daemon's log, each indented.
std::string log_tail(const SafeDir& dir, const std::string& node_id);
// A text for the user: the path and the last lines of the daemon's log, or that it has none.
std::string describe_log(const SafeDir& dir, const std::string& node_id);

}  // namespace benchfs::cli
