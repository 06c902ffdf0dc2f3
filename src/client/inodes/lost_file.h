// What a user reads when a server fails a request: which node it was, and what to do about a file
// whose server has lost parts of it (docs/adr/0010-lost-chunks.md).
#pragma once

#include <cerrno>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "client/backend.h"
#include "wire/ids.h"

namespace benchfs::client {

// The answer to a request about an inode: its home has it no more, whether it was removed or lost.
inline bool is_gone(const Error& error) {
  return error.is_posix(ESTALE) || error.is_posix(ENOENT);
}

// Which server lost something: the one that was asked, or one that it asked.
enum class LostBy : std::uint8_t { kAsked, kAnother };

// The error of a call, and what to do when it is kDataLost.
std::unexpected<Error> call_error(Error error, LostBy server);

// The error of a call to `shard`. An answer that blames the node, as ENOSPC and EIO do, names it:
// "write on node_3: No space left on device".
Error name_node(Error error,
                const Backend& backend,
                wire::ShardId shard,
                std::string_view operation);

}  // namespace benchfs::client
