// A thread that writes random bytes over what this process shares with the shards of its node: the
// memory of its sessions, and whatever else of theirs the kernel lets it write to, but not the
// bytes of files.
#pragma once

#include <cstdint>

namespace benchfs::test {

// Until the process ends. Returns how many mappings it writes to; -EACCES: it can write where only
// a shard may.
std::int64_t start_scribbling(std::uint64_t seed);

}  // namespace benchfs::test
