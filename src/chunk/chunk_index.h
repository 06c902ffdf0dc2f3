// Which slot holds which chunk: per inode a sorted list of its chunks, found by hash.
//
// The first chunk of an inode needs no memory of its own, because small files are the common case.
// Most chunks are appended in order, which costs O(1); a lookup takes the logarithm of the inode's
// chunks. Truncation and query touch one inode only. Slots are borrowed; `Slot::end` is
// the chunk's end.
#pragma once

#include <tsl/robin_map.h>

#include <algorithm>
#include <boost/container/small_vector.hpp>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "chunk/chunk_store.h"
#include "wire/ids.h"

namespace benchfs::chunk {

template <typename Slot>
class ChunkIndex {
 public:
  // nullptr when there is no such chunk.
  [[nodiscard]] Slot* find(wire::ChunkKey key) const {
    auto file = files_.find(key.inode);
    if (file == files_.end()) {
      return nullptr;
    }
    auto at = lower_bound(file->second.chunks, key.index);
    return at != file->second.chunks.end() && at->index == key.index ? at->slot : nullptr;
  }

  void insert(wire::ChunkKey key, Slot* slot) {
    Chunks& chunks = files_[key.inode].chunks;
    auto at = lower_bound(chunks, key.index);
    BENCHFS_DCHECK(at == chunks.end() || at->index != key.index);
    chunks.insert(at, {key.index, slot});
  }

  // The chunk must exist.
  void erase(wire::ChunkKey key) {
    auto file = files_.find(key.inode);
    Chunks& chunks = file.value().chunks;
    chunks.erase(lower_bound(chunks, key.index));
    if (chunks.empty()) {
      files_.erase(file);
    }
  }

  // The chunk must exist.
  void replace(wire::ChunkKey key, Slot* slot) {
    Chunks& chunks = files_.find(key.inode).value().chunks;
    lower_bound(chunks, key.index)->slot = slot;
  }

  // Removes the chunks from `first` on and calls drop(Slot&) for each.
  template <typename Drop>
  void cut(wire::InodeId inode, std::uint64_t first, Drop drop) {
    auto file = files_.find(inode);
    if (file == files_.end()) {
      return;
    }
    Chunks& chunks = file.value().chunks;
    auto begin = lower_bound(chunks, first);
    for (auto at = begin; at != chunks.end(); ++at) {
      drop(*at->slot);
    }
    chunks.erase(begin, chunks.end());
    if (chunks.empty()) {
      files_.erase(file);
    }
  }

  template <typename Visit>
  void for_each(wire::InodeId inode, Visit visit) const {
    auto file = files_.find(inode);
    if (file != files_.end()) {
      for (const Entry& entry : file->second.chunks) {
        visit(*entry.slot);
      }
    }
  }

  // See ChunkStore::list().
  [[nodiscard]] std::vector<wire::ChunkEnd> list(wire::InodeId inode,
                                                 std::uint64_t first,
                                                 std::size_t max) const {
    std::vector<wire::ChunkEnd> found;
    auto file = files_.find(inode);
    if (file == files_.end()) {
      return found;
    }
    const Chunks& chunks = file->second.chunks;
    for (auto at = lower_bound(chunks, first); at != chunks.end() && found.size() < max; ++at) {
      if (at->slot->end > 0) {
        found.push_back({.index = at->index, .end = at->slot->end});
      }
    }
    return found;
  }

  // The inode must have a chunk.
  void note_write(wire::InodeId inode, std::int64_t mtime_ns) {
    File& file = files_.find(inode).value();
    file.mtime_ns = std::max(file.mtime_ns, mtime_ns);
  }

  [[nodiscard]] Extent query(wire::InodeId inode, std::uint32_t chunk_bytes) const {
    auto file = files_.find(inode);
    if (file == files_.end()) {
      return {};
    }
    const Chunks& chunks = file->second.chunks;
    Extent extent{.mtime_ns = file->second.mtime_ns, .chunk_count = chunks.size()};
    // The last chunks may still wait for their first commit.
    auto last = std::find_if(
        chunks.rbegin(), chunks.rend(), [](const Entry& entry) { return entry.slot->end > 0; });
    if (last != chunks.rend()) {
      extent.end = last->index * chunk_bytes + last->slot->end;
    }
    return extent;
  }

 private:
  struct Entry {
    std::uint64_t index;
    Slot* slot;
  };
  using Chunks = boost::container::small_vector<Entry, 1>;
  struct File {
    Chunks chunks;  // by index
    std::int64_t mtime_ns = 0;
  };

  template <typename List>
  static auto lower_bound(List& chunks, std::uint64_t index) {
    if (chunks.empty() || chunks.back().index < index) {
      return chunks.end();
    }
    return std::lower_bound(
        chunks.begin(), chunks.end(), index, [](const Entry& entry, std::uint64_t i) {
          return entry.index < i;
        });
  }

  tsl::robin_map<wire::InodeId, File, std::hash<wire::InodeId>> files_;
};

}  // namespace benchfs::chunk
