// Room for open descriptors.
#pragma once

#include <cstddef>

namespace benchfs {

// Raises this process's limit of open descriptors to `most`, unless it is higher or may not be, and
// makes the kernel's table of them large enough for `expected` at once. The table also grows
// automatically, but then the thread that opens the descriptor waits for a grace period of the
// kernel if the process has other threads (13 ms were seen, while a client registered).
void make_room_for_descriptors(std::size_t expected, std::size_t most);

// The number of descriptors that this process may have open (ulimit -n).
std::size_t descriptor_limit();
// Whether `wanted` more can be opened now. Takes some microseconds, no memory and no descriptor.
bool has_free_descriptors(std::size_t wanted);

}  // namespace benchfs
