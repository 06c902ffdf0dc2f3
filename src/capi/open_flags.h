// The flags of open(2) in the file system's terms.
#pragma once

#include <cstdint>

#include "base/error.h"

namespace benchfs::capi {

struct OpenMode {
  std::uint32_t flags = 0;  // wire::OpenFlags
  bool is_unnamed = false;  // O_TMPFILE
  bool is_synchronous = false;
};

// EINVAL, naming the bits, for flags that cannot be kept.
Result<OpenMode> parse_open_flags(int flags);

}  // namespace benchfs::capi
