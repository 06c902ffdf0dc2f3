#include "chunk/slot_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <utility>

#include "base/check.h"

namespace benchfs::chunk {
namespace {

constexpr int kReadWrite = PROT_READ | PROT_WRITE;

// The kernel's answer to a touched page that it has no memory for is SIGBUS then.
bool has_strict_overcommit() {
  std::ifstream setting("/proc/sys/vm/overcommit_memory");
  int mode = 0;
  return setting >> mode && mode == 2;
}

// The size of the file is no measure of the memory in it.
void allow_long_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
}

// "ulimit -f" of the daemon counts for memory that has a descriptor, too.
std::unexpected<Error> fail_to_grow(int error) {
  return fail_system(error,
                     error == EFBIG ? "enlarging the memory for chunks (limited by ulimit -f)"
                                    : "enlarging the memory for chunks");
}

Result<Fd> create_file(const char* name) {
  Fd file(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file.is_open()) {
    return fail_system(errno, "making memory for chunks");
  }
  return file;
}

Result<std::byte*> map(int fd, std::size_t offset, std::size_t bytes) {
  void* memory =
      mmap(nullptr, bytes, kReadWrite, MAP_SHARED | MAP_NORESERVE, fd, static_cast<off_t>(offset));
  if (memory == MAP_FAILED) {
    return fail_system(errno, fmt::format("mapping {} bytes of memory", bytes));
  }
  madvise(memory, bytes, MADV_DONTFORK);
  return static_cast<std::byte*>(memory);
}

}  // namespace

Result<SlotFile> SlotFile::create(std::uint32_t slot_bytes) {
  SlotFile file(slot_bytes);
  allow_long_files();
  file.is_strict_ = has_strict_overcommit();
  BENCHFS_TRY(file.data_, create_file("benchfs-slots"));
  BENCHFS_TRY(file.states_, create_file("benchfs-slot-states"));
  int states = file.states_.get();
  if (fcntl(file.data_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) != 0 ||
      ftruncate(states, wire::kSlotStatesBytes) != 0) {
    return fail_to_grow(errno);
  }
  BENCHFS_TRY(file.state_memory_, map(states, 0, wire::kSlotStatesBytes));
  // What was mapped here stays writable; nobody else can write.
  if (fcntl(states, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) !=
      0) {
    return fail_system(errno, "sealing the states of chunks");
  }
  return file;
}

SlotFile::SlotFile(SlotFile&& other) noexcept
    : slot_bytes_(other.slot_bytes_),
      is_strict_(other.is_strict_),
      data_(std::move(other.data_)),
      states_(std::move(other.states_)),
      state_memory_(std::exchange(other.state_memory_, nullptr)),
      slots_(other.slots_),
      regions_(std::exchange(other.regions_, {})) {}

SlotFile::~SlotFile() {
  for (std::span<std::byte> region : regions_) {
    munmap(region.data(), region.size());
  }
  if (state_memory_ != nullptr) {
    munmap(state_memory_, wire::kSlotStatesBytes);
  }
}

Result<std::span<std::byte>> SlotFile::grow(std::size_t slots) {
  std::size_t offset = slots_ * slot_bytes_;
  std::size_t bytes = slots * slot_bytes_;
  auto end = static_cast<off_t>(offset + bytes);
  struct stat info{};
  // A program that maps the file may have made it longer.
  bool is_enough = fstat(data_.get(), &info) == 0 && info.st_size >= end;
  if (!is_enough && ftruncate(data_.get(), end) != 0) {
    return fail_to_grow(errno);
  }
  BENCHFS_TRY(std::byte * memory, map(data_.get(), offset, bytes));
  slots_ += slots;
  regions_.emplace_back(memory, bytes);
  return regions_.back();
}

Status SlotFile::back(std::size_t slot, std::uint32_t end) const {
  if (!is_strict_) {
    return {};
  }
  while (fallocate(data_.get(), 0, static_cast<off_t>(slot * slot_bytes_), end) != 0) {
    if (errno != EINTR) {
      return fail_system(errno, "taking memory for a chunk");
    }
  }
  return {};
}

// Not by fallocate(): UCX hears of memory that goes away through its hook of madvise() only, and
// would go on sending from the old pages.
void SlotFile::punch(std::span<std::byte> memory) {
  BENCHFS_CHECK(madvise(memory.data(), memory.size(), MADV_REMOVE) == 0);
}

void SlotFile::punch_all() const {
  for (std::span<std::byte> region : regions_) {
    punch(region);
  }
}

// A hole keeps its page tables: 4 KiB for each 2 MiB that were ever touched.
void SlotFile::renew(std::span<std::byte> slot_bytes, std::size_t slot) const {
  void* memory = mmap(slot_bytes.data(),
                      slot_bytes.size(),
                      kReadWrite,
                      MAP_SHARED | MAP_NORESERVE | MAP_FIXED,
                      data_.get(),
                      static_cast<off_t>(slot * slot_bytes_));
  if (memory != MAP_FAILED) {
    madvise(memory, slot_bytes.size(), MADV_DONTFORK);
  }
}

wire::SlotWord* SlotFile::state(std::size_t slot) const {
  return slot >= wire::kMaxPublishedSlots
             ? nullptr
             : reinterpret_cast<wire::SlotWord*>(state_memory_ + slot * wire::kSlotStateBytes);
}

}  // namespace benchfs::chunk
