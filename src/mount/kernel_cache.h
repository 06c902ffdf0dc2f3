// What the kernel may use without asking the mount, and how it is taken back.
//
// The kernel is told names and attributes for as long as the client core may use them itself
// (client/nodes/node_cache.h). When a server revokes something, the kernel is told to forget it
// before the server is answered. A thread of its own does that, because the kernel may wait: for
// the lock of a directory that a request holds which this mount has not answered. Such a request
// may itself wait for another mount, and that one for us. So names that the kernel has not
// forgotten after kPatience are forgotten in another way, which waits for nothing: all names become
// old at once (FUSE_NOTIFY_INC_EPOCH, Linux 6.16), and are looked up again here. Older kernels are
// told names for kShortTrust only, and that time is waited for.
//
// Thread: the reactor's, but for the helpers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "client/file_system.h"
#include "rt/blocking_pool.h"
#include "rt/scope.h"

namespace benchfs::mount {

class KernelCache final : public client::NodeCache::Listener {
 public:
  static constexpr Nanos kPatience = std::chrono::milliseconds(2);
  static constexpr Nanos kShortTrust = std::chrono::seconds(1);

  // `fd`: of the session, which is mounted; borrowed until it returns. From now on the client core
  // takes leases, until close().
  KernelCache(client::FileSystem& fs, rt::Reactor& reactor, int fd);
  KernelCache(const KernelCache&) = delete;
  KernelCache& operator=(const KernelCache&) = delete;
  ~KernelCache() override;

  // For how many seconds the kernel may use what has just been answered: zero without a lease, or
  // if the lease is of another answer.
  [[nodiscard]] double name_timeout(wire::InodeId parent,
                                    std::string_view name,
                                    wire::InodeId inode);
  [[nodiscard]] double attr_timeout(const wire::Attr& attr) const;

  // Nothing is told to the kernel any more; ends what is under way.
  rt::Task<void> close();

 private:
  using Message = std::vector<std::byte>;
  struct Job {
    Message message;
    rpc::Revocation revocation;  // of session 0: nobody waits
    MonoTime trusted_until{};    // by a kernel that was told names for kShortTrust
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
  void on_name_lost(wire::InodeId parent, std::string_view name) override;
  void on_attr_lost(wire::InodeId inode) override;

  static Message forget_name(wire::InodeId parent, std::string_view name, std::uint32_t flags);
  static Message forget_attr(wire::InodeId inode);
  void add(Lane& lane, Job job);
  rt::Task<void> run(Lane* lane);
  void acknowledge(std::vector<Job>& jobs, MonoTime trusted_until = MonoTime::max());
  // False: this kernel cannot.
  bool make_all_names_old();

  client::FileSystem& fs_;
  std::shared_ptr<Fd> fd_;  // shared with helpers that outlive the mount
  bool is_probed_ = false;
  bool has_epochs_ = false;
  Lane names_;
  Lane attrs_;
  rt::Scope scope_;
};

}  // namespace benchfs::mount
