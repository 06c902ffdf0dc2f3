// How a program and a shard of its node find each other, and what they tell each other once, over a
// Unix socket in a directory that only their user may enter (docs/wire.md, "The node door").
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/safe_dir.h"
#include "door/layout.h"
#include "wire/header.h"

namespace benchfs::door {

inline constexpr std::uint32_t kDoorMagic = 0x6B726442;  // "Bdrk"
inline constexpr std::uint32_t kDoorVersion = 7;

enum AttachFlags : std::uint32_t {
  kWantsSlots = 1U << 0,  // to read and fill the shard's chunks by itself
};

// One message each way; both start with magic and version in every version.
struct AttachRequest {
  std::uint32_t magic = kDoorMagic;
  std::uint32_t version = kDoorVersion;
  std::uint64_t run_id = 0;
  std::uint32_t shard = 0;
  std::uint32_t lanes = 0;
  std::uint32_t area_bytes = 0;
  std::uint32_t flags = 0;  // AttachFlags; unknown ones are malformed
};
static_assert(sizeof(AttachRequest) == 32 && std::is_trivially_copyable_v<AttachRequest>);

// With status kOk it brings two descriptors: the shard page and the session's memory; and two more,
// the slots of its chunks and their states (wire/slot_state.h), if slot_bytes is not 0.
struct AttachReply {
  std::uint32_t magic = kDoorMagic;
  std::uint32_t version = kDoorVersion;
  std::uint32_t status = 0;  // Errc
  std::uint32_t lanes = 0;   // at most what was asked for, as is area_bytes
  std::uint32_t area_bytes = 0;
  std::uint32_t slot_bytes = 0;
  std::uint64_t run_id = 0;
  wire::Challenge challenge{};  // for the first registration over this link, in place of another
};
static_assert(sizeof(AttachReply) == 64 && std::is_trivially_copyable_v<AttachReply>);

// The doors of one run on this node: <base>/benchfs-door-<uid>/<run id>/<shard>; in a user
// namespace uid is the user's number in the one around it.
class DoorDirectory {
 public:
  // In `base`, which is $BENCHFS_DOOR_DIR or /tmp if it is empty; it may be writable for others if
  // it is sticky. Nothing below it is reached through a symbolic link, and only this user may enter
  // it; root opens also that of the user it trusts ($BENCHFS_REGISTRY_OWNER). Errors: kConfig,
  // kSystem.
  static Result<DoorDirectory> open(std::uint64_t run_id, const std::string& base = {});
  static Result<DoorDirectory> create(std::uint64_t run_id, const std::string& base = {});

  // Nobody has removed it.
  [[nodiscard]] bool is_there() const;
  // A socket that listens, in place of one that a killed daemon left. Errors: kConfig, kSystem.
  [[nodiscard]] Result<Fd> listen(std::uint32_t shard) const;
  // Connected to this user's daemon, or root's; the socket does not block. Errors: kBusy (too many
  // are at the door: try again), kUnreachable (nobody listens), kRefused (another user's), kConfig,
  // kSystem.
  [[nodiscard]] Result<Fd> connect(std::uint32_t shard) const;
  // Whether a daemon's socket is there.
  [[nodiscard]] bool has(std::uint32_t shard) const;
  // All of which that is true, in no order.
  [[nodiscard]] std::vector<std::uint32_t> shards() const;
  // Removes the socket, and the directories when they are empty.
  void remove(std::uint32_t shard) const;

 private:
  DoorDirectory(SafeDir run, uid_t owner) : run_(std::move(run)), owner_(owner) {}
  // Returns an errno, or 0.
  [[nodiscard]] int connect_below(int socket, const std::string& name) const;
  SafeDir run_;
  uid_t owner_;
};

// Removes what killed daemons left: the sockets of shards 0 to `shards` - 1, and the directories
// when they are empty.
void remove_doors(std::uint64_t run_id, std::uint32_t shards, const std::string& base = {});

// Whether there are doors that belong to other users.
bool has_doors_of_others(const std::string& base = {});

struct PeerIdentity {
  pid_t pid = 0;  // 0: not in our PID namespace
  uid_t uid = 0;
};
// The peer of a connected socket when it may share memory with us: `user`, or root.
// Errors: kRefused, kSystem.
Result<PeerIdentity> accepted_peer(int socket, uid_t user);

struct AttachAnswer {
  AttachReply reply;
  Fd page;
  Fd memory;
  Fd slots;  // open if reply.slot_bytes is not 0, as are the states
  Fd slot_states;
};
// Client, without blocking. Errors of the second: kNotReady (no answer yet); what the shard
// answered; kDisconnected, kVersion, kMalformed.
Status send_attach(int socket, const AttachRequest& request);
Result<AttachAnswer> receive_answer(int socket);
// Both, blocking until the deadline. Errors: also kDeadline.
Result<AttachAnswer> ask_to_attach(int socket, const AttachRequest& request, Deadline deadline);
Status wait_for_answer(int socket, Deadline deadline);

// Shard. Never blocks. Errors: kNotReady (nothing there yet), kDisconnected, kMalformed.
Result<AttachRequest> receive_attach(int socket);
// The descriptors are borrowed: none, or as many as the reply brings. Errors: kDisconnected.
Status answer_attach(int socket, const AttachReply& reply, std::span<const int> descriptors);

}  // namespace benchfs::door
