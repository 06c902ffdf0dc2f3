// What the kernel may use without asking the mount, and how it is taken back.
//
// The kernel is told names and attributes for as long as the client core may use them itself
// (client/nodes/node_cache.h). When a server revokes something, the kernel is told to forget it
// before the server is answered. A thread of its own does that, because the kernel may wait: for
// the lock of a directory that a request holds which this mount has not answered. Such a request
// may itself wait for another mount, and that one for us. So names that the kernel has not
// forgotten after kPatience are forgotten in another way, which waits for nothing: all names become
// old at once (FUSE_NOTIFY_INC_EPOCH, Linux 6.16), and are looked up again here. Older kernels are
// told names for kShortTrust only, and that time is waited for. Names that come with a listing
// become current when the kernel takes them up, not when it asks (the names of a look-up do): after
// a listing all names are old only when that has been done once more kListTime later.
//
// Attributes that come with a name may reach the kernel after it was told to forget them, because
// it does not know the inode yet. So while it says so, although it was told of the inode and has
// not forgotten that again, it is told once more, soon.
//
// Pages of files: see kernel_pages.h. Where the kernel may have some that it trusts, they go with
// the attributes, before the server is answered.
//
// Thread: the reactor's, but for the helpers.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "client/file_system.h"
#include "mount/kernel_inodes.h"
#include "rt/blocking_pool.h"
#include "rt/scope.h"
#include "rt/sync.h"

namespace benchfs::mount {

class KernelCache final : public client::NodeCache::Listener {
 public:
  static constexpr Nanos kPatience = std::chrono::milliseconds(2);
  static constexpr Nanos kDropPatience = std::chrono::milliseconds(100);
  static constexpr Nanos kShortTrust = std::chrono::seconds(1);
  // Between the first two times that the kernel is told to forget what it does not know yet, and
  // at most; until no lease can hold.
  static constexpr Nanos kTakeUpTime = std::chrono::microseconds(50);
  static constexpr Nanos kMaxTakeUpTime = std::chrono::milliseconds(5);
  static constexpr Nanos kListTime = std::chrono::milliseconds(100);  // to take up a listing
  static constexpr Nanos kMadeTime = std::chrono::milliseconds(1);  // for it to take up a creation
  static constexpr Nanos kLongestTrust = std::chrono::milliseconds(wire::kMaxExactLeaseMs);

  // `fd`: of the session, which is mounted; borrowed until it returns. From now on the client core
  // takes leases, until close().
  KernelCache(client::FileSystem& fs, rt::Reactor& reactor, int fd);
  KernelCache(const KernelCache&) = delete;
  KernelCache& operator=(const KernelCache&) = delete;
  ~KernelCache() override;

  // For how many seconds the kernel may use what has just been answered: zero without a lease, or
  // if the lease is of another answer. An invalid inode: that there is no such name.
  [[nodiscard]] double name_timeout(wire::InodeId parent,
                                    std::string_view name,
                                    wire::InodeId inode);
  [[nodiscard]] double attr_timeout(const wire::Attr& attr) const;
  // The same for attributes that come with a name.
  [[nodiscard]] double attr_timeout_with_name(const wire::Attr& attr) const;
  // What the kernel knows, to be kept up by who answers it.
  [[nodiscard]] KernelInodes& inodes() { return inodes_; }
  // The kernel has been told names with a listing.
  void note_listed() { listed_at_ = mono_now(); }
  // The kernel has been told of an inode with the answer to a creation, which it takes up whatever
  // it was told to forget meanwhile; and it has taken it up.
  void note_made(wire::InodeId inode) { made_[inode] = mono_now(); }
  void note_made_is_known(wire::InodeId inode) {
    if (!made_.empty()) {
      made_.erase(inode);
    }
  }

  // The kernel looks the name up again before it uses it: a request of this mount may have changed
  // it that failed.
  void expire_name(wire::InodeId parent, std::string_view name);
  // Returns when the kernel has forgotten the name, or soon: it may wait for a request that waits
  // for this.
  rt::Task<void> drop_name(wire::EntryKey name);

