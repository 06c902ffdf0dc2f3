// Tests of the file engine alone: its directory and its faults.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>

#include "chunk/slot_guard.h"
#include "chunk/store_fixture.h"

namespace {

thread_local bool is_reactor_thread = false;
std::atomic<int> blocking_calls{0};
std::atomic<int> blocking_calls_on_reactor{0};

void note_blocking_call() {
  ++(is_reactor_thread ? blocking_calls_on_reactor : blocking_calls);
}

}  // namespace

// In the place of libc's, for the whole program.
extern "C" int ftruncate(int fd, off_t length) noexcept {
  note_blocking_call();
  return static_cast<int>(syscall(SYS_ftruncate, fd, length));
}
extern "C" int unlink(const char* path) noexcept {
  note_blocking_call();
  return unlinkat(AT_FDCWD, path, 0);
}

namespace benchfs::chunk {
namespace {

using Operation = IoFaults::Operation;

class FileStoreTest : public testing::TestWithParam<bool> {
 protected:
  FileEngineConfig config() {
    return {.directory = directory_.path() + "/data",
            .slot_bytes = kSlot,
            .segment_slots = 4,
            .direct = GetParam(),
            .faults = &faults_};
  }
  Driver open() {
    auto store = shard_.open_file(config());
    EXPECT_TRUE(store) << store.error().message();
    return {shard_.reactor(), *std::move(store)};
  }
  [[nodiscard]] std::uint64_t blocks() const {
    std::uint64_t sum = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path() + "/data")) {
      struct stat info{};
      EXPECT_EQ(stat(entry.path().c_str(), &info), 0);
      sum += static_cast<std::uint64_t>(info.st_blocks);
    }
    return sum;
  }

  TemporaryDirectory directory_;
  Shard shard_;
  IoFaults faults_;
};

TEST_P(FileStoreTest, ASecondStoreOnTheDirectoryIsRefused) {
  Driver first = open();
  auto second = shard_.open_file(config());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kConfig);
  EXPECT_NE(second.error().message().find("in use by another daemon"), std::string::npos);
  ASSERT_TRUE(first.close());
  EXPECT_TRUE(shard_.open_file(config()));
}

TEST_P(FileStoreTest, LeftOversOfAnEarlierRunGoAndOtherFilesStay) {
  std::string data = directory_.path() + "/data";
  std::filesystem::create_directories(data);
  for (const char* name : {"segment_000000.dat", "segment_000077.dat", "segment_x.dat", "mine"}) {
    std::ofstream(data + "/" + name) << "old";
  }
  {
    Driver driver = open();
    EXPECT_FALSE(std::filesystem::exists(data + "/segment_000077.dat"));
    ASSERT_TRUE(driver.fill(kKey, 10, 1, 'a'));
    EXPECT_EQ(driver.read(kKey), runs({{10, 0}, {1, 'a'}}));
    ASSERT_TRUE(driver.close());
  }
  EXPECT_FALSE(std::filesystem::exists(data + "/segment_000000.dat"));
  EXPECT_TRUE(std::filesystem::exists(data + "/segment_x.dat"));
  EXPECT_TRUE(std::filesystem::exists(data + "/mine"));
}

TEST_P(FileStoreTest, AnUnusableDirectoryIsAClearError) {
  FileEngineConfig bad = config();
  bad.directory = "/proc/benchfs/data";
  auto store = shard_.open_file(bad);
  ASSERT_FALSE(store);
  EXPECT_NE(store.error().message().find("/proc/benchfs/data"), std::string::npos);
}

TEST_P(FileStoreTest, SegmentsGrowOnDemandAndSlotsAreReused) {
  Driver driver = open();
  for (std::uint64_t index = 0; index < 10; ++index) {
    ASSERT_TRUE(driver.fill({kInode, index}, 0, 100, 'b'));
  }
  std::string third = config().directory + "/segment_000002.dat";
  EXPECT_TRUE(std::filesystem::exists(third));
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(driver.truncate(kInode, 0));
    for (std::uint64_t index = 0; index < 12; ++index) {
      ASSERT_TRUE(driver.fill({kInode, index}, 0, 100, 'c'));
    }
  }
  EXPECT_FALSE(std::filesystem::exists(config().directory + "/segment_000003.dat"));
}

TEST_P(FileStoreTest, FilesAreMadeAndRemovedBesideTheReactor) {
  Driver driver = open();
  is_reactor_thread = true;
  blocking_calls = 0;
  blocking_calls_on_reactor = 0;
  for (std::uint64_t chunk = 0; chunk < 5; ++chunk) {
    EXPECT_TRUE(driver.fill({kInode, chunk}, 0, 1, 'a'));
  }
  EXPECT_EQ(blocking_calls, 1);
  EXPECT_TRUE(driver.close());
  is_reactor_thread = false;
  EXPECT_GE(blocking_calls, 3);
  EXPECT_EQ(blocking_calls_on_reactor, 0);
}

