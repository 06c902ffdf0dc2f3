#include "client/inodes/lost_file.h"

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

}  // namespace benchfs::client
