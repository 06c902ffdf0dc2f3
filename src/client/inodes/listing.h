// Lists a directory by inode. Its entries are on all shards, which are asked side by side.
//
// Thread: the client's reactor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "client/backend.h"
#include "wire/attr.h"
#include "wire/ids.h"

namespace benchfs::client {

struct DirEntry {
  std::string name;
  wire::InodeId inode;
  std::uint32_t type = 0;          // S_IFMT bits
  std::uint16_t flags = 0;         // wire::DirEntryFlags
  std::optional<wire::Attr> attr;  // if asked for, and known where the name is
};

// Up to about `max_entries` entries in byte order of their names, after `cursor` (the last name
// seen; empty = from the start). Empty at the end. ESTALE when the directory was removed.
// `flags`: wire::ReaddirFlags.
rt::CoResult<std::vector<DirEntry>> list_page(Backend& backend,
                                              wire::InodeId directory,
                                              std::string cursor,
                                              std::size_t max_entries,
                                              Deadline by,
                                              std::uint16_t flags = 0);

}  // namespace benchfs::client
