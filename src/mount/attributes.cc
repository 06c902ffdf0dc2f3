#include "mount/attributes.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "mount/fuse.h"

namespace benchfs::mount {
namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
constexpr std::uint32_t kDirectoryBlockBytes = 4096;

timespec to_timespec(std::int64_t ns) {
  std::int64_t seconds = ns / kNanosPerSecond;
  std::int64_t rest = ns % kNanosPerSecond;
  if (rest < 0) {  // before 1970
    --seconds;
    rest += kNanosPerSecond;
  }
  return {.tv_sec = seconds, .tv_nsec = rest};
}

// Inode times are 64 bits of nanoseconds. As Linux does, times beyond become the first or the last.
constexpr std::int64_t kMaxSeconds = INT64_MAX / kNanosPerSecond - 1;

std::int64_t to_nanos(const timespec& time) {
  std::int64_t seconds = std::clamp<std::int64_t>(time.tv_sec, -kMaxSeconds, kMaxSeconds);
  return seconds * kNanosPerSecond + (seconds == time.tv_sec ? time.tv_nsec : 0);
}

}  // namespace

struct stat to_stat(const wire::Attr& attr) {
  struct stat out{};
  out.st_ino = attr.inode;
  out.st_mode = attr.mode;
  out.st_nlink = attr.nlink;
  out.st_uid = attr.uid;
  out.st_rdev = attr.device();
  out.st_gid = attr.gid;
  out.st_size = static_cast<off_t>(attr.size);
  out.st_blksize = attr.layout.chunk_bytes != 0 ? static_cast<blksize_t>(attr.layout.chunk_bytes)
                                                : blksize_t{kDirectoryBlockBytes};
  out.st_blocks = static_cast<blkcnt_t>(attr.size / 512 + (attr.size % 512 != 0 ? 1 : 0));
  out.st_atim = to_timespec(attr.atime_ns);
  out.st_mtim = to_timespec(attr.mtime_ns);
  out.st_ctim = to_timespec(attr.ctime_ns);
  return out;
}

fuse_entry_param to_entry(const wire::Attr& attr, double name_timeout) {
  fuse_entry_param entry{};
  entry.entry_timeout = name_timeout;
  entry.ino = attr.inode;  // never used again for another file: it needs no generation
  entry.attr = to_stat(attr);
  return entry;
}

wire::SetAttrRequest to_request(const struct stat& wanted, int to_set) {
  wire::SetAttrRequest request;
  auto is_set = [&](int flag) { return (to_set & flag) != 0; };
  if (is_set(FUSE_SET_ATTR_MODE)) {
    request.mask |= wire::kSetMode;
    request.mode = wanted.st_mode & 07777U;
  }
  if (is_set(FUSE_SET_ATTR_UID)) {
    request.mask |= wire::kSetUid;
    request.uid = wanted.st_uid;
  }
  if (is_set(FUSE_SET_ATTR_GID)) {
    request.mask |= wire::kSetGid;
    request.gid = wanted.st_gid;
  }
  if (is_set(FUSE_SET_ATTR_SIZE)) {
    request.mask |= wire::kSetSize;
    request.size = static_cast<std::uint64_t>(wanted.st_size);
  }
  if (is_set(FUSE_SET_ATTR_ATIME_NOW)) {
    request.mask |= wire::kSetAtimeNow;
  } else if (is_set(FUSE_SET_ATTR_ATIME)) {
    request.mask |= wire::kSetAtime;
    request.atime_ns = to_nanos(wanted.st_atim);
  }
  if (is_set(FUSE_SET_ATTR_MTIME_NOW)) {
    request.mask |= wire::kSetMtimeNow;
  } else if (is_set(FUSE_SET_ATTR_MTIME)) {
    request.mask |= wire::kSetMtime;
    request.mtime_ns = to_nanos(wanted.st_mtim);
  }
  return request;
}

std::uint32_t to_open_flags(int flags) {
  std::uint32_t out = 0;
  switch (flags & O_ACCMODE) {
    case O_WRONLY:
      out = wire::kOpenWrite;
      break;
    case O_RDWR:
      out = wire::kOpenRead | wire::kOpenWrite;
      break;
    default:
      out = wire::kOpenRead;
  }
  if ((flags & O_TRUNC) != 0) {
    out |= wire::kOpenTruncate;
  }
  if ((flags & O_APPEND) != 0) {
    out |= wire::kOpenAppend;
  }
  return out;
}

client::FileLocks::Wanted to_wanted(const struct flock& lock) {
  client::FileLocks::Wanted wanted;
  wanted.mode = lock.l_type == F_WRLCK   ? wire::LockMode::kExclusive
                : lock.l_type == F_RDLCK ? wire::LockMode::kShared
                                         : wire::LockMode::kNone;
  wanted.begin = static_cast<std::uint64_t>(lock.l_start);
  wanted.end =
      lock.l_len == 0 ? wire::kLockToEnd : wanted.begin + static_cast<std::uint64_t>(lock.l_len);
  wanted.pid = static_cast<std::uint32_t>(lock.l_pid);
  return wanted;
}

struct flock to_flock(const wire::LockReply& reply, struct flock asked) {
  auto mode = static_cast<wire::LockMode>(reply.mode);
  if (mode == wire::LockMode::kNone) {
    asked.l_type = F_UNLCK;
    return asked;
  }
  asked.l_type = mode == wire::LockMode::kExclusive ? F_WRLCK : F_RDLCK;
  asked.l_whence = SEEK_SET;
  asked.l_start = static_cast<off_t>(reply.begin);
  asked.l_len = reply.end == wire::kLockToEnd ? 0 : static_cast<off_t>(reply.end - reply.begin);
  asked.l_pid = static_cast<pid_t>(reply.pid);
  return asked;
}

int to_errno(const Error& error) {
  if (error.code == Errc::kPosix) {
    return error.posix;
  }
  if (error.code == Errc::kCancelled) {  // the mount is ending
    return ENOTCONN;
  }
  return error.code == Errc::kDeadline ? ETIMEDOUT : EIO;
}

}  // namespace benchfs::mount
