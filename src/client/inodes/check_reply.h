// Checks what servers say about inodes before the client places or indexes anything by it: a number
// that names no shard of this file system, a layout over shards that do not exist, a size that no
// file can have. Every reply that holds attributes or inode numbers passes here first.
//
// Pure. Errors: kMalformed.
#pragma once

#include <cstdint>

#include "base/error.h"
#include "wire/attr.h"
#include "wire/ids.h"

namespace benchfs::client {

Status check_inode(wire::InodeId inode, std::uint32_t shard_count);

// `is_remote`: only number and type are there.
Status check_attr(const wire::Attr& attr, std::uint32_t shard_count, bool is_remote = false);

}  // namespace benchfs::client
