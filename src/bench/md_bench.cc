#include "bench/md_bench.h"

#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <vector>

#include "bench/pattern.h"

namespace benchfs::bench {
namespace {

using client::DirEntry;
using client::FileSystem;
using client::OpenFile;

constexpr std::uint32_t kFileMode = 0640;
constexpr std::uint32_t kDirectoryMode = 0750;
constexpr std::size_t kListPage = 1000;

// The work of one client. It creates and removes its own files; it looks up, opens and reads those
// of its neighbour, so that nothing it knows from creating them helps.
class NameLoad {
 public:
  NameLoad(Worker& worker, const MdConfig& config);

  rt::CoStatus make_home();
  // File or directory i; `lane` selects the buffer and pattern to use.
  struct Item {
    std::uint64_t i = 0;
    std::uint32_t lane = 0;
    std::string path = {};
  };
  using Action = rt::CoStatus (NameLoad::*)(const Item&);
  using Name = std::string (NameLoad::*)(std::uint64_t i) const;
  // What is done to a name. The name is made before the clock starts.
  struct Operation {
    Name name;
    Action action;
  };
  // Does `operation` for every i below config.files, `depth` side by side, and times each.
  rt::CoStatus for_each(Operation operation, Measurement& out);

  [[nodiscard]] std::string own_file(std::uint64_t i) const { return file(rank_, i); }
  [[nodiscard]] std::string neighbours_file(std::uint64_t i) const { return file(neighbour_, i); }
  [[nodiscard]] std::string directory(std::uint64_t i) const;

  rt::CoStatus make_directory(const Item& item);
  rt::CoStatus create_file(const Item& item);
  rt::CoStatus stat_file(const Item& item);
  rt::CoStatus open_and_close(const Item& item);
  rt::CoStatus read_file(const Item& item);
  rt::CoStatus remove_file(const Item& item);
  rt::CoStatus remove_directory(const Item& item);
  rt::CoStatus expect_nothing(const Item& item);
  // Counts each entry as an operation; the latency is that of a page.
  rt::CoStatus list(Measurement& out);

 private:
  // Which names of the clients that share a directory were listed.
  struct Seen {
    std::vector<bool> files;
    std::vector<bool> directories;
    std::uint64_t count = 0;
  };
  // The data of the files of one client.
  struct Contents {
    Contents(const MdConfig& config, std::uint32_t owner);
    std::vector<AlignedBuffer> buffers;  // for reading, one per lane
    std::vector<std::unique_ptr<Pattern>> patterns;
  };
  rt::CoStatus lane(Operation operation, std::uint32_t number);
  rt::CoStatus write_contents(OpenFile& opened, const Item& item);
  void check_inode(std::uint64_t i, wire::InodeId inode);
  void tick_off(const DirEntry& entry, Seen& seen);
  void mismatch(std::string_view path, std::string_view what);
  [[nodiscard]] std::string home(std::uint32_t owner) const;
  [[nodiscard]] std::string file(std::uint32_t owner, std::uint64_t i) const;

