#include "bench/md_bench.h"

#include <fmt/format.h>

#include <charconv>
#include <vector>

namespace benchfs::bench {
namespace {

using client::DirEntry;
using client::FileSystem;

constexpr std::uint32_t kFileMode = 0640;
constexpr std::uint32_t kDirectoryMode = 0750;
constexpr std::size_t kListPage = 1000;

// The work of one client.
class NameLoad {
 public:
  NameLoad(Worker& worker, const MdConfig& config);

  rt::CoStatus make_home();
  // Does `operation` for every i below config.files, `depth` side by side, and times each.
  using Operation = rt::CoStatus (NameLoad::*)(std::uint64_t);
  rt::CoStatus for_each(Operation operation, Measurement& out);

  rt::CoStatus make_directory(std::uint64_t i);
  rt::CoStatus create_file(std::uint64_t i);
  rt::CoStatus stat_file(std::uint64_t i);
  rt::CoStatus open_and_close(std::uint64_t i);
  rt::CoStatus remove_file(std::uint64_t i);
  rt::CoStatus remove_directory(std::uint64_t i);
  rt::CoStatus expect_no_file(std::uint64_t i);
  rt::CoStatus expect_no_directory(std::uint64_t i);
  // An operation is an entry; the latency is that of a page.
  rt::CoStatus list(Measurement& out);

 private:
  // Names of all clients that share a directory, seen or not.
  struct Seen {
    std::vector<bool> files;
    std::vector<bool> directories;
    std::uint64_t count = 0;
  };
  rt::CoStatus lane(Operation operation);
  void tick_off(const DirEntry& entry, Seen& seen);
  rt::CoStatus expect_nothing(std::string path);
  void mismatch(std::string_view path, std::string_view what);
  [[nodiscard]] std::string file(std::uint64_t i) const;
  [[nodiscard]] std::string directory(std::uint64_t i) const;

