// What a client remembers of directories: (parent inode, name) -> directory inode, and what new
// entries of a directory inherit from it.
//
// An entry may be used while the lease lasts that the entry's shard granted with the lookup. The
// lease is counted from before the request was sent, so that it ends here before it ends there.
// Renames are pushed by that shard; so what a shard granted may not be used any more once the
// connection to it is gone, until the shard was asked again. Removed directories are found out by
// ESTALE. Missing names are never cached. Bounded: when full it is emptied.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "wire/attr.h"
#include "wire/entry_key.h"
#include "wire/ids.h"

namespace benchfs::client {

class DirectoryCache {
 public:
  static constexpr std::size_t kMaxEntries = 64 * 1024;
  // How long an entry may be used of the time that its shard granted: a twentieth less, because the
  // clocks of two machines do not run at the same speed.
  static constexpr Nanos usable(Nanos granted) { return granted - granted / 20; }

  // A request whose answer may be cached: taken before it is sent.
  struct Question {
    wire::ShardId shard;
    BootTime asked_at;
    std::uint64_t version = 0;
  };
  [[nodiscard]] Question ask(wire::ShardId shard, BootTime now = boot_now()) const {
    return {shard, now, version_};
  }
  // Keeps the answer for the time `granted`, unless something was forgotten meanwhile: that may
  // have been about it.
  void put(wire::InodeId parent,
           std::string_view name,
           wire::InodeId inode,
           const Question& question,
           Nanos granted) {
    if (question.version != version_) {
      return;
    }
    if (entries_.size() >= kMaxEntries) {
      entries_.clear();
    }
    Value value{
        inode, question.asked_at + usable(granted), question.shard, connection_of(question.shard)};
    auto [at, is_new] = entries_.try_emplace(wire::EntryKey{parent, std::string(name)}, value);
    if (!is_new) {
      version_ += at->second.inode == inode ? 0 : 1;
      at->second = value;
    }
  }
  struct Known {
    wire::InodeId inode;  // 0: unknown
    BootTime until;
  };
  [[nodiscard]] Known find(wire::InodeId parent,
                           std::string_view name,
                           BootTime now = boot_now()) const {
    auto found = entries_.find(wire::EntryRef{parent, name});
    if (found == entries_.end() || found->second.until <= now ||
        found->second.connection != connection_of(found->second.shard)) {
      return {};
    }
    return {found->second.inode, found->second.until};
  }

  // Grows whenever something is forgotten or replaced: what was found before may be wrong.
  [[nodiscard]] std::uint64_t version() const { return version_; }

  // What new entries inherit: the group, if the directory hands it on.
  struct Inheritance {
    std::uint32_t gid = 0;
    bool is_setgid = false;
  };
  // As the directory's home said when it was asked at `asked_at`.
  void put_inheritance(const wire::Attr& directory, BootTime asked_at, Nanos granted) {
    if (inheritance_.size() >= kMaxEntries) {
      inheritance_.clear();
    }
    inheritance_.insert_or_assign(
        directory.id(),
        Inherited{{directory.gid, (directory.mode & S_ISGID) != 0}, asked_at + usable(granted)});
  }
  [[nodiscard]] std::optional<Inheritance> find_inheritance(wire::InodeId directory,
                                                            BootTime now = boot_now()) const {
    auto found = inheritance_.find(directory);
    if (found == inheritance_.end() || found->second.until <= now) {
      return std::nullopt;
    }
    return found->second.what;
  }

  void forget(wire::InodeId parent, std::string_view name) {
    auto found = entries_.find(wire::EntryRef{parent, name});
    if (found != entries_.end()) {
      entries_.erase(found);
    }
    ++version_;
  }
  // The shard cannot reach this client any more: forgets everything the shard granted.
  void on_connection_lost(wire::ShardId shard) {
    if (connections_.size() <= shard.value) {
      connections_.resize(shard.value + 1);
    }
    ++connections_[shard.value];
    ++version_;
  }
  void clear() {
    entries_.clear();
    ++version_;
  }

 private:
  struct Value {
    wire::InodeId inode;
    BootTime until;
    wire::ShardId shard;       // that granted it
    std::uint32_t connection;  // number of the connection over which it was granted
  };
  struct Inherited {
    Inheritance what;
    BootTime until;
  };
  // How many connections to the shard were lost before the present one.
  [[nodiscard]] std::uint32_t connection_of(wire::ShardId shard) const {
    return shard.value < connections_.size() ? connections_[shard.value] : 0;
  }

  std::unordered_map<wire::EntryKey, Value, wire::EntryKeyHash, wire::EntryKeyEqual> entries_;
  std::unordered_map<wire::InodeId, Inherited> inheritance_;
  std::vector<std::uint32_t> connections_;  // by shard
  std::uint64_t version_ = 0;
};

}  // namespace benchfs::client
