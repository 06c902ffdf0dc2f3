// Room for open descriptors.
#pragma once

#include <cstddef>

namespace benchfs {

// Raises this process's limit of open descriptors to `most`, unless it is higher or may not be, and
// makes the kernel's table of them large enough for `expected` at once. The table grows by itself,
// but then the thread that opens the descriptor waits for a grace period of the kernel if the
// process has other threads (13 ms were seen, on the way of a client that registers).
void make_room_for_descriptors(std::size_t expected, std::size_t most);

}  // namespace benchfs
