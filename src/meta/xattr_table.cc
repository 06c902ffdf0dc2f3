#include "meta/xattr_table.h"

#include <algorithm>
#include <cerrno>

#include "wire/limits.h"
#include "wire/messages.h"

namespace benchfs::meta {

Status XattrTable::set(wire::InodeId inode,
                       std::string_view name,
                       std::string_view value,
                       std::uint32_t flags,
                       std::uint64_t max_bytes) {
  auto found = inodes_.find(inode);
  static const Attributes kNone;
  const Attributes& now = found != inodes_.end() ? found->second : kNone;
  auto at = std::ranges::find(now, name, &Attribute::name);
  auto place = at - now.begin();
  bool is_there = at != now.end();
  if (is_there && (flags & wire::kXattrCreate) != 0) {
    return fail_errno(EEXIST);
  }
  if (!is_there && (flags & (wire::kXattrReplace | wire::kXattrRemove)) != 0) {
    return fail_errno(ENODATA);
  }
  std::uint64_t before = is_there ? at->bytes() : 0;
  if ((flags & wire::kXattrRemove) != 0) {
    bytes_ -= before;
    Attributes& attributes = found.value();
    attributes.erase(attributes.begin() + place);
    if (attributes.empty()) {
      inodes_.erase(found);
    }
    return {};
  }
  std::uint64_t names = is_there ? 0 : name.size() + 1;
  std::uint64_t all = name.size() + value.size() - before;
  for (const Attribute& attribute : now) {
    names += attribute.name.size() + 1;
    all += attribute.bytes();
  }
  if (names > wire::kMaxXattrListBytes || all > wire::kMaxXattrBytes) {
    return fail_errno(ENOSPC, "the limit of extended attributes of one file is reached");
  }
  if (bytes_ - before + name.size() + value.size() > max_bytes) {
    return fail_errno(ENOSPC, "the shard's limit of extended attributes is reached");
  }
  bytes_ += name.size() + value.size() - before;
  Attributes& attributes = inodes_[inode];
  if (is_there) {
    attributes[static_cast<std::size_t>(place)].value = value;
  } else {
    attributes.push_back({std::string(name), std::string(value)});
  }
  return {};
}

std::optional<std::string_view> XattrTable::find(wire::InodeId inode, std::string_view name) const {
  auto found = inodes_.find(inode);
  if (found == inodes_.end()) {
    return std::nullopt;
  }
  auto at = std::ranges::find(found->second, name, &Attribute::name);
  return at != found->second.end() ? std::optional<std::string_view>(at->value) : std::nullopt;
}

std::string XattrTable::list(wire::InodeId inode) const {
  std::string names;
  if (auto found = inodes_.find(inode); found != inodes_.end()) {
    for (const Attribute& attribute : found->second) {
      names += attribute.name;
      names += '\0';
    }
  }
  return names;
}

void XattrTable::forget(wire::InodeId inode) {
  auto found = inodes_.find(inode);
  if (found == inodes_.end()) {
    return;
  }
  for (const Attribute& attribute : found->second) {
    bytes_ -= attribute.bytes();
  }
  inodes_.erase(found);
}

}  // namespace benchfs::meta
