// Data of open files, for entries that are not in data.cc. Results are those of the C API.
#pragma once

#include <sys/types.h>

#include "preload/descriptions.h"

namespace benchfs::preload {

ssize_t read_at(Description& description, void* buffer, std::size_t size, off_t offset);
ssize_t write_at(Description& description, const void* buffer, std::size_t size, off_t offset);
int sync_file(Description& description);

}  // namespace benchfs::preload
