// Tests of the memory engine alone: its limit, its slots, writes that receive in place.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

#include "chunk/memory_slots.h"
#include "chunk/store_fixture.h"
#include "chunk/write_set.h"

namespace benchfs::chunk {
namespace {

std::unique_ptr<ChunkStore> make_store(std::uint64_t limit, std::uint64_t warm = 0) {
  return make_memory_store({.slot_bytes = kSlot, .limit_bytes = limit, .warm_bytes = warm}).value();
}

MemorySlots make_slots(const MemoryEngineConfig& config) {
  return {config, SlotFile::create(config.slot_bytes).value()};
}

// A program of the node: it has the store's files and no more.
class Program {
 public:
  explicit Program(const SlotFiles& files) : data_(files.data) {
    void* states = mmap(nullptr, wire::kSlotStatesBytes, PROT_READ, MAP_SHARED, files.states, 0);
    states_ = static_cast<std::byte*>(states);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() { munmap(states_, wire::kSlotStatesBytes); }

  [[nodiscard]] wire::SlotState state(std::uint32_t slot) const {
    return wire::SlotState::of(
        reinterpret_cast<wire::SlotWord*>(states_ + slot * wire::kSlotStateBytes)->load());
  }
  // What can be read of the chunk without asking.
  [[nodiscard]] std::vector<std::byte> read(const SlotPlace& place) const {
    wire::SlotState now = state(place.slot);
    std::vector<std::byte> bytes(now.generation == place.generation ? now.end : 0);
    auto got = pread(data_, bytes.data(), bytes.size(), offset(place, 0));
    EXPECT_EQ(got, static_cast<ssize_t>(bytes.size()));
    return bytes;
  }
  void fill(const SlotPlace& place, std::uint32_t from, std::uint32_t length, char value) const {
    std::string bytes(length, value);
    EXPECT_EQ(pwrite(data_, bytes.data(), length, offset(place, from)),
              static_cast<ssize_t>(length));
  }

 private:
  static off_t offset(const SlotPlace& place, std::uint32_t from) {
    return static_cast<off_t>(std::uint64_t{place.slot} * kSlot + from);
  }
  int data_;
  std::byte* states_;
};

TEST(MemoryStore, ALimitBelowOneChunkIsRefused) {
  EXPECT_EQ(make_memory_store({.slot_bytes = kSlot, .limit_bytes = kSlot - 1}).error().code,
            Errc::kConfig);
  EXPECT_FALSE(make_memory_store({.slot_bytes = 1000, .limit_bytes = kSlot}));
}

TEST(MemoryStore, TheLimitAnswersEnospcAndFreedSpaceIsUsable) {
  Shard shard;
  for (std::uint64_t warm : {std::uint64_t{0}, std::uint64_t{1} << 30}) {
    Driver driver(shard.reactor(), make_store(3 * kSlot, warm));
    for (std::uint64_t index = 0; index < 3; ++index) {
      ASSERT_TRUE(driver.fill({kInode, index}, 0, kSlot, 'a'));
    }
    EXPECT_EQ(driver.space().free_bytes, 0U);
    Status full = driver.fill({kInode, 3}, 0, 1, 'b');
    ASSERT_FALSE(full);
    EXPECT_TRUE(full.error().is_posix(ENOSPC));
    EXPECT_EQ(driver.read({kInode, 2}), runs({{kSlot, 'a'}}));
    ASSERT_TRUE(driver.fill({kInode, 2}, 0, kSlot, 'c'));
    ASSERT_TRUE(driver.truncate(kInode, kSlot));
    ASSERT_TRUE(driver.fill({kInode, 3}, kSlot - 1, 1, 'd'));
    EXPECT_EQ(driver.read({kInode, 3}), runs({{kSlot - 1, 0}, {1, 'd'}}));
  }
}

TEST(MemoryStore, SmallFilesTakeSmallPages) {
  Shard shard;
  Driver driver(shard.reactor(),
                make_memory_store({.slot_bytes = 4U << 20, .limit_bytes = 8U << 20}).value());
  // A page of data and a page table each.
  for (std::uint64_t inode = 1; inode <= 1024; ++inode) {
    ASSERT_TRUE(driver.fill({wire::InodeId{inode}, 0}, 0, 3000, 'e'));
  }
  EXPECT_EQ(driver.space().free_bytes, 0U);
  EXPECT_FALSE(driver.fill({wire::InodeId{5000}, 0}, 0, 1, 'f'));
}

TEST(MemoryStore, AWriteWaitsForOneFromBeforeATruncationOnlyWhereItMayStillFill) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  ASSERT_TRUE(driver.fill(kKey, 0, 100, 'g'));
  Result<WriteLease> late = driver.begin(kKey, 1000, 1000);
  ASSERT_TRUE(late);
  ASSERT_TRUE(driver.truncate(kInode, 500));
  ASSERT_TRUE(driver.truncate(kInode, 50));
  ASSERT_TRUE(driver.fill(kKey, 60, 10, 'h'));
  auto blocked = shard.reactor().block_on(
      driver.store().begin_write(kKey, 3000, 10, Deadline::after(std::chrono::milliseconds(2))));
  ASSERT_FALSE(blocked);
  EXPECT_EQ(blocked.error().code, Errc::kDeadline);
  std::ranges::fill(late->bytes(), std::byte{'X'});
  ASSERT_TRUE(driver.commit(*std::move(late)));
  ASSERT_TRUE(driver.fill(kKey, 3000, 10, 'i'));
  EXPECT_EQ(driver.read(kKey), runs({{50, 'g'}, {10, 0}, {10, 'h'}, {2930, 0}, {10, 'i'}}));
}

TEST(MemoryStore, ASecondAbandonedWriteBeyondTheEndLeavesZerosToo) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  ASSERT_TRUE(driver.fill(kKey, 0, 100, 'g'));
  for (int attempt = 0; attempt < 2; ++attempt) {
    Result<WriteLease> lease = driver.begin(kKey, 1000, 1000);
    ASSERT_TRUE(lease);
    std::ranges::fill(lease->bytes(), std::byte{'X'});
  }
  ASSERT_TRUE(driver.fill(kKey, 5000, 1, 'h'));
  EXPECT_EQ(driver.read(kKey), runs({{100, 'g'}, {4900, 0}, {1, 'h'}}));
}

// The memory of a dropped chunk stays away from others while the network may still fill it.
TEST(MemoryStore, ASlotIsUsedAgainOnlyAfterItsLastLease) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(16 * kSlot, 16 * kSlot));
  ASSERT_TRUE(driver.fill(kKey, 0, kSlot, 'a'));
  Result<WriteLease> late = driver.begin(kKey, 0, kSlot);
  ASSERT_TRUE(late);
  ASSERT_TRUE(driver.truncate(kInode, 0));
  for (std::uint64_t index = 0; index < 8; ++index) {
    ASSERT_TRUE(driver.fill({wire::InodeId{9}, index}, 0, kSlot, 'b'));
  }
  std::ranges::fill(late->bytes(), std::byte{'X'});
  ASSERT_TRUE(driver.commit(*std::move(late)));
  for (std::uint64_t index = 0; index < 8; ++index) {
    EXPECT_EQ(driver.read({wire::InodeId{9}, index}), runs({{kSlot, 'b'}})) << index;
  }
}

