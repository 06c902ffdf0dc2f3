// Modes as chmod(1) takes them.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace benchfs::cli {

// The permission bits (07777) that `text` makes of those of a file: an octal number ("644"), or
// changes one after the other ("u+x,go-w", "a=rX", "+t", "g=u"). Without a letter for whom, a
// change is for all, but leaves the bits of `umask` alone. EINVAL: not a mode.
Result<std::uint32_t> apply_mode(std::string_view text,
                                 std::uint32_t mode,
                                 bool is_directory,
                                 std::uint32_t umask);

}  // namespace benchfs::cli
