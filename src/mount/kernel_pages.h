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
// file is opened, they are dropped first.
//
// While a file is open in this way, attributes and pages of it are told under leases only: the file
// is brought to rest for that, also when others have it open for writing. Where that fails (others
// write all the time, this mount has it open for writing, a lease ended unnoticed) the file is
// spoiled until it was closed: the kernel is told attributes for once, in a way that makes it drop
// its pages (Request::reply_attr_for_read()), and new handles bypass the cache.
//
// A notification that comes between the kernel's question for attributes and its use of the answer
// makes it ignore the answer, and read up to the size that it knew before. So it is notified only
// of what it trusts, and not before it can have used an answer with a new size.
//
// Thread: the reactor's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
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

  KernelPages(client::FileSystem& fs, KernelCache& kernel, std::string mount_point);
  KernelPages(const KernelPages&) = delete;
  KernelPages& operator=(const KernelPages&) = delete;

  // A file was opened, and the kernel is about to be told so. kCached: it may keep its pages.
  rt::Task<Use> opened(const client::OpenFile& file, bool may_cache);
  void closed(wire::InodeId inode, Use use);

  // To be called before attributes are asked for with which the kernel is to read pages, and before
  // data are read for it. False: attributes are for this moment only, without the pages that it
  // has.
  rt::Task<bool> prepare_read(wire::InodeId inode);
  // Whether attributes that are leased may be trusted for as long; to be called before they are
  // told.
  [[nodiscard]] bool is_trusted(wire::InodeId inode);

  // Ends what is under way.
  rt::Task<void> close();

 private:
  struct File {
    std::optional<std::uint64_t> version;  // none: pages may be of any
    std::uint32_t readers = 0;             // handles that use pages
    std::uint32_t writers = 0;             // handles that may write
    // While there are readers:
    BootTime trusted_until{};  // by the kernel
    std::uint64_t size = 0;    // that it was told
    MonoTime size_told_at{};
    std::uint32_t drops = 0;  // under way, because a lease was taken back
    bool is_opening = false;  // pages of an earlier version are dropped for the first reader
    bool is_empty = false;    // no pages but of the version that is leased next
    bool is_spoiled = false;  // pages may be of other versions
    bool is_lapsing = false;  // the lease was not renewed
    bool is_renewing = false;
  };

  // Null when too many are open.
  File* get(wire::InodeId inode);
  // The file has readers and is leased. False: it is spoiled.
  bool trust(File& file, const client::NodeCache::KnownAttr& known);
  // The attributes are taken back.
  KernelCache::Withdrawal on_revoked(wire::InodeId inode);
  void on_dropped(wire::InodeId inode);
  // While files are open that use pages: renews their leases. Those who do not ask for attributes
  // (mappings) must not see pages either whose lease has ended.
  rt::Task<void> watch();
  rt::Task<void> renew(wire::InodeId inode);

  client::FileSystem& fs_;
  KernelCache& kernel_;
  std::string mount_point_;  // empty when the kernel has been told to read ahead
  std::unordered_map<wire::InodeId, File> files_;
  std::unordered_set<wire::InodeId> in_use_;  // with readers
  bool has_forgotten_ = false;                // files that are not known may have pages
  bool is_watching_ = false;
  rt::Scope scope_;
};

}  // namespace benchfs::mount