TEST(MemoryStore, TheMemoryOfRemovedFilesServesFilesOfAnySize) {
  Shard shard;
  constexpr std::uint32_t kLarge = 4U << 20;
  Driver driver(
      shard.reactor(),
      make_memory_store({.slot_bytes = kLarge, .limit_bytes = 4 * kLarge, .warm_bytes = 4 * kLarge})
          .value());
  wire::InodeId small{8};
  auto fill_up = [&driver](wire::InodeId inode, std::uint32_t length) {
    std::uint64_t index = 0;
    while (index < 10'000 && driver.fill({inode, index}, 0, length, 'a')) {
      ++index;
    }
    return index;
  };
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(fill_up(small, 3000), 4 * kLarge / (2 * kPageBytes));
    ASSERT_TRUE(driver.truncate(small, 0));
    EXPECT_EQ(fill_up(kInode, kLarge), 4U);
    for (std::uint64_t index = 4; index > 0; --index) {
      ASSERT_TRUE(driver.truncate(kInode, (index - 1) * kLarge + 1, kLarge));
    }
    EXPECT_EQ(driver.query(kInode).chunk_count, 1U);
    EXPECT_EQ(fill_up(small, kHugePageBytes), 7U) << "a cut chunk keeps no more than a page";
    ASSERT_TRUE(driver.truncate(small, 0));
    ASSERT_TRUE(driver.truncate(kInode, 0));
  }
}

