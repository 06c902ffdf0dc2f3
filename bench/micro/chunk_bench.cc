// Sequential transfers through the chunk store alone, to be held against fio with the same block
// size and depth:
//   chunk_bench <directory|memory> <block bytes> <depth> <total bytes>
// prints MiB/s and operations/s of first write, overwrite and read. The fio counterpart:
//   fio --name=t --directory=D --rw=write --bs=B --iodepth=Q --size=T --ioengine=io_uring
//   --direct=1
//       --fallocate=none
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/random.h"
#include "chunk/chunk_store.h"
#include "rt/scope.h"

namespace benchfs::chunk {
namespace {

constexpr std::uint32_t kSlotBytes = 4U << 20;
constexpr wire::InodeId kInode{1};

struct Job {
  ChunkStore* store = nullptr;
  std::uint32_t block = 0;
  std::uint64_t total = 0;
  std::uint64_t next = 0;  // file offset
  std::uint64_t failures = 0;
  bool is_write = false;
};

Deadline soon() {
  return Deadline::after(std::chrono::seconds(60));
}

rt::CoStatus transfer(Job* job, wire::ChunkKey key, std::uint32_t offset) {
  if (job->is_write) {
    BENCHFS_CO_TRY(WriteLease lease,
                   co_await job->store->begin_write(key, offset, job->block, soon()));
    co_return co_await job->store->commit(std::move(lease), 1);
  }
  BENCHFS_CO_TRY(ReadLease lease, co_await job->store->read(key, offset, job->block, soon()));
  co_return lease.bytes().size() == job->block ? Status{} : fail(Errc::kInternal, "short read");
}

rt::Task<void> work(Job* job) {
  while (job->next < job->total) {
    std::uint64_t at = job->next;
    job->next += job->block;
    Status status = co_await transfer(
        job, {kInode, at / kSlotBytes}, static_cast<std::uint32_t>(at % kSlotBytes));
    job->failures += status ? 0 : 1;
  }
}

rt::Task<void> run(rt::Scope* scope, Job* job, std::uint64_t depth) {
  for (std::uint64_t i = 0; i < depth; ++i) {
    scope->spawn(work(job));
  }
  co_await scope->join();
}

Status bench(const std::string& where,
             std::uint32_t block,
             std::uint64_t depth,
             std::uint64_t total) {
  BENCHFS_TRY(auto reactor, rt::Reactor::create());
  BENCHFS_TRY(auto ring, rt::Uring::create(*reactor, {}));
  BENCHFS_TRY(auto pool, BufferPool::create(block, depth));
  // Not zeros, which a virtual device may treat specially.
  Random random(1);
  std::ranges::generate(pool->region(),
                        [&random] { return static_cast<std::byte>(random.next()); });
  std::unique_ptr<ChunkStore> store;
  if (where == "memory") {
    BENCHFS_TRY(store, make_memory_store({.slot_bytes = kSlotBytes, .limit_bytes = total}));
  } else {
    BENCHFS_TRY(
        store,
        open_file_store(*reactor, *ring, *pool, {.directory = where, .slot_bytes = kSlotBytes}));
  }
  for (std::string_view phase : {"write", "overwrite", "read"}) {
    Job job{.store = store.get(), .block = block, .total = total, .is_write = phase != "read"};
    rt::Scope scope;
    MonoTime start = mono_now();
    reactor->block_on(run(&scope, &job, depth));
    double seconds = std::chrono::duration<double>(mono_now() - start).count();
    fmt::print("{:9} {:8.0f} MiB/s {:9.0f} op/s, {} failures\n",
               phase,
               static_cast<double>(total) / (1 << 20) / seconds,
               static_cast<double>(total) / block / seconds,
               job.failures);
  }
  return reactor->block_on(store->close());
}

}  // namespace
}  // namespace benchfs::chunk

int main(int argc, char** argv) {
  if (argc != 5) {
    fmt::print(stderr,
               "usage: chunk_bench <directory|memory> <block bytes> <depth> <total bytes>\n");
    return 64;
  }
  auto number = [argv](int i) { return std::strtoull(argv[i], nullptr, 0); };
  std::uint64_t block = number(2);
  if (block == 0 || block > (4U << 20) || (4U << 20) % block != 0 || number(3) == 0 ||
      number(4) < (4U << 20) || number(4) % block != 0) {
    fmt::print(stderr, "the block divides 4 MiB and the total; the depth is at least 1\n");
    return 64;
  }
  auto status =
      benchfs::chunk::bench(argv[1], static_cast<std::uint32_t>(block), number(3), number(4));
  if (!status) {
    fmt::print(stderr, "{}\n", status.error().message());
    return 1;
  }
  return 0;
}