  FileSystem& fs_;
  const MdConfig& config_;
  std::uint32_t rank_;
  std::uint32_t sharers_;
  std::string home_;
  std::vector<std::uint64_t> inodes_;  // of the files made
  std::uint64_t next_ = 0;
  Measurement* out_ = nullptr;
};

NameLoad::NameLoad(Worker& worker, const MdConfig& config)
    : fs_(worker.fs()),
      config_(config),
      rank_(worker.rank()),
      sharers_(config.shared_dir ? worker.clients() : 1),
      home_(config.shared_dir ? fmt::format("{}/shared", config.directory)
                              : fmt::format("{}/client.{}", config.directory, worker.rank())),
      inodes_(config.files) {}

std::string NameLoad::file(std::uint64_t i) const {
  return fmt::format("{}/f.{}.{}", home_, rank_, i);
}
std::string NameLoad::directory(std::uint64_t i) const {
  return fmt::format("{}/d.{}.{}", home_, rank_, i);
}

void NameLoad::mismatch(std::string_view path, std::string_view what) {
  out_->on_mismatch(fmt::format("bfs:{}: {}", path, what));
}

rt::CoStatus NameLoad::make_home() {
  BENCHFS_CO_TRY_VOID(co_await fs_.mkdir(home_, kDirectoryMode));
  co_return Status{};
}

rt::CoStatus NameLoad::for_each(Operation operation, Measurement& out) {
  next_ = 0;
  out_ = &out;
  return run_lanes(config_.depth, [this, operation](std::uint32_t) { return lane(operation); });
}

rt::CoStatus NameLoad::lane(Operation operation) {
  while (next_ < config_.files) {
    std::uint64_t i = next_++;
    MonoTime begin = mono_now();
    Status done = co_await (this->*operation)(i);
    if (!done) {
      co_return done;
    }
    out_->latency.record(static_cast<std::uint64_t>((mono_now() - begin).count()));
    ++out_->operations;
  }
  co_return Status{};
}

rt::CoStatus NameLoad::make_directory(std::uint64_t i) {
  BENCHFS_CO_TRY(wire::Attr attr, co_await fs_.mkdir(directory(i), kDirectoryMode));
  if (!attr.is_directory()) {
    mismatch(directory(i), "mkdir made something else");
  }
  co_return Status{};
}

rt::CoStatus NameLoad::create_file(std::uint64_t i) {
  constexpr std::uint32_t kFlags = wire::kOpenWrite | wire::kOpenCreate | wire::kOpenExclusive;
  BENCHFS_CO_TRY(auto opened, co_await fs_.open(file(i), kFlags, kFileMode));
  inodes_[i] = opened->inode->attr.inode;
  co_return co_await fs_.close(std::move(opened));
}

rt::CoStatus NameLoad::stat_file(std::uint64_t i) {
  BENCHFS_CO_TRY(wire::Attr attr, co_await fs_.stat(file(i)));
  if (attr.inode != inodes_[i] || attr.mode != (S_IFREG | kFileMode) || attr.size != 0) {
    mismatch(
        file(i),
        fmt::format("stat says inode {:x}, mode {:o}, size {}; created as inode {:x}, mode {:o}",
                    attr.inode,
                    attr.mode,
                    attr.size,
                    inodes_[i],
                    S_IFREG | kFileMode));
  }
  co_return Status{};
}

rt::CoStatus NameLoad::open_and_close(std::uint64_t i) {
  BENCHFS_CO_TRY(auto opened, co_await fs_.open(file(i), wire::kOpenRead, 0));
  if (opened->inode->attr.inode != inodes_[i]) {
    mismatch(file(i), "open found another inode than create made");
  }
  co_return co_await fs_.close(std::move(opened));
}

rt::CoStatus NameLoad::remove_file(std::uint64_t i) {
  return fs_.unlink(file(i));
}

rt::CoStatus NameLoad::remove_directory(std::uint64_t i) {
  return fs_.rmdir(directory(i));
}

rt::CoStatus NameLoad::expect_no_file(std::uint64_t i) {
  return expect_nothing(file(i));
}

rt::CoStatus NameLoad::expect_no_directory(std::uint64_t i) {
  return expect_nothing(directory(i));
}

rt::CoStatus NameLoad::expect_nothing(std::string path) {
  Result<wire::Attr> attr = co_await fs_.stat(path);
  if (attr) {
    mismatch(path, "still there after it was removed");
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
    BENCHFS_CO_TRY(std::vector<DirEntry> page, co_await fs_.list(home_, cursor, kListPage));
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
        home_,
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
    mismatch(home_, fmt::format("the listing has '{}' twice, or it was never made", entry.name));
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
    return Phase{.name = name, .depth = config.depth, .reported = reported};
  };
  auto each = [&](const char* name, NameLoad::Operation operation, bool reported = true) {
    return worker.run(phase(name, reported),
                      [&](Measurement& out) { return load.for_each(operation, out); });
  };
  BENCHFS_TRY_VOID(
      worker.run_alone(phase("setup", false), [&](Measurement&) { return prepare(fs, config); }));
  if (!config.shared_dir) {
    BENCHFS_TRY_VOID(
        worker.run(phase("setup", false), [&](Measurement&) { return load.make_home(); }));
  }
  BENCHFS_TRY_VOID(each("mkdir", &NameLoad::make_directory));
  BENCHFS_TRY_VOID(each("create", &NameLoad::create_file));
  BENCHFS_TRY_VOID(each("stat", &NameLoad::stat_file));
  BENCHFS_TRY_VOID(each("open+close", &NameLoad::open_and_close));
  BENCHFS_TRY_VOID(
      worker.run(phase("readdir", true), [&](Measurement& out) { return load.list(out); }));
  BENCHFS_TRY_VOID(each("unlink", &NameLoad::remove_file));
  BENCHFS_TRY_VOID(each("unlink", &NameLoad::expect_no_file, false));
  BENCHFS_TRY_VOID(each("rmdir", &NameLoad::remove_directory));
  BENCHFS_TRY_VOID(each("rmdir", &NameLoad::expect_no_directory, false));
  return worker.run_alone(phase("cleanup", false),
                          [&](Measurement&) { return clean_up(fs, config, worker.clients()); });
}

}  // namespace benchfs::bench
