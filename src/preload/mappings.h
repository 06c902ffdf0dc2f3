// Files below the prefix in memory: anonymous memory that is filled by reads, and written back.
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "preload/descriptions.h"
#include "preload/entry.h"

namespace benchfs::preload {

// Writes what the program changed in shared mappings, before it ends or becomes another program.
void write_back_mappings();
// Before the kernel takes the memory away: what has changed in mappings of ours is written back.
void forget_memory(void* address, std::size_t size);
// Whether part of it is a mapping of ours.
bool has_mapping(const void* address, std::size_t size);
// mmap() of an open file.
void* map_open(Counter& counter,
               void* address,
               std::size_t size,
               int protection,
               int flags,
               Description& description,
               off_t offset);
// Around fork() in a process of several threads: none of them changes the mappings.
void hold_mappings(const timespec& until);
void let_mappings_go();
// In the child of fork().
void forget_mapping_lock();

}  // namespace benchfs::preload
