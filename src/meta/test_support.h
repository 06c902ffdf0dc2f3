// Helpers for the tests of this folder only.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "meta/meta_store.h"
#include "wire/codec.h"

namespace benchfs::meta {

constexpr wire::ShardId kHere{0};
constexpr std::uint32_t kShards = 4;
constexpr MonoTime at_second(int seconds) {
  return MonoTime(std::chrono::seconds(seconds));
}
constexpr MonoTime kStart = at_second(100);
// Directories that live on other shards.
constexpr wire::InodeId kRemoteDir = wire::InodeId::make(wire::ShardId{2}, 77);
constexpr wire::InodeId kOtherRemoteDir = wire::InodeId::make(wire::ShardId{3}, 77);

inline NewInode new_file() {
  return {.mode = S_IFREG | 0644, .uid = 10, .gid = 20};
}
inline NewInode new_directory() {
  return {.mode = S_IFDIR | 0755, .uid = 10, .gid = 20};
}

// The errno of a failed file-system answer; 0 on success; -1 for any other error.
template <typename T>
int errno_of(const Result<T>& result) {
  if (result) {
    return 0;
  }
  return result.error().code == Errc::kPosix ? result.error().posix : -1;
}
template <typename T>
bool is_busy(const Result<T>& result) {
  return !result && result.error().code == Errc::kBusy;
}

// What unlink() answered; nothing on error.
inline std::optional<bool> gone(const Result<bool>& result) {
  return result ? std::optional<bool>(*result) : std::nullopt;
}

struct Listed {
  std::string name;
  Entry entry;
};

// The entries of a page; fails the test when it does not parse.
inline std::vector<Listed> parse_page(const std::vector<std::byte>& bytes) {
  std::vector<Listed> listed;
  wire::Reader reader(bytes);
  while (reader.ok() && reader.left() > 0) {
    wire::DirEntryHeader header;
    reader.read(header);
    std::string name(reader.read_text(header.name_bytes));
    listed.push_back({name, {wire::InodeId{header.inode}, header.type}});
  }
  EXPECT_TRUE(reader.ok());
  return listed;
}

// All names of a directory, read in pages of max_bytes; `between` runs after every page.
template <typename Between>
std::vector<std::string> list_names(const MetaStore& store,
                                    wire::InodeId directory,
                                    std::size_t max_bytes,
                                    Between&& between) {
  std::vector<std::string> names;
  std::vector<std::byte> bytes;
  for (bool at_end = false; !at_end;) {
    bytes.clear();
    auto page = store.list(directory, names.empty() ? "" : names.back(), max_bytes, bytes);
    if (!page) {
      ADD_FAILURE() << page.error().message();
      break;
    }
    EXPECT_LE(bytes.size(), max_bytes);
    std::vector<Listed> listed = parse_page(bytes);
    EXPECT_EQ(listed.size(), page->entry_count);
    for (Listed& one : listed) {
      names.push_back(std::move(one.name));
    }
    at_end = page->at_end;
    between();
  }
  return names;
}
inline std::vector<std::string> list_names(const MetaStore& store,
                                           wire::InodeId directory,
                                           std::size_t max_bytes = 4096) {
  return list_names(store, directory, max_bytes, [] {});
}

// Seed of a random test: BENCHFS_SEED, or a fixed one. Printed, so that a failure can be repeated.
inline std::uint64_t test_seed() {
  const char* text = std::getenv("BENCHFS_SEED");
  std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 0) : 20240607;
  std::printf("BENCHFS_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

class MetaStoreTest : public testing::Test {
 protected:
  MetaStoreTest() { store_.apply(MakeRoot{0, 0, 1}); }

  wire::Attr create(wire::InodeId parent,
                    std::string_view name,
                    const NewInode& inode,
                    std::int64_t now_ns = 5) {
    auto attr = store_.apply(Create{parent, name, inode, now_ns, kStart});
    EXPECT_TRUE(attr.has_value()) << attr.error().message();
    return attr.value_or(wire::Attr{});
  }
  wire::Attr attr(wire::InodeId id) {
    auto attr = store_.attr(id);
    EXPECT_TRUE(attr.has_value());
    return attr.value_or(wire::Attr{});
  }

  MetaStore store_{kHere, kShards, {.max_inodes = 5000, .max_entries = 6000, .max_opens = 10}};
};

}  // namespace benchfs::meta
