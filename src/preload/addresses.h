// Addresses that no program has: calls get EFAULT for them, as the kernel gives it. Others that
// nothing is mapped at are a fault of the program's, as in its own code.
#pragma once

#include <cstdint>

namespace benchfs::preload {

inline constexpr std::uintptr_t kFirstAddress = 4096;  // nothing is mapped in the first page
// No processor's kernel begins later. The kernel refuses what is beyond its begin at once.
inline constexpr std::uintptr_t kEndOfAddresses = std::uintptr_t{1} << 56;

inline bool is_address(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) - kFirstAddress <
         kEndOfAddresses - kFirstAddress;
}
inline bool is_beyond_addresses(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) >= kEndOfAddresses;
}

}  // namespace benchfs::preload
