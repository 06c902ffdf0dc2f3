#include "mount/kernel_pages.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace benchfs::mount {
namespace {

// Leases end half a second before the server takes them for ended.
constexpr Nanos kWatchEvery = std::chrono::milliseconds(200);
constexpr Nanos kRenewBefore = std::chrono::seconds(2);
// The server takes a lease for ended half a second after it ended here.
constexpr Nanos kDropBefore = std::chrono::milliseconds(300);
constexpr std::size_t kMaxRenewals = 64;

}  // namespace

KernelPages::KernelPages(client::FileSystem& fs, KernelCache& kernel) : fs_(fs), kernel_(kernel) {
  kernel_.attach_pages([this](wire::InodeId inode) { return on_revoked(inode); });
}

KernelPages::File* KernelPages::get(wire::InodeId inode) {
  auto found = files_.find(inode);
  if (found != files_.end()) {
    return &found->second;
  }
  if (files_.size() >= kMaxFiles) {
    std::erase_if(files_, [](const auto& entry) {
      return entry.second.readers == 0 && entry.second.writers == 0;
    });
    has_forgotten_ = true;
    if (files_.size() >= kMaxFiles) {
      return nullptr;
    }
  }
  return &files_[inode];
}

// Null unless the pages that the kernel has are those of the lease.
const client::NodeCache::KnownAttr* KernelPages::leased(wire::InodeId inode, const File& file) {
  const client::NodeCache::KnownAttr* known = fs_.nodes().cache().find_attr(inode);
  return known != nullptr && file.version == known->attr.content_version() ? known : nullptr;
}

// --- Opening and closing -------------------------------------------------------------------------

rt::Task<KernelPages::Use> KernelPages::opened(const client::OpenFile& open, bool may_cache) {
  wire::InodeId inode = open.id();
  bool has_no_pages = !has_forgotten_ && !files_.contains(inode);  // it was never open here
  File* file = get(inode);
  if (file == nullptr) {
    co_return Use::kDirect;
  }
  if (open.can_write()) {
    ++file->writers;
    co_return Use::kWriting;
  }
  const client::NodeCache::KnownAttr* known = fs_.nodes().cache().find_attr(inode);
  if (!may_cache || file->writers > 0 || known == nullptr) {
    co_return Use::kDirect;
  }
  std::uint64_t version = known->attr.content_version();
  bool must_drop = !has_no_pages && file->version != version;
  if (must_drop && file->readers > 0) {
    co_return Use::kDirect;
  }
  ++file->readers;
  in_use_.insert(inode);
  file->trusted_until = known->until;
  if (must_drop) {
    Status dropped = co_await kernel_.drop_pages(inode);
    file = &files_.at(inode);
    if (dropped) {
      file->version = version;
    }
    if (leased(inode, *file) == nullptr) {
      closed(inode, Use::kCached);
      co_return Use::kDirect;
    }
  }
  file->version = version;
  if (!is_watching_) {
    is_watching_ = scope_.spawn(watch());
  }
  co_return Use::kCached;
}

void KernelPages::closed(wire::InodeId inode, Use use) {
  auto found = files_.find(inode);
  if (use == Use::kDirect || found == files_.end()) {
    return;
  }
  File& file = found->second;
  if (use == Use::kWriting) {
    --file.writers;
  } else if (--file.readers == 0) {
    in_use_.erase(inode);
  }
}

bool KernelPages::may_trust(wire::InodeId inode) {
  auto found = files_.find(inode);
  if (found == files_.end() || found->second.readers == 0) [[likely]] {
    return true;
  }
  File& file = found->second;
  const client::NodeCache::KnownAttr* known = leased(inode, file);
  if (known == nullptr || file.writers > 0) {
    return false;
  }
  file.trusted_until = known->until;
  return true;
}

// --- The end of leases ---------------------------------------------------------------------------

KernelCache::Pages KernelPages::on_revoked(wire::InodeId inode) {
  auto found = files_.find(inode);
  if (found == files_.end() || found->second.readers == 0) {
    return KernelCache::Pages::kKept;
  }
  File& file = found->second;
  if (boot_now() >= std::exchange(file.trusted_until, {})) {
    return KernelCache::Pages::kNotTrusted;
  }
  // Pages of a file that is open for writing may wait to be written, which may wait for the server
  // that takes back.
  return file.writers == 0 ? KernelCache::Pages::kDropped : KernelCache::Pages::kKept;
}

rt::Task<void> KernelPages::watch() {
  while (!in_use_.empty() && !scope_.is_closed()) {
    (void)co_await rt::sleep_for(kWatchEvery, &scope_.cancel_source());
    BootTime now = boot_now();
    std::vector<wire::InodeId> to_renew;
    for (wire::InodeId inode : in_use_) {
      File& file = files_.at(inode);
      if (file.trusted_until <= now) {
        continue;
      }
      Nanos left = file.trusted_until - now;
      if (left < kRenewBefore && !file.is_renewing && to_renew.size() < kMaxRenewals) {
        to_renew.push_back(inode);
      } else if (left < kDropBefore) {
        file.trusted_until = {};
        kernel_.begin_drop_pages(inode);
      }
    }
    for (wire::InodeId inode : to_renew) {
      files_.at(inode).is_renewing = scope_.spawn(renew(inode));
    }
  }
  is_watching_ = false;
}

rt::Task<void> KernelPages::renew(wire::InodeId inode) {
  (void)co_await fs_.nodes().renew_attr(inode);
  if (auto found = files_.find(inode); found != files_.end()) {
    found->second.is_renewing = false;
    (void)may_trust(inode);
  }
}

rt::Task<void> KernelPages::close() {
  scope_.close();
  co_await scope_.join();
}

}  // namespace benchfs::mount
