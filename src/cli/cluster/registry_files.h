// The files that BenchFS puts into a registry directory, told apart from those of others.
//
// A directory is ours when its server list, a copy of a server's line or a pid file says so. What
// only has one of our names is never touched: people mistype directories.
//
// Single-threaded, blocking. Hold a RegistryLock for everything that removes.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/cluster/registry.h"

namespace benchfs::cli {

// Whether servers may use `dir`, and whether what is there may be cleaned up: it is ours, or has
// none of our names. Errors: kConfig, naming what is not of BenchFS.
Status check_registry(const std::string& dir);
// The same for who starts a cluster: a directory that holds anything else, and nothing of ours, is
// refused, too.
Status check_new_registry(const std::string& dir);

// Removes what servers that have ended left: list, copies, secret, pid files, and directories that
// are empty then; no logs. After check_registry(). Returns the daemons that did not end in order:
// one that does removes its pid file itself.
std::vector<DaemonInfo> clean_registry(const std::string& dir);

// The same, and removes the logs of the daemons that ended in order: of those that the registry
// knows, and of `more`.
std::vector<DaemonInfo> clean_cluster(const std::string& dir, std::span<const std::string> more);

// Where `benchfs up` sends the output of a daemon. The log of an earlier one that is still there
// becomes PATH.old.
std::string log_path(const std::string& dir, const std::string& node_id);
Status begin_log(const std::string& dir, const std::string& node_id);

// The last lines of a daemon's log, each indented.
std::string log_tail(const std::string& dir, const std::string& node_id);
// For people: where its log is and how it ends, or that it has none.
std::string describe_log(const std::string& dir, const std::string& node_id);

}  // namespace benchfs::cli
