// Space of dropped chunks: how it comes back, and that nobody gets it too early.
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "chunk/store_fixture.h"

namespace benchfs::chunk {
namespace {

using Operation = IoFaults::Operation;

constexpr wire::InodeId kOld{7};
constexpr wire::InodeId kNew{9};

class SlotPuncherTest : public testing::TestWithParam<bool> {
 protected:
  Driver open() {
    auto store = shard_.open_file({.directory = directory_.path() + "/data",
                                   .slot_bytes = kSlot,
                                   .segment_slots = 4,
                                   .direct = GetParam(),
                                   .faults = &faults_});
    EXPECT_TRUE(store) << store.error().message();
    return {shard_.reactor(), *std::move(store)};
  }

  TemporaryDirectory directory_;
  Shard shard_;
  IoFaults faults_;
  rt::Event gate_;
};

TEST_P(SlotPuncherTest, TruncationToZeroDoesNotWaitForTheHole) {
  Driver driver = open();
  for (std::uint64_t index = 0; index < 3; ++index) {
    ASSERT_TRUE(driver.fill({kOld, index}, 0, kSlot, 'a'));
  }
  faults_.gated = Operation::kPunch;
  faults_.gate = &gate_;
  ASSERT_TRUE(driver.truncate(kOld, 0));  // would never return
  EXPECT_EQ(driver.query(kOld).chunk_count, 0U);
  // The slots are not free before their holes are punched.
  ASSERT_TRUE(driver.fill({kNew, 0}, kSlot - 1, 1, 'b'));
  EXPECT_EQ(driver.read({kNew, 0}), runs({{kSlot - 1, 0}, {1, 'b'}}));
  gate_.set();
  for (std::uint64_t index = 1; index < 4; ++index) {
    ASSERT_TRUE(driver.fill({kNew, index}, kSlot - 1, 1, 'c'));
    EXPECT_EQ(driver.read({kNew, index}), runs({{kSlot - 1, 0}, {1, 'c'}}));
  }
  EXPECT_FALSE(std::filesystem::exists(directory_.path() + "/data/segment_000001.dat"))
      << "writers wait for owed slots before a segment is added";
}

rt::Task<void> overwrite(ChunkStore* store, Status* out) {
  std::vector<std::byte> bytes(kSlot, std::byte{'X'});
  *out = co_await store_bytes(store, {kOld, 0}, 0, bytes, 1);
}
rt::Task<void> start_overwrite(rt::Scope* scope, ChunkStore* store, Status* out) {
  scope->spawn(overwrite(store, out));
  co_return;
}

TEST_P(SlotPuncherTest, ASlotIsUsedAgainOnlyAfterTheWriteUnderWayInIt) {
  Driver driver = open();
  ASSERT_TRUE(driver.fill({kOld, 0}, 0, kSlot, 'a'));
  faults_.gated = Operation::kWrite;
  faults_.gate = &gate_;
  rt::Scope scope;
  Status late = fail(Errc::kInternal, "still under way");
  shard_.reactor().block_on(start_overwrite(&scope, &driver.store(), &late));
  ASSERT_TRUE(driver.wait_until([&] { return gate_.has_waiters(); }));
  faults_.gated = Operation::kNone;  // later writes pass

  ASSERT_TRUE(driver.truncate(kOld, 0));
  for (std::uint64_t index = 0; index < 12; ++index) {
    ASSERT_TRUE(driver.fill({kNew, index}, 0, kSlot, 'b'));
  }
  gate_.set();
  ASSERT_TRUE(driver.wait_until([&] { return scope.active() == 0; }));
  EXPECT_TRUE(late) << late.error().message();
  for (std::uint64_t index = 0; index < 12; ++index) {
    EXPECT_EQ(driver.read({kNew, index}), runs({{kSlot, 'b'}})) << index;
  }
  EXPECT_EQ(driver.query(kOld).chunk_count, 0U);
  // And then it is used again, without the bytes of that write.
  for (std::uint64_t index = 12; index < 16; ++index) {
    ASSERT_TRUE(driver.fill({kNew, index}, kSlot - 1, 1, 'c'));
    EXPECT_EQ(driver.read({kNew, index}), runs({{kSlot - 1, 0}, {1, 'c'}})) << index;
  }
}

rt::Task<void> cut(ChunkStore* store, std::uint64_t size, Status* out) {
  *out = co_await store->truncate(kOld, size, kSlot);
}
rt::Task<void> start_cuts(rt::Scope* scope, ChunkStore* store, std::array<Status, 2>* out) {
  scope->spawn(cut(store, 5000, out->data()));
  scope->spawn(cut(store, 1000, out->data() + 1));
  co_return;
}

TEST_P(SlotPuncherTest, TwoCutsOfOneChunkAtOnceBothZeroTheirPart) {
  Driver driver = open();
  ASSERT_TRUE(driver.fill({kOld, 0}, 0, kSlot, 'a'));
  faults_.gated = Operation::kPunch;
  faults_.gate = &gate_;
  rt::Scope scope;
  std::array<Status, 2> cuts;
  shard_.reactor().block_on(start_cuts(&scope, &driver.store(), &cuts));
  ASSERT_TRUE(driver.wait_until([&] { return gate_.has_waiters(); }));
  gate_.set();
  ASSERT_TRUE(driver.wait_until([&] { return scope.active() == 0; }));
  EXPECT_TRUE(cuts[0] && cuts[1]);
  ASSERT_TRUE(driver.fill({kOld, 0}, 60'000, 1, 'b'));
  EXPECT_EQ(driver.read({kOld, 0}), runs({{1000, 'a'}, {59'000, 0}, {1, 'b'}}));
}

rt::Task<void> write_new(ChunkStore* store, Status* out) {
  std::vector<std::byte> bytes(5000, std::byte{'c'});
  *out = co_await store_bytes(store, {kNew, 0}, 0, bytes, 1);
}
rt::Task<void> start_write(rt::Scope* scope, ChunkStore* store, Status* out) {
  scope->spawn(write_new(store, out));
  co_return;
}

TEST_P(SlotPuncherTest, AWriterThatFindsTheDiskFullWaitsForSpaceOnItsWayBack) {
  Driver driver = open();
  ASSERT_TRUE(driver.fill({kOld, 0}, 0, kSlot, 'a'));
  ASSERT_TRUE(driver.fill({kNew, 0}, 0, 100, 'b'));
  faults_ = {.operation = Operation::kWrite,
             .result = -ENOSPC,
             .gated = Operation::kPunch,
             .gate = &gate_};
  ASSERT_TRUE(driver.truncate(kOld, 0));
  rt::Scope scope;
  Status written = fail(Errc::kInternal, "under way");
  shard_.reactor().block_on(start_write(&scope, &driver.store(), &written));
  ASSERT_TRUE(driver.wait_until([&] { return faults_.hits == 1; }));
  EXPECT_EQ(scope.active(), 1U);
  gate_.set();
  ASSERT_TRUE(driver.wait_until([&] { return scope.active() == 0; }));
  EXPECT_TRUE(written) << written.error().message();
  EXPECT_EQ(driver.read({kNew, 0}), runs({{5000, 'c'}}));
  faults_ = {.operation = Operation::kWrite, .result = -ENOSPC};
  Status full = driver.fill({kNew, 0}, 5000, 5000, 'd');
  ASSERT_FALSE(full) << "nothing is owed any more";
  EXPECT_TRUE(full.error().is_posix(ENOSPC));
}

TEST_P(SlotPuncherTest, CloseGivesUpWhatIsOwed) {
  Driver driver = open();
  for (std::uint64_t index = 0; index < 40; ++index) {
    ASSERT_TRUE(driver.fill({kOld, index}, 0, 100, 'a'));
  }
  ASSERT_TRUE(driver.truncate(kOld, 0));
  ASSERT_TRUE(driver.close());
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path() + "/data"));
}

INSTANTIATE_TEST_SUITE_P(Io, SlotPuncherTest, testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "Direct" : "Buffered");
});

// A real full device: a tmpfs in a mount namespace of a child process, whose exit code says which
// expectation failed.
constexpr int kCannotMount = 77;

template <typename Run>
int on_a_small_tmpfs(const std::string& directory, Run run) {
  pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", directory.c_str(), "tmpfs", 0, "size=1m") != 0) {
      _exit(kCannotMount);
    }
    int code = 1;
    {
      Shard shard;
      auto store = shard.open_file(
          {.directory = directory + "/data", .slot_bytes = kSlot, .segment_slots = 512});
      if (store) {
        Driver driver(shard.reactor(), *std::move(store));
        code = run(driver);
      }
    }
    umount(directory.c_str());
    _exit(code);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << status;
  return WEXITSTATUS(status);
}

// Writes chunks of `length` bytes until one is refused; returns how many were stored.
std::uint64_t fill_up(Driver& driver, wire::InodeId inode, std::uint32_t length) {
  std::uint64_t index = 0;
  while (index < 1000 && driver.fill({inode, index}, 0, length, 'a')) {
    ++index;
  }
  return index;
}

int full_and_usable_again(Driver& driver) {
  std::uint64_t index = 0;
  Status status;
  while (index < 20 && (status = driver.fill({kOld, index}, 0, kSlot, 'a'))) {
    ++index;
  }
  bool earlier_data_intact = true;
  for (std::uint64_t i = 0; i < index; ++i) {
    earlier_data_intact &= driver.read({kOld, i}) == runs({{kSlot, 'a'}});
  }
  if (status || !status.error().is_posix(ENOSPC)) {
    return 2;
  }
  if (!earlier_data_intact || driver.query(kOld).chunk_count != index) {
    return 3;
  }
  if (!driver.truncate(kOld, kSlot) || !driver.fill({kOld, 5}, 0, kSlot, 'b')) {
    return 4;
  }
  return driver.read({kOld, 5}) == runs({{kSlot, 'b'}}) && driver.close() ? 0 : 5;
}

// Chunks that end inside a block, whole chunks, and chunks cut inside a block: the space of each
// serves the others.
int gives_all_space_back(Driver& driver) {
  const std::uint64_t large = fill_up(driver, kOld, kSlot);
  if (large < 10 || !driver.truncate(kOld, 0)) {
    return 2;
  }
  for (int round = 0; round < 3; ++round) {
    std::uint64_t small = fill_up(driver, kNew, 3901);
    if (small < large * (kSlot / 4096) || !driver.truncate(kNew, 0)) {
      return 3;
    }
    if (fill_up(driver, kOld, kSlot) < large) {
      return 4;
    }
    for (std::uint64_t i = large; i > 0; --i) {
      if (!driver.truncate(kOld, (i - 1) * kSlot + 100)) {
        return 5;
      }
    }
    if (fill_up(driver, kNew, kSlot) + 1 < large || !driver.truncate(kOld, 0) ||
        !driver.truncate(kNew, 0)) {
      return 6;
    }
  }
  return 0;
}

TEST(FullDisk, AFullFileSystemAnswersEnospcAndTheStoreGoesOn) {
  TemporaryDirectory directory;
  int code = on_a_small_tmpfs(directory.path(), full_and_usable_again);
  if (code == kCannotMount) {
    GTEST_SKIP() << "mounting a tmpfs in a namespace of our own is not permitted here";
  }
  EXPECT_EQ(code, 0);
}

TEST(FullDisk, TheSpaceOfRemovedFilesServesFilesOfAnySize) {
  TemporaryDirectory directory;
  int code = on_a_small_tmpfs(directory.path(), gives_all_space_back);
  if (code == kCannotMount) {
    GTEST_SKIP() << "mounting a tmpfs in a namespace of our own is not permitted here";
  }
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace benchfs::chunk
