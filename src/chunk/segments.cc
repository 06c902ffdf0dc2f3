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

#include "base/log.h"
#include "base/safe_dir.h"
#include "chunk/mapping.h"

namespace benchfs::chunk {
namespace {

constexpr unsigned kFileTableSize = 256;
constexpr std::uint32_t kDirectAlignment = 4096;

// Longer than a process that only asks whether the directory is in use holds the lock.
constexpr Nanos kLockPatience = std::chrono::milliseconds(100);
constexpr const char* kLockName = "lock";

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

std::string Segments::path_of(std::uint32_t number) const {
  return fmt::format("{}/segment_{:06}.dat", config_.directory, number);
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
  BENCHFS_TRY_VOID(segments->add_segment());
  return segments;
}

Segments::~Segments() {
  close();
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

Status Segments::add_segment() {
  auto segment = std::make_unique<Segment>();
  segment->number = static_cast<std::uint32_t>(segments_.size());
  std::string path = path_of(segment->number);
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    return fail_errno(errno, fmt::format("creating {}", path));
  }
  auto bytes = static_cast<off_t>(segment_slots_ * config_.slot_bytes);
  while (ftruncate(fd, bytes) != 0) {
    if (errno == EFBIG && segment_slots_ > 1) {  // the largest file of this file system
      segment_slots_ /= 2;
      bytes = static_cast<off_t>(segment_slots_ * config_.slot_bytes);
      continue;
    }
    int error = errno;
    ::close(fd);
    unlink(path.c_str());
    return fail_errno(error, fmt::format("sizing {} to {} bytes", path, bytes));
  }
  segment->buffered_fd = fd;
  segment->buffered = {.file = register_file(fd), .alignment = 1, .segment = segment->number};
  if (config_.direct && (segment->number == 0 || direct_alignment_ > 0)) {
    if (Status direct = open_direct(*segment, path); !direct) {
      BENCHFS_LOG(kWarn, "going on without direct I/O: {}", direct.error().message());
    }
  }
  segment->slots = std::make_unique<FileSlot[]>(segment_slots_);
  for (std::uint32_t i = 0; i < segment_slots_; ++i) {
    segment->slots[i].segment = segment.get();
    segment->slots[i].index = i;
  }
  segments_.push_back(std::move(segment));
  slots_used_ = 0;
  return {};
}

Status Segments::open_direct(Segment& segment, const std::string& path) {
  int fd = ::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) {
    return fail_system(errno, fmt::format("opening {} with O_DIRECT", path));
  }
  if (segment.number == 0) {
    std::uint32_t alignment = kDirectAlignment;
#ifdef STATX_DIOALIGN
    struct statx info{};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
        (info.stx_mask & STATX_DIOALIGN) != 0) {
      alignment = std::max({alignment, info.stx_dio_mem_align, info.stx_dio_offset_align});
    }
#endif
    // Some file systems take the flag and refuse the transfer.
    auto probe = Mapping::create(alignment, false);
    if (!probe || pread(fd, probe->bytes().data(), alignment, 0) < 0 ||
        config_.slot_bytes % alignment != 0) {
      int error = errno;
      ::close(fd);
      return fail_system(error, fmt::format("reading {} directly", path));
    }
    direct_alignment_ = alignment;
  }
  segment.direct_fd = fd;
  segment.direct = {
      .file = register_file(fd), .alignment = direct_alignment_, .segment = segment.number};
  return {};
}

Result<FileSlot*> Segments::allocate() {
  while (!free_.empty()) {
    FileSlot* slot = free_.back();
    free_.pop_back();
    if (!slot->segment->is_failed) {
      return slot;
    }
  }
  if (segments_.back()->is_failed || slots_used_ >= segment_slots_) {
    BENCHFS_TRY_VOID(add_segment());
  }
  return &segments_.back()->slots[slots_used_++];
}

bool Segments::has_slot() const {
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

void Segments::close() {
  for (unsigned i = 0; i < table_used_; ++i) {
    (void)ring_.set_file(i, -1);
  }
  table_used_ = 0;
  for (const std::unique_ptr<Segment>& segment : segments_) {
    ::close(segment->buffered_fd);
    if (segment->direct_fd >= 0) {
      ::close(segment->direct_fd);
    }
    std::string path = path_of(segment->number);
    if (unlink(path.c_str()) != 0) {
      BENCHFS_LOG(kWarn, "removing {}: {}", path, Error::from_system(errno, "").message());
    }
  }
  segments_.clear();
  if (lock_) {
    lock_->remove_file();
    lock_.reset();
  }
}

}  // namespace benchfs::chunk