  // What becomes of an inode's pages when its attributes are taken back. kDropped: pages that are
  // being read are waited for, so reading must not wait for the server that takes back.
  // kNotTrusted: the kernel trusts nothing of it, and is told nothing.
  enum class Pages : std::uint8_t { kKept, kDropped, kNotTrusted };
  struct Withdrawal {
    Pages pages = Pages::kKept;
    MonoTime not_before{};  // is the kernel told
  };
  // `on_dropped` is called after each kDropped, before the server is answered.
  void attach_pages(std::function<Withdrawal(wire::InodeId)> on_revoked,
                    std::function<void(wire::InodeId)> on_dropped) {
    on_revoked_ = std::move(on_revoked);
    on_dropped_ = std::move(on_dropped);
  }
  // Returns when the kernel has dropped the pages that it had of the inode when this was called,
  // whatever waits for what: pages that are being read and written are waited for.
  rt::CoStatus drop_pages(wire::InodeId inode);
  // The same without waiting.
  void begin_drop_pages(wire::InodeId inode);

  // Nothing is told to the kernel any more; ends what is under way.
  rt::Task<void> close();

 private:
  using Message = std::vector<std::byte>;
  struct Drop {
    rt::Event ended;
    bool is_done = false;
  };
  struct Job {
    std::vector<Message> messages;
    rpc::Revocation revocation{};     // of session 0: no server waits
    std::shared_ptr<Drop> drop = {};  // null: nobody here waits
    MonoTime not_before{};
    bool is_name = false;      // done when all names are old
    MonoTime trusted_until{};  // whatever name: making all names old before is not enough
    // Whose attributes are taken back, with pages or without, and how often the kernel did not know
    // the inode.
    wire::InodeId inode{};
    bool with_pages = false;
    int times_unknown = 0;
    MonoTime give_up_at{};
  };
  // Messages of one kind, written in order by one thread.
  struct Lane {
    explicit Lane(rt::Reactor& reactor) : thread(reactor) {}
    rt::BlockingPool thread;
    std::vector<Job> waiting;
    bool is_running = false;
  };

  void on_name_revoked(wire::InodeId parent,
                       std::string_view name,
                       const rpc::Revocation& revocation) override;
  void on_attr_revoked(wire::InodeId inode, const rpc::Revocation& revocation) override;
  bool forget_attr_now(wire::InodeId inode) override;
  void on_name_lost(wire::InodeId parent, std::string_view name) override;
  void on_attr_lost(wire::InodeId inode) override;

  static Message forget_name(wire::InodeId parent, std::string_view name, std::uint32_t flags);
  static Message forget_attr(wire::InodeId inode, Pages pages);
  void forget_attr(wire::InodeId inode, const rpc::Revocation& revocation);
  void add(Lane& lane, Job job);
  Lane& lane_of(const Job& job);
  [[nodiscard]] bool may_take_up(const Job& job) const;
  rt::Task<void> tell_again(Job job);
  rt::Task<void> run(Lane* lane);
  void end(Job& job, bool is_done);
  void acknowledge(Job& job);
  void acknowledge_names(std::vector<Job>& jobs, MonoTime trusted_until);
  // False: this kernel cannot.
  bool make_all_names_old();

  client::FileSystem& fs_;
  KernelInodes inodes_;
  MonoTime listed_at_{};
  std::unordered_map<wire::InodeId, MonoTime> made_;  // that the kernel may not have taken up yet
  std::shared_ptr<Fd> fd_;                            // shared with helpers that outlive the mount
  bool is_probed_ = false;
  bool has_epochs_ = false;
  Lane names_;
  Lane attrs_;  // waits for nothing
  // Files that are read through the cache, some by each: one whose server does not answer a read
  // holds up few others.
  std::array<Lane, 4> pages_;
  Lane drops_;
  std::function<Withdrawal(wire::InodeId)> on_revoked_;
  std::function<void(wire::InodeId)> on_dropped_;
  rt::Scope scope_;
};

}  // namespace benchfs::mount
