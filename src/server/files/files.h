// Serves the inodes of one shard: attributes, exact sizes while files are being written, open
// files, truncation, the end of inodes.
//
// Chunk shards say so once before they store bytes of a file (a mark); the home asks the marked
// shards when somebody wants to know the size, and settles it when nobody writes any more
// (docs/adr/0012-sizes-by-marks.md). What has begun and takes part of other shards is owed to them
// and kept by the reclaimer; no caller's deadline ends it.
//
// The source files: attributes.cc, opens.cc, sizes.cc (marks, rounds of queries, settling), cuts.cc
// (truncation, the end of inodes, what is owed), links.cc (names of an inode on other shards),
// locks.cc (what programs lock), xattrs.cc.
//
// Requests that only shards send do not wait for further shards: a window full of such requests
// would wait for one behind it.
//
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "meta/meta_store.h"
#include "rpc/request.h"
#include "rpc/server.h"
#include "server/chunks/chunk_files.h"
#include "server/files/directory_times.h"
#include "server/files/file_locks.h"
#include "server/files/file_states.h"
#include "server/files/inode_door.h"
#include "server/files/reclaimer.h"
#include "server/key_locks.h"
#include "server/leases/exact_leases.h"
#include "server/peers.h"
#include "server/ticket_log.h"

namespace benchfs::server {

class Files final : public InodeDoor, public MarkHome, private Reclaimer::Owner {
 public:
  struct Config {
    MarkTimes times;
    // Of all files together; about 60 bytes each. Beyond, the longest marked files are settled.
    std::size_t max_marks = std::size_t{4} << 20;
  };
  Files(meta::MetaStore& store, Peers& peers, Config config);

  // The chunk half of this shard, and who knows the sessions. Before the first request.
  void attach(ChunkFiles& chunks, rpc::Server& server) {
    chunks_ = &chunks;
    server_ = &server;
  }

  // Who has attributes cached. Before the first request.
  void attach_leases(ExactLeases& leases) { leases_ = &leases; }

  rt::Task<void> get_attr(rpc::Request& request);
  // See Entries.
  bool get_attr_at_once(rpc::Request& request);
  rt::Task<void> set_attr(rpc::Request& request);
  rt::Task<void> readlink(rpc::Request& request);
  rt::Task<void> open_inode(rpc::Request& request);
  rt::Task<void> fsync(rpc::Request& request);
  rt::Task<void> append(rpc::Request& request);
  rt::Task<void> lock(rpc::Request& request);
  rt::Task<void> get_xattr(rpc::Request& request);
  rt::Task<void> set_xattr(rpc::Request& request);
  rt::Task<void> link_inode(rpc::Request& request);
  rt::Task<void> forget_inode(rpc::Request& request);
  rt::Task<void> mark(rpc::Request& request);
  rt::Task<void> mark_directory(rpc::Request& request);

  rt::MaybeTask<Result<wire::Attr>> exact_attr(wire::InodeId inode, Deadline deadline) override;
  rt::MaybeTask<Result<wire::Attr>> open(wire::InodeId inode,
                                         OpenKey key,
                                         std::uint32_t flags,
                                         Deadline deadline) override;
  [[nodiscard]] bool is_settled(wire::InodeId inode) const override {
    return is_at_rest(inode) && !store_.is_frozen(inode, mono_now_coarse());
  }
  [[nodiscard]] std::optional<meta::Open> find_open(OpenKey key) const override {
    return store_.find_open(key.id());
  }
  Result<wire::Attr> create_open(EntryRef entry,
                                 const meta::NewInode& inode,
                                 OpenKey key,
                                 std::uint32_t flags,
                                 rpc::Request* asker,
                                 std::uint32_t& leased) override;
  Result<wire::Attr> create_unnamed(wire::InodeId parent,
                                    const meta::NewInode& inode,
                                    OpenKey key,
                                    std::uint32_t flags) override;
  rt::CoResult<wire::Attr> add_link(wire::InodeId inode, Deadline deadline) override;
  Dropped drop(wire::InodeId inode) override { return drop_name(inode, 0); }
  void drop_unmade(wire::InodeId inode) override { (void)drop_name(inode, wire::kForgetUnmade); }
  rt::Task<void> wait_dropped(Dropped dropped, Deadline deadline) override;

  Result<wire::MarkReply> take_mark(wire::InodeId inode,
                                    wire::ShardId shard,
                                    std::uint64_t stamp,
                                    bool is_append) override;
  rt::Task<void> prepare_mark(wire::InodeId inode) override;
  std::optional<std::uint64_t> size_now(wire::InodeId inode) override;

