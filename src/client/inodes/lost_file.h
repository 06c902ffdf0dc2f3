// What a user reads when a server has lost what it held of a file (docs/adr/0010-lost-chunks.md).
#pragma once

#include <cstdint>

#include "base/error.h"

namespace benchfs::client {

// Which server that is: the one that was asked, or one that it asked.
enum class LostBy : std::uint8_t { kAsked, kAnother };

// The error of a call, and what to do when it is kDataLost.
std::unexpected<Error> call_error(Error error, LostBy server);

}  // namespace benchfs::client
