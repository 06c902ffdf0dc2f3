// Things that every test may need: its own directory, and a seed.
#pragma once

#include <cstdint>
#include <string>

namespace benchfs::test {

// An empty directory below $TMPDIR or /tmp, removed with its content when destroyed.
class TempDir {
 public:
  TempDir();
  // Below `base`, for example /dev/shm.
  explicit TempDir(const std::string& base);
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// BENCHFS_SEED, else an unpredictable one. Printed, so that a failure can be repeated.
std::uint64_t test_seed();

}  // namespace benchfs::test
