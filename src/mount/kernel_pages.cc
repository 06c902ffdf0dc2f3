#include "mount/kernel_pages.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/backoff.h"
#include "base/clock.h"
#include "mount/mount_point.h"

namespace benchfs::mount {
namespace {

// Leases end half a second before the server takes them for ended.
constexpr Nanos kWatchEvery = std::chrono::milliseconds(200);
constexpr Nanos kRenewBefore = std::chrono::seconds(2);
// The server takes a lease for ended half a second after it ended here.
constexpr Nanos kDropBefore = std::chrono::milliseconds(300);
constexpr std::size_t kMaxRenewals = 64;
// How long a read waits until what others write comes to rest.
constexpr Nanos kRestPatience = std::chrono::seconds(1);
constexpr Nanos kFirstPause = std::chrono::microseconds(100);
constexpr Nanos kLongestPause = std::chrono::milliseconds(20);
// For a program to take up the answer to its question for attributes.
constexpr Nanos kTakeUp = std::chrono::milliseconds(1);

}  // namespace

KernelPages::KernelPages(client::FileSystem& fs, KernelCache& kernel, std::string mount_point)
    : fs_(fs), kernel_(kernel), mount_point_(std::move(mount_point)) {
  kernel_.attach_pages([this](wire::InodeId inode) { return on_revoked(inode); },
                       [this](wire::InodeId inode) { on_dropped(inode); });
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

bool KernelPages::trust(File& file, const client::NodeCache::KnownAttr& known) {
  if (file.is_opening) {
    return false;
  }
  // A drop that lasts longer than the lease that was taken back may leave pages of before.
  if (file.writers > 0 || file.drops > 0) {
    file.is_spoiled = true;
  }
  if (file.is_spoiled) {
    return false;
  }
  std::uint64_t version = known.attr.content_version();
  if (std::exchange(file.is_empty, false)) {
    file.version = version;
  }
  if (file.version != version) {
    file.is_spoiled = true;
    return false;
  }
  file.trusted_until = known.until;
  file.is_lapsing = false;
  if (file.size != known.attr.size) {
    file.size = known.attr.size;
    file.size_told_at = mono_now();
  }
  return true;
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
  if (file->readers == 0) {
    bool must_drop = !has_no_pages && file->version != version;
    *file = {.version = must_drop ? file->version : version,
             .readers = 1,
             .trusted_until = known->until,
             .drops = file->drops,
             .is_opening = must_drop};
    in_use_.insert(inode);
    if (must_drop) {
      Status dropped = co_await kernel_.drop_pages(inode);
      file = &files_.at(inode);
      file->is_opening = false;
      known = fs_.nodes().cache().find_attr(inode);
      if (!dropped || known == nullptr || known->attr.content_version() != version) {
        closed(inode, Use::kCached);
        co_return Use::kDirect;
      }
      file->version = version;
    }
  } else if (trust(*file, *known)) {
    ++file->readers;
  } else {
    co_return Use::kDirect;
  }
  // Not earlier: kernel and mount must have agreed, which sets it to its default.
  if (std::string path = std::exchange(mount_point_, {}); !path.empty()) {
    read_far_ahead(path);
  }
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

rt::Task<bool> KernelPages::prepare_read(wire::InodeId inode) {
  Deadline patience = Deadline::after(kRestPatience);
  Backoff backoff(kFirstPause, kLongestPause);
  for (;;) {
    auto found = files_.find(inode);
    if (found == files_.end() || found->second.readers == 0) [[likely]] {
      co_return true;
    }
    File& file = found->second;
    if (const client::NodeCache::KnownAttr* known = fs_.nodes().cache().find_attr(inode)) {
      co_return trust(file, *known);
    }
    if (file.is_spoiled || file.writers > 0 || patience.passed()) {
      file.is_spoiled = true;
      co_return false;
    }
    Status asked = co_await fs_.nodes().renew_attr(inode);
    if (!asked) {
      patience = Deadline::at(mono_now());
    } else if (fs_.nodes().cache().find_attr(inode) == nullptr) {
      (void)co_await rt::sleep_for(backoff.next(), &scope_.cancel_source());
    }
  }
}

bool KernelPages::is_trusted(wire::InodeId inode) {
  auto found = files_.find(inode);
  if (found == files_.end() || found->second.readers == 0) [[likely]] {
    return true;
  }
  const client::NodeCache::KnownAttr* known = fs_.nodes().cache().find_attr(inode);
  return known != nullptr && trust(found->second, *known);
}

// --- The end of leases ---------------------------------------------------------------------------

KernelCache::Withdrawal KernelPages::on_revoked(wire::InodeId inode) {
  using Pages = KernelCache::Pages;
  auto found = files_.find(inode);
  if (found == files_.end() || found->second.readers == 0) {
    return {Pages::kKept, {}};
  }
  File& file = found->second;
  if (boot_now() >= std::exchange(file.trusted_until, {})) {
    return {Pages::kNotTrusted, {}};
  }
  MonoTime not_before = file.size_told_at + kTakeUp;
  // Pages of a file that is open for writing may wait to be written, which may wait for the server
  // that takes back.
  if (file.writers > 0) {
    file.is_spoiled = true;
    return {Pages::kKept, not_before};
  }
  ++file.drops;
  return {Pages::kDropped, not_before};
}

void KernelPages::on_dropped(wire::InodeId inode) {
  auto found = files_.find(inode);
  if (found != files_.end() && found->second.drops > 0) {
    --found->second.drops;
    found->second.is_empty = true;
  }
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
      if (left < kDropBefore) {
        if (!std::exchange(file.is_lapsing, true)) {
          kernel_.begin_drop_pages(inode);
        }
      } else if (left < kRenewBefore && !file.is_renewing && to_renew.size() < kMaxRenewals) {
        to_renew.push_back(inode);
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
    const client::NodeCache::KnownAttr* known = fs_.nodes().cache().find_attr(inode);
    if (known != nullptr && found->second.readers > 0) {
      (void)trust(found->second, *known);
    }
  }
}

rt::Task<void> KernelPages::close() {
  scope_.close();
  co_await scope_.join();
}

}  // namespace benchfs::mount