  // --- what clients say about their opens ---

  void on_close(std::uint64_t client_uid, std::uint64_t number);
  // Closes the client's opens with from <= number < to, but for those in `kept`.
  void on_opens(std::uint64_t client_uid,
                std::uint64_t from,
                std::uint64_t to,
                std::span<const std::uint64_t> kept);
  // Closes what a client that went away had open.
  void abandon_client(std::uint64_t client_uid);
  // The same for what it had locked.
  void drop_locks(std::uint64_t client_uid) { locks_.drop_client(client_uid); }

  // --- a shard that started again ---

  // Another shard: the names and entries it had in its earlier lives are gone with these, and so is
  // the space of what they led to until the end.
  void on_new_life(TicketLog::Sender shard);
  // This one.
  // Requests are held back from now on, until open_gate().
  void close_gate() { is_serving_ = false; }
  void open_gate();
  [[nodiscard]] bool is_serving() const { return is_serving_; }
  rt::CoStatus wait_serving(Deadline deadline);

  // Call about every second.
  void housekeeping();

  struct Owed {
    std::uint64_t files_to_free = 0;
    std::uint64_t truncations = 0;
    std::uint64_t sizes_to_settle = 0;
    std::uint64_t names = 0;  // whose inodes live elsewhere
    Reclaimer::Stats works;
  };
  [[nodiscard]] Owed owed() const;
  [[nodiscard]] FileLocks::Stats locks() const { return locks_.stats(); }

 private:
  using InodeLocks = KeyLocks<wire::InodeId>;
  using Shards = std::vector<wire::ShardId>;

  // --- attributes.cc ---
  // Somebody has the attributes of the inode cached.
  [[nodiscard]] bool is_leased(wire::InodeId inode) const {
    return leases_ != nullptr && leases_->is_held(ExactLeases::attributes(inode));
  }
  // Returns when nobody has, so that they may change in this moment.
  rt::CoStatus prepare(wire::InodeId inode, Deadline deadline);
  // What the client may keep of the answer: wire::EntryFlags.
  std::uint32_t lease(const rpc::Request& request, const wire::GetAttrRequest& body);

  // --- sizes.cc ---
  // True when the inode can be used and its attributes are known here: all but files that are
  // written, cut or removed.
  [[nodiscard]] bool is_at_rest(wire::InodeId inode) const;
  // All shards that hold bytes of the file.
  [[nodiscard]] Shards holders(const wire::Attr& attr) const;
  // Returns when no truncation is under way, nor the end of the inode. ENOENT when it is gone.
  rt::CoStatus wait_alive(wire::InodeId inode, Deadline deadline);
  // What exact_attr() does for a directory that is not at rest.
  rt::CoResult<wire::Attr> directory_attr(wire::InodeId inode, Deadline deadline);
  // The attributes of a file whose bytes are known on this shard.
  Result<wire::Attr> attr_marked_here(const wire::Attr& attr);
  [[nodiscard]] bool is_marked_here_alone(const FileState& state) const {
    return state.phase == FileState::Phase::kAlive && state.marks.size() == 1 &&
           peers_.is_self(state.marks.front().shard);
  }
  // What exact_attr() does for a file that is not at rest.
  rt::CoResult<wire::Attr> settled_attr(wire::InodeId inode, Deadline deadline);
  [[nodiscard]] Error waits_error(const FileState& state) const;
  [[nodiscard]] static Shards marked_shards(const FileState& state);
  struct Asked {
    wire::QueryChunksReply sum;
    std::optional<wire::ShardId> lost_by;  // a shard that lost its part, which is not in the sum
  };
  [[nodiscard]] Error lost_data(wire::ShardId shard) const;
  // Takes those that have answered out of `waits_for`, if given.
  rt::CoResult<Asked> ask(wire::Attr attr,
                          Shards shards,
                          std::uint32_t flags,
                          Deadline deadline,
                          Shards* waits_for = nullptr);
  rt::Task<void> ask_one(wire::ShardId shard,
                         wire::QueryChunksRequest query,
                         Deadline deadline,
                         Result<wire::QueryChunksReply>* out,
                         Shards* waits_for = nullptr);
  std::shared_ptr<QueryRound> join_round(wire::InodeId inode, FileState& state, Deadline deadline);
  rt::Task<void> run_rounds(wire::InodeId inode);
  void settle(wire::InodeId inode, Nanos delay = Nanos::zero());
  bool settle_here(wire::InodeId inode);
  // Settles it though somebody may have it open for writing: the next writes mark it again.
  void bring_to_rest(wire::InodeId inode);
  void bound_marks();
  rt::CoResult<Reclaimer::Outcome> perform_settle(Reclaimer::Work work, Deadline deadline);

