// What the kernel can copy from the memory of other processes: the hardware's side of many clients
// that write to one server at the same time. One thread takes 1 MiB in turn from N processes, of a
// buffer of 4 MiB in each, into 1 GiB of its own, as a shard's memory engine does over UCX's cma.
#include <benchmark/benchmark.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/check.h"

namespace benchfs::chunk {
namespace {

constexpr std::size_t kPart = 1U << 20;
constexpr std::size_t kParts = 4;  // of a process
constexpr std::size_t kTarget = 1U << 30;

char* map_memory(std::size_t bytes, bool huge_pages) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  BENCHFS_CHECK(memory != MAP_FAILED);
  if (huge_pages) {
    madvise(memory, bytes, MADV_HUGEPAGE);
  }
  return static_cast<char*>(memory);
}

// Processes that hold a filled buffer, all at the same address.
class Sources {
 public:
  explicit Sources(std::size_t count) : buffer_(map_memory(kPart * kParts, false)) {
    int ready[2];
    BENCHFS_CHECK(pipe(ready) == 0);
    for (std::size_t i = 0; i < count; ++i) {
      pid_t pid = fork();
      if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        std::memset(buffer_, static_cast<int>(i) + 1, kPart * kParts);
        BENCHFS_CHECK(write(ready[1], "", 1) == 1);
        for (;;) {
          pause();
        }
      }
      pids_.push_back(pid);
    }
    for (std::size_t i = 0; i < count; ++i) {
      char byte = 0;
      BENCHFS_CHECK(read(ready[0], &byte, 1) == 1);
    }
    close(ready[0]);
    close(ready[1]);
  }
  Sources(const Sources&) = delete;
  Sources& operator=(const Sources&) = delete;
  ~Sources() {
    for (pid_t pid : pids_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
    munmap(buffer_, kPart * kParts);
  }

  void copy(std::uint64_t turn, char* into) const {
    std::size_t part = turn / pids_.size() % kParts;
    iovec here{into, kPart};
    iovec there{buffer_ + part * kPart, kPart};
    ssize_t got = process_vm_readv(pids_[turn % pids_.size()], &here, 1, &there, 1, 0);
    BENCHFS_CHECK(got == static_cast<ssize_t>(kPart));
  }

 private:
  char* buffer_;
  std::vector<pid_t> pids_;
};

void copy_from_processes(benchmark::State& state) {
  Sources sources(static_cast<std::size_t>(state.range(0)));
  char* target = map_memory(kTarget, true);
  std::memset(target, 1, kTarget);
  std::uint64_t turn = 0;
  for (auto _ : state) {
    sources.copy(turn, target + turn * kPart % kTarget);
    ++turn;
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(turn * kPart));
  munmap(target, kTarget);
}
BENCHMARK(copy_from_processes)->Arg(1)->Arg(4)->Arg(16)->Arg(64)->MinTime(0.5);

}  // namespace
}  // namespace benchfs::chunk

BENCHMARK_MAIN();
