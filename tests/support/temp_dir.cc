#include "support/temp_dir.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "base/check.h"
#include "base/random.h"

namespace benchfs::test {
namespace {

std::string temp_base() {
  const char* base = std::getenv("TMPDIR");
  return base != nullptr && *base == '/' ? base : "/tmp";
}

}  // namespace

TempDir::TempDir() : TempDir(temp_base()) {}

TempDir::TempDir(const std::string& base) : path_(base + "/benchfs-test-XXXXXX") {
  BENCHFS_CHECK(mkdtemp(path_.data()) != nullptr);
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::uint64_t test_seed() {
  const char* given = std::getenv("BENCHFS_SEED");
  std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : random_id();
  fmt::print("BENCHFS_SEED={:#x}\n", seed);
  std::fflush(stdout);
  return seed;
}

}  // namespace benchfs::test