  FileSystem& fs_;
  const MdConfig& config_;
  std::uint32_t rank_;
  std::uint32_t neighbour_;
  std::uint32_t sharers_;
  // Made once: their time would count as that of the file system.
  std::string home_;
  std::string neighbours_home_;
  Contents written_;
  Contents read_;
  std::vector<std::uint64_t> inodes_;  // of the neighbour's files, once known; 0: not yet
  std::uint64_t next_ = 0;
  Measurement* out_ = nullptr;
};

NameLoad::Contents::Contents(const MdConfig& config, std::uint32_t owner) {
  for (std::uint32_t lane = 0; config.bytes > 0 && lane < config.depth; ++lane) {
    buffers.emplace_back(config.bytes);
    patterns.push_back(std::make_unique<Pattern>(config.seed, owner, config.bytes));
  }
}

NameLoad::NameLoad(Worker& worker, const MdConfig& config)
    : fs_(worker.fs()),
      config_(config),
      rank_(worker.rank()),
      neighbour_((worker.rank() + 1) % worker.clients()),
      sharers_(config.shared_dir ? worker.clients() : 1),
      home_(home(rank_)),
      neighbours_home_(home(neighbour_)),
      written_(config, rank_),
      read_(config, neighbour_),
      inodes_(config.files) {}

std::string NameLoad::home(std::uint32_t owner) const {
  return config_.shared_dir ? fmt::format("{}/shared", config_.directory)
                            : fmt::format("{}/client.{}", config_.directory, owner);
}
std::string NameLoad::file(std::uint32_t owner, std::uint64_t i) const {
  return fmt::format("{}/f.{}.{}", owner == rank_ ? home_ : neighbours_home_, owner, i);
}
std::string NameLoad::directory(std::uint64_t i) const {
  return fmt::format("{}/d.{}.{}", home_, rank_, i);
}

void NameLoad::mismatch(std::string_view path, std::string_view what) {
  out_->on_mismatch(fmt::format("bfs:{}: {}", path, what));
}

void NameLoad::check_inode(std::uint64_t i, wire::InodeId inode) {
  if (inodes_[i] == 0) {
    inodes_[i] = inode.value;
  } else if (inodes_[i] != inode.value) {
    mismatch(file(neighbour_, i),
             fmt::format("it is inode {:x} now and was {:x} before", inode.value, inodes_[i]));
  }
}

rt::CoStatus NameLoad::make_home() {
  BENCHFS_CO_TRY_VOID(co_await fs_.mkdir(home(rank_), kDirectoryMode));
  co_return Status{};
}

rt::CoStatus NameLoad::for_each(Operation operation, Measurement& out) {
  next_ = 0;
  out_ = &out;
  return run_lanes(config_.depth,
                   [this, operation](std::uint32_t number) { return lane(operation, number); });
}

rt::CoStatus NameLoad::lane(Operation operation, std::uint32_t number) {
  while (next_ < config_.files) {
    Item item{.i = next_++, .lane = number};
    item.path = (this->*operation.name)(item.i);
    MonoTime begin = mono_now();
    Status done = co_await (this->*operation.action)(item);
    if (!done) {
      co_return done;
    }
    out_->latency.record(static_cast<std::uint64_t>((mono_now() - begin).count()));
    ++out_->operations;
  }
  co_return Status{};
}

rt::CoStatus NameLoad::make_directory(const Item& item) {
  BENCHFS_CO_TRY(wire::Attr attr, co_await fs_.mkdir(item.path, kDirectoryMode));
  if (!attr.is_directory()) {
    mismatch(item.path, "mkdir made something else");
  }
  co_return Status{};
}

rt::CoStatus NameLoad::create_file(const Item& item) {
  constexpr std::uint32_t kFlags = wire::kOpenWrite | wire::kOpenCreate | wire::kOpenExclusive;
  BENCHFS_CO_TRY(auto opened, co_await fs_.open(item.path, kFlags, kFileMode));
  if (rank_ == neighbour_) {
    inodes_[item.i] = opened->id().value;
  }
  Status written = config_.bytes > 0 ? co_await write_contents(*opened, item) : Status{};
  Status closed = co_await fs_.close(std::move(opened));
  co_return written ? closed : written;
}

rt::CoStatus NameLoad::write_contents(OpenFile& opened, const Item& item) {
  BENCHFS_CO_TRY_VOID(co_await fs_.write(opened, 0, written_.patterns[item.lane]->block(item.i)));
  out_->bytes += config_.bytes;
  co_return Status{};
}

rt::CoStatus NameLoad::stat_file(const Item& item) {
  BENCHFS_CO_TRY(wire::Attr attr, co_await fs_.stat(item.path));
  check_inode(item.i, attr.id());
  if (attr.mode != (S_IFREG | kFileMode) || attr.size != config_.bytes) {
    mismatch(item.path,
             fmt::format("stat says mode {:o}, size {}; created with mode {:o}, size {}",
                         attr.mode,
                         attr.size,
                         S_IFREG | kFileMode,
                         config_.bytes));
  }
  co_return Status{};
}

rt::CoStatus NameLoad::open_and_close(const Item& item) {
  BENCHFS_CO_TRY(auto opened, co_await fs_.open(item.path, wire::kOpenRead, 0));
  check_inode(item.i, opened->id());
  co_return co_await fs_.close(std::move(opened));
}

rt::CoStatus NameLoad::read_file(const Item& item) {
  std::span<std::byte> buffer = read_.buffers[item.lane].span();
  Pattern& pattern = *read_.patterns[item.lane];
  pattern.spoil(item.i, buffer);
  BENCHFS_CO_TRY(auto opened, co_await fs_.open(item.path, wire::kOpenRead, 0));
  Result<std::size_t> got = co_await fs_.read(*opened, 0, buffer);
  Status closed = co_await fs_.close(std::move(opened));
  if (!got || !closed) {
    co_return got ? closed : std::unexpected(std::move(got).error());
  }
  out_->bytes += *got;
  if (*got != buffer.size()) {
    mismatch(item.path, fmt::format("{} bytes were read, {} were written", *got, buffer.size()));
  } else if (auto difference = pattern.compare(item.i, buffer)) {
    mismatch(item.path,
             fmt::format("offset {}: expected byte {:#04x}, got {:#04x}",
                         difference->offset % config_.bytes,
                         difference->expected,
                         difference->got));
  }
  co_return Status{};
}

rt::CoStatus NameLoad::remove_file(const Item& item) {
  co_return co_await fs_.unlink(item.path);
}

rt::CoStatus NameLoad::remove_directory(const Item& item) {
  return fs_.rmdir(item.path);
}

rt::CoStatus NameLoad::expect_nothing(const Item& item) {
  Result<wire::Attr> attr = co_await fs_.stat(item.path);
  if (attr) {
    mismatch(item.path, "still there after it was removed");
  } else if (!attr.error().is_posix(ENOENT)) {
    co_return std::unexpected(std::move(attr).error());
  }
  co_return Status{};
}

rt::CoStatus NameLoad::list(Measurement& out) {
  out_ = &out;
  Seen seen{std::vector<bool>(sharers_ * config_.files),
            std::vector<bool>(sharers_ * config_.files)};
  std::string cursor;
  for (;;) {
    MonoTime begin = mono_now();
    BENCHFS_CO_TRY(std::vector<DirEntry> page, co_await fs_.list(home(rank_), cursor, kListPage));
    out.latency.record(static_cast<std::uint64_t>((mono_now() - begin).count()));
    if (page.empty()) {
      break;
    }
    for (const DirEntry& entry : page) {
      tick_off(entry, seen);
    }
    out.operations += page.size();
    cursor = page.back().name;
  }
  if (seen.count != 2 * sharers_ * config_.files) {
    mismatch(
        home(rank_),
        fmt::format("the listing has {} of {} names", seen.count, 2 * sharers_ * config_.files));
  }
  co_return Status{};
}

void NameLoad::tick_off(const DirEntry& entry, Seen& seen) {
  std::uint32_t rank = 0;
  std::uint64_t i = 0;
  const char* end = entry.name.data() + entry.name.size();
  bool is_ours = entry.name.size() > 2;
  if (is_ours) {
    auto first = std::from_chars(entry.name.data() + 2, end, rank);
    is_ours = first.ptr != end && std::from_chars(first.ptr + 1, end, i).ptr == end;
  }
  std::uint64_t slot = (config_.shared_dir ? rank * config_.files : 0) + i;
  bool is_file = entry.name.starts_with("f.");
  std::vector<bool>& names = is_file ? seen.files : seen.directories;
  if (!is_ours || slot >= names.size() || names[slot] ||
      entry.type != (is_file ? std::uint32_t{S_IFREG} : std::uint32_t{S_IFDIR})) {
    mismatch(home(rank_),
             fmt::format("the listing has '{}' twice, or it was never made", entry.name));
    return;
  }
  names[slot] = true;
  ++seen.count;
}

rt::CoStatus prepare(FileSystem& fs, const MdConfig& config) {
  BENCHFS_CO_TRY_VOID(co_await fs.mkdir(config.directory, kDirectoryMode));
  if (config.shared_dir) {
    BENCHFS_CO_TRY_VOID(co_await fs.mkdir(config.directory + "/shared", kDirectoryMode));
  }
  co_return Status{};
}

rt::CoStatus clean_up(FileSystem& fs, const MdConfig& config, std::uint32_t clients) {
  for (std::uint32_t rank = 0; rank < (config.shared_dir ? 1 : clients); ++rank) {
    std::string name = config.shared_dir ? "shared" : fmt::format("client.{}", rank);
    BENCHFS_CO_TRY_VOID(co_await fs.rmdir(fmt::format("{}/{}", config.directory, name)));
  }
  co_return co_await fs.rmdir(config.directory);
}

}  // namespace

Status run_md(const MdConfig& config, Worker& worker) {
  FileSystem& fs = worker.fs();
  NameLoad load(worker, config);
  auto phase = [&](const char* name, bool reported) {
    return Phase{.name = name,
                 .depth = config.depth,
                 .reported = reported,
                 .counts_requests = reported && worker.clients() == 1};
  };
  auto each = [&](const char* name, NameLoad::Operation operation, bool reported = true) {
    return worker.run(phase(name, reported),
                      [&](Measurement& out) { return load.for_each(operation, out); });
  };
  bool with_data = config.bytes > 0;
  BENCHFS_TRY_VOID(
      worker.run_alone(phase("setup", false), [&](Measurement&) { return prepare(fs, config); }));
  if (!config.shared_dir) {
    BENCHFS_TRY_VOID(
        worker.run(phase("setup", false), [&](Measurement&) { return load.make_home(); }));
  }
  BENCHFS_TRY_VOID(each("mkdir", {&NameLoad::directory, &NameLoad::make_directory}));
  BENCHFS_TRY_VOID(each(with_data ? "create+write+close" : "create+close",
                        {&NameLoad::own_file, &NameLoad::create_file}));
  BENCHFS_TRY_VOID(each("stat", {&NameLoad::neighbours_file, &NameLoad::stat_file}));
  BENCHFS_TRY_VOID(each("open+close", {&NameLoad::neighbours_file, &NameLoad::open_and_close}));
  if (with_data) {
    BENCHFS_TRY_VOID(each("open+read+close", {&NameLoad::neighbours_file, &NameLoad::read_file}));
  }
  BENCHFS_TRY_VOID(
      worker.run(phase("readdir", true), [&](Measurement& out) { return load.list(out); }));
  BENCHFS_TRY_VOID(each("unlink", {&NameLoad::own_file, &NameLoad::remove_file}));
  BENCHFS_TRY_VOID(each("unlink", {&NameLoad::own_file, &NameLoad::expect_nothing}, false));
  BENCHFS_TRY_VOID(each("rmdir", {&NameLoad::directory, &NameLoad::remove_directory}));
  BENCHFS_TRY_VOID(each("rmdir", {&NameLoad::directory, &NameLoad::expect_nothing}, false));
  return worker.run_alone(phase("cleanup", false),
                          [&](Measurement&) { return clean_up(fs, config, worker.clients()); });
}

}  // namespace benchfs::bench