  // --- cuts.cc ---
  // kDeadline names the shards that the holder of the lock waits for.
  rt::CoResult<InodeLocks::Guard> lock(wire::InodeId inode, Deadline deadline);
  rt::CoStatus truncate(wire::InodeId inode, std::uint64_t size, Deadline deadline);
  // Makes the file longer, if it is shorter.
  rt::CoStatus extend(wire::InodeId inode, std::uint64_t size, Deadline deadline);
  rt::CoStatus cut(wire::Attr attr, std::uint64_t size, Deadline deadline);
  [[nodiscard]] wire::TruncateChunksRequest cut_request(const wire::Attr& attr,
                                                        const FileState& state) const;
  void on_cut_acknowledged(wire::InodeId inode, std::uint64_t truncation, wire::ShardId shard);
  void unlink(wire::InodeId inode, bool was_unmade = false);
  // The inode has no name, and nobody has it open.
  void end_inode(wire::InodeId inode);
  rt::Task<void> free_here(wire::TruncateChunksRequest body);
  rt::CoResult<Reclaimer::Outcome> perform(Reclaimer::Work work, Deadline deadline) override;
  rt::CoResult<Reclaimer::Outcome> perform_cut(Reclaimer::Work work, Deadline deadline);

  // --- links.cc ---
  struct Forget {
    std::optional<Tickets::Ticket> ticket{};  // none: another shard's
    std::uint32_t flags = 0;                  // wire::ForgetInodeFlags
    std::shared_ptr<rt::WaitQueue> attempted{};
  };
  // Home, shard of the name, life, ticket.
  using ForgetKey = std::tuple<wire::ShardId, wire::ShardId, std::uint64_t, std::uint64_t>;
  // `flags`: wire::ForgetInodeFlags.
  Dropped drop_name(wire::InodeId inode, std::uint32_t flags);
  void owe_forget(const Dropped& dropped,
                  std::uint32_t flags,
                  std::optional<Tickets::Ticket> ticket);
  [[nodiscard]] wire::LinkChange link_change(const Dropped& dropped) const;
  Status forget_here(wire::InodeId inode, const wire::LinkChange& change, std::uint32_t flags);
  rt::CoResult<Reclaimer::Outcome> perform_forget(Reclaimer::Work work, Deadline deadline);

  // --- opens.cc ---
  // Checks and opens the inode as it is in this moment.
  Result<wire::Attr> open_now(wire::InodeId inode, OpenKey key, std::uint32_t flags);
  // What open() does for an inode that is not at rest, or to be truncated.
  rt::CoResult<wire::Attr> open_and_wait(wire::InodeId inode,
                                         OpenKey key,
                                         std::uint32_t flags,
                                         Deadline deadline);
  void after_close(const meta::Open& open);
  void undo_open(meta::OpenId id);
  [[nodiscard]] Status may_open(const OpenKey& key) const;
  // What the truncations since have left of a range that was reserved.
  Result<wire::AppendReply> left_of(const wire::AppendRequest& body);
  // A request whose session has ended reaches nobody.
  [[nodiscard]] Status check_session(wire::SessionId session) const;
  [[nodiscard]] static std::uint64_t hash(meta::OpenId id) {
    return mix64(mix64(id.client_uid) ^ id.number);
  }

  meta::MetaStore& store_;
  Peers& peers_;
  Config config_;
  ChunkFiles* chunks_ = nullptr;
  rpc::Server* server_ = nullptr;
  ExactLeases* leases_ = nullptr;
  FileStates states_;
  FileLocks locks_;
  DirectoryTimes directory_times_;
  InodeLocks inode_locks_{peers_};
  Reclaimer reclaimer_;
  std::uint64_t cuts_owed_ = 0;
  std::uint64_t frees_owed_ = 0;
  Tickets link_tickets_;
  // Inodes of other shards that lost a name, until their homes know.
  std::map<ForgetKey, Forget> forgets_;
  TicketLog link_log_;  // of inodes of this shard

  // Opens that were closed before they were executed, the latest of them.
  std::deque<std::uint64_t> closed_early_;
  std::unordered_set<std::uint64_t> is_closed_early_;

  bool is_serving_ = true;
  rt::WaitQueue served_;
};

}  // namespace benchfs::server
