#include "chunk/segment_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/log.h"
#include "chunk/mapping.h"

namespace benchfs::chunk {
namespace {

constexpr std::uint32_t kDirectAlignment = 4096;

}  // namespace

Result<std::shared_ptr<SegmentFile>> SegmentFile::create(Spec spec) {
  std::shared_ptr<SegmentFile> file(new SegmentFile(std::move(spec)));  // lint: allow new (private)
  BENCHFS_TRY_VOID(file->open());
  if (file->spec_.direct) {
    if (Status direct = file->open_direct(); !direct) {
      BENCHFS_LOG(kWarn, "going on without direct I/O: {}", direct.error().message());
    }
  }
  return file;
}

SegmentFile::~SegmentFile() {
  unlink();
}

void SegmentFile::unlink() {
  if (std::exchange(has_name_, false) && ::unlink(spec_.path.c_str()) != 0) {
    BENCHFS_LOG(kWarn, "removing {}: {}", spec_.path, Error::from_system(errno, "").message());
  }
}

Status SegmentFile::open() {
  const std::string& path = spec_.path;
  buffered_ = Fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!buffered_.is_open()) {
    return fail_errno(errno, fmt::format("creating {}", path));
  }
  has_name_ = true;
  auto bytes = [this] { return static_cast<off_t>(spec_.slots * spec_.slot_bytes); };
  while (ftruncate(buffered_.get(), bytes()) != 0) {
    if (errno != EFBIG || spec_.slots == 1) {
      return fail_errno(errno, fmt::format("sizing {} to {} bytes", path, bytes()));
    }
    spec_.slots /= 2;  // the largest file of this file system
  }
  return {};
}

Status SegmentFile::open_direct() {
  const std::string& path = spec_.path;
  Fd fd(::open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.is_open()) {
    return fail_system(errno, fmt::format("opening {} with O_DIRECT", path));
  }
  if (spec_.alignment == 0) {
    std::uint32_t alignment = kDirectAlignment;
#ifdef STATX_DIOALIGN
    struct statx info{};
    if (statx(fd.get(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
        (info.stx_mask & STATX_DIOALIGN) != 0) {
      alignment = std::max({alignment, info.stx_dio_mem_align, info.stx_dio_offset_align});
    }
#endif
    // Some file systems take the flag and refuse the transfer.
    auto probe = Mapping::create(alignment, false);
    if (!probe || pread(fd.get(), probe->bytes().data(), alignment, 0) < 0 ||
        spec_.slot_bytes % alignment != 0) {
      return fail_system(errno, fmt::format("reading {} directly", path));
    }
    spec_.alignment = alignment;
  }
  direct_ = std::move(fd);
  return {};
}

}  // namespace benchfs::chunk
