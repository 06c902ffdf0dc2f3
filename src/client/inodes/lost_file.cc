#include "client/inodes/lost_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

namespace benchfs::client {

std::unexpected<Error> call_error(Error error, LostBy server) {
  if (error.code == Errc::kDataLost) {
    error.context +=
        server == LostBy::kAsked ? "; the server" : "; another server, which held parts of it,";
    error.context += " started again after the file was made; remove the file";
  }
  return std::unexpected(std::move(error));
}

Error name_node(Error error,
                const Backend& backend,
                wire::ShardId shard,
                std::string_view operation) {
  bool blames_node = error.is_posix(ENOSPC) || error.is_posix(EDQUOT) || error.is_posix(EIO) ||
                     error.is_posix(ENOMEM) || error.is_posix(EROFS);
  if (!blames_node || error.context.contains(backend.node(shard))) {
    return error;
  }
  return std::move(error).with_prefix(fmt::format("{} on {}", operation, backend.node(shard)));
}

}  // namespace benchfs::client
