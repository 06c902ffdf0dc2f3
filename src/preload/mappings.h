// Files below the prefix in memory: anonymous memory that is filled by reads, and written back.
#pragma once

namespace benchfs::preload {

// Writes what the program changed in shared mappings, before it ends or becomes another program.
void write_back_mappings();
// In the child of fork().
void forget_mapping_lock();

}  // namespace benchfs::preload
