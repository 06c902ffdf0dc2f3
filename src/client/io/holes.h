// Space within an open file: making it longer, making holes, and finding them.
//
// Servers store what was written, by chunk; nothing is reserved. So a file that is made longer has
// a hole at its end, and a range is zeroed where it has stored bytes. Chunks are listed by the
// shards that have them: what they have counts as data from the start of its chunk to the last
// stored byte.
//
// Thread: the client's reactor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "client/backend.h"
#include "client/io/open_file.h"
#include "client/io/open_files.h"
#include "wire/messages.h"

namespace benchfs::client {

class Holes {
 public:
  Holes(Backend& backend, OpenFiles& open_files) : backend_(backend), open_files_(open_files) {}
  Holes(const Holes&) = delete;
  Holes& operator=(const Holes&) = delete;

  // fallocate(2), with its modes: 0, FALLOC_FL_KEEP_SIZE (does nothing), FALLOC_FL_PUNCH_HOLE with
  // it, and FALLOC_FL_ZERO_RANGE with or without; EOPNOTSUPP for all others.
  rt::CoStatus allocate(OpenFile& file, int mode, std::uint64_t offset, std::uint64_t length);
  // The next offset from `offset` on with stored bytes, ENXIO if none follows; or with a hole,
  // which the end of the file is. ENXIO at or behind the end.
  rt::CoResult<std::uint64_t> seek_data(OpenFile& file, std::uint64_t offset);
  rt::CoResult<std::uint64_t> seek_hole(OpenFile& file, std::uint64_t offset);

 private:
  // Chunks with stored bytes, by index: all of them from where it was asked for to `end`.
  struct Chunks {
    std::vector<wire::ChunkEnd> found;
    std::uint64_t end = UINT64_MAX;  // an index
  };
  struct Page {
    std::vector<wire::ChunkEnd> chunks;
    bool at_end = false;
  };
  // `size`: of the file. `max`: of each shard.
  rt::CoResult<Chunks> list(OpenFile& file,
                            std::uint64_t size,
                            std::uint64_t first,
                            std::uint32_t max);
  rt::Task<void> list_shard(OpenFile* file,
                            wire::ShardId shard,
                            std::uint64_t first,
                            std::uint32_t max,
                            Result<Page>* out);
  struct Punch;
  rt::CoStatus punch(OpenFile& file, std::uint64_t begin, std::uint64_t end);
  rt::Task<void> punch_chunks(Punch* punch);

  Backend& backend_;
  OpenFiles& open_files_;
};

}  // namespace benchfs::client
