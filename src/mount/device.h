// /dev/fuse.
#pragma once

#include "base/error.h"

namespace benchfs::mount {

// Whether the calling user may open it; the error says what to do if not.
Status check_device();

}  // namespace benchfs::mount
