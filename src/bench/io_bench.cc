#include "bench/io_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "base/random.h"
#include "bench/pattern.h"

namespace benchfs::bench {
namespace {

using client::FileSystem;
using client::OpenFile;

// One pass over this client's part of a file, `depth` requests outstanding.
class FilePass {
 public:
  enum class Kind : std::uint8_t { kWrite, kRead, kVerify };

  FilePass(FileSystem& fs, const IoConfig& config, std::uint32_t clients);

  // Selects the part of client `owner`.
  void choose(std::uint32_t owner);
  // Opens the file, transfers that part and closes the file.
  rt::CoStatus run(Kind kind, Measurement& out);
  // Writes that part config.rewrites times.
  rt::CoStatus rewrite(Measurement& out);

 private:
  rt::CoStatus transfer_all(std::uint32_t lane);
  rt::CoStatus transfer(std::uint32_t lane, std::uint64_t request);
  void check(std::uint32_t lane, std::uint64_t block, std::size_t got);
  // The pattern index of block `block`; it differs in every generation of the file.
  [[nodiscard]] std::uint64_t contents_of(std::uint64_t block) const {
    return generation_ * blocks_ + block;
  }
  // The position of request i of this client's part, in blocks of request_bytes.
  [[nodiscard]] std::uint64_t block_of(std::uint64_t request) const;
  [[nodiscard]] std::string path() const;

  FileSystem& fs_;
  const IoConfig& config_;
  std::uint32_t clients_;
  std::uint64_t requests_;
  std::uint64_t blocks_;  // of all clients
  std::vector<std::uint64_t> order_;
  std::vector<AlignedBuffer> buffers_;  // for reading, one per lane
  std::vector<std::unique_ptr<Pattern>> patterns_;
  std::uint32_t owner_ = 0;
  std::uint64_t generation_ = 0;  // how often the file was rewritten

