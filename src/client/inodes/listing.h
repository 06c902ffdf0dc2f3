// Lists a directory by inode. Its entries are on all shards, which are asked side by side.
//
// Thread: the client's reactor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "client/backend.h"
#include "wire/ids.h"

namespace benchfs::client {

struct DirEntry {
  std::string name;
  wire::InodeId inode;
  std::uint32_t type = 0;  // S_IFMT bits
};

// Up to about `max_entries` entries in byte order of their names, after `cursor` (the last name
// seen; empty = from the start). Empty at the end. ESTALE when the directory was removed.
rt::CoResult<std::vector<DirEntry>> list_page(Backend& backend,
                                              wire::InodeId directory,
                                              std::string cursor,
                                              std::size_t max_entries,
                                              Deadline by);

}  // namespace benchfs::client
