// What owner, group and mode of an inode allow whom: the rules of Linux, for clients that check
// permissions themselves (FileSystemConfig::check_permissions). User 0 may do everything but
// execute a file that nobody may execute.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "wire/attr.h"
#include "wire/messages.h"

namespace benchfs::client {

struct Permissions {
  Permissions() = default;
  // Not explicit: they are a part of the attributes.
  // NOLINTNEXTLINE(google-explicit-constructor)
  Permissions(const wire::Attr& attr) : mode(attr.mode), uid(attr.uid), gid(attr.gid) {}

  // New entries of the directory get its group.
  [[nodiscard]] bool is_setgid() const { return (mode & S_ISGID) != 0; }
  // Entries of the directory are removed by their owners and its own.
  [[nodiscard]] bool is_sticky() const { return (mode & S_ISVTX) != 0; }

  std::uint32_t mode = 0;  // with the file type
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

// The ids of a process by which its calls are judged: effective ones, but for access(2).
enum class Ids : std::uint8_t { kEffective, kReal };

struct Credentials {
  static Credentials of_process(Ids ids);

  [[nodiscard]] bool is_root() const { return uid == 0; }
  [[nodiscard]] bool is_in_group(std::uint32_t group) const;
  // May do what only the owner may.
  [[nodiscard]] bool owns(const Permissions& inode) const { return is_root() || uid == inode.uid; }
  // `wanted`: R_OK, W_OK and X_OK combined.
  [[nodiscard]] bool may(const Permissions& inode, std::uint32_t wanted) const;

  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<gid_t> groups;
};

// EACCES.
Status check_access(const Permissions& inode, const Credentials& caller, std::uint32_t wanted);
// Whether the attributes may be changed so, but for the size, which takes the right to write. Takes
// the set-id bits off that the change may not leave. EPERM, EACCES.
Status check_change(const wire::Attr& attr,
                    const Credentials& caller,
                    wire::SetAttrRequest& request);
// Whether a value in the namespace of users may be read (R_OK) or changed (W_OK); what is in no
// such namespace is the server's to refuse. EPERM, EACCES.
Status check_xattr(const wire::Attr& attr,
                   const Credentials& caller,
                   std::string_view name,
                   std::uint32_t wanted);
// The set-id bits that a write takes off a file, unless it is root's.
std::uint32_t set_id_bits(std::uint32_t mode);

}  // namespace benchfs::client