  // State of the current run.
  Kind kind_ = Kind::kWrite;
  std::uint64_t next_ = 0;
  std::shared_ptr<OpenFile> file_;
  Measurement* out_ = nullptr;
};

FilePass::FilePass(FileSystem& fs, const IoConfig& config, std::uint32_t clients)
    : fs_(fs),
      config_(config),
      clients_(clients),
      requests_(std::max<std::uint64_t>(1, config.size_bytes / config.request_bytes)),
      blocks_(requests_ * clients),
      order_(requests_) {
  std::iota(order_.begin(), order_.end(), 0);
  if (config.random) {
    Random random(config.seed);
    for (std::uint64_t i = requests_ - 1; i > 0; --i) {
      std::swap(order_[i], order_[random.below(i + 1)]);
    }
  }
  for (std::uint32_t lane = 0; lane < config.depth; ++lane) {
    buffers_.emplace_back(config.request_bytes);
  }
}

std::string FilePass::path() const {
  return config_.shared ? fmt::format("{}/shared", config_.directory)
                        : fmt::format("{}/file.{}", config_.directory, owner_);
}

std::uint64_t FilePass::block_of(std::uint64_t request) const {
  if (!config_.shared) {
    return request;
  }
  return config_.interleaved ? request * clients_ + owner_ : owner_ * requests_ + request;
}

void FilePass::choose(std::uint32_t owner) {
  owner_ = owner;
  std::uint64_t file = config_.shared ? 0 : owner;
  patterns_.clear();
  for (std::uint32_t lane = 0; lane < config_.depth; ++lane) {
    patterns_.push_back(std::make_unique<Pattern>(config_.seed, file, config_.request_bytes));
  }
}

rt::CoStatus FilePass::run(Kind kind, Measurement& out) {
  kind_ = kind;
  next_ = 0;
  out_ = &out;
  std::uint32_t flags =
      kind == Kind::kWrite ? wire::kOpenWrite | wire::kOpenCreate : wire::kOpenRead;
  BENCHFS_CO_TRY(file_, co_await fs_.open(path(), flags, 0644));
  Status done =
      co_await run_lanes(config_.depth, [this](std::uint32_t lane) { return transfer_all(lane); });
  if (done && kind == Kind::kWrite && config_.fsync) {
    done = co_await fs_.fsync(*file_);
  }
  Status closed = co_await fs_.close(std::exchange(file_, nullptr));
  co_return done ? closed : done;
}

rt::CoStatus FilePass::rewrite(Measurement& out) {
  for (std::uint32_t i = 0; i < config_.rewrites; ++i) {
    ++generation_;
    BENCHFS_CO_TRY_VOID(co_await run(Kind::kWrite, out));
  }
  co_return Status{};
}

rt::CoStatus FilePass::transfer_all(std::uint32_t lane) {
  while (next_ < requests_) {
    Status done = co_await transfer(lane, order_[next_++]);
    if (!done) {
      co_return done;
    }
  }
  co_return Status{};
}

rt::CoStatus FilePass::transfer(std::uint32_t lane, std::uint64_t request) {
  std::uint64_t block = block_of(request);
  std::uint64_t offset = block * config_.request_bytes;
  std::span<std::byte> buffer = buffers_[lane].span();
  std::size_t moved = buffer.size();
  std::span<const std::byte> data;
  if (kind_ == Kind::kWrite) {
    data = patterns_[lane]->block(contents_of(block));
  } else if (kind_ == Kind::kVerify) {
    patterns_[lane]->spoil(contents_of(block), buffer);
  }
  MonoTime begin = mono_now();
  // First what needs no request, as the C API does.
  bool is_copied = kind_ == Kind::kWrite ? fs_.data().write_now(*file_, offset, data)
                                         : fs_.data().read_now(*file_, offset, buffer);
  if (!is_copied && kind_ == Kind::kWrite) {
    BENCHFS_CO_TRY_VOID(co_await fs_.write(*file_, offset, data));
  } else if (!is_copied) {
    BENCHFS_CO_TRY(moved, co_await fs_.read(*file_, offset, buffer));
  }
  MonoTime end = mono_now();
  out_->latency.record(static_cast<std::uint64_t>((end - begin).count()));
  ++out_->operations;
  out_->bytes += moved;
  if (kind_ != Kind::kWrite) {
    check(lane, block, moved);
  }
  co_return Status{};
}

void FilePass::check(std::uint32_t lane, std::uint64_t block, std::size_t got) {
  std::span<std::byte> buffer = buffers_[lane].span();
  if (got != buffer.size()) {
    out_->on_mismatch(fmt::format("bfs:{}, offset {}: {} bytes were read, {} were written",
                                  path(),
                                  block * config_.request_bytes,
                                  got,
                                  buffer.size()));
    return;
  }
  std::uint64_t contents = contents_of(block);
  std::optional<Difference> difference = kind_ == Kind::kVerify
                                             ? patterns_[lane]->compare(contents, buffer)
                                             : patterns_[lane]->compare_stamps(contents, buffer);
  if (difference) {
    out_->on_mismatch(fmt::format("bfs:{}, offset {}: expected byte {:#04x}, got {:#04x}",
                                  path(),
                                  difference->offset % (blocks_ * config_.request_bytes),
                                  difference->expected,
                                  difference->got));
  }
}

rt::CoStatus make_directory(FileSystem& fs, std::string directory) {
  BENCHFS_CO_TRY_VOID(co_await fs.mkdir(std::move(directory), 0755));
  co_return Status{};
}

rt::CoStatus remove_files(FileSystem& fs, const IoConfig& config, std::uint32_t clients) {
  for (std::uint32_t owner = 0; owner < (config.shared ? 1 : clients); ++owner) {
    std::string name = config.shared ? "shared" : fmt::format("file.{}", owner);
    BENCHFS_CO_TRY_VOID(co_await fs.unlink(fmt::format("{}/{}", config.directory, name)));
  }
  co_return co_await fs.rmdir(config.directory);
}

}  // namespace

Status run_io(const IoConfig& config, Worker& worker) {
  FileSystem& fs = worker.fs();
  auto phase = [&](const char* name, bool reported) {
    return Phase{.name = name,
                 .depth = config.depth,
                 .payload_bytes = config.request_bytes,
                 .reported = reported};
  };
  BENCHFS_TRY_VOID(worker.run_alone(
      phase("setup", false), [&](Measurement&) { return make_directory(fs, config.directory); }));
  FilePass pass(fs, config, worker.clients());
  auto run = [&](const char* name, FilePass::Kind kind, std::uint32_t owner) {
    pass.choose(owner);
    return worker.run(phase(name, kind != FilePass::Kind::kVerify),
                      [&](Measurement& out) { return pass.run(kind, out); });
  };
  // Each client reads what its neighbour wrote.
  std::uint32_t neighbour = (worker.rank() + 1) % worker.clients();
  BENCHFS_TRY_VOID(run("write", FilePass::Kind::kWrite, worker.rank()));
  if (config.rewrites > 0) {
    BENCHFS_TRY_VOID(
        worker.run(phase("rewrite", true), [&](Measurement& out) { return pass.rewrite(out); }));
  }
  BENCHFS_TRY_VOID(run("read", FilePass::Kind::kRead, neighbour));
  BENCHFS_TRY_VOID(run("verify", FilePass::Kind::kVerify, neighbour));
  return worker.run_alone(phase("cleanup", false),
                          [&](Measurement&) { return remove_files(fs, config, worker.clients()); });
}

}  // namespace benchfs::bench
