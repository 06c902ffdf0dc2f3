// Directories that are being removed (frozen, with a lease) or were removed, wherever they live.
//
// Single-threaded. The removed ones are remembered for ever, because inode numbers never repeat and
// a client may hold an old number for any time: one bit each, in blocks of 64 neighbouring numbers
// (about 40 bytes for a block).
#pragma once

#include <tsl/robin_map.h>

#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "wire/ids.h"

namespace benchfs::meta {

class DirectoryStates {
 public:
  // Removals under way at one time on one shard.
  static constexpr std::size_t kMaxFrozen = 65536;

  // False while another owner's freeze lasts, or when too many directories are frozen. The same
  // owner may freeze again, which sets a new end.
  bool freeze(wire::InodeId directory, std::uint64_t owner, MonoTime until, MonoTime now);
  // Ends the freeze if it is this owner's.
  void thaw(wire::InodeId directory, std::uint64_t owner);
  [[nodiscard]] bool has_frozen() const { return !frozen_.empty(); }
  [[nodiscard]] bool is_frozen(wire::InodeId directory, MonoTime now) const;

  // Also ends any freeze.
  void set_removed(wire::InodeId directory);
  // For a directory whose number alone now tells that it is gone.
  void forget(wire::InodeId directory);
  [[nodiscard]] bool is_removed(wire::InodeId directory) const;

 private:
  struct Freeze {
    std::uint64_t owner = 0;
    MonoTime until;
  };
  struct BlockHash {
    std::size_t operator()(std::uint64_t block) const { return mix64(block); }
  };

  void drop_expired(MonoTime now);

  tsl::robin_map<wire::InodeId, Freeze> frozen_;
  tsl::robin_map<std::uint64_t, std::uint64_t, BlockHash> removed_;  // inode / 64 -> bits
};

}  // namespace benchfs::meta
