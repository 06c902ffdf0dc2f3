#include "support/scribbler.h"

#include <fmt/format.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/random.h"

namespace benchfs::test {
namespace {

struct Shared {
  std::span<std::uint32_t> words;
  bool is_writable = false;
};

std::vector<Shared> shared_with_shards() {
  std::vector<Shared> all;
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char rights[5] = "";
    bool is_read =
        std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s", &begin, &end, rights) == 3;
    bool is_ours = line.find("/memfd:benchfs-") != std::string::npos &&
                   line.find("/memfd:benchfs-slots ") == std::string::npos;
    if (is_read && is_ours) {
      // NOLINTNEXTLINE(performance-no-int-to-ptr): an address from the kernel
      auto* words = reinterpret_cast<std::uint32_t*>(begin);
      all.push_back({.words = {words, (end - begin) / sizeof(std::uint32_t)},
                     .is_writable = rights[1] == 'w'});
    }
  }
  return all;
}

// Words near each other, as those of a lane are, and small numbers as often as others: both come
// closer to what a shard takes for a message.
void scribble(std::span<std::uint32_t> words, Random& random) {
  std::size_t at = random.below(words.size());
  for (std::size_t i = 0; i < 32; ++i) {
    std::uint64_t value = random.next();
    bool is_small = (value >> 60) % 2 == 0;
    volatile std::uint32_t& word = words[(at + i) % words.size()];
    word = static_cast<std::uint32_t>(is_small ? value % 200 : value);
  }
}

}  // namespace

std::int64_t start_scribbling(std::uint64_t seed) {
  std::vector<std::span<std::uint32_t>> places;
  std::vector<std::span<std::uint32_t>> of_shards;
  for (const Shared& shared : shared_with_shards()) {
    if (shared.is_writable) {
      places.push_back(shared.words);
      continue;
    }
    if (::mprotect(shared.words.data(), shared.words.size_bytes(), PROT_READ | PROT_WRITE) == 0) {
      return -EACCES;
    }
    of_shards.push_back(shared.words);
  }
  if (places.empty()) {
    return 0;
  }
  auto count = static_cast<std::int64_t>(places.size());
  std::thread([seed, places = std::move(places), of_shards = std::move(of_shards)] {
    Random random(seed);
    for (;;) {
      // The first pages, where the lanes are, as often as all of the rest.
      std::span<std::uint32_t> place = places[random.below(places.size())];
      scribble(
          random.below(2) == 0 ? place : place.first(std::min<std::size_t>(place.size(), 8192)),
          random);
      for (std::span<std::uint32_t> words : of_shards) {
        ::syscall(SYS_futex, &words[random.below(64)], FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
      }
    }
  }).detach();
  return count;
}

}  // namespace benchfs::test
