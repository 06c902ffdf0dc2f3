#include "chunk/mapping.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>

namespace benchfs::chunk {

Result<Mapping> Mapping::create(std::size_t bytes, bool huge_pages) {
  bytes = round_up(bytes, kPageBytes);
  std::size_t mapped = bytes + kHugePageBytes;
  void* address = mmap(
      nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    return fail_system(errno, fmt::format("mapping {} bytes of memory", mapped));
  }
  auto* start = static_cast<std::byte*>(address);
  std::size_t lead = round_up(reinterpret_cast<std::uintptr_t>(start), kHugePageBytes) -
                     reinterpret_cast<std::uintptr_t>(start);
  if (lead > 0) {
    munmap(start, lead);
  }
  munmap(start + lead + bytes, kHugePageBytes - lead);
  Mapping mapping;
  mapping.bytes_ = {start + lead, bytes};
  // A wish: kernels without huge pages answer EINVAL.
  madvise(start + lead, bytes, huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  // A forked child has no use for it and would make every page copy-on-write.
  madvise(start + lead, bytes, MADV_DONTFORK);
  return mapping;
}

Mapping::~Mapping() {
  if (!bytes_.empty()) {
    munmap(bytes_.data(), bytes_.size());
  }
}

}  // namespace benchfs::chunk
