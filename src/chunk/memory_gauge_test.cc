// Tests the memory that the machine and its cgroups leave, with trees of files in their formats.
#include "chunk/memory_gauge.h"

#include <fstream>

#include "chunk/store_fixture.h"

namespace benchfs::chunk {
namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

class MemoryGaugeTest : public testing::Test {
 protected:
  void SetUp() override { set_machine(16 * 1024, 8 * 1024); }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root() + path).parent_path());
    std::ofstream(root() + path) << text;
  }
  void set_machine(std::uint64_t total_mib, std::uint64_t available_mib) {
    write("/proc/meminfo",
          fmt::format("MemTotal:       {} kB\nMemFree:          100 kB\nMemAvailable:    {} kB\n",
                      total_mib * 1024,
                      available_mib * 1024));
  }
  void use_v2(const std::string& own, const std::string& top = "/") {
    write("/proc/self/cgroup", "0::" + own + "\n");
    write("/proc/self/mountinfo",
          "25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
          "36 25 0:31 " +
              top + " /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n");
  }
  void use_v1(const std::string& own) {
    write("/proc/self/cgroup", "12:cpu,cpuacct:/x\n5:memory:" + own + "\n0::/\n");
    write("/proc/self/mountinfo",
          "36 25 0:31 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
          "37 25 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
          "38 25 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  }
  void set_v2(const std::string& group,
              const std::string& max,
              std::uint64_t used,
              std::uint64_t cache) {
    std::string directory = "/sys/fs/cgroup" + group;
    write(directory + "/memory.max", max + "\n");
    write(directory + "/memory.current", fmt::format("{}\n", used));
    write(directory + "/memory.stat", fmt::format("anon 1\nfile 2\ninactive_file {}\n", cache));
  }
  void set_v1(const std::string& group,
              std::uint64_t limit,
              std::uint64_t used,
              std::uint64_t cache) {
    std::string directory = "/sys/fs/cgroup/memory" + group;
    write(directory + "/memory.limit_in_bytes", fmt::format("{}\n", limit));
    write(directory + "/memory.usage_in_bytes", fmt::format("{}\n", used));
    write(directory + "/memory.stat",
          fmt::format("cache 2\ninactive_file 1\ntotal_inactive_file {}\n", cache));
  }
  [[nodiscard]] MemoryLeft left() const { return MemoryGauge(root()).left().value(); }
  [[nodiscard]] std::string root() const { return directory_.path(); }

  TemporaryDirectory directory_;
};

TEST_F(MemoryGaugeTest, WithoutCgroupsTheMachineCounts) {
  EXPECT_EQ(left().bytes, 8 * 1024 * kMiB);
  EXPECT_EQ(left().total_bytes, 16 * 1024 * kMiB);
  EXPECT_EQ(left().limited_by, "the machine");
}

TEST_F(MemoryGaugeTest, TheLeastOfAllAncestorsCountsInV2) {
  use_v2("/job/step/task");
  set_v2("/job/step/task", "max", 100 * kMiB, 0);
  set_v2("/job/step", fmt::format("{}", 1000 * kMiB), 700 * kMiB, 200 * kMiB);
  set_v2("/job", fmt::format("{}", 2000 * kMiB), 700 * kMiB, 0);
  EXPECT_EQ(left().bytes, 500 * kMiB);
  EXPECT_EQ(left().total_bytes, 1000 * kMiB);
  EXPECT_EQ(left().limited_by, "cgroup /sys/fs/cgroup/job/step");
  set_v2("/job", fmt::format("{}", 2000 * kMiB), 1900 * kMiB, 0);
  EXPECT_EQ(left().bytes, 100 * kMiB);
  set_v2("/job", fmt::format("{}", 2000 * kMiB), 2100 * kMiB, 0);
  EXPECT_EQ(left().bytes, 0U);
  set_machine(16, 0);
  EXPECT_EQ(left().bytes, 0U);
}

TEST_F(MemoryGaugeTest, TheLeastOfAllAncestorsCountsInV1) {
  use_v1("/slurm/job_1");
  set_v1("/slurm/job_1", 0x7ffffffffffff000, 5 * kMiB, 0);
  set_v1("/slurm", 512 * kMiB, 100 * kMiB, 60 * kMiB);
  EXPECT_EQ(left().bytes, 472 * kMiB);
  EXPECT_EQ(left().limited_by, "cgroup /sys/fs/cgroup/memory/slurm");
}

TEST_F(MemoryGaugeTest, AContainerSeesItsPartOfTheTree) {
  use_v2("/docker/abc/inner", "/docker/abc");
  set_v2("/inner", fmt::format("{}", 300 * kMiB), 0, 0);
  EXPECT_EQ(left().bytes, 300 * kMiB);
  use_v2("/../elsewhere");  // of another cgroup namespace
  set_v2("", fmt::format("{}", 200 * kMiB), 0, 0);
  EXPECT_EQ(left().bytes, 200 * kMiB);
}

TEST_F(MemoryGaugeTest, TheRealFilesAreUnderstood) {
  Result<MemoryLeft> here = MemoryGauge().left();
  ASSERT_TRUE(here) << here.error().message();
  EXPECT_GT(here->bytes, 0U);
  EXPECT_GE(here->total_bytes, here->bytes);
}

TEST_F(MemoryGaugeTest, WithoutALimitTheStoreOffersAShareOfWhatIsLeft) {
  use_v2("/job");
  set_v2("/job", fmt::format("{}", 1000 * kMiB), 200 * kMiB, 0);
  auto store = make_memory_store({.slot_bytes = 1U << 20, .shards = 4, .system_root = root()});
  ASSERT_TRUE(store) << store.error().message();
  Shard shard;
  Driver driver(shard.reactor(), *std::move(store));
  EXPECT_EQ(driver.space().total_bytes, 100 * kMiB);
}

TEST_F(MemoryGaugeTest, GrowthStopsWhenLittleIsLeftAndGoesOnAfterwards) {
  Shard shard;
  Driver driver(
      shard.reactor(),
      make_memory_store({.slot_bytes = 1U << 20, .limit_bytes = 1024 * kMiB, .system_root = root()})
          .value());
  wire::InodeId inode{7};
  ASSERT_TRUE(driver.fill({inode, 0}, 0, 1U << 20, 'a'));
  use_v2("/job");  // found at the start only
  set_machine(2048, 40);
  // Memory granted at the last look, at most 64 MiB, may still be used.
  std::uint64_t index = 1;
  Status status;
  while (index < 200 && (status = driver.fill({inode, index}, 0, 1U << 20, 'b'))) {
    ++index;
  }
  EXPECT_LE(index, 64U);
  ASSERT_FALSE(status);
  EXPECT_TRUE(status.error().is_posix(ENOSPC));
  EXPECT_NE(status.error().message().find("the machine has 40 of 2048 MiB left"),
            std::string::npos);
  EXPECT_EQ(driver.space().free_bytes, 0U);
  EXPECT_TRUE(driver.fill({inode, 0}, 0, 1U << 20, 'c')) << "what it has it may use";
  ASSERT_TRUE(driver.truncate(inode, 1U << 20, 1U << 20));
  EXPECT_TRUE(driver.fill({inode, 1}, 0, 1U << 20, 'd')) << "and what it freed";
  set_machine(2048, 1024);
  EXPECT_TRUE(driver.fill({inode, 300}, 0, 1U << 20, 'e'));
}

}  // namespace
}  // namespace benchfs::chunk
