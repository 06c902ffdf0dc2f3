#include "chunk/segments.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string_view>

#include "base/check.h"
#include "base/log.h"
#include "base/safe_dir.h"
#include "chunk/segment_file.h"

namespace benchfs::chunk {
namespace {

constexpr unsigned kFileTableSize = 256;

// Longer than a process that only asks whether the directory is in use holds the lock.
constexpr Nanos kLockPatience = std::chrono::milliseconds(100);
constexpr const char* kLockName = "lock";
// The time that the file system may take to create or remove files.
constexpr Nanos kPatience = std::chrono::seconds(10);

Status make_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return fail_system(error.value(), fmt::format("making data directory {}", path));
  }
  return {};
}

}  // namespace

bool is_segment_name(std::string_view name) {
  constexpr std::string_view kPrefix = "segment_";
  constexpr std::string_view kSuffix = ".dat";
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) {
    return false;
  }
  std::string_view digits =
      name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  return digits.size() >= 6 &&
         std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
}

Result<std::unique_ptr<Segments>> Segments::open(rt::Uring& ring, const FileEngineConfig& config) {
  BENCHFS_TRY_VOID(make_directory(config.directory));
  std::unique_ptr<Segments> segments(new Segments(ring, config));  // lint: allow new (private)
  BENCHFS_TRY_VOID(segments->lock());
  BENCHFS_TRY_VOID(segments->remove_leftovers());
  BENCHFS_TRY_VOID(segments->limit_segment_size());
  if (Status table = ring.register_file_table(kFileTableSize); table) {
    segments->table_size_ = kFileTableSize;
  } else {
    BENCHFS_LOG(kWarn, "going on with plain descriptors: {}", table.error().message());
  }
  BENCHFS_TRY(std::shared_ptr<SegmentFile> first, segments->next_file()());
  segments->add_segment(std::move(first));
  return segments;
}

Segments::~Segments() {
  (void)take_remains();
}

Status Segments::lock() {
  BENCHFS_TRY(SafeDir directory, SafeDir::open(config_.directory));
  Result<FileLock> lock =
      FileLock::acquire(directory, kLockName, 0600, Deadline::after(kLockPatience));
  if (!lock && lock.error().code == Errc::kDeadline) {
    return fail(Errc::kConfig,
                fmt::format("data directory {} is in use by another daemon (it holds {})",
                            config_.directory,
                            directory.path_of(kLockName)));
  }
  if (!lock) {
    return std::unexpected(std::move(lock.error()));
  }
  lock_.emplace(*std::move(lock));
  return {};
}

Status Segments::remove_leftovers() {
  DIR* directory = opendir(config_.directory.c_str());
  if (directory == nullptr) {
    return fail_system(errno, fmt::format("reading data directory {}", config_.directory));
  }
  Status status;
  while (dirent* entry = readdir(directory)) {
    if (is_segment_name(entry->d_name) && unlinkat(dirfd(directory), entry->d_name, 0) != 0) {
      status = fail_system(
          errno, fmt::format("removing left-over {}/{}", config_.directory, entry->d_name));
      break;
    }
  }
  closedir(directory);
  return status;
}

Status Segments::limit_segment_size() {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
    segment_slots_ = std::min<std::uint64_t>(segment_slots_, limit.rlim_cur / config_.slot_bytes);
  }
  if (segment_slots_ == 0) {
    return fail(Errc::kConfig,
                fmt::format("files may have {} bytes here, less than a chunk of {}: raise ulimit "
                            "-f, or lower storage.chunk_bytes",
                            limit.rlim_cur,
                            config_.slot_bytes));
  }
  return {};
}

rt::Uring::File Segments::register_file(int fd) {
  if (table_used_ < table_size_ && ring_.set_file(table_used_, fd)) {
    return {.fd = static_cast<int>(table_used_++), .registered = true};
  }
  return {.fd = fd, .registered = false};
}

// The function may run on another thread, and outlive the store.
std::function<Result<std::shared_ptr<SegmentFile>>()> Segments::next_file() const {
  auto number = static_cast<std::uint32_t>(segments_.size());
  SegmentFile::Spec spec{
      .path = fmt::format("{}/segment_{:06}.dat", config_.directory, number),
      .slots = segment_slots_,
      .slot_bytes = config_.slot_bytes,
      .direct = config_.direct && (number == 0 || direct_alignment_ > 0),
      .alignment = direct_alignment_,
  };
  return [spec = std::move(spec)] { return SegmentFile::create(spec); };
}

