// What a client remembers of directories: (parent inode, name) -> directory inode, and their
// permissions, some of which new entries inherit.
//
// An entry may be used while the lease lasts that the entry's shard granted with the lookup. The
// lease is counted from before the request was sent, so that it ends here before it ends there.
// Renames are pushed by that shard, or show in a validity word (wire/validity.h), which each use
// looks at; so what a shard granted may not be used any more once the connection to it is gone,
// until the shard was asked again. Removed directories are found out by
// ESTALE. Missing names are never cached. Bounded: when full it is emptied.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "client/permissions.h"
#include "wire/attr.h"
#include "wire/entry_key.h"
#include "wire/ids.h"
#include "wire/validity.h"

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
  [[nodiscard]] Question ask(wire::ShardId shard, BootTime now = boot_now()) {
    return {shard, now, version()};
  }
  // Keeps the answer for the time `granted`, unless something was forgotten or called back
  // meanwhile: that may have been about it.
  void put(wire::InodeId parent,
           std::string_view name,
           wire::InodeId inode,
           const Question& question,
           Nanos granted) {
    const Connection& connection = connection_to(question.shard);
    std::uint32_t word = 0;
    std::uint32_t was = 0;
    if (connection.words != nullptr) {
      word = wire::validity_word_of({parent, name});
      was = connection.words->words[word].load(std::memory_order_acquire);
    }
    if (question.version != version()) {  // looks at the epoch after the word
      return;
    }
    if (entries_.size() >= kMaxEntries) {
      entries_.clear();
    }
    Value value{
        inode, question.asked_at + usable(granted), question.shard, connection.number, word, was};
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
    if (found == entries_.end() || found->second.until <= now || !is_valid(found->second)) {
      return {};
    }
    return {found->second.inode, found->second.until};
  }

  // Grows whenever something is forgotten, replaced or called back: what was found before that may
  // be wrong. So it is read before something is found that is to be used as long as it stays.
  [[nodiscard]] std::uint64_t version() {
    for (Seen& seen : seen_) {
      std::uint64_t epoch = seen.words->epoch.load(std::memory_order_acquire);
      version_ += epoch == seen.epoch ? 0 : 1;
      seen.epoch = epoch;
    }
    return version_;
  }

  // As the directory's home said when it was asked at `asked_at`.
  void put_permissions(const wire::Attr& directory, BootTime asked_at, Nanos granted) {
    if (permissions_.size() >= kMaxEntries) {
      permissions_.clear();
    }
    permissions_.insert_or_assign(directory.id(), Lent{directory, asked_at + usable(granted)});
  }
  [[nodiscard]] std::optional<Permissions> find_permissions(wire::InodeId directory,
                                                            BootTime now = boot_now()) const {
    auto found = permissions_.find(directory);
    if (found == permissions_.end() || found->second.until <= now) {
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
  // The shard is connected, and what it calls back shows in these words. Null: it says so.
  void on_connected(wire::ShardId shard, std::shared_ptr<const wire::ValidityWords> words) {
    if (words == nullptr) {
      return;
    }
    keep_connection(shard).words = std::move(words);
    watch_words();
  }
  // The shard cannot reach this client any more: forgets everything the shard granted.
  void on_connection_lost(wire::ShardId shard) {
    Connection& connection = keep_connection(shard);
    ++connection.number;
    connection.words.reset();
    watch_words();
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
    std::uint32_t word;        // its number, and what it was; 0 where there are none
    std::uint32_t was;
  };
  struct Lent {
    Permissions what;
    BootTime until;
  };
  struct Connection {
    std::uint32_t number = 0;  // how many were lost before it
    std::shared_ptr<const wire::ValidityWords> words;
  };
  struct Seen {
    std::shared_ptr<const wire::ValidityWords> words;
    std::uint64_t epoch;
  };
  [[nodiscard]] const Connection& connection_to(wire::ShardId shard) const {
    static const Connection kFirst;
    return shard.value < connections_.size() ? connections_[shard.value] : kFirst;
  }
  Connection& keep_connection(wire::ShardId shard) {
    if (connections_.size() <= shard.value) {
      connections_.resize(shard.value + 1);
    }
    return connections_[shard.value];
  }
  [[nodiscard]] bool is_valid(const Value& value) const {
    const Connection& connection = connection_to(value.shard);
    return value.connection == connection.number &&
           (connection.words == nullptr ||
            connection.words->words[value.word].load(std::memory_order_acquire) == value.was);
  }
  // What has not been seen yet of words that stay is not lost.
  void watch_words() {
    std::vector<Seen> before = std::exchange(seen_, {});
    for (const Connection& connection : connections_) {
      if (connection.words == nullptr ||
          std::ranges::find(seen_, connection.words, &Seen::words) != seen_.end()) {
        continue;
      }
      auto known = std::ranges::find(before, connection.words, &Seen::words);
      seen_.push_back(
          known != before.end()
              ? *known
              : Seen{connection.words, connection.words->epoch.load(std::memory_order_acquire)});
    }
  }

  std::unordered_map<wire::EntryKey, Value, wire::EntryKeyHash, wire::EntryKeyEqual> entries_;
  std::unordered_map<wire::InodeId, Lent> permissions_;
  std::vector<Connection> connections_;  // by shard
  std::vector<Seen> seen_;               // their words, each once
  std::uint64_t version_ = 0;
};

}  // namespace benchfs::client
