// Attributes of an inode as they travel, and the layout of a file.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <type_traits>

#include "wire/ids.h"

namespace benchfs::wire {

// The placement of a file's chunks: chunk i lives on shard (first_shard + i) mod width.
struct Layout {
  std::uint32_t chunk_bytes = 0;
  std::uint16_t first_shard = 0;
  std::uint16_t width = 0;  // shards in the file system when the file was made
  friend bool operator==(const Layout&, const Layout&) = default;
};
static_assert(sizeof(Layout) == 8);

struct Attr {
  std::uint64_t inode = 0;
  // Directories: the directory that holds it (root: itself). Files: grows before the contents of a
  // file at rest change, see content_version(). Else 0.
  std::uint64_t parent = 0;
  std::uint64_t size = 0;     // bytes; directories: number of entries is not kept, 0
  std::int64_t atime_ns = 0;  // nanoseconds since the epoch
  std::int64_t mtime_ns = 0;
  std::int64_t ctime_ns = 0;
  std::uint32_t mode = 0;  // file type and permission bits, as st_mode
  std::uint32_t nlink = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  Layout layout;                 // files only
  std::uint64_t truncation = 0;  // files: grows with every truncation; devices: their number

  [[nodiscard]] InodeId id() const { return InodeId{inode}; }
  [[nodiscard]] bool is_directory() const { return S_ISDIR(mode); }
  [[nodiscard]] bool is_regular() const { return S_ISREG(mode); }
  // A fifo, a socket or a device.
  [[nodiscard]] bool is_special() const {
    return S_ISFIFO(mode) || S_ISSOCK(mode) || S_ISCHR(mode) || S_ISBLK(mode);
  }
  [[nodiscard]] std::uint64_t device() const {
    return S_ISCHR(mode) || S_ISBLK(mode) ? truncation : 0;
  }
  // Files at rest (whose attributes can be leased): two moments with the same version have the same
  // contents.
  [[nodiscard]] std::uint64_t content_version() const { return is_regular() ? parent : 0; }
  [[nodiscard]] bool is_symlink() const { return S_ISLNK(mode); }
};
static_assert(sizeof(Attr) == 80 && std::is_trivially_copyable_v<Attr>);

// Which fields a SetAttr changes.
enum SetAttrMask : std::uint32_t {
  kSetMode = 1U << 0,
  kSetUid = 1U << 1,
  kSetGid = 1U << 2,
  kSetSize = 1U << 3,
  kSetAtime = 1U << 4,
  kSetMtime = 1U << 5,
  kSetAtimeNow = 1U << 6,  // the server's clock
  kSetMtimeNow = 1U << 7,
  kSetSizeAtLeast = 1U << 8,  // makes the file longer, never shorter; not with kSetSize
};

}  // namespace benchfs::wire
