// Which clients have which inodes of this shard open, and how: counts per client and per inode.
//
// Single-threaded. Knows no inodes: it only counts.
#pragma once

#include <tsl/robin_map.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "wire/ids.h"

namespace benchfs::meta {

struct OpenCounts {
  std::uint32_t readers = 0;
  std::uint32_t plain_writers = 0;  // for writing, not appending
  std::uint32_t appenders = 0;
  [[nodiscard]] std::uint32_t writers() const { return plain_writers + appenders; }
  [[nodiscard]] bool any() const { return readers + writers() > 0; }
};

class OpenTable {
 public:
  // `open_flags` are wire::OpenFlags; only kOpenWrite and kOpenAppend matter here. The caller
  // bounds size() below 2^32.
  void open(wire::InodeId inode, std::uint64_t client_uid, std::uint32_t open_flags);
  // False when the client does not have the inode open in this way.
  bool close(wire::InodeId inode, std::uint64_t client_uid, std::uint32_t open_flags);
  // Closes everything the client has open; returns it in the order of the inode numbers.
  std::vector<std::pair<wire::InodeId, OpenCounts>> close_all(std::uint64_t client_uid);

  // By all clients together.
  [[nodiscard]] OpenCounts counts(wire::InodeId inode) const;
  // Opens not yet closed.
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  using Counts = tsl::robin_map<wire::InodeId, OpenCounts>;
  struct ClientHash {
    std::size_t operator()(std::uint64_t client_uid) const { return mix64(client_uid); }
  };

  Counts totals_;
  tsl::robin_map<std::uint64_t, Counts, ClientHash> clients_;
  std::uint64_t size_ = 0;
};

}  // namespace benchfs::meta
