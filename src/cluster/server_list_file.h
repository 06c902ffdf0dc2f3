// The server list as a file that several servers append to and clients wait for.
//
//   {dir}/server_list.txt          the list; every server appends its line under an exclusive lock
//   {dir}/server_list.d/<node_id>  that server's own copy: header and its line, replaced atomically
//
// The directory and every file in it must belong to this user and not be writable by others
// (base/safe_dir.h); readers also accept root's, and those of BENCHFS_REGISTRY_OWNER.
// The list is never rewritten while servers are in it, so a reader needs no lock: it sees a prefix.
// An unfinished last line belongs to a writer at work or to one that was killed; the next writer
// cuts it off. All calls block: for start-up, never on a reactor. Any thread, any process.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "cluster/common_settings.h"
#include "cluster/server_list.h"

namespace benchfs::cluster {

// What all servers of one run have in common.
struct RunIdentity {
  std::uint64_t run_id = 0;    // 0: that of the list, or a random one if the list is new
  std::uint32_t expected = 1;  // servers of the complete list, 1 to wire::kMaxShards
  std::vector<CommonSetting> common = {};  // what must be the same on all servers
};

// Makes the list in the existing directory `dir` an empty one of this run, whatever was there. For
// who starts all servers of a run together, before any of them; nobody may be alive of another one.
// Errors: kDeadline (the lock was not free in time), kConfig (bad number), kSystem.
Status begin_server_list(const std::string& dir, const RunIdentity& run, Deadline deadline);

// Adds `server` to the list in the existing directory `dir` and returns the run id in force.
// A node id that is already there gets a new line, which supersedes the old one.
// Errors: kDeadline (the lock was not free in time), kStaleRun (servers of another run, or of one
// with another number of servers, are listed), kConfig (bad server or number; a common setting
// differs; the list is full, damaged beyond use, or not ours), kSystem. After an error nothing was
// added.
Result<std::uint64_t> append_server(const std::string& dir,
                                    const Server& server,
                                    RunIdentity run,
                                    Deadline deadline);

// Reads the complete list. wanted_run_id 0 accepts any run. A damaged list is rebuilt from the
// servers' own copies if they are all there; see ServerList::recovered.
std::expected<ServerList, ServerListError> read_server_list(const std::string& dir,
                                                            std::uint64_t wanted_run_id = 0);

// The same, but tries again while the error is transient. At the deadline the last error.
std::expected<ServerList, ServerListError> read_server_list_until_complete(
    const std::string& dir, std::uint64_t wanted_run_id, Deadline deadline);

}  // namespace benchfs::cluster
