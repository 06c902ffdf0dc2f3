#include "client/nodes/node_cache.h"

#include <utility>

namespace benchfs::client {
namespace {

// A full cache is searched for leases that have ended this often.
constexpr Nanos kSweepEvery = std::chrono::seconds(1);

}  // namespace

void NodeCache::put_name(wire::InodeId parent,
                         std::string_view name,
                         wire::InodeId inode,
                         wire::ShardId shard,
                         const Question& question,
                         Nanos granted) {
  if (!is_enabled_ || question.version != version_) {
    return;
  }
  Name value{{inode, question.asked_at + usable(granted)}, shard};
  if (auto found = names_.find(KeyView{parent, name}); found != names_.end()) {
    found->second = value;
    return;
  }
  if (names_.size() >= kMaxKept) {
    BootTime now = boot_now();
    if (now - swept_at_ < kSweepEvery) {
      return;
    }
    swept_at_ = now;
    std::erase_if(names_, [&](const auto& entry) { return entry.second.known.until <= now; });
    if (names_.size() >= kMaxKept) {
      return;
    }
  }
  names_.emplace(Key{parent, std::string(name)}, value);
}

void NodeCache::put_attr(const wire::Attr& attr,
                         std::string_view target,
                         const Question& question,
                         Nanos granted) {
  if (!is_enabled_ || question.version != version_ || changing_.contains(attr.id())) {
    return;
  }
  if (attrs_.size() >= kMaxKept && !attrs_.contains(attr.id())) {
    BootTime now = boot_now();
    if (now - swept_at_ < kSweepEvery) {
      return;
    }
    swept_at_ = now;
    std::erase_if(attrs_, [&](const auto& entry) { return entry.second.until <= now; });
    if (attrs_.size() >= kMaxKept) {
      return;
    }
  }
  attrs_.insert_or_assign(
      attr.id(), KnownAttr{attr, std::string(target), question.asked_at + usable(granted)});
}

const NodeCache::KnownName* NodeCache::find_name(wire::InodeId parent,
                                                 std::string_view name) const {
  auto found = names_.find(KeyView{parent, name});
  return found == names_.end() || found->second.known.until <= boot_now() ? nullptr
                                                                          : &found->second.known;
}

const NodeCache::KnownAttr* NodeCache::find_attr(wire::InodeId inode) const {
  auto found = attrs_.find(inode);
  return found == attrs_.end() || found->second.until <= boot_now() ? nullptr : &found->second;
}

// --- Forgetting ----------------------------------------------------------------------------------

void NodeCache::forget_name(wire::InodeId parent, std::string_view name) {
  ++version_;
  if (auto found = names_.find(KeyView{parent, name}); found != names_.end()) {
    names_.erase(found);
  }
}

// The attributes of the directory change with its entries, those of the inode with its names.
void NodeCache::forget_changed(wire::InodeId parent, std::string_view name) {
  ++version_;
  if (!is_enabled_) {
    return;
  }
  attrs_.erase(parent);
  if (auto found = names_.find(KeyView{parent, name}); found != names_.end()) {
    attrs_.erase(found->second.known.inode);
    names_.erase(found);
  }
}

bool NodeCache::on_name_revoked(wire::InodeId parent,
                                std::string_view name,
                                const rpc::Revocation& revocation) {
  forget_name(parent, name);
  if (listener_ == nullptr) {
    return true;
  }
  listener_->on_name_revoked(parent, name, revocation);
  return false;
}

bool NodeCache::on_attr_revoked(wire::InodeId inode, const rpc::Revocation& revocation) {
  ++version_;
  attrs_.erase(inode);
  if (listener_ == nullptr) {
    return true;
  }
  listener_->on_attr_revoked(inode, revocation);
  return false;
}

void NodeCache::on_connection_lost(wire::ShardId shard) {
  ++version_;
  std::erase_if(names_, [&](const auto& entry) {
    if (entry.second.shard != shard) {
      return false;
    }
    if (listener_ != nullptr) {
      listener_->on_name_lost(entry.first.parent, entry.first.name);
    }
    return true;
  });
  std::erase_if(attrs_, [&](const auto& entry) {
    if (entry.first.home() != shard) {
      return false;
    }
    if (listener_ != nullptr) {
      listener_->on_attr_lost(entry.first);
    }
    return true;
  });
}

}  // namespace benchfs::client
