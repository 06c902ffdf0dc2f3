// Which pages of files the kernel may use without asking.
//
// A file that is opened for reading while its attributes are leased is read through the kernel's
// page cache. The kernel asks for the attributes before it uses pages, and trusts them as long as
// it was told (auto_inval_data), so the lease of the attributes is also one of the pages: whoever
// changes contents takes it back first, and the pages go with it (kernel_cache.h).
//
// What the lease does not say is whether pages from before it are still good. That is what
// versions are for (wire::Attr::content_version()): all pages that the kernel has of a file are of
// File::version or later, and good if that is the version under the lease. If it is not when the
// file is opened, they are dropped first. A file that changes while it is open keeps its version,
// so it is not trusted any more until it was closed: the kernel is told attributes for once, in a
// way that makes it drop what it has (Request::reply_attr_for_read()), and other handles bypass the
// cache.
//
// Not by a notification: one that comes between the kernel's question for attributes and the answer
// makes the kernel ignore the answer, and read up to the size that it knew before. For the same
// reason the kernel is notified only of what it trusts, which is then of the size it knows.
//
// Files that are open for writing through this mount are read and written past the cache, too.
//
// Thread: the reactor's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "client/file_system.h"
#include "mount/kernel_cache.h"
#include "rt/scope.h"

namespace benchfs::mount {

class KernelPages {
 public:
  // Known at a time, about 64 bytes each; beyond, those that are not open are forgotten.
  static constexpr std::size_t kMaxFiles = 256 * 1024;

  // How the kernel reads through an open file, and what that means for others.
  enum class Use : std::uint8_t { kDirect, kCached, kWriting };

  KernelPages(client::FileSystem& fs, KernelCache& kernel);
  KernelPages(const KernelPages&) = delete;
  KernelPages& operator=(const KernelPages&) = delete;

  // A file was opened, and the kernel is about to be told so. kCached: it may keep its pages.
  rt::Task<Use> opened(const client::OpenFile& file, bool may_cache);
  void closed(wire::InodeId inode, Use use);

  // Whether the attributes that are about to be told may be trusted for as long as they are leased.
  // False: for this moment only, without the pages that the kernel has.
  [[nodiscard]] bool may_trust(wire::InodeId inode);

  // Ends what is under way.
  rt::Task<void> close();

 private:
  struct File {
    std::optional<std::uint64_t> version;  // none: pages may be of any
    std::uint32_t readers = 0;             // handles that use pages
    std::uint32_t writers = 0;             // handles that may write
    BootTime trusted_until{};              // by the kernel, while there are readers
    bool is_renewing = false;
  };

  // Null when too many are open.
  File* get(wire::InodeId inode);
  [[nodiscard]] const client::NodeCache::KnownAttr* leased(wire::InodeId inode, const File& file);
  // The attributes are taken back.
  KernelCache::Pages on_revoked(wire::InodeId inode);
  // While files are open that use pages: renews their leases. Those who do not ask for attributes
  // (mappings) must not see pages either whose lease has ended.
  rt::Task<void> watch();
  rt::Task<void> renew(wire::InodeId inode);

  client::FileSystem& fs_;
  KernelCache& kernel_;
  std::unordered_map<wire::InodeId, File> files_;
  std::unordered_set<wire::InodeId> in_use_;  // with readers
  bool has_forgotten_ = false;                // files that are not known may have pages
  bool is_watching_ = false;
  rt::Scope scope_;
};

}  // namespace benchfs::mount
