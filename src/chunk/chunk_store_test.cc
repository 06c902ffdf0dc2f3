// Tests of the rules that every engine must follow, run on all of them.
#include <algorithm>
#include <array>

#include "chunk/engine_fixture.h"

namespace benchfs::chunk {
namespace {

using ChunkStoreTest = EngineTest;

TEST_P(ChunkStoreTest, AnAbsentChunkAndAnOffsetBeyondTheEndReadEmpty) {
  EXPECT_TRUE(driver_->read(kKey).empty());
  ASSERT_TRUE(driver_->fill(kKey, 0, 100, 'a'));
  EXPECT_TRUE(driver_->read(kKey, 100, 10).empty());
  EXPECT_TRUE(driver_->read(kKey, 5000, 10).empty());
  EXPECT_TRUE(driver_->read(kKey, 10, 0).empty());
  EXPECT_TRUE(driver_->read({kInode, 1}).empty());
  EXPECT_TRUE(driver_->read({wire::InodeId{8}, 0}).empty());
}

TEST_P(ChunkStoreTest, AReadIsCutAtTheEndOfTheChunk) {
  for (std::uint32_t length : {1U, 4095U, 4096U, 4097U, 47008U, kSlot - 1, kSlot}) {
    wire::ChunkKey key{kInode, length};
    ASSERT_TRUE(driver_->fill(key, 0, length, 'x'));
    EXPECT_EQ(driver_->read(key), runs({{length, 'x'}})) << length;
    EXPECT_EQ(driver_->read(key, length - 1, 100), runs({{1, 'x'}})) << length;
  }
}

TEST_P(ChunkStoreTest, HolesReadAsZeros) {
  ASSERT_TRUE(driver_->fill(kKey, 50'000, 10, 'b'));
  EXPECT_EQ(driver_->read(kKey), runs({{50'000, 0}, {10, 'b'}}));
  ASSERT_TRUE(driver_->fill(kKey, 100, 5, 'c'));
  EXPECT_EQ(driver_->read(kKey), runs({{100, 0}, {5, 'c'}, {49'895, 0}, {10, 'b'}}));
  EXPECT_EQ(driver_->read(kKey, 4096, 8192), runs({{8192, 0}}));
}

TEST_P(ChunkStoreTest, UnalignedAndAlignedWritesMixInOneChunk) {
  ASSERT_TRUE(driver_->fill(kKey, 0, 16'384, 'd'));
  ASSERT_TRUE(driver_->fill(kKey, 4090, 12, 'u'));
  ASSERT_TRUE(driver_->fill(kKey, 8192, 4096, 'e'));
  ASSERT_TRUE(driver_->fill(kKey, 16'380, 10, 'v'));
  EXPECT_EQ(driver_->read(kKey),
            runs({{4090, 'd'}, {12, 'u'}, {4090, 'd'}, {4096, 'e'}, {4092, 'd'}, {10, 'v'}}));
  EXPECT_EQ(driver_->read(kKey, 4095, 4), runs({{4, 'u'}}));
}

TEST_P(ChunkStoreTest, QueryTellsEndTimeAndChunks) {
  EXPECT_EQ(driver_->query(kInode).end, 0U);
  std::vector<std::byte> bytes(10, std::byte{1});
  ASSERT_TRUE(driver_->write({kInode, 4}, 100, bytes, 30));
  ASSERT_TRUE(driver_->write({kInode, 2}, 0, bytes, 50));
  ASSERT_TRUE(driver_->write({kInode, 9}, 7, bytes, 40));
  ASSERT_TRUE(driver_->write({wire::InodeId{8}, 20}, 7, bytes, 60));
  Extent extent = driver_->query(kInode);
  EXPECT_EQ(extent.end, 9ULL * kSlot + 17);
  EXPECT_EQ(extent.mtime_ns, 50);
  EXPECT_EQ(extent.chunk_count, 3U);
}

TEST_P(ChunkStoreTest, TruncateInsideAChunkCutsItAndExtensionShowsZeros) {
  ASSERT_TRUE(driver_->fill(kKey, 0, kSlot, 'f'));
  ASSERT_TRUE(driver_->fill({kInode, 1}, 0, kSlot, 'g'));
  ASSERT_TRUE(driver_->truncate(kInode, 5000));
  EXPECT_EQ(driver_->query(kInode).end, 5000U);
  EXPECT_EQ(driver_->query(kInode).chunk_count, 1U);
  EXPECT_EQ(driver_->read(kKey), runs({{5000, 'f'}}));
  ASSERT_TRUE(driver_->fill(kKey, 60'000, 1, 'h'));
  EXPECT_EQ(driver_->read(kKey), runs({{5000, 'f'}, {55'000, 0}, {1, 'h'}}));
}

TEST_P(ChunkStoreTest, TruncateAtAChunkBorderKeepsTheChunkBefore) {
  for (std::uint64_t index = 0; index < 4; ++index) {
    ASSERT_TRUE(driver_->fill({kInode, index}, 0, kSlot, 'i'));
  }
  ASSERT_TRUE(driver_->truncate(kInode, 2 * std::uint64_t{kSlot}));
  EXPECT_EQ(driver_->query(kInode).end, 2 * std::uint64_t{kSlot});
  EXPECT_TRUE(driver_->read({kInode, 2}).empty());
  EXPECT_EQ(driver_->read({kInode, 1}), runs({{kSlot, 'i'}}));
}

TEST_P(ChunkStoreTest, TruncateBeyondTheEndChangesNothing) {
  ASSERT_TRUE(driver_->fill(kKey, 0, 100, 'j'));
  ASSERT_TRUE(driver_->truncate(kInode, 200));
  ASSERT_TRUE(driver_->truncate(kInode, 10 * std::uint64_t{kSlot} + 3));
  EXPECT_EQ(driver_->read(kKey), runs({{100, 'j'}}));
}

TEST_P(ChunkStoreTest, TruncateToZeroFreesAllAndOtherInodesStay) {
  ASSERT_TRUE(driver_->fill(kKey, 0, 10'000, 'k'));
  ASSERT_TRUE(driver_->fill({wire::InodeId{8}, 0}, 0, 10'000, 'l'));
  ASSERT_TRUE(driver_->truncate(kInode, 0));
  EXPECT_EQ(driver_->query(kInode).chunk_count, 0U);
  EXPECT_TRUE(driver_->read(kKey).empty());
  EXPECT_EQ(driver_->read({wire::InodeId{8}, 0}), runs({{10'000, 'l'}}));
}

TEST_P(ChunkStoreTest, APunchZeroesWhatIsStoredAndKeepsTheEnd) {
  ASSERT_TRUE(driver_->punch(kKey, 0, kSlot));  // nothing is stored
  EXPECT_EQ(driver_->query(kInode).chunk_count, 0U);
  ASSERT_TRUE(driver_->fill(kKey, 0, 40'000, 'q'));
  ASSERT_TRUE(driver_->punch(kKey, 5000, 20'000));
  EXPECT_EQ(driver_->read(kKey), runs({{5000, 'q'}, {20'000, 0}, {15'000, 'q'}}));
  ASSERT_TRUE(driver_->punch(kKey, 39'000, kSlot - 39'000));
  EXPECT_EQ(driver_->query(kInode).end, 40'000U);
  ASSERT_TRUE(driver_->punch(kKey, 40'000, 100));
  EXPECT_EQ(driver_->read(kKey, 38'000, kSlot - 38'000), runs({{1000, 'q'}, {1000, 0}}));
  ASSERT_TRUE(driver_->fill(kKey, 10'000, 1, 'r'));
  EXPECT_EQ(driver_->read(kKey, 9000, 2000), runs({{1000, 0}, {1, 'r'}, {999, 0}}));
}

TEST_P(ChunkStoreTest, ChunksAreListedInPages) {
  EXPECT_TRUE(driver_->list(kInode, 0, 10).empty());
  for (std::uint64_t index : {9U, 2U, 4U}) {
    ASSERT_TRUE(driver_->fill({kInode, index}, 0, 100 + static_cast<std::uint32_t>(index), 's'));
  }
  Result<WriteLease> unfinished = driver_->begin({kInode, 3}, 0, 100);
  ASSERT_TRUE(unfinished);
  std::vector<wire::ChunkEnd> page = driver_->list(kInode, 1, 2);
  ASSERT_EQ(page.size(), 2U);
  EXPECT_EQ(page[0].index, 2U);
  EXPECT_EQ(page[0].end, 102U);
  EXPECT_EQ(page[1].index, 4U);
  page = driver_->list(kInode, 5, 2);
  ASSERT_EQ(page.size(), 1U);
  EXPECT_EQ(page[0].end, 109U);
}

TEST_P(ChunkStoreTest, AReusedSlotShowsZerosWhereNothingWasWritten) {
  for (int round = 0; round < 5; ++round) {
    for (std::uint64_t index = 0; index < 40; ++index) {
      ASSERT_TRUE(driver_->fill({kInode, index}, 0, kSlot, 'm'));
    }
    ASSERT_TRUE(driver_->truncate(kInode, 0));
    for (std::uint64_t index = 0; index < 40; ++index) {
      ASSERT_TRUE(driver_->fill({wire::InodeId{9}, index}, 40'000, 1, 'n'));
      EXPECT_EQ(driver_->read({wire::InodeId{9}, index}), runs({{40'000, 0}, {1, 'n'}}));
    }
    ASSERT_TRUE(driver_->truncate(wire::InodeId{9}, 0));
  }
}

TEST_P(ChunkStoreTest, AnAbandonedFirstWriteLeavesNoChunk) {
  ASSERT_TRUE(driver_->begin(kKey, 0, 1000));  // the lease dies here
  EXPECT_EQ(driver_->query(kInode).chunk_count, 0U);
  EXPECT_TRUE(driver_->read(kKey).empty());
}

TEST_P(ChunkStoreTest, AnAbandonedWriteBeyondTheEndStaysInvisible) {
  ASSERT_TRUE(driver_->fill(kKey, 0, 100, 'o'));
  {
    Result<WriteLease> lease = driver_->begin(kKey, 50'000, 1000);
    ASSERT_TRUE(lease);
    std::ranges::fill(lease->bytes(), std::byte{'X'});
  }
  EXPECT_EQ(driver_->query(kInode).end, 100U);
  ASSERT_TRUE(driver_->fill(kKey, 60'000, 1, 'p'));
  EXPECT_EQ(driver_->read(kKey), runs({{100, 'o'}, {59'900, 0}, {1, 'p'}}));
}

TEST_P(ChunkStoreTest, AnAbandonedWriteDoesNotHarmACommittedOneThatOverlaps) {
  Result<WriteLease> first = driver_->begin(kKey, 0, 9000);
  ASSERT_TRUE(first);
  std::ranges::fill(first->bytes(), std::byte{'X'});
  ASSERT_TRUE(driver_->fill(kKey, 3000, 2000, 'q'));
  EXPECT_EQ(driver_->read(kKey), runs({{3000, 0}, {2000, 'q'}}));
  first = Result<WriteLease>(WriteLease{});
  ASSERT_TRUE(driver_->fill(kKey, 10'000, 1, 'r'));
  EXPECT_EQ(driver_->read(kKey), runs({{3000, 0}, {2000, 'q'}, {5000, 0}, {1, 'r'}}));
}

TEST_P(ChunkStoreTest, AnAbandonedWriteDoesNotHarmALaterOneUnderWay) {
  Result<WriteLease> first = driver_->begin(kKey, 0, 1000);
  Result<WriteLease> second = driver_->begin(kKey, 0, 1000);
  ASSERT_TRUE(first && second);
  std::ranges::fill(first->bytes(), std::byte{'X'});
  std::ranges::fill(second->bytes(), std::byte{'s'});
  {
    WriteLease dying = *std::move(first);
  }
  ASSERT_TRUE(driver_->commit(*std::move(second)));
  EXPECT_EQ(driver_->read(kKey), runs({{1000, 's'}}));
}

TEST_P(ChunkStoreTest, AReadBesideAFirstWriteUnderWaySeesZerosThere) {
  Result<WriteLease> pending = driver_->begin(kKey, 0, 5000);
  ASSERT_TRUE(pending);
  std::ranges::fill(pending->bytes(), std::byte{'X'});
  ASSERT_TRUE(driver_->fill(kKey, 6000, 10, 't'));
  EXPECT_EQ(driver_->read(kKey), runs({{6000, 0}, {10, 't'}}));
  ASSERT_TRUE(driver_->commit(*std::move(pending)));
  EXPECT_EQ(driver_->read(kKey), runs({{5000, 'X'}, {1000, 0}, {10, 't'}}));
}

TEST_P(ChunkStoreTest, ACommitAfterTheChunkWasDroppedStoresNothing) {
  Result<WriteLease> late = driver_->begin(kKey, 0, 5000);
  ASSERT_TRUE(late);
  ASSERT_TRUE(driver_->fill(kKey, 0, 100, 'u'));
  ASSERT_TRUE(driver_->truncate(kInode, 0));
  std::ranges::fill(late->bytes(), std::byte{'X'});
  ASSERT_TRUE(driver_->commit(*std::move(late)));
  EXPECT_EQ(driver_->query(kInode).chunk_count, 0U);
  EXPECT_TRUE(driver_->read(kKey).empty());
}

TEST_P(ChunkStoreTest, ACommitAfterATruncationKeepsWhatIsBeforeTheCut) {
  ASSERT_TRUE(driver_->fill(kKey, 0, 10'000, 'v'));
  Result<WriteLease> late = driver_->begin(kKey, 1000, 8000);
  ASSERT_TRUE(late);
  ASSERT_TRUE(driver_->truncate(kInode, 3000));
  std::ranges::fill(late->bytes(), std::byte{'w'});
  ASSERT_TRUE(driver_->commit(*std::move(late)));
  EXPECT_EQ(driver_->read(kKey), runs({{1000, 'v'}, {2000, 'w'}}));
  ASSERT_TRUE(driver_->fill(kKey, 20'000, 1, 'x'));
  EXPECT_EQ(driver_->read(kKey), runs({{1000, 'v'}, {2000, 'w'}, {17'000, 0}, {1, 'x'}}));
}

TEST_P(ChunkStoreTest, ADetachedReadHasTheBytesOfItsMoment) {
  ASSERT_TRUE(driver_->fill(kKey, 0, 5000, 'a'));
  Result<ReadLease> lease = driver_->lease(kKey, 0, 6000);
  ASSERT_TRUE(lease);
  lease->detach();
  ASSERT_TRUE(driver_->fill(kKey, 0, 5000, 'b'));
  EXPECT_EQ(std::vector(lease->bytes().begin(), lease->bytes().end()), runs({{5000, 'a'}}));
}

TEST_P(ChunkStoreTest, AReadLeaseOutlivesItsChunk) {
  ASSERT_TRUE(driver_->fill(kKey, 0, 5000, 'y'));
  Result<ReadLease> lease = driver_->lease(kKey, 0, 5000);
  ASSERT_TRUE(lease);
  ASSERT_TRUE(driver_->truncate(kInode, 0));
  for (std::uint64_t index = 0; index < 8; ++index) {
    ASSERT_TRUE(driver_->fill({wire::InodeId{9}, index}, 0, kSlot, 'Z'));
  }
  EXPECT_TRUE(std::ranges::equal(lease->bytes(), runs({{5000, 'y'}})));
}

TEST_P(ChunkStoreTest, BadRangesAreRefused) {
  EXPECT_TRUE(driver_->begin(kKey, 0, 0).error().is_posix(EINVAL));
  EXPECT_TRUE(driver_->begin(kKey, 1, kSlot).error().is_posix(EINVAL));
  EXPECT_TRUE(driver_->begin(kKey, UINT32_MAX, 2).error().is_posix(EINVAL));
  EXPECT_TRUE(driver_->lease(kKey, 0, kSlot + 1).error().is_posix(EINVAL));
}

TEST_P(ChunkStoreTest, AClosedStoreRefusesOperations) {
  ASSERT_TRUE(driver_->fill(kKey, 0, 10, 'a'));
  ASSERT_TRUE(driver_->close());
  EXPECT_EQ(driver_->begin(kKey, 0, 10).error().code, Errc::kNotReady);
  EXPECT_EQ(driver_->lease(kKey, 0, 10).error().code, Errc::kNotReady);
}

TEST_P(ChunkStoreTest, SyncAndSpaceAnswer) {
  ASSERT_TRUE(driver_->fill(kKey, 0, 5000, 'a'));
  EXPECT_TRUE(driver_->sync(kInode));
  EXPECT_TRUE(driver_->sync(wire::InodeId{99}));
  Space space = driver_->space();
  EXPECT_GT(space.total_bytes, 0U);
  EXPECT_LE(space.free_bytes, space.total_bytes);
  EXPECT_NE(space.device_id, 0U);
}

// Several writers and readers of one chunk at once, each in its own part; a few overlap with a
// neighbour's page, so that direct and buffered transfers meet in every slot.
struct Worker {
  ChunkStore* store;
  wire::ChunkKey key;
  std::uint32_t offset;
  std::uint32_t length;
  std::uint64_t failures = 0;
};

rt::Task<void> write_and_verify(Worker* worker, int rounds) {
  std::vector<std::byte> bytes(worker->length);
  for (int round = 0; round < rounds; ++round) {
    for (std::uint32_t i = 0; i < worker->length; ++i) {
      bytes[i] = pattern(worker->key.index, worker->offset + i, static_cast<std::uint64_t>(round));
    }
    Status stored = co_await store_bytes(worker->store, worker->key, worker->offset, bytes, round);
    Result<ReadLease> lease =
        co_await worker->store->read(worker->key, worker->offset, worker->length, soon());
    bool is_same = stored && lease && std::ranges::equal(lease->bytes(), bytes);
    worker->failures += is_same ? 0 : 1;
  }
}

rt::Task<void> run_workers(rt::Scope* scope, std::vector<Worker>* workers, int rounds) {
  for (Worker& worker : *workers) {
    scope->spawn(write_and_verify(&worker, rounds));
  }
  co_await scope->join();
}

TEST_P(ChunkStoreTest, ConcurrentWritersOfOneChunkDoNotDisturbEachOther) {
  std::vector<Worker> workers;
  for (std::uint64_t index = 0; index < 3; ++index) {
    std::uint32_t offset = 0;
    for (std::uint32_t length : {4096U, 8192U, 1000U, 3096U, 4096U, 47U, 12'241U, 16'384U}) {
      workers.push_back({&driver_->store(), {kInode, index}, offset, length});
      offset += length;
    }
  }
  rt::Scope scope;
  shard_.reactor().block_on(run_workers(&scope, &workers, 30));
  for (const Worker& worker : workers) {
    EXPECT_EQ(worker.failures, 0U) << worker.key.index << " " << worker.offset;
  }
}

// Random operations against plain vectors.
class Model {
 public:
  Model(Driver& driver, std::uint64_t seed) : driver_(driver), random_(seed) {}

  void step(std::uint64_t version) {
    std::uint64_t inode = 1 + random_.below(kInodes);
    std::uint64_t dice = random_.below(100);
    if (dice < 55) {
      write(inode, version);
    } else if (dice < 85) {
      read(inode);
    } else if (dice < 95) {
      truncate(inode);
    } else if (dice < 98) {
      abandon(inode);
    } else {
      ASSERT_TRUE(driver_.sync(wire::InodeId{inode}));
    }
    ASSERT_EQ(driver_.query(wire::InodeId{inode}).end, files_[inode].size());
  }

 private:
  static constexpr std::uint64_t kInodes = 4;
  static constexpr std::uint64_t kChunks = 4;
  struct Place {
    wire::ChunkKey key;
    std::uint32_t offset;
    std::uint32_t length;
    std::uint64_t file_offset;
  };

  // Half of the ranges are aligned.
  Place pick(std::uint64_t inode) {
    std::uint64_t unit = random_.below(2) == 0 ? 4096 : 1;
    std::uint64_t index = random_.below(kChunks);
    auto offset = static_cast<std::uint32_t>(random_.below(kSlot / unit) * unit);
    std::uint64_t longest = random_.below(3) == 0 ? 100 : kSlot;
    std::uint64_t units = std::max<std::uint64_t>(
        1, std::min<std::uint64_t>((kSlot - offset) / unit, longest / unit));
    auto length = static_cast<std::uint32_t>((1 + random_.below(units)) * unit);
    return {{wire::InodeId{inode}, index}, offset, length, index * kSlot + offset};
  }

  void write(std::uint64_t inode, std::uint64_t version) {
    Place place = pick(inode);
    std::vector<std::byte> bytes(place.length);
    for (std::uint32_t i = 0; i < place.length; ++i) {
      bytes[i] = pattern(inode, place.file_offset + i, version);
    }
    Status status = driver_.write(place.key, place.offset, bytes);
    ASSERT_TRUE(status) << status.error().message();
    std::vector<std::byte>& file = files_[inode];
    file.resize(std::max<std::size_t>(file.size(), place.file_offset + place.length));
    std::ranges::copy(bytes, file.begin() + static_cast<std::ptrdiff_t>(place.file_offset));
  }

  // A store knows no file size: beyond a chunk's own end a chunk in the middle reads short, and the
  // caller takes the rest as zeros.
  void read(std::uint64_t inode) {
    Place place = pick(inode);
    std::vector<std::byte> got = driver_.read(place.key, place.offset, place.length);
    const std::vector<std::byte>& file = files_[inode];
    for (std::uint32_t i = 0; i < place.length; ++i) {
      std::size_t at = place.file_offset + i;
      std::byte expected = at < file.size() ? file[at] : std::byte{0};
      std::byte actual = i < got.size() ? got[i] : std::byte{0};
      ASSERT_EQ(actual, expected) << "inode " << inode << " offset " << at;
    }
  }

  void truncate(std::uint64_t inode) {
    std::vector<std::byte>& file = files_[inode];
    std::uint64_t size = random_.below(4) == 0 ? 0 : random_.below(file.size() + 1);
    ASSERT_TRUE(driver_.truncate(wire::InodeId{inode}, size));
    file.resize(size);
    // The bytes at the new end may be a hole between chunks, which the store does not know about.
    while (!file.empty() && driver_.query(wire::InodeId{inode}).end < file.size()) {
      ASSERT_EQ(file.back(), std::byte{0});
      file.pop_back();
    }
  }

  // Beyond the end, where it must leave no trace.
  void abandon(std::uint64_t inode) {
    Place place = pick(inode);
    if (place.file_offset >= files_[inode].size()) {
      Result<WriteLease> lease = driver_.begin(place.key, place.offset, place.length);
      ASSERT_TRUE(lease);
      std::ranges::fill(lease->bytes(), std::byte{0xee});
    }
  }

  Driver& driver_;
  Random random_;
  std::array<std::vector<std::byte>, kInodes + 1> files_;
};

TEST_P(ChunkStoreTest, RandomOperationsMatchTheModel) {
  std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("BENCHFS_SEED={}", seed));
  Model model(*driver_, seed);
  for (std::uint64_t version = 1; version <= 1500 && !HasFatalFailure(); ++version) {
    model.step(version);
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, ChunkStoreTest, all_engines(), engine_name);

}  // namespace
}  // namespace benchfs::chunk
