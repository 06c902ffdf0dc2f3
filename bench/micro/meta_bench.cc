// Cost of the metadata store alone: time per operation and memory per file.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "meta/meta_store.h"

namespace benchfs::meta {
namespace {

constexpr std::uint64_t kFiles = 1'000'000;
constexpr MonoTime kNow{};

enum class Order { kAscending, kShuffled };

// 20 bytes each, as mdtest's.
std::vector<std::string> make_names(Order order) {
  std::vector<std::string> names;
  names.reserve(kFiles);
  for (std::uint64_t i = 0; i < kFiles; ++i) {
    // Multiplication by an odd number is a bijection modulo 2^36 and spreads neighbours.
    std::uint64_t number =
        order == Order::kAscending ? i : (i * 0x9e3779b97f4a7c15ULL) % (std::uint64_t{1} << 36);
    names.push_back(fmt::format("file.mdt.{:011d}", number));
  }
  return names;
}

std::unique_ptr<MetaStore> make_store() {
  auto store = std::make_unique<MetaStore>(wire::ShardId{0}, 1, MetaStore::Config{});
  store->apply(meta::MakeRoot{0, 0, 1});
  return store;
}

void fill(MetaStore& store, const std::vector<std::string>& names) {
  const NewInode file{.mode = S_IFREG | 0644, .layout = {4U << 20, 0, 1}};
  for (const std::string& name : names) {
    BENCHFS_CHECK(store.apply(meta::Create{wire::kRootInode, name, file, 1, kNow}).has_value());
  }
}

void count_items(benchmark::State& state, std::uint64_t items) {
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(items));
}

void create_wide(benchmark::State& state, Order order) {
  const std::vector<std::string> names = make_names(order);
  double bytes_per_file = 0;
  for (auto _ : state) {
    state.PauseTiming();
    auto store = make_store();
    malloc_trim(0);
    const std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    state.ResumeTiming();
    fill(*store, names);
    state.PauseTiming();
    const std::size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    bytes_per_file = static_cast<double>(after - before) / static_cast<double>(kFiles);
    store.reset();
    state.ResumeTiming();
  }
  count_items(state, kFiles);
  state.counters["bytes_per_file"] = bytes_per_file;
}
BENCHMARK_CAPTURE(create_wide, ascending, Order::kAscending)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(create_wide, shuffled, Order::kShuffled)->Unit(benchmark::kMillisecond);

// 100,000 directories of 10 files each.
void create_many_directories(benchmark::State& state) {
  constexpr std::uint64_t kDirectories = 100'000;
  const NewInode directory{.mode = S_IFDIR | 0755};
  const NewInode file{.mode = S_IFREG | 0644, .layout = {4U << 20, 0, 1}};
  std::vector<std::string> names = make_names(Order::kAscending);
  double bytes_per_inode = 0;
  for (auto _ : state) {
    state.PauseTiming();
    auto store = make_store();
    const std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    state.ResumeTiming();
    for (std::uint64_t d = 0; d < kDirectories; ++d) {
      auto attr = store->apply(meta::Create{wire::kRootInode, names[d], directory, 1, kNow});
      BENCHFS_CHECK(attr.has_value());
      for (std::uint64_t f = 0; f < 10; ++f) {
        BENCHFS_CHECK(store->apply(meta::Create{attr->id(), names[f], file, 1, kNow}).has_value());
      }
    }
    state.PauseTiming();
    const std::size_t after = mallinfo2().uordblks + mallinfo2().hblkhd;
    bytes_per_inode = static_cast<double>(after - before) / static_cast<double>(kDirectories * 11);
    store.reset();
    state.ResumeTiming();
  }
  count_items(state, kDirectories * 11);
  state.counters["bytes_per_inode"] = bytes_per_inode;
}
BENCHMARK(create_many_directories)->Unit(benchmark::kMillisecond);

void slowest_create(benchmark::State& state) {
  const std::vector<std::string> names = make_names(Order::kShuffled);
  const NewInode file{.mode = S_IFREG | 0644};
  Nanos slowest{};
  for (auto _ : state) {
    auto store = make_store();
    for (const std::string& name : names) {
      MonoTime start = mono_now();
      BENCHFS_CHECK(store->apply(meta::Create{wire::kRootInode, name, file, 1, kNow}).has_value());
      slowest = std::max(slowest, mono_now() - start);
    }
  }
  state.counters["slowest_us"] = static_cast<double>(slowest.count()) / 1e3;
}
BENCHMARK(slowest_create)->Unit(benchmark::kMillisecond);

void find_and_stat(benchmark::State& state, Order order) {
  auto store = make_store();
  fill(*store, make_names(Order::kAscending));
  std::vector<std::string> names = make_names(Order::kAscending);
  std::size_t at = 0;
  const std::size_t step = order == Order::kAscending ? 1 : 611'953;  // a prime
  for (auto _ : state) {
    auto entry = store->find(wire::kRootInode, names[at]);
    auto attr = store->attr(entry->inode);
    benchmark::DoNotOptimize(attr);
    at = (at + step) % names.size();
  }
}
BENCHMARK_CAPTURE(find_and_stat, ascending, Order::kAscending);
BENCHMARK_CAPTURE(find_and_stat, random, Order::kShuffled);

void find_missing(benchmark::State& state) {
  auto store = make_store();
  fill(*store, make_names(Order::kAscending));
  std::uint64_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        store->find(wire::InodeId::make(wire::ShardId{0}, 1), i++ % 2 == 0 ? "absent" : "missing"));
  }
}
BENCHMARK(find_missing);

