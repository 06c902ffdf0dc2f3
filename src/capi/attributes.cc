#include "capi/attributes.h"

#include <sys/stat.h>
#include <unistd.h>

namespace benchfs::capi {

namespace {

constexpr std::int64_t kNanosPerSecond = 1'000'000'000;
constexpr std::uint32_t kDirectoryBlockBytes = 4096;

timespec to_timespec(std::int64_t ns) {
  std::int64_t seconds = ns / kNanosPerSecond;
  std::int64_t rest = ns % kNanosPerSecond;
  if (rest < 0) {  // before the epoch: nanoseconds still count upwards
    --seconds;
    rest += kNanosPerSecond;
  }
  return {.tv_sec = seconds, .tv_nsec = rest};
}

// Inode times are 64 bits of nanoseconds: the years 1678 to 2261.
constexpr std::int64_t kMaxSeconds = INT64_MAX / kNanosPerSecond - 1;

Status set_time(const timespec& time,
                std::uint32_t given,
                std::uint32_t now,
                std::int64_t& ns,
                std::uint32_t& mask) {
  if (time.tv_nsec == UTIME_OMIT) {
    return {};
  }
  if (time.tv_nsec == UTIME_NOW) {
    mask |= now;
    return {};
  }
  if (time.tv_nsec < 0 || time.tv_nsec >= kNanosPerSecond) {
    return fail_errno(EINVAL, "tv_nsec is not within a second");
  }
  if (time.tv_sec > kMaxSeconds || time.tv_sec < -kMaxSeconds) {
    return fail_errno(EINVAL, "the time is outside the years 1678 to 2261");
  }
  ns = time.tv_sec * kNanosPerSecond + time.tv_nsec;
  mask |= given;
  return {};
}

}  // namespace

benchfs_stat_t to_stat(const wire::Attr& attr) {
  benchfs_stat_t out{};
  out.st_ino = attr.inode;
  out.st_mode = attr.mode;
  out.st_uid = attr.uid;
  out.st_gid = attr.gid;
  out.st_blksize = attr.layout.chunk_bytes != 0 ? attr.layout.chunk_bytes : kDirectoryBlockBytes;
  out.st_nlink = attr.nlink;
  out.st_size = static_cast<std::int64_t>(attr.size);
  out.st_blocks = static_cast<std::int64_t>(attr.size / 512 + (attr.size % 512 != 0 ? 1 : 0));
  out.st_atim = to_timespec(attr.atime_ns);
  out.st_mtim = to_timespec(attr.mtime_ns);
  out.st_ctim = to_timespec(attr.ctime_ns);
  return out;
}

wire::SetAttrRequest mode_request(mode_t mode) {
  wire::SetAttrRequest request;
  request.mask = wire::kSetMode;
  request.mode = mode & 07777;
  return request;
}

wire::SetAttrRequest owner_request(uid_t uid, gid_t gid) {
  wire::SetAttrRequest request;
  if (uid != static_cast<uid_t>(-1)) {
    request.mask |= wire::kSetUid;
    request.uid = uid;
  }
  if (gid != static_cast<gid_t>(-1)) {
    request.mask |= wire::kSetGid;
    request.gid = gid;
  }
  return request;
}

Result<wire::SetAttrRequest> parse_times(const timespec* times) {
  wire::SetAttrRequest request;
  if (times == nullptr) {
    request.mask = wire::kSetAtimeNow | wire::kSetMtimeNow;
    return request;
  }
  BENCHFS_TRY_VOID(
      set_time(times[0], wire::kSetAtime, wire::kSetAtimeNow, request.atime_ns, request.mask));
  BENCHFS_TRY_VOID(
      set_time(times[1], wire::kSetMtime, wire::kSetMtimeNow, request.mtime_ns, request.mask));
  return request;
}

Status check_access(const wire::Attr& attr, int mode, client::Ids ids) {
  auto wanted = static_cast<std::uint32_t>(mode);
  if ((wanted & ~std::uint32_t{R_OK | W_OK | X_OK}) != 0) {
    return fail_errno(EINVAL, "the mode has bits other than R_OK, W_OK, X_OK");
  }
  return client::check_access(attr, client::Credentials::of_process(ids), wanted);
}

}  // namespace benchfs::capi