// --- Programs of the node ------------------------------------------------------------------------

TEST(SharedSlots, AProgramReadsWhatIsCommittedAndNothingElse) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  Program program(driver.store().slot_files());
  EXPECT_FALSE(driver.store().locate(kKey));
  auto first = driver.begin(kKey, 100, 50);  // begins before the end that another makes
  ASSERT_TRUE(first);
  EXPECT_FALSE(driver.store().locate(kKey));
  ASSERT_TRUE(driver.fill(kKey, 0, 100, 'a'));
  ASSERT_TRUE(driver.fill(kKey, 150, 50, 'b'));
  SlotPlace place = driver.store().locate(kKey).value();
  EXPECT_EQ(program.state(place.slot).end, 100U) << "what is being written may fail";
  EXPECT_EQ(program.read(place), runs({{100, 'a'}}));
  std::ranges::fill(first->bytes(), std::byte{'c'});
  ASSERT_TRUE(driver.commit(*std::move(first)));
  EXPECT_EQ(program.read(place), runs({{100, 'a'}, {50, 'c'}, {50, 'b'}}));
  ASSERT_TRUE(driver.begin(kKey, 200, 10));  // and is given up
  EXPECT_EQ(program.state(place.slot).end, 200U);
}

TEST(SharedSlots, ThePlaceOfACutOrRemovedChunkIsNoLongerValid) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot, 8 * kSlot));
  Program program(driver.store().slot_files());
  ASSERT_TRUE(driver.fill(kKey, 0, kSlot, 'a'));
  SlotPlace before = driver.store().locate(kKey).value();
  ASSERT_TRUE(driver.truncate(kInode, 10));
  SlotPlace cut = driver.store().locate(kKey).value();
  EXPECT_EQ(cut.slot, before.slot);
  EXPECT_NE(cut.generation, before.generation);
  EXPECT_EQ(program.read(cut), runs({{10, 'a'}}));
  ASSERT_TRUE(driver.truncate(kInode, 0));
  EXPECT_FALSE(driver.store().locate(kKey));
  EXPECT_EQ(program.state(before.slot).end, 0U);
  ASSERT_TRUE(driver.fill({wire::InodeId{9}, 0}, 0, kSlot, 'b'));
  SlotPlace other = driver.store().locate({wire::InodeId{9}, 0}).value();
  ASSERT_EQ(other.slot, before.slot);
  EXPECT_TRUE(program.read(before).empty());
  EXPECT_TRUE(program.read(cut).empty());
}

TEST(SharedSlots, NoFileOfAProgramCanChangeTheStates) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  ASSERT_TRUE(driver.fill(kKey, 0, 1, 'a'));
  SlotFiles files = driver.store().slot_files();
  char byte = 'x';
  EXPECT_EQ(pwrite(files.states, &byte, 1, 0), -1);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_WRITE, MAP_SHARED, files.states, 0), MAP_FAILED);
  EXPECT_NE(ftruncate(files.states, 0), 0);
  EXPECT_NE(ftruncate(files.data, 0), 0);
  EXPECT_NE(fcntl(files.data, F_ADD_SEALS, F_SEAL_GROW), 0);
}

TEST(SharedSlots, AProgramThatMakesTheFileLongerDoesNoHarm) {
  Shard shard;
  constexpr std::uint32_t kLarge = 4U << 20;
  Driver driver(shard.reactor(),
                make_memory_store({.slot_bytes = kLarge, .limit_bytes = 4 * kLarge}).value());
  ASSERT_TRUE(driver.fill(kKey, 0, 1, 'a'));
  EXPECT_EQ(ftruncate(driver.store().slot_files().data, off_t{1} << 40), 0);
  ASSERT_TRUE(driver.fill({wire::InodeId{9}, 0}, 0, kLarge, 'b')) << "of the other kind of slot";
  EXPECT_EQ(driver.read({wire::InodeId{9}, 0}, 0, kLarge), runs({{kLarge, 'b'}}));
}