// Writers that find the segments full at the same time.
TEST_P(FileStoreTest, OneSegmentIsMadeForAllWhoNeedOne) {
  Driver driver = open();
  for (std::uint64_t chunk = 0; chunk < 4; ++chunk) {
    ASSERT_TRUE(driver.fill({kInode, chunk}, 0, 1, 'a'));
  }
  rt::Reactor::Binding binding(shard_.reactor());
  rt::Scope scope;
  int stored = 0;
  auto write = [&](std::uint64_t chunk) -> rt::Task<void> {
    std::array<std::byte, 1> byte{std::byte{'b'}};
    Status done = co_await store_bytes(&driver.store(), {kInode, chunk}, 0, byte, 1);
    stored += done ? 1 : 0;
  };
  for (std::uint64_t chunk = 4; chunk < 8; ++chunk) {
    scope.spawn(write(chunk));
  }
  EXPECT_TRUE(driver.wait_until([&] { return scope.active() == 0; }));
  EXPECT_EQ(stored, 4);
  auto files = std::filesystem::directory_iterator(directory_.path() + "/data");
  EXPECT_EQ(std::distance(files, {}), 3);  // the lock, and two segments
  ASSERT_TRUE(driver.fill({kInode, 8}, 0, 1, 'c'));
  EXPECT_TRUE(std::filesystem::exists(directory_.path() + "/data/segment_000002.dat"));
}

// The first copy of a write is still on its way to the device when the second is answered.
TEST_P(FileStoreTest, AnEarlierCommitDoesNotUndoALaterOneOfTheSameRange) {
  Driver driver = open();
  ASSERT_TRUE(driver.fill(kKey, 0, kSlot, 'x'));
  rt::Reactor::Binding binding(shard_.reactor());
  rt::Event gate;
  rt::Scope scope;
  auto write = [&](char value) -> rt::Task<void> {
    std::vector<std::byte> bytes(kSlot, static_cast<std::byte>(value));
    EXPECT_TRUE(co_await store_bytes(&driver.store(), kKey, 0, bytes, 1));
  };
  faults_.gated = Operation::kWrite;
  faults_.gate = &gate;
  scope.spawn(write('a'));
  ASSERT_TRUE(driver.wait_until([&] { return gate.has_waiters(); }));
  faults_.gate = nullptr;
  scope.spawn(write('b'));
  for (int turn = 0; turn < 10'000 && scope.active() == 2; ++turn) {
    shard_.reactor().turn();
  }
  EXPECT_EQ(scope.active(), 2U);
  gate.set();
  EXPECT_TRUE(driver.wait_until([&] { return scope.active() == 0; }));
  EXPECT_EQ(driver.read(kKey), runs({{kSlot, 'b'}}));
}

TEST_P(FileStoreTest, DroppedChunksGiveTheirSpaceBack) {
  Driver driver = open();
  std::uint64_t empty = blocks();
  for (std::uint64_t index = 0; index < 8; ++index) {
    ASSERT_TRUE(driver.fill({kInode, index}, 0, kSlot, 'd'));
  }
  ASSERT_TRUE(driver.sync(kInode));
  EXPECT_GE(blocks(), empty + 8 * kSlot / 512);
  ASSERT_TRUE(driver.truncate(kInode, 4096));
  EXPECT_TRUE(driver.wait_until([&] { return blocks() <= empty + 64; })) << blocks();
}

