// Memory that a shard and its clients share: sealed memfds and their mappings.
//
// No mapping is inherited over fork: a child has nothing of its parent's session, and learns it
// from a ForkMark before it touches anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/error.h"
#include "base/fd.h"

namespace benchfs::door {

class Mapping {
 public:
  enum class Access : std::uint8_t { kRead, kReadWrite };

  Mapping() = default;
  // `bytes` of the file, shared. Errors: kSystem.
  static Result<Mapping> map(int fd, std::size_t bytes, Access access, std::size_t offset = 0);
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping();

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] bool is_mapped() const { return data_ != nullptr; }
  // Forgets the mapping without unmapping it: in a child of fork it is not there.
  void abandon() { data_ = nullptr; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

struct SharedMemory {
  Fd fd;
  Mapping mapping;  // for reading and writing
};

// New zeroed memory whose size nobody can change. The first `backed` bytes are there: the rest must
// be backed before it is touched. Errors: kSystem.
Result<SharedMemory> create_session_memory(std::size_t bytes, std::size_t backed);
// The same, all of it there, for memory that only the mapping made here can write, whoever gets the
// descriptor.
Result<SharedMemory> create_published_memory(std::size_t bytes);

// Makes the machine provide the pages of a range. Touching a page for which it has no memory
// (strict overcommit) ends the process with SIGBUS. The owner of the descriptor: errors: kSystem.
Status back(int fd, std::size_t offset, std::size_t bytes);
// Through a mapping. Before Linux 5.14 it does nothing. Errors: kSystem.
Status back(const Mapping& mapping, std::size_t offset, std::size_t bytes);
// Maps memory that came from a peer. Errors: kMalformed (too small, or it could shrink under the
// mapping), kSystem.
Result<Mapping> map_received(int fd, std::size_t bytes, Mapping::Access access);

enum class WriterProof : std::uint8_t {
  kNobody,    // no writable mapping exists any more, and none can be made
  kSomebody,  // one exists
  kRefused,   // the client sealed the seals: nothing can be proven, by its own doing
};
// Whether anybody can still write to the memory. The caller has unmapped its own mappings. Blocks
// up to 150 ms while the kernel holds pages of it: never on a reactor. Errors: kSystem.
Result<WriterProof> prove_no_writer(int fd);

// A word that is set in the process that made it and 0 in its children.
class ForkMark {
 public:
  ForkMark() = default;
  static Result<ForkMark> create();
  ForkMark(ForkMark&& other) noexcept : page_(std::exchange(other.page_, nullptr)) {}
  ForkMark& operator=(ForkMark&& other) noexcept {
    std::swap(page_, other.page_);
    return *this;
  }
  ~ForkMark();
  // Not in a child, nor before create().
  [[nodiscard]] bool is_set() const { return page_ != nullptr && *page_ == 1; }

 private:
  std::uint32_t* page_ = nullptr;
};

}  // namespace benchfs::door