void Segments::add_segment(std::shared_ptr<SegmentFile> file) {
  auto segment = std::make_unique<Segment>();
  segment->number = static_cast<std::uint32_t>(segments_.size());
  segment->buffered = {
      .file = register_file(file->buffered()), .alignment = 1, .segment = segment->number};
  if (file->alignment() > 0) {
    direct_alignment_ = file->alignment();
    segment->direct = {.file = register_file(file->direct()),
                       .alignment = direct_alignment_,
                       .segment = segment->number};
  }
  segment_slots_ = file->slots();
  segment->file = std::move(file);
  segment->slots = std::make_unique<FileSlot[]>(segment_slots_);
  for (std::uint32_t i = 0; i < segment_slots_; ++i) {
    segment->slots[i].segment = segment.get();
    segment->slots[i].index = i;
  }
  segments_.push_back(std::move(segment));
  slots_used_ = 0;
}

rt::CoStatus Segments::grow(rt::BlockingPool& blocking) {
  if (growing_ == nullptr) {
    BENCHFS_CO_TRY(growing_, blocking.submit(next_file()));
  }
  auto growing = growing_;
  if (!co_await growing->wait(Deadline::after(kPatience))) {
    co_return fail(Errc::kDeadline,
                   fmt::format("creating a segment in {}: the file system does not answer",
                               config_.directory));
  }
  bool is_first = growing_ == growing;
  if (is_first) {
    growing_ = nullptr;
  }
  if (!growing->result()) {
    co_return std::unexpected(growing->result().error());
  }
  if (is_first) {
    add_segment(*growing->result());
  }
  co_return Status{};
}

FileSlot* Segments::allocate() {
  BENCHFS_CHECK(has_slot());
  if (free_.empty()) {
    return &segments_.back()->slots[slots_used_++];
  }
  FileSlot* slot = free_.back();
  free_.pop_back();
  return slot;
}

bool Segments::has_slot() {
  while (!free_.empty() && free_.back()->segment->is_failed) {
    free_.pop_back();
  }
  return !free_.empty() || (!segments_.back()->is_failed && slots_used_ < segment_slots_);
}

void Segments::release(FileSlot& slot) {
  if (slot.is_failed || slot.segment->is_failed) {
    return;
  }
  slot.end = 0;
  slot.is_dropped = false;
  slot.is_cached = false;
  free_.push_back(&slot);
}

Result<Space> space_of(const std::string& path) {
  struct statvfs info{};
  struct stat directory{};
  if (statvfs(path.c_str(), &info) != 0 || stat(path.c_str(), &directory) != 0) {
    return fail_system(errno, fmt::format("asking for the space of {}", path));
  }
  return Space{.total_bytes = std::uint64_t{info.f_blocks} * info.f_frsize,
               .free_bytes = std::uint64_t{info.f_bavail} * info.f_frsize,
               .device_id = directory.st_dev};
}

Segments::Remains::~Remains() {
  // The names first: the blocks of large files take long to free, and the process may end before.
  for (const std::shared_ptr<SegmentFile>& file : files) {
    file->unlink();
  }
  if (lock) {
    lock->remove_file();
  }
  files.clear();
}

std::shared_ptr<Segments::Remains> Segments::take_remains() {
  for (unsigned i = 0; i < table_used_; ++i) {
    (void)ring_.set_file(i, -1);
  }
  table_used_ = 0;
  auto remains = std::make_shared<Remains>();
  if (lock_) {
    remains->lock.emplace(*std::exchange(lock_, std::nullopt));
  }
  for (const std::unique_ptr<Segment>& segment : segments_) {
    remains->files.push_back(std::move(segment->file));
  }
  free_.clear();
  segments_.clear();
  return remains;
}

rt::CoStatus Segments::close(rt::BlockingPool& blocking) {
  std::function<Result<bool>()> remove =
      [remains = take_remains(), growing = std::exchange(growing_, nullptr)]() -> Result<bool> {
    return true;
  };
  auto job = blocking.submit<bool>(std::exchange(remove, nullptr));
  if (!job) {
    co_return std::unexpected(std::move(job.error()));
  }
  if (!co_await (*job)->wait(Deadline::after(kPatience))) {
    co_return fail(Errc::kDeadline,
                   fmt::format("removing the data files in {}: the file system does not answer",
                               config_.directory));
  }
  co_return Status{};
}

}  // namespace benchfs::chunk
