// The fixture of the tests that every engine must pass.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "chunk/store_fixture.h"

namespace benchfs::chunk {

struct Engine {
  const char* name;
  const char* parent = nullptr;  // nullptr: memory engine
  bool direct = false;
  rt::Uring::Backend backend = rt::Uring::Backend::kAuto;
};

inline auto all_engines() {
  return testing::Values(Engine{.name = "Memory"},
                         Engine{"DiskDirect", "/tmp", true},
                         Engine{"DiskBuffered", "/tmp", false},
                         Engine{"ShmDirect", "/dev/shm", true},
                         Engine{"ShmBuffered", "/dev/shm", false},
                         Engine{"Threads", "/tmp", true, rt::Uring::Backend::kThreads});
}
inline std::string engine_name(const testing::TestParamInfo<Engine>& info) {
  return info.param.name;
}

inline constexpr std::uint64_t kMemoryLimit = 64 * std::uint64_t{kSlot};

class EngineTest : public testing::TestWithParam<Engine> {
 protected:
  void SetUp() override {
    const Engine& engine = GetParam();
    if (engine.parent == nullptr) {
      open(make_memory_store({.slot_bytes = kSlot, .limit_bytes = kMemoryLimit}));
      return;
    }
    directory_.emplace(engine.parent);
    if (directory_->path().empty()) {
      GTEST_SKIP() << engine.parent << " cannot be written";
    }
    open(shard_.open_file({.directory = directory_->path(),
                           .slot_bytes = kSlot,
                           .segment_slots = 16,
                           .direct = engine.direct}));
  }
  void TearDown() override {
    if (driver_) {
      EXPECT_TRUE(driver_->close());
      driver_.reset();
      EXPECT_EQ(shard_.pool().available(), shard_.pool().count());
    }
    if (directory_ && !directory_->path().empty()) {
      EXPECT_TRUE(std::filesystem::is_empty(directory_->path()));
    }
  }
  void open(Result<std::unique_ptr<ChunkStore>> store) {
    ASSERT_TRUE(store) << store.error().message();
    driver_ = std::make_unique<Driver>(shard_.reactor(), *std::move(store));
  }
  [[nodiscard]] bool is_memory() const { return GetParam().parent == nullptr; }

  Shard shard_{8, GetParam().backend};
  std::optional<TemporaryDirectory> directory_;
  std::unique_ptr<Driver> driver_;
};

}  // namespace benchfs::chunk
