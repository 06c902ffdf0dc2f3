#include "door/shared_memory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/check.h"
#include "door/layout.h"

namespace benchfs::door {
namespace {

constexpr int kFixedSize = F_SEAL_SHRINK | F_SEAL_GROW;

constexpr const char* kNotBacked = "the machine has no memory left for the node door";
#ifndef MADV_POPULATE_WRITE  // glibc 2.35
constexpr int MADV_POPULATE_WRITE = 23;
#endif

Result<SharedMemory> create(std::size_t bytes, std::size_t backed) {
  SharedMemory memory;
  memory.fd = Fd(memfd_create("benchfs-door", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory.fd.is_open() || ftruncate(memory.fd.get(), static_cast<off_t>(bytes)) != 0) {
    return fail_system(errno, "making memory to share with a client");
  }
  BENCHFS_TRY_VOID(back(memory.fd.get(), 0, backed));
  BENCHFS_TRY(memory.mapping, Mapping::map(memory.fd.get(), bytes, Mapping::Access::kReadWrite));
  return memory;
}

Status seal(int fd, int seals) {
  return fcntl(fd, F_ADD_SEALS, seals) == 0 ? Status{}
                                            : fail_system(errno, "sealing memory for a client");
}

}  // namespace

Result<Mapping> Mapping::map(int fd, std::size_t bytes, Access access, std::size_t offset) {
  int protection = access == Access::kRead ? PROT_READ : PROT_READ | PROT_WRITE;
  // In a program that called mlockall(MCL_FUTURE) all of it would become memory, its holes, too:
  // the kernel brings in nothing that may not be touched, and nothing that is not locked.
  void* data = mmap(nullptr, bytes, PROT_NONE, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (data == MAP_FAILED) {
    return fail_system(errno, "mapping shared memory");
  }
  Mapping mapping;
  mapping.data_ = static_cast<std::byte*>(data);
  mapping.bytes_ = bytes;
  if (munlock(data, bytes) != 0 || mprotect(data, bytes, protection) != 0) {
    return fail_system(errno, "mapping shared memory");
  }
  if (madvise(data, bytes, MADV_DONTFORK) != 0) {
    return fail_system(errno, "keeping shared memory from children");
  }
  return mapping;
}

Mapping::~Mapping() {
  if (data_ != nullptr) {
    BENCHFS_CHECK(munmap(data_, bytes_) == 0);
  }
}

Status back(int fd, std::size_t offset, std::size_t bytes) {
  while (bytes > 0 &&
         fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(bytes)) != 0) {
    if (errno != EINTR) {
      return fail_system(errno, kNotBacked);
    }
  }
  return {};
}

Status back(const Mapping& mapping, std::size_t offset, std::size_t bytes) {
  std::size_t begin = offset / kPage * kPage;
  std::byte* first = mapping.data() + begin;
  while (madvise(first, offset + bytes - begin, MADV_POPULATE_WRITE) != 0) {
    if (errno == EINVAL) {
      return {};
    }
    if (errno != EINTR) {
      return fail_system(errno, kNotBacked);
    }
  }
  return {};
}

Result<SharedMemory> create_session_memory(std::size_t bytes, std::size_t backed) {
  BENCHFS_TRY(SharedMemory memory, create(bytes, backed));
  BENCHFS_TRY_VOID(seal(memory.fd.get(), kFixedSize));
  return memory;
}

Result<SharedMemory> create_published_memory(std::size_t bytes) {
  BENCHFS_TRY(SharedMemory memory, create(bytes, bytes));
  BENCHFS_TRY_VOID(seal(memory.fd.get(), kFixedSize | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL));
  return memory;
}

Result<Mapping> map_received(int fd, std::size_t bytes, Mapping::Access access) {
  struct stat info{};
  int seals = fcntl(fd, F_GET_SEALS);
  if (fstat(fd, &info) != 0 || seals < 0) {
    return fail(Errc::kMalformed, "a descriptor of the door is no sealed memory");
  }
  if ((seals & F_SEAL_SHRINK) == 0 || static_cast<std::size_t>(info.st_size) < bytes) {
    return fail(Errc::kMalformed,
                fmt::format("memory of the door has {} bytes and seals {:#x}, {} bytes are needed",
                            info.st_size,
                            seals,
                            bytes));
  }
  return Mapping::map(fd, bytes, access);
}

Result<WriterProof> prove_no_writer(int fd) {
  if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0) {
    return WriterProof::kNobody;
  }
  switch (errno) {
    case EBUSY:
      return WriterProof::kSomebody;
    case EPERM:
      return WriterProof::kRefused;
    default:
      return fail_system(errno, "sealing the memory of a session that ended");
  }
}

Result<ForkMark> ForkMark::create() {
  void* data = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return fail_system(errno, "mapping the word that a child does not have");
  }
  ForkMark mark;
  mark.page_ = static_cast<std::uint32_t*>(data);
  if (madvise(data, kPage, MADV_WIPEONFORK) != 0) {
    return fail_system(errno, "making the word that a child does not have");
  }
  *mark.page_ = 1;
  return mark;
}

ForkMark::~ForkMark() {
  if (page_ != nullptr) {
    BENCHFS_CHECK(munmap(page_, kPage) == 0);
  }
}

}  // namespace benchfs::door