// All pages of 64 KiB, on a directory filled in this order.
void list_wide(benchmark::State& state, Order order) {
  auto store = make_store();
  fill(*store, make_names(order));
  std::vector<std::byte> page;
  for (auto _ : state) {
    std::string cursor;
    std::uint64_t seen = 0;
    for (bool at_end = false; !at_end;) {
      page.clear();
      auto result = store->list(wire::kRootInode, cursor, 64U << 10, page);
      BENCHFS_CHECK(result.has_value());
      at_end = result->at_end;
      seen += result->entry_count;
      cursor.assign(reinterpret_cast<const char*>(page.data() + page.size()) - 20, 20);
    }
    BENCHFS_CHECK(seen == kFiles);
  }
  count_items(state, kFiles);
}
BENCHMARK_CAPTURE(list_wide, ascending, Order::kAscending)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(list_wide, shuffled, Order::kShuffled)->Unit(benchmark::kMillisecond);

// Filled and removed in this order.
void remove_wide(benchmark::State& state, Order order) {
  const std::vector<std::string> names = make_names(order);
  for (auto _ : state) {
    state.PauseTiming();
    auto store = make_store();
    fill(*store, names);
    state.ResumeTiming();
    for (const std::string& name : names) {
      auto entry = store->find(wire::kRootInode, name);
      BENCHFS_CHECK(entry &&
                    store->apply(meta::RemoveEntry{wire::kRootInode, name, 1}).has_value());
      BENCHFS_CHECK(store->apply(meta::Unlink{entry->inode, 2}).has_value());
      store->apply(meta::Erase{entry->inode});
    }
    state.PauseTiming();
    store.reset();
    state.ResumeTiming();
  }
  count_items(state, kFiles);
}
BENCHMARK_CAPTURE(remove_wide, ascending, Order::kAscending)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(remove_wide, shuffled, Order::kShuffled)->Unit(benchmark::kMillisecond);

void open_and_close(benchmark::State& state) {
  auto store = make_store();
  fill(*store, make_names(Order::kAscending));
  std::uint64_t counter = 0;
  for (auto _ : state) {
    auto id = wire::InodeId::make(wire::ShardId{0}, 2 + counter++ % kFiles);
    BENCHFS_CHECK(store->apply(meta::OpenInode{id, {7, 1}, wire::kOpenWrite}).has_value());
    BENCHFS_CHECK(store->apply(meta::Close{{7, 1}}).has_value());
  }
}
BENCHMARK(open_and_close);

}  // namespace
}  // namespace benchfs::meta

BENCHMARK_MAIN();
