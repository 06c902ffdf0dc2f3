// Who has which inodes of this shard open, and how: a set of numbered opens, with counts per inode.
//
// An open is named by its client and a number of that client's own, which it never uses twice. So
// a repeated open is the same open, and a repeated close does nothing.
//
// Single-threaded. Knows no inodes.
#pragma once

#include <tsl/robin_map.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "wire/ids.h"

namespace benchfs::meta {

struct OpenId {
  std::uint64_t client_uid = 0;
  std::uint64_t number = 0;
};

struct Open {
  wire::InodeId inode;
  std::uint32_t flags = 0;  // wire::OpenFlags; only kOpenWrite and kOpenAppend matter here
};

struct OpenCounts {
  std::uint32_t readers = 0;
  std::uint32_t plain_writers = 0;  // for writing, not appending
  std::uint32_t appenders = 0;
  [[nodiscard]] std::uint32_t writers() const { return plain_writers + appenders; }
  [[nodiscard]] bool any() const { return readers + writers() > 0; }
};

class OpenTable {
 public:
  // The open must not be in the set. The caller bounds size() below 2^32.
  void add(OpenId id, Open open);
  [[nodiscard]] std::optional<Open> find(OpenId id) const;
  // Removes the open; nothing when it is not in the set.
  std::optional<Open> remove(OpenId id);
  // Removes all opens of the client; returns them in the order of the inode numbers.
  std::vector<Open> remove_all(std::uint64_t client_uid);
  // Removes the client's opens with from <= number < to, but for those in `kept` (ascending).
  std::vector<Open> keep_only(std::uint64_t client_uid,
                              std::uint64_t from,
                              std::uint64_t to,
                              std::span<const std::uint64_t> kept);

  // By all clients together.
  [[nodiscard]] OpenCounts counts(wire::InodeId inode) const;
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  struct Hash {
    std::size_t operator()(std::uint64_t value) const { return mix64(value); }
  };
  using Opens = tsl::robin_map<std::uint64_t, Open, Hash>;  // by number

  void uncount(const Open& open);

  tsl::robin_map<wire::InodeId, OpenCounts> totals_;
  tsl::robin_map<std::uint64_t, Opens, Hash> clients_;
  std::uint64_t size_ = 0;
};

}  // namespace benchfs::meta