TEST(SharedSlots, AProgramFillsASlotAndTheCommitShowsIt) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  Program program(driver.store().slot_files());
  auto lease = driver.begin(kKey, 0, kSlot);
  ASSERT_TRUE(lease);
  SlotPlace place = driver.store().hand_out(*lease).value();
  EXPECT_EQ(place.existing_end, 0U);
  program.fill(place, 0, kSlot, 'a');
  EXPECT_TRUE(driver.read(kKey).empty());
  ASSERT_TRUE(driver.commit(*std::move(lease)));
  EXPECT_EQ(driver.read(kKey), runs({{kSlot, 'a'}}));
  auto again = driver.begin(kKey, 0, kSlot);
  EXPECT_EQ(driver.store().hand_out(*again)->existing_end, kSlot);
}

TEST(SharedSlots, WhatIsFilledOutOfOrderCountsAsThereWhenAllBeforeItIs) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  auto fill = [&](std::uint32_t page) {
    auto offset = static_cast<std::uint32_t>(page * kPageBytes);
    auto lease = driver.begin(kKey, offset, kPageBytes);
    SlotPlace place = driver.store().hand_out(*lease).value();
    Program(driver.store().slot_files()).fill(place, offset, kPageBytes, 'a');
    EXPECT_TRUE(driver.commit(*std::move(lease)));
    return place.existing_end / kPageBytes;
  };
  EXPECT_EQ(fill(1), 0U);
  EXPECT_EQ(fill(0), 0U) << "nobody has filled what is before";
  EXPECT_EQ(fill(1), 2U);
  ASSERT_TRUE(driver.truncate(kInode, 0));
}

// Reading a page that does not exist through a mapping makes it, for which the reader pays.
TEST(SharedSlots, NoProgramReadsAHoleByItself) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  Program program(driver.store().slot_files());
  ASSERT_TRUE(driver.fill(kKey, kSlot - 1, 1, 'z'));
  SlotPlace place = driver.store().locate(kKey).value();
  EXPECT_EQ(place.stored_end, 0U) << "nor is what lies beyond one overwritten";
  EXPECT_TRUE(program.read(place).empty());
  ASSERT_TRUE(driver.fill(kKey, 0, kSlot / 2, 'a'));
  EXPECT_EQ(program.read(place), runs({{kSlot / 2, 'a'}}));
  ASSERT_TRUE(driver.begin(kKey, kSlot / 2, kPageBytes));  // and is given up: zeros are written
  EXPECT_EQ(program.state(place.slot).end, kSlot / 2);
  ASSERT_TRUE(driver.punch(kKey, kSlot / 2, kSlot));  // writes zeros as well
  EXPECT_EQ(program.read(place), driver.read(kKey));
}

// What a cut leaves where a program still writes is in another slot, of whose memory nothing is
// old.
TEST(SharedSlots, AChunkThatACutMovedIsReadByPrograms) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  Program program(driver.store().slot_files());
  ASSERT_TRUE(driver.fill(kKey, 0, kSlot, 'a'));
  auto lease = driver.begin(kKey, 0, kSlot);
  SlotPlace filled = driver.store().hand_out(*lease).value();
  ASSERT_TRUE(driver.truncate(kInode, kSlot / 2));
  SlotPlace place = driver.store().locate(kKey).value();
  ASSERT_NE(place.slot, filled.slot);
  EXPECT_EQ(program.read(place).size(), kSlot / 2);
  ASSERT_TRUE(driver.commit(*std::move(lease)));
}

TEST(SharedSlots, AStoreThatIsClosedKeepsNoMemoryForThoseWhoMapIt) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  SlotFiles files = driver.store().slot_files();
  Program program(files);
  ASSERT_TRUE(driver.fill(kKey, 0, kSlot, 'a'));
  SlotPlace place = driver.store().locate(kKey).value();
  struct stat info{};
  ASSERT_EQ(fstat(files.data, &info), 0);
  EXPECT_GT(info.st_blocks, 0);
  ASSERT_TRUE(driver.close());
  EXPECT_TRUE(program.read(place).empty());
  ASSERT_EQ(fstat(files.data, &info), 0);
  EXPECT_EQ(info.st_blocks, 0);
}

