// Attributes as libc's callers know them.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include "preload/descriptions.h"

namespace benchfs::preload {

inline constexpr long kFileSystemMagic = 0x42464653;  // f_type of statfs()

// The device number that every file below the prefix has.
dev_t our_device();
void fill_stat(const benchfs_stat_t& from, struct stat& into);
// 0 or a negative errno value.
int stat_open(Description& description, benchfs_stat_t& stat);

}  // namespace benchfs::preload
