#include "client/permissions.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace benchfs::client {
namespace {

std::vector<gid_t> supplementary_groups() {
  std::vector<gid_t> groups;
  int count = getgroups(0, nullptr);
  if (count > 0) {
    groups.resize(static_cast<std::size_t>(count));
    count = getgroups(count, groups.data());
    groups.resize(static_cast<std::size_t>(std::max(count, 0)));
  }
  return groups;
}

Status check_owner(const wire::Attr& attr, const Credentials& caller, std::uint32_t uid) {
  bool is_allowed = caller.is_root() || (caller.uid == attr.uid && uid == attr.uid);
  return is_allowed ? Status{} : Status(fail_errno(EPERM));
}

Status check_group(const wire::Attr& attr, const Credentials& caller, std::uint32_t gid) {
  bool is_allowed =
      caller.owns(attr) && (caller.is_root() || gid == attr.gid || caller.is_in_group(gid));
  return is_allowed ? Status{} : Status(fail_errno(EPERM));
}

// Who may write may set both times to now, and nothing else.
Status check_times(const wire::Attr& attr, const Credentials& caller, std::uint32_t times) {
  if (times == 0 || caller.owns(attr)) {
    return {};
  }
  return times == (wire::kSetAtimeNow | wire::kSetMtimeNow) ? check_access(attr, caller, W_OK)
                                                            : Status(fail_errno(EPERM));
}

}  // namespace

Credentials Credentials::of_process(Ids ids) {
  bool is_real = ids == Ids::kReal;
  return {.uid = is_real ? getuid() : geteuid(),
          .gid = is_real ? getgid() : getegid(),
          .groups = supplementary_groups()};
}

bool Credentials::is_in_group(std::uint32_t group) const {
  return group == gid || std::ranges::find(groups, group) != groups.end();
}

bool Credentials::may(const Permissions& inode, std::uint32_t wanted) const {
  std::uint32_t allowed = inode.mode & 07;
  if (is_root()) {
    bool is_executable = S_ISDIR(inode.mode) || (inode.mode & 0111) != 0;
    allowed = R_OK | W_OK | (is_executable ? X_OK : 0U);
  } else if (uid == inode.uid) {
    allowed = (inode.mode >> 6) & 07;
  } else if (is_in_group(inode.gid)) {
    allowed = (inode.mode >> 3) & 07;
  }
  return (wanted & ~allowed) == 0;
}

Status check_access(const Permissions& inode, const Credentials& caller, std::uint32_t wanted) {
  return caller.may(inode, wanted) ? Status{} : Status(fail_errno(EACCES));
}

Status check_change(const wire::Attr& attr,
                    const Credentials& caller,
                    wire::SetAttrRequest& request) {
  constexpr std::uint32_t kTimes =
      wire::kSetAtime | wire::kSetMtime | wire::kSetAtimeNow | wire::kSetMtimeNow;
  if ((request.mask & wire::kSetUid) != 0) {
    BENCHFS_TRY_VOID(check_owner(attr, caller, request.uid));
  }
  if ((request.mask & wire::kSetGid) != 0) {
    BENCHFS_TRY_VOID(check_group(attr, caller, request.gid));
  }
  BENCHFS_TRY_VOID(check_times(attr, caller, request.mask & kTimes));
  if ((request.mask & wire::kSetMode) != 0) {
    if (!caller.owns(attr)) {
      return fail_errno(EPERM);
    }
    bool sets_group = (request.mask & wire::kSetGid) != 0;
    bool keeps_setgid = caller.is_root() || caller.is_in_group(sets_group ? request.gid : attr.gid);
    request.mode &= ~(keeps_setgid ? 0U : std::uint32_t{S_ISGID});
  }
  if ((request.mask & wire::kSetSize) != 0) {
    std::uint32_t cleared = caller.is_root() ? 0 : set_id_bits(attr.mode);
    if (cleared != 0 && (request.mask & wire::kSetMode) == 0) {
      request.mask |= wire::kSetMode;
      request.mode = attr.mode & 07777U & ~cleared;
    }
  }
  return {};
}

Status check_xattr(const wire::Attr& attr,
                   const Credentials& caller,
                   std::string_view name,
                   std::uint32_t wanted) {
  bool has_values = attr.is_regular() || attr.is_directory();
  if (!has_values || !name.starts_with("user.")) {
    return {};
  }
  bool is_write = (wanted & W_OK) != 0;
  if (is_write && attr.is_directory() && Permissions(attr).is_sticky() && !caller.owns(attr)) {
    return fail_errno(EPERM);
  }
  return check_access(attr, caller, wanted);
}

std::uint32_t set_id_bits(std::uint32_t mode) {
  return mode & (S_ISUID | ((mode & S_IXGRP) != 0 ? std::uint32_t{S_ISGID} : 0U));
}

}  // namespace benchfs::client