// The program stands still in the middle of its copy, for as long as it likes.
TEST(SharedSlots, ACutMovesAChunkAwayFromAProgramThatFillsIt) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  Program program(driver.store().slot_files());
  ASSERT_TRUE(driver.fill(kKey, 0, 1000, 'a'));
  SlotPlace before = driver.store().locate(kKey).value();
  auto lease = driver.begin(kKey, 500, 1500);
  ASSERT_TRUE(lease);
  SlotPlace filled = driver.store().hand_out(*lease).value();
  program.fill(filled, 500, 700, 'x');
  ASSERT_TRUE(driver.truncate(kInode, 100));
  ASSERT_TRUE(driver.fill(kKey, 500, 500, 'b')) << "waits for nobody";
  program.fill(filled, 500, 1500, 'x');
  EXPECT_EQ(driver.read(kKey), runs({{100, 'a'}, {400, 0}, {500, 'b'}}));
  EXPECT_TRUE(program.read(before).empty());
  ASSERT_TRUE(driver.commit(*std::move(lease)));
  EXPECT_EQ(driver.read(kKey), runs({{100, 'a'}, {400, 0}, {500, 'b'}}));
}

// While a cut moves a chunk, one program goes on filling its old slot and another one reads there:
// what is read before the place ends has been moved.
TEST(SharedSlots, NothingIsReadInAnOldSlotThatTheNewOneDoesNotHave) {
  constexpr std::uint32_t kLargeSlot = 4U << 20;
  Shard shard;
  Driver driver(
      shard.reactor(),
      make_memory_store({.slot_bytes = kLargeSlot, .limit_bytes = 8 * kLargeSlot}).value());
  void* memory = mmap(nullptr,
                      std::size_t{2} * kLargeSlot,
                      PROT_READ | PROT_WRITE,
                      MAP_SHARED,
                      driver.store().slot_files().data,
                      0);
  ASSERT_NE(memory, MAP_FAILED);
  Program program(driver.store().slot_files());
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(driver.fill(kKey, 0, kLargeSlot, 'a'));
    SlotPlace place = driver.store().locate(kKey).value();
    ASSERT_LT(place.slot, 2U);
    auto* counter = reinterpret_cast<std::atomic<std::uint64_t>*>(
        static_cast<std::byte*>(memory) + std::size_t{place.slot} * kLargeSlot);
    auto lease = driver.begin(kKey, 0, kLargeSlot);
    ASSERT_TRUE(lease);
    ASSERT_TRUE(driver.store().hand_out(*lease));
    std::atomic<bool> is_filling = false;
    std::uint64_t seen = 0;
    std::thread programs([&] {
      for (std::uint64_t value = 1;; ++value) {
        counter->store(value);
        std::uint64_t read = counter->load();
        if (program.state(place.slot).generation != place.generation) {
          return;
        }
        seen = read;
        is_filling = true;
      }
    });
    while (!is_filling) {
    }
    EXPECT_TRUE(shard.reactor().block_on(
        driver.store().truncate(kInode, kLargeSlot - kPageBytes, kLargeSlot)));
    programs.join();
    auto moved = driver.read(kKey, 0, sizeof seen);
    ASSERT_EQ(moved.size(), sizeof seen);
    std::uint64_t kept = 0;
    std::memcpy(&kept, moved.data(), sizeof kept);
    EXPECT_GE(kept, seen);
    ASSERT_TRUE(driver.commit(*std::move(lease)));
    ASSERT_TRUE(driver.truncate(kInode, 0));
  }
  munmap(memory, std::size_t{2} * kLargeSlot);
}

