#include "chunk/mapping.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>

#include "base/check.h"

namespace benchfs::chunk {
namespace {

constexpr int kProtection = PROT_READ | PROT_WRITE;
constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

void advise(std::span<std::byte> bytes, bool huge_pages) {
  // A wish: kernels without huge pages answer EINVAL.
  madvise(bytes.data(), bytes.size(), huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  // A forked child has no use for it and would make every page copy-on-write.
  madvise(bytes.data(), bytes.size(), MADV_DONTFORK);
}

}  // namespace

Result<Mapping> Mapping::create(std::size_t bytes, bool huge_pages) {
  bytes = round_up(bytes, kPageBytes);
  std::size_t mapped = bytes + kHugePageBytes;
  void* address = mmap(nullptr, mapped, kProtection, kFlags, -1, 0);
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
  advise(mapping.bytes_, huge_pages);
  return mapping;
}

Mapping::~Mapping() {
  if (!bytes_.empty()) {
    munmap(bytes_.data(), bytes_.size());
  }
}

}  // namespace benchfs::chunk
