// Many clients over two places, for tests of any length.
#pragma once

#include <cstdint>

namespace benchfs::rpc::testing {

// Fails the test unless every call succeeds and is executed once, and memory, descriptors,
// endpoints and coroutines are those of the beginning after `count` evictions. Prints what it saw.
void expect_evictions_leave_nothing(std::uint64_t count);

}  // namespace benchfs::rpc::testing