TEST(SharedSlots, ASlotThatAProgramFillsIsNotUsedAgain) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(4 * kSlot, 4 * kSlot));
  Program program(driver.store().slot_files());
  auto lease = driver.begin(kKey, 0, kSlot);
  SlotPlace filled = driver.store().hand_out(*lease).value();
  auto other = driver.begin(kKey, 0, kSlot);
  ASSERT_TRUE(driver.store().hand_out(*other));
  ASSERT_TRUE(driver.fill(kKey, 0, 10, 'a'));
  ASSERT_TRUE(driver.truncate(kInode, 0));
  ASSERT_TRUE(driver.commit(*std::move(other))) << "one of two who fill it";
  for (std::uint64_t index = 0; index < 3; ++index) {
    ASSERT_TRUE(driver.fill({wire::InodeId{9}, index}, 0, kSlot, 'b'));
  }
  program.fill(filled, 0, kSlot, 'X');
  for (std::uint64_t index = 0; index < 3; ++index) {
    EXPECT_EQ(driver.read({wire::InodeId{9}, index}), runs({{kSlot, 'b'}})) << index;
  }
  ASSERT_TRUE(driver.commit(*std::move(lease)));
  ASSERT_TRUE(driver.fill({wire::InodeId{9}, 3}, 0, kSlot, 'b'));
}

// What a program overwrites by itself; `writing` is what it says it is in the middle of.
class TestLoan final : public SlotLoan {
 public:
  explicit TestLoan(ChunkStore& store) : store_(store) {}
  ~TestLoan() override { store_.end_loan(*this); }
  [[nodiscard]] bool is_writing(std::uint32_t slot) const override { return writing == slot; }
  [[nodiscard]] std::int64_t written_at() const override { return written; }
  std::uint32_t writing = UINT32_MAX;
  std::int64_t written = 0;

 private:
  ChunkStore& store_;
};

TEST(WriteLoans, OnlyWhatIsStoredIsLent) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  TestLoan loan(driver.store());
  EXPECT_FALSE(driver.store().lend(kKey, 0, 1, loan));
  ASSERT_TRUE(driver.fill(kKey, 0, 1000, 'a'));
  auto under_way = driver.begin(kKey, 1000, 1000);
  EXPECT_FALSE(driver.store().lend(kKey, 500, 501, loan));
  EXPECT_TRUE(loan.is_over());
  std::optional<SlotPlace> place = driver.store().lend(kKey, 500, 500, loan);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->stored_end, 1000U);
  EXPECT_FALSE(loan.is_over());
}

TEST(WriteLoans, ACutARemovalAndACallEndThemUnderANewGeneration) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  Program program(driver.store().slot_files());
  for (int how = 0; how < 3; ++how) {
    ASSERT_TRUE(driver.fill(kKey, 0, 1000, 'a'));
    TestLoan loan(driver.store());
    TestLoan another(driver.store());
    SlotPlace place = driver.store().lend(kKey, 0, 1000, loan).value();
    ASSERT_TRUE(driver.store().lend(kKey, 0, 1000, another));
    if (how == 2) {
      driver.store().take_back(loan);
    } else {
      ASSERT_TRUE(driver.truncate(kInode, how == 0 ? 500 : 0));
    }
    EXPECT_TRUE(loan.is_over());
    EXPECT_TRUE(another.is_over());
    EXPECT_NE(program.state(place.slot).generation, place.generation);
  }
  EXPECT_EQ(driver.read(kKey), runs({{1000, 'a'}})) << "who is called back loses nothing";
}

TEST(WriteLoans, ThatEndWithTheirProgramLeaveTheGenerationAlone) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  ASSERT_TRUE(driver.fill(kKey, 0, 1000, 'a'));
  SlotPlace before = driver.store().locate(kKey).value();
  {
    TestLoan loan(driver.store());
    ASSERT_TRUE(driver.store().lend(kKey, 0, 1000, loan));
  }
  EXPECT_EQ(driver.store().locate(kKey)->generation, before.generation);
}

TEST(WriteLoans, WhenSomethingWasWrittenIsKeptAtTheirEnd) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  for (int how = 0; how < 3; ++how) {
    ASSERT_TRUE(driver.fill(kKey, 0, 1000, 'a'));
    TestLoan loan(driver.store());
    SlotPlace place = driver.store().lend(kKey, 0, 1000, loan).value();
    loan.written = 1000 + how;
    loan.writing = how == 2 ? place.slot : UINT32_MAX;
    if (how == 0) {
      driver.store().end_loan(loan);
    } else {
      ASSERT_TRUE(driver.truncate(kInode, 900));
    }
    EXPECT_EQ(driver.query(kInode).mtime_ns, 1000 + how);
  }
}

