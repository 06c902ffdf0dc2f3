#include "client/nodes/node_cache.h"

#include <algorithm>
#include <utility>

namespace benchfs::client {
namespace {

// A full cache is searched for leases that have ended this often.
constexpr Nanos kSweepEvery = std::chrono::seconds(1);

}  // namespace

template <typename Map>
bool NodeCache::has_room(Kept<Map>& kept, std::size_t room) {
  BootTime now = boot_now();
  if (kept.map.size() >= room && now - kept.swept_at >= kSweepEvery) {
    kept.swept_at = now;
    std::erase_if(kept.map, [&](const auto& entry) { return entry.second.until <= now; });
  }
  return kept.map.size() < room;
}

void NodeCache::put_name(wire::InodeId parent,
                         std::string_view name,
                         wire::InodeId inode,
                         wire::ShardId shard,
                         const Question& question,
                         Nanos granted) {
  if (!is_enabled_ || question.version != version_ || is_changing({parent, name})) {
    return;
  }
  KnownName value{inode, question.asked_at + usable(granted), shard};
  if (auto found = names_.map.find(wire::EntryRef{parent, name}); found != names_.map.end()) {
    found->second = value;
    return;
  }
  if (has_room(names_, inode.is_valid() ? room_for(question) : kMaxKept / 2)) {
    names_.map.emplace(wire::EntryKey{parent, std::string(name)}, value);
  }
}

void NodeCache::put_attr(const wire::Attr& attr,
                         std::string_view target,
                         const Question& question,
                         Nanos granted) {
  if (!is_enabled_ || question.version != version_ || is_changing(attr.id())) {
    return;
  }
  if (attrs_.map.contains(attr.id()) || has_room(attrs_, room_for(question))) {
    attrs_.map.insert_or_assign(
        attr.id(), KnownAttr{attr, std::string(target), question.asked_at + usable(granted)});
  }
}

const NodeCache::KnownName* NodeCache::find_name(wire::InodeId parent,
                                                 std::string_view name) const {
  auto found = names_.map.find(wire::EntryRef{parent, name});
  return found == names_.map.end() || found->second.until <= boot_now() ? nullptr : &found->second;
}

const NodeCache::KnownAttr* NodeCache::find_attr(wire::InodeId inode) const {
  auto found = attrs_.map.find(inode);
  return found == attrs_.map.end() || found->second.until <= boot_now() ? nullptr : &found->second;
}

// --- Forgetting ----------------------------------------------------------------------------------

void NodeCache::forget_name(wire::InodeId parent, std::string_view name) {
  ++version_;
  if (auto found = names_.map.find(wire::EntryRef{parent, name}); found != names_.map.end()) {
    names_.map.erase(found);
  }
}

NodeCache::Change::Change(NodeCache& cache, wire::InodeId parent, std::string_view name)
    : cache_(cache), changed_{parent, name} {
  if (const KnownName* known = cache.find_name(parent, name)) {
    inode_ = known->inode;
  }
  if (const KnownAttr* known = cache.find_attr(parent)) {
    directory_ = *known;
  }
  for (Change* other : cache_.changes_) {
    if (other->changed_.parent == parent || other->changed_.parent == inode_) {
      other->directory_.reset();
    }
  }
  cache_.changes_.push_back(this);
  cache_.forget_changed(changed_, inode_);
  asked_at_ = boot_now();
}

void NodeCache::Change::keep_directory(std::int64_t times_ns) {
  if (directory_) {
    directory_->attr.mtime_ns = directory_->attr.ctime_ns = times_ns;
    keeps_directory_ = true;
  }
}

NodeCache::Question NodeCache::Change::end(wire::InodeId made) {
  if (!std::exchange(is_over_, true)) {
    std::erase(cache_.changes_, this);
    cache_.forget_changed(changed_, inode_);
    if (keeps_directory_ && directory_ && cache_.is_enabled_ && has_room(cache_.attrs_)) {
      cache_.attrs_.map.insert_or_assign(changed_.parent, *std::move(directory_));
    }
  }
  bool is_good = !is_overtaken_ && std::ranges::find(revoked_, made) == revoked_.end();
  return {asked_at_, is_good ? cache_.version_ : 0};
}

wire::InodeId NodeCache::Change::forget_inode() {
  bool is_forgotten =
      inode_.is_valid() && cache_.listener_ != nullptr && cache_.listener_->forget_attr_now(inode_);
  return is_forgotten ? inode_ : wire::InodeId{};
}

bool NodeCache::is_changing(wire::EntryRef name) const {
  return std::ranges::any_of(changes_, [&](const Change* change) {
    return wire::EntryKeyEqual()(change->changed_, name);
  });
}

bool NodeCache::is_changing(wire::InodeId inode) const {
  return std::ranges::any_of(changes_, [&](const Change* change) {
    return change->changed_.parent == inode || change->inode_ == inode;
  });
}

// The attributes of the directory change with its entries, those of the inode with its names.
void NodeCache::forget_changed(wire::EntryRef name, wire::InodeId inode) {
  ++version_;
  if (!is_enabled_) {
    return;
  }
  attrs_.map.erase(name.parent);
  attrs_.map.erase(inode);
  if (auto found = names_.map.find(name); found != names_.map.end()) {
    attrs_.map.erase(found->second.inode);
    names_.map.erase(found);
  }
}

bool NodeCache::on_name_revoked(wire::InodeId parent,
                                std::string_view name,
                                const rpc::Revocation& revocation) {
  forget_name(parent, name);
  for (Change* change : changes_) {
    change->is_overtaken_ |= wire::EntryKeyEqual()(change->changed_, wire::EntryRef{parent, name});
  }
  if (listener_ == nullptr) {
    return true;
  }
  listener_->on_name_revoked(parent, name, revocation);
  return false;
}

bool NodeCache::on_attr_revoked(wire::InodeId inode, const rpc::Revocation& revocation) {
  ++version_;
  attrs_.map.erase(inode);
  for (Change* change : changes_) {
    change->revoked_.push_back(inode);
    if (change->changed_.parent == inode) {
      change->directory_.reset();
    }
  }
  if (listener_ == nullptr) {
    return true;
  }
  listener_->on_attr_revoked(inode, revocation);
  return false;
}

void NodeCache::on_connection_lost(wire::ShardId shard) {
  ++version_;
  for (Change* change : changes_) {
    change->is_overtaken_ = true;
    change->directory_.reset();
  }
  std::erase_if(names_.map, [&](const auto& entry) {
    if (entry.second.shard != shard) {
      return false;
    }
    if (listener_ != nullptr) {
      listener_->on_name_lost(entry.first.parent, entry.first.name);
    }
    return true;
  });
  std::erase_if(attrs_.map, [&](const auto& entry) {
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