TEST_P(FileStoreTest, ShortTransfersAreContinued) {
  Driver driver = open();
  std::vector<std::byte> bytes(kSlot);
  for (std::uint32_t i = 0; i < kSlot; ++i) {
    bytes[i] = pattern(1, i, 1);
  }
  for (std::uint32_t length : {kSlot, 40'001U, 2U}) {
    auto part = std::span(bytes).first(length);
    faults_ = {.operation = Operation::kWrite, .count = 3};
    ASSERT_TRUE(driver.write({kInode, length}, 0, part));
    EXPECT_GT(faults_.hits, 0U);
    faults_ = {.operation = Operation::kRead, .count = 3};
    EXPECT_EQ(driver.read({kInode, length}), std::vector(part.begin(), part.end()));
    EXPECT_GT(faults_.hits, 0U);
  }
}

TEST_P(FileStoreTest, InterruptedTransfersAreRepeated) {
  Driver driver = open();
  for (int error : {EINTR, EAGAIN}) {
    for (Operation operation :
         {Operation::kWrite, Operation::kRead, Operation::kSync, Operation::kPunch}) {
      faults_ = {.operation = operation, .count = 3, .result = -error};
      ASSERT_TRUE(driver.fill(kKey, 0, 8192, 'e'));
      EXPECT_EQ(driver.read(kKey), runs({{8192, 'e'}}));
      EXPECT_TRUE(driver.sync(kInode));
      EXPECT_TRUE(driver.truncate(kInode, 0));
      EXPECT_TRUE(driver.wait_until([&] { return faults_.hits == 3; }));
    }
  }
}

TEST_P(FileStoreTest, AWriteErrorSticksToTheChunkUntilItIsDropped) {
  Driver driver = open();
  ASSERT_TRUE(driver.fill(kKey, 0, 4096, 'f'));
  faults_ = {.operation = Operation::kWrite, .result = -EIO};
  Status failed = driver.fill(kKey, 4096, 4096, 'g');
  ASSERT_FALSE(failed);
  EXPECT_TRUE(failed.error().is_posix(EIO));
  EXPECT_TRUE(driver.fill(kKey, 0, 10, 'h').error().is_posix(EIO));
  EXPECT_EQ(driver.read(kKey), runs({{4096, 'f'}}));
  EXPECT_TRUE(driver.fill({kInode, 1}, 0, 4096, 'i'));
  ASSERT_TRUE(driver.truncate(kInode, 0));
  ASSERT_TRUE(driver.fill(kKey, 0, 10, 'j'));
  EXPECT_EQ(driver.read(kKey), runs({{10, 'j'}}));
}

TEST_P(FileStoreTest, AFullDeviceHarmsNeitherTheChunkNorOthers) {
  Driver driver = open();
  ASSERT_TRUE(driver.fill(kKey, 0, 5000, 'k'));
  // The first half gets through.
  for (std::uint64_t index : {0U, 1U}) {
    faults_ = {.operation = Operation::kWrite, .count = 1, .result = 0};
    IoFaults* faults = &faults_;
    struct HalfThenFull {
      static rt::CoStatus run(ChunkStore* store, wire::ChunkKey key, IoFaults* out) {
        BENCHFS_CO_TRY(WriteLease lease, co_await store->begin_write(key, 8192, 32'768, soon()));
        std::ranges::fill(lease.bytes(), std::byte{'l'});
        *out = {.operation = IoFaults::Operation::kWrite, .count = 2000, .result = -ENOSPC};
        co_return co_await store->commit(std::move(lease), 1);
      }
    };
    Status full =
        shard_.reactor().block_on(HalfThenFull::run(&driver.store(), {kInode, index}, faults));
    ASSERT_FALSE(full);
    EXPECT_TRUE(full.error().is_posix(ENOSPC));
  }
  faults_ = {};
  EXPECT_EQ(driver.query(kInode).end, 5000U);
  EXPECT_EQ(driver.query(kInode).chunk_count, 1U);
  ASSERT_TRUE(driver.fill(kKey, 50'000, 1, 'm'));
  EXPECT_EQ(driver.read(kKey), runs({{5000, 'k'}, {45'000, 0}, {1, 'm'}}));
}

TEST_P(FileStoreTest, ReadErrorsReachTheCallerAndDoNotStick) {
  Driver driver = open();
  ASSERT_TRUE(driver.fill(kKey, 0, 4096, 'n'));
  faults_ = {.operation = Operation::kRead, .result = -EIO};
  EXPECT_TRUE(driver.lease(kKey, 0, 4096).error().is_posix(EIO));
  EXPECT_EQ(driver.read(kKey), runs({{4096, 'n'}}));
}

TEST_P(FileStoreTest, AFailedSyncSticksToTheSegment) {
  Driver driver = open();
  ASSERT_TRUE(driver.fill(kKey, 0, 4096, 'o'));
  faults_ = {.operation = Operation::kSync, .result = -EIO};
  EXPECT_FALSE(driver.sync(kInode));
  EXPECT_FALSE(driver.sync(kInode));
  EXPECT_TRUE(driver.fill(kKey, 0, 4096, 'p').error().is_posix(EIO));
  EXPECT_TRUE(driver.fill({kInode, 1}, 0, 4096, 'q')) << "new chunks go to a new segment";
}

TEST_P(FileStoreTest, SyncReachesTheDeviceOnceForOneWrite) {
  Driver driver = open();
  ASSERT_TRUE(driver.fill(kKey, 0, 4096, 'r'));
  faults_ = {.operation = Operation::kSync, .count = 100, .result = 0};
  ASSERT_TRUE(driver.sync(kInode));
  ASSERT_TRUE(driver.sync(kInode));
  EXPECT_EQ(faults_.hits, 1U);
  ASSERT_TRUE(driver.fill(kKey, 0, 4096, 's'));
  ASSERT_TRUE(driver.sync(kInode));
  EXPECT_EQ(faults_.hits, 2U);
}

TEST_P(FileStoreTest, WithoutHolePunchingSlotsAreZeroed) {
  faults_ = {.operation = Operation::kPunch, .count = 1'000'000, .result = -EOPNOTSUPP};
  Driver driver = open();
  ASSERT_TRUE(driver.fill(kKey, 0, kSlot, 't'));
  ASSERT_TRUE(driver.truncate(kInode, 1000));
  ASSERT_TRUE(driver.fill(kKey, 60'000, 1, 'u'));
  EXPECT_EQ(driver.read(kKey), runs({{1000, 't'}, {59'000, 0}, {1, 'u'}}));
  ASSERT_TRUE(driver.truncate(kInode, 0));
  for (std::uint64_t index = 0; index < 4; ++index) {
    ASSERT_TRUE(driver.fill({kInode, index}, kSlot - 1, 1, 'v'));
    EXPECT_EQ(driver.read({kInode, index}), runs({{kSlot - 1, 0}, {1, 'v'}}));
  }
  EXPECT_EQ(faults_.hits, 1U);
}

TEST_P(FileStoreTest, ASlotWhosePunchFailsIsNotUsedAgain) {
  Driver driver = open();
  ASSERT_TRUE(driver.fill(kKey, 0, kSlot, 'w'));
  faults_ = {.operation = Operation::kPunch, .result = -EIO};
  ASSERT_TRUE(driver.truncate(kInode, 0));
  EXPECT_TRUE(driver.wait_until([&] { return faults_.hits == 1; }));
  ASSERT_TRUE(driver.fill(kKey, kSlot - 1, 1, 'x'));
  EXPECT_EQ(driver.read(kKey), runs({{kSlot - 1, 0}, {1, 'x'}}));
}

TEST_P(FileStoreTest, ReadsWaitForABufferUntilTheirDeadline) {
  Driver driver = open();
  ASSERT_TRUE(driver.fill(kKey, 0, 100, 'y'));
  std::vector<BufferPool::Lease> all;
  while (auto lease = shard_.pool().try_acquire()) {
    all.push_back(*std::move(lease));
  }
  Deadline deadline = Deadline::after(std::chrono::milliseconds(2));
  EXPECT_EQ(shard_.reactor().block_on(driver.store().read(kKey, 0, 10, deadline)).error().code,
            Errc::kDeadline);
  EXPECT_EQ(
      shard_.reactor().block_on(driver.store().begin_write(kKey, 0, 10, deadline)).error().code,
      Errc::kDeadline);
}

rt::Task<void> commit_lease(ChunkStore* store, WriteLease lease, Status* out) {
  *out = co_await store->commit(std::move(lease), 1);
}
rt::Task<void> cut_file(ChunkStore* store, std::uint64_t size, Status* out) {
  *out = co_await store->truncate(kInode, size, kSlot);
}
rt::Task<void> run_in_order(rt::Scope* scope,
                            ChunkStore* store,
                            std::array<WriteLease, 2>* leases,
                            std::array<Status, 3>* out) {
  scope->spawn(commit_lease(store, std::move((*leases)[0]), &(*out)[0]));
  scope->spawn(commit_lease(store, std::move((*leases)[1]), &(*out)[1]));
  scope->spawn(cut_file(store, 6000, &(*out)[2]));
  co_await scope->join();
}

TEST_P(FileStoreTest, AWriteQueuedBehindTheOtherKindIsCutByATruncation) {
  Driver driver = open();
  ASSERT_TRUE(driver.fill(kKey, 0, 100, 'a'));
  std::array<WriteLease, 2> leases{driver.begin(kKey, 200, 100).value(),
                                   driver.begin(kKey, 4096, 4096).value()};
  std::ranges::fill(leases[0].bytes(), std::byte{'b'});
  std::ranges::fill(leases[1].bytes(), std::byte{'c'});
  std::array<Status, 3> results;
  rt::Scope scope;
  shard_.reactor().block_on(run_in_order(&scope, &driver.store(), &leases, &results));
  EXPECT_TRUE(results[0] && results[1] && results[2]);
  EXPECT_EQ(driver.query(kInode).end, 6000U);
  ASSERT_TRUE(driver.fill(kKey, 60'000, 1, 'd'));
  EXPECT_EQ(
      driver.read(kKey),
      runs({{100, 'a'}, {100, 0}, {100, 'b'}, {3796, 0}, {1904, 'c'}, {54'000, 0}, {1, 'd'}}));
}

// Truncations, writes and reads of one inode at once: at the end no byte of a dropped chunk is
// seen.
rt::Task<void> churn_write(ChunkStore* store, std::uint64_t seed, std::uint64_t* failures) {
  Random random(seed);
  for (int i = 0; i < 150; ++i) {
    auto offset = static_cast<std::uint32_t>(random.below(15) * 4096);
    std::uint32_t length = random.below(2) == 0 ? 4096 : 1234;
    std::vector<std::byte> bytes(length, std::byte{0x55});
    Status stored = co_await store_bytes(store, {kInode, random.below(6)}, offset, bytes, i);
    *failures += stored ? 0 : 1;
  }
}
rt::Task<void> churn_truncate(ChunkStore* store, std::uint64_t seed, std::uint64_t* failures) {
  Random random(seed);
  for (int i = 0; i < 100; ++i) {
    Status cut = co_await store->truncate(kInode, random.below(6 * kSlot), kSlot);
    *failures += cut ? 0 : 1;
    co_await rt::Yield{};
  }
}
rt::Task<void> churn_read(ChunkStore* store, std::uint64_t seed, std::uint64_t* failures) {
  Random random(seed);
  for (int i = 0; i < 200; ++i) {
    auto lease = co_await store->read({kInode, random.below(6)}, 0, kSlot, soon());
    bool is_good = lease && std::ranges::all_of(lease->bytes(), [](std::byte b) {
                     return b == std::byte{0} || b == std::byte{0x55};
                   });
    *failures += is_good ? 0 : 1;
  }
}
rt::Task<void> churn(rt::Scope* scope, ChunkStore* store, std::uint64_t seed, std::uint64_t* out) {
  for (std::uint64_t i = 0; i < 4; ++i) {
    scope->spawn(churn_write(store, seed + i, out));
    scope->spawn(churn_read(store, seed + 10 + i, out));
  }
  scope->spawn(churn_truncate(store, seed + 20, out));
  co_await scope->join();
}

TEST_P(FileStoreTest, TruncationsAmongWritesNeverShowDroppedBytes) {
  std::uint64_t seed = test_seed();
  SCOPED_TRACE(fmt::format("BENCHFS_SEED={}", seed));
  Driver driver = open();
  // Fill the slots with bytes that must never be seen again.
  for (std::uint64_t index = 0; index < 8; ++index) {
    ASSERT_TRUE(driver.fill({wire::InodeId{1}, index}, 0, kSlot, '!'));
  }
  ASSERT_TRUE(driver.truncate(wire::InodeId{1}, 0));
  rt::Scope scope;
  std::uint64_t failures = 0;
  shard_.reactor().block_on(churn(&scope, &driver.store(), seed, &failures));
  EXPECT_EQ(failures, 0U);
  ASSERT_TRUE(driver.truncate(kInode, 100));
  ASSERT_TRUE(driver.fill(kKey, kSlot - 1, 1, '.'));
  auto bytes = driver.read(kKey);
  ASSERT_EQ(bytes.size(), kSlot);
  EXPECT_TRUE(std::all_of(
      bytes.begin() + 100, bytes.end() - 1, [](std::byte b) { return b == std::byte{0}; }));
}

INSTANTIATE_TEST_SUITE_P(Io, FileStoreTest, testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "Direct" : "Buffered");
});

rt::Task<void> hold_access(SlotGuard* guard, Access access, int id, std::vector<int>* order) {
  SlotGuard::Hold hold = co_await guard->enter(access);
  order->push_back(id);
  co_await rt::Yield{};
  order->push_back(-id);
}
rt::Task<void> contend(rt::Scope* scope, SlotGuard* guard, std::vector<int>* order) {
  using enum Access;
  int id = 0;
  for (Access access : {kDirect, kDirect, kBuffered, kDirect, kExclusive, kBuffered, kBuffered}) {
    scope->spawn(hold_access(guard, access, ++id, order));
  }
  co_await scope->join();
}

TEST(SlotGuard, KindsTakeTurnsInTheOrderOfArrival) {
  auto reactor = rt::Reactor::create().value();
  rt::Scope scope;
  SlotGuard guard;
  std::vector<int> order;
  reactor->block_on(contend(&scope, &guard, &order));
  EXPECT_EQ(order, (std::vector<int>{1, 2, -1, -2, 3, -3, 4, -4, 5, -5, 6, 7, -6, -7}));
}

}  // namespace
}  // namespace benchfs::chunk