// It stands still in the middle of its copy, for as long as it likes.
TEST(WriteLoans, ACutMovesTheChunkAwayFromAProgramThatWrites) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(8 * kSlot));
  Program program(driver.store().slot_files());
  ASSERT_TRUE(driver.fill(kKey, 0, 2000, 'a'));
  TestLoan loan(driver.store());
  SlotPlace place = driver.store().lend(kKey, 0, 2000, loan).value();
  loan.writing = place.slot;
  ASSERT_TRUE(driver.truncate(kInode, 1000));
  EXPECT_FALSE(loan.is_over());
  EXPECT_NE(driver.store().locate(kKey)->slot, place.slot);
  ASSERT_TRUE(driver.fill(kKey, 1500, 500, 'b'));
  program.fill(place, 0, 2000, 'X');
  EXPECT_EQ(driver.read(kKey), runs({{1000, 'a'}, {500, 0}, {500, 'b'}}));
}

TEST(WriteLoans, ASlotInWhichAProgramWritesIsNotUsedAgainUntilItIsSeenOutside) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(4 * kSlot));
  Program program(driver.store().slot_files());
  ASSERT_TRUE(driver.fill(kKey, 0, kSlot, 'a'));
  TestLoan loan(driver.store());
  SlotPlace place = driver.store().lend(kKey, 0, kSlot, loan).value();
  loan.writing = place.slot;
  ASSERT_TRUE(driver.truncate(kInode, 0));
  for (std::uint64_t index = 0; index < 3; ++index) {
    ASSERT_TRUE(driver.fill({wire::InodeId{9}, index}, 0, kSlot, 'b'));
  }
  EXPECT_FALSE(driver.fill({wire::InodeId{9}, 3}, 0, kSlot, 'b')) << "there is no other slot";
  program.fill(place, 0, kSlot, 'X');
  for (std::uint64_t index = 0; index < 3; ++index) {
    EXPECT_EQ(driver.read({wire::InodeId{9}, index}), runs({{kSlot, 'b'}})) << index;
  }
  loan.writing = UINT32_MAX;
  EXPECT_TRUE(driver.wait_until([&] { return loan.is_over(); }));
  ASSERT_TRUE(driver.fill({wire::InodeId{9}, 3}, 0, kSlot, 'b'));
}

TEST(WriteLoans, WhereTheChunkCannotMoveWritesBeyondTheCutWaitForTheProgram) {
  Shard shard;
  Driver driver(shard.reactor(), make_store(1 * kSlot));
  ASSERT_TRUE(driver.fill(kKey, 0, kSlot, 'a'));
  TestLoan loan(driver.store());
  SlotPlace place = driver.store().lend(kKey, 0, kSlot, loan).value();
  loan.writing = place.slot;
  ASSERT_TRUE(driver.truncate(kInode, 1000));
  EXPECT_EQ(driver.read(kKey), runs({{1000, 'a'}}));
  ASSERT_TRUE(driver.fill(kKey, 0, 500, 'b')) << "before the cut nobody waits";
  auto begun = shard.reactor().block_on(
      driver.store().begin_write(kKey, 2000, 100, Deadline::after(std::chrono::milliseconds(20))));
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().code, Errc::kDeadline);
  loan.writing = UINT32_MAX;
  ASSERT_TRUE(driver.fill(kKey, 2000, 100, 'c'));
  EXPECT_TRUE(loan.is_over());
  EXPECT_EQ(driver.read(kKey), runs({{500, 'b'}, {500, 'a'}, {1000, 0}, {100, 'c'}}));
}

TEST(MemorySlots, TheMostRecentlyFreedSlotIsUsedNext) {
  MemorySlots slots =
      make_slots({.slot_bytes = kSlot, .limit_bytes = 64 * kSlot, .warm_bytes = 64 * kSlot});
  std::array<MemorySlot*, 4> held{};
  for (MemorySlot*& slot : held) {
    slot = slots.allocate(kSlot).value();
    ASSERT_TRUE(slots.touch(*slot, kSlot));
  }
  slots.release(*held[2]);
  slots.release(*held[0]);
  EXPECT_EQ(slots.allocate(1).value(), held[0]);
  EXPECT_EQ(slots.allocate(1).value(), held[2]);
}

