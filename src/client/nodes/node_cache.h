// What a door that works by inode may use without asking: names that lead to inodes, names that are
// missing, and attributes of inodes, each under a lease of its shard
// (server/leases/exact_leases.h).
//
// A lease is counted from before the request was sent, so that it ends here before it ends there,
// and it is of no use once the connection to its shard is gone. The shard revokes it before
// anything changes, except for changes of names by this client: those forget what they change by
// themselves (Change), and of a name or a directory that is being changed nothing is kept. The
// lease of the directory's attributes outlives such a change, though: who is told the times that it
// left knows them again. An answer is kept only if nothing was forgotten since it was asked for,
// because that may have been about it. Bounded: when full, nothing more is kept until leases end;
// missing names, of which there is no end, are kept only while it is less than half full.
//
// A listener (the mount) has passed on what it was told, and is told what to take back; the server
// waits until it has done so. Off until enable(): then no leases are asked for.
//
// Thread: the client's reactor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "rpc/connection_pool.h"
#include "wire/attr.h"
#include "wire/entry_key.h"
#include "wire/ids.h"

namespace benchfs::client {

class NodeCache {
 public:
  static constexpr std::size_t kMaxKept = 256 * 1024;  // names, and as many attributes
  // How much of a granted lease is used: the clocks of two machines run at different speeds.
  static constexpr Nanos usable(Nanos granted) { return granted - granted / 20; }

  class Listener {
   public:
    virtual ~Listener() = default;
    // To be acknowledged (ConnectionPool::acknowledge()) when nobody uses it any more.
    virtual void on_name_revoked(wire::InodeId parent,
                                 std::string_view name,
                                 const rpc::Revocation& revocation) = 0;
    virtual void on_attr_revoked(wire::InodeId inode, const rpc::Revocation& revocation) = 0;
    // At once, without a server that waits: nobody uses them any more. False: somebody may.
    virtual bool forget_attr_now(wire::InodeId inode) = 0;
    // The shard cannot say any more when it is to be taken back.
    virtual void on_name_lost(wire::InodeId parent, std::string_view name) = 0;
    virtual void on_attr_lost(wire::InodeId inode) = 0;
  };

  struct Question {
    BootTime asked_at{};
    std::uint64_t version = 0;
    bool is_listing = false;
  };
  struct KnownName {
    wire::InodeId inode;  // invalid: there is no such name
    BootTime until{};
    wire::ShardId shard;  // that granted it
  };
  struct KnownAttr {
    wire::Attr attr;
    std::string target;  // of a symlink
    BootTime until{};
  };

  NodeCache() = default;
  NodeCache(const NodeCache&) = delete;
  NodeCache& operator=(const NodeCache&) = delete;

  void enable(Listener* listener) {
    is_enabled_ = true;
    listener_ = listener;
  }
  void disable() {
    is_enabled_ = false;
    listener_ = nullptr;
    names_.map.clear();
    attrs_.map.clear();
  }
  [[nodiscard]] bool is_enabled() const { return is_enabled_; }

  // To be taken before a request is sent.
  [[nodiscard]] Question ask() const { return {boot_now(), version_}; }
  // The same for a listing, which fills no more than half of the cache.
  [[nodiscard]] Question ask_for_listing() const { return {boot_now(), version_, true}; }
  // The answer of `shard`, under a lease of `granted`. An invalid inode: there is no such name.
  void put_name(wire::InodeId parent,
                std::string_view name,
                wire::InodeId inode,
                wire::ShardId shard,
                const Question& question,
                Nanos granted);
  void put_attr(const wire::Attr& attr,
                std::string_view target,
                const Question& question,
                Nanos granted);
  // Null when it must be asked for. Valid until the cache changes.
  [[nodiscard]] const KnownName* find_name(wire::InodeId parent, std::string_view name) const;
  [[nodiscard]] const KnownAttr* find_attr(wire::InodeId inode) const;

  // A change of a name by this client, from before its request is sent until it is answered.
  class Change {
   public:
    Change(NodeCache& cache, wire::InodeId parent, std::string_view name);
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;
    ~Change() { end(); }
    // Ends it before its time: the answer is that the name leads to `made`. The question to keep
    // that by; one that keeps nothing when the name or the inode was taken back meanwhile.
    Question end(wire::InodeId made = {});
    // Before the name is taken off its inode: nobody here uses the inode's attributes until the
    // change ends. The inode; none when it is not known, or somebody may.
    [[nodiscard]] wire::InodeId forget_inode();
    // The attributes of the directory were known when it began, and nothing else changes them.
    [[nodiscard]] bool knows_directory() const { return directory_.has_value(); }
    // Before it ends: the answer says that it made this the mtime and ctime of the directory, and
    // changed nothing else of it.
    void keep_directory(std::int64_t times_ns);

   private:
    friend class NodeCache;
    NodeCache& cache_;
    wire::EntryRef changed_;
    wire::InodeId inode_;  // that the name led to, if it was known
    BootTime asked_at_{};
    bool is_over_ = false;
    bool is_overtaken_ = false;
    std::optional<KnownAttr> directory_;
    bool keeps_directory_ = false;
    std::vector<wire::InodeId> revoked_;  // attributes, since it began
  };

  // From the servers. True: it is forgotten; false: the listener acknowledges.
  bool on_name_revoked(wire::InodeId parent,
                       std::string_view name,
                       const rpc::Revocation& revocation);
  bool on_attr_revoked(wire::InodeId inode, const rpc::Revocation& revocation);
  void on_connection_lost(wire::ShardId shard);

 private:
  template <typename Map>
  struct Kept {
    Map map;
    BootTime swept_at{};
  };
  static std::size_t room_for(const Question& question) {
    return question.is_listing ? kMaxKept / 2 : kMaxKept;
  }
  // Makes room by dropping what has ended.
  template <typename Map>
  static bool has_room(Kept<Map>& kept, std::size_t room = kMaxKept);

  [[nodiscard]] bool is_changing(wire::EntryRef name) const;
  // A directory with its entries, any inode with its name.
  [[nodiscard]] bool is_changing(wire::InodeId inode) const;
  void forget_changed(wire::EntryRef name, wire::InodeId inode);
  void forget_name(wire::InodeId parent, std::string_view name);

  bool is_enabled_ = false;
  Listener* listener_ = nullptr;
  std::uint64_t version_ = 0;  // grows whenever something is forgotten
  Kept<std::unordered_map<wire::EntryKey, KnownName, wire::EntryKeyHash, wire::EntryKeyEqual>>
      names_;
  Kept<std::unordered_map<wire::InodeId, KnownAttr>> attrs_;
  std::vector<Change*> changes_;  // under way: few
};

}  // namespace benchfs::client
