// The fixture for the tests of this folder: a store of a chosen engine on a real reactor and ring,
// with its calls as functions that run to their end.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "chunk/chunk_store.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/uring.h"

namespace benchfs::chunk {

inline constexpr std::uint32_t kSlot = 64U << 10;
inline constexpr wire::InodeId kInode{7};
inline constexpr wire::ChunkKey kKey{kInode, 0};

inline Deadline soon() {
  return Deadline::after(std::chrono::seconds(20));
}

inline std::uint64_t test_seed() {
  const char* text = std::getenv("BENCHFS_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 0) : random_id();
}

// Bytes that tell inode, offset and version; never zero.
inline std::byte pattern(std::uint64_t inode, std::uint64_t offset, std::uint64_t version) {
  return static_cast<std::byte>(mix64(inode * 1'000'003 + version * 7919 + offset) | 1U);
}

// A directory that goes away with its owner; empty path when `parent` cannot be used.
class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::string& parent = "/tmp") {
    std::string name = parent + "/benchfs-chunk-XXXXXX";
    if (mkdtemp(name.data()) != nullptr) {
      path_ = name;
    }
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    if (!path_.empty()) {
      std::error_code ignored;
      std::filesystem::remove_all(path_, ignored);
    }
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Reactor, ring and pool of one shard.
class Shard {
 public:
  explicit Shard(std::size_t buffers = 8, rt::Uring::Backend backend = rt::Uring::Backend::kAuto)
      : reactor_(rt::Reactor::create().value()),
        ring_(rt::Uring::create(*reactor_, {.entries = 64, .backend = backend}).value()),
        pool_(BufferPool::create(kSlot, buffers).value()) {}

  Result<std::unique_ptr<ChunkStore>> open_file(FileEngineConfig config) {
    return open_file_store(*reactor_, *ring_, *pool_, std::move(config));
  }
  [[nodiscard]] rt::Reactor& reactor() { return *reactor_; }
  [[nodiscard]] BufferPool& pool() { return *pool_; }

 private:
  std::unique_ptr<rt::Reactor> reactor_;
  std::unique_ptr<rt::Uring> ring_;
  std::unique_ptr<BufferPool> pool_;
};

inline rt::CoStatus store_bytes(ChunkStore* store,
                                wire::ChunkKey key,
                                std::uint32_t offset,
                                std::span<const std::byte> bytes,
                                std::int64_t mtime_ns) {
  BENCHFS_CO_TRY(
      WriteLease lease,
      co_await store->begin_write(key, offset, static_cast<std::uint32_t>(bytes.size()), soon()));
  std::ranges::copy(bytes, lease.bytes().begin());
  co_return co_await store->commit(std::move(lease), mtime_ns);
}

// A store and its calls, each run to its end.
class Driver {
 public:
  Driver(rt::Reactor& reactor, std::unique_ptr<ChunkStore> store)
      : reactor_(&reactor), store_(std::move(store)) {}
  Driver(Driver&&) = default;
  ~Driver() {
    if (store_ != nullptr) {
      EXPECT_TRUE(close());
    }
  }

  Status write(wire::ChunkKey key,
               std::uint32_t offset,
               std::span<const std::byte> bytes,
               std::int64_t mtime_ns = 1) {
    return reactor_->block_on(store_bytes(store_.get(), key, offset, bytes, mtime_ns));
  }
  Status fill(wire::ChunkKey key, std::uint32_t offset, std::uint32_t length, char value) {
    std::vector<std::byte> bytes(length, static_cast<std::byte>(value));
    return write(key, offset, bytes);
  }
  Status punch(wire::ChunkKey key, std::uint32_t offset, std::uint32_t length) {
    return reactor_->block_on(store_->punch(key, offset, length, 1));
  }
  [[nodiscard]] std::vector<wire::ChunkEnd> list(wire::InodeId inode,
                                                 std::uint64_t first,
                                                 std::size_t max) const {
    return store_->list(inode, first, max);
  }
  Result<WriteLease> begin(wire::ChunkKey key, std::uint32_t offset, std::uint32_t length) {
    return reactor_->block_on(store_->begin_write(key, offset, length, soon()));
  }
  Status commit(WriteLease lease, std::int64_t mtime_ns = 1) {
    return reactor_->block_on(store_->commit(std::move(lease), mtime_ns));
  }
  Result<ReadLease> lease(wire::ChunkKey key, std::uint32_t offset, std::uint32_t length) {
    return reactor_->block_on(store_->read(key, offset, length, soon()));
  }
  std::vector<std::byte> read(wire::ChunkKey key,
                              std::uint32_t offset = 0,
                              std::uint32_t length = kSlot) {
    Result<ReadLease> got = lease(key, offset, length);
    EXPECT_TRUE(got) << got.error().message();
    return got ? std::vector(got->bytes().begin(), got->bytes().end()) : std::vector<std::byte>();
  }
  Status truncate(wire::InodeId inode, std::uint64_t size, std::uint32_t chunk_bytes = kSlot) {
    return reactor_->block_on(store_->truncate(inode, size, chunk_bytes));
  }
  Extent query(wire::InodeId inode) { return store_->query(inode, kSlot); }
  Space space() {
    Result<Space> space = reactor_->block_on(store_->space(soon()));
    EXPECT_TRUE(space) << space.error().message();
    return space.value_or(Space{});
  }
  Status sync(wire::InodeId inode) { return reactor_->block_on(store_->sync(inode)); }
  Status close() { return reactor_->block_on(store_->close()); }
  ChunkStore& store() { return *store_; }
  // Runs the reactor until `done()`, for what the store does in the background.
  template <typename Done>
  bool wait_until(Done done) {
    rt::Reactor::Binding binding(*reactor_);
    for (Deadline deadline = soon(); !done() && !deadline.passed();) {
      reactor_->turn();
    }
    return done();
  }

 private:
  rt::Reactor* reactor_;
  std::unique_ptr<ChunkStore> store_;
};

// The content of a chunk as runs of (count, value).
inline std::vector<std::byte> runs(std::initializer_list<std::pair<std::size_t, char>> parts) {
  std::vector<std::byte> bytes;
  for (auto [count, value] : parts) {
    bytes.insert(bytes.end(), count, static_cast<std::byte>(value));
  }
  return bytes;
}

}  // namespace benchfs::chunk