TEST(MemorySlots, NoMoreThanTheWarmBytesStayMapped) {
  MemorySlots slots =
      make_slots({.slot_bytes = kSlot, .limit_bytes = 64 * kSlot, .warm_bytes = 2 * kSlot});
  std::vector<MemorySlot*> held;
  for (int i = 0; i < 8; ++i) {
    held.push_back(slots.allocate(kSlot).value());
    ASSERT_TRUE(slots.touch(*held.back(), kSlot));
    held.back()->data[0] = std::byte{1};
  }
  for (MemorySlot* slot : held) {
    slots.release(*slot);
  }
  EXPECT_EQ(slots.warm_bytes(), 8 * kSlot);
  while (slots.trim_one()) {
  }
  EXPECT_FALSE(slots.has_excess());
  EXPECT_EQ(slots.warm_bytes(), 2 * kSlot);
  EXPECT_EQ(slots.used_bytes(), 0U);
  EXPECT_EQ(held.front()->data[0], std::byte{0});
  EXPECT_EQ(held.back()->data[0], std::byte{1});
}

TEST(MemorySlots, ASmallSlotThatGrewIsSmallAgainWhenFreed) {
  constexpr std::uint32_t kLarge = 4U << 20;
  MemorySlots slots =
      make_slots({.slot_bytes = kLarge, .limit_bytes = 4 * kLarge, .warm_bytes = 4 * kLarge});
  MemorySlot* slot = slots.allocate(100).value();
  ASSERT_TRUE(slots.touch(*slot, kLarge));
  EXPECT_EQ(slots.used_bytes(), kLarge);
  slots.release(*slot);
  EXPECT_EQ(slots.allocate(100).value(), slot);
  EXPECT_EQ(slots.used_bytes(), MemorySlots::kSmallBytes + kPageBytes);
  ASSERT_TRUE(slots.touch(*slot, kLarge));
  slots.release(*slot);
  EXPECT_TRUE(slots.trim_one());
  EXPECT_EQ(slots.warm_bytes(), MemorySlots::kSmallBytes + kPageBytes);
  EXPECT_FALSE(slots.trim_one());
}

TEST(WriteSet, ACommitSettlesItsPartOfAnothersBytes) {
  WriteSet set;
  std::uint32_t first = set.open({0, 100}, 0);
  std::uint32_t second = set.open({20, 30}, 100);
  EXPECT_EQ(set.commit(second), (Range{20, 30}));
  EXPECT_TRUE(set.is_unsettled({0, 20}));
  EXPECT_FALSE(set.is_unsettled({20, 30}));
  EXPECT_TRUE(set.is_unsettled({30, 31}));
  EXPECT_EQ(set.abandon(first).size(), 2U);
  EXPECT_TRUE(set.empty());
  EXPECT_FALSE(set.is_unsettled({0, 100}));
}

TEST(WriteSet, AbandoningHandsSharedBytesToTheOtherWrite) {
  WriteSet set;
  std::uint32_t first = set.open({0, 100}, 0);
  std::uint32_t second = set.open({50, 150}, 100);
  EXPECT_EQ(set.abandon(first), (std::vector<Range>{{0, 50}}));
  EXPECT_TRUE(set.is_unsettled({50, 60}));
  EXPECT_EQ(set.commit(second), (Range{50, 150}));
  EXPECT_FALSE(set.is_unsettled({0, 150}));
}

TEST(WriteSet, ACutTakesTheTailOfWritesUnderWay) {
  WriteSet set;
  std::uint32_t first = set.open({10, 100}, 0);
  std::uint32_t second = set.open({200, 300}, 100);
  set.cut(40);
  EXPECT_FALSE(set.is_blocked({0, 40}));
  EXPECT_TRUE(set.is_blocked({40, 41}));
  EXPECT_FALSE(set.is_blocked({100, 200}));
  EXPECT_TRUE(set.is_blocked({299, 400}));
  EXPECT_FALSE(set.is_unsettled({40, 300}));
  EXPECT_EQ(set.commit(first), (Range{10, 40}));
  EXPECT_TRUE(set.commit(second).empty());
  EXPECT_TRUE(set.empty());
  EXPECT_TRUE(set.unsettled().empty());
}

}  // namespace
}  // namespace benchfs::chunk
