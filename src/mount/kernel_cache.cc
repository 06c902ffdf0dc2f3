#include "mount/kernel_cache.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

namespace benchfs::mount {
namespace {

// Since Linux 6.16; the header of Debian 12 does not have it.
constexpr int kNotifyIncEpoch = 8;
// The name stays, and is looked up again before it is used: programs that work in the directory
// that it leads to do not notice. Linux before 6.2 ignores it.
constexpr std::uint32_t kExpireOnly = FUSE_EXPIRE_ONLY;

template <typename T>
void append(std::vector<std::byte>& message, const T& part) {
  std::span<const std::byte> bytes = std::as_bytes(std::span(&part, 1));
  message.insert(message.end(), bytes.begin(), bytes.end());
}

// The head of a message that the kernel has not asked for; finish() fills in its length.
std::vector<std::byte> notification(int code) {
  std::vector<std::byte> message;
  fuse_out_header header{};
  header.error = code;
  append(message, header);
  return message;
}

std::vector<std::byte> finish(std::vector<std::byte> message) {
  auto length = static_cast<std::uint32_t>(message.size());
  std::memcpy(message.data(), &length, sizeof length);
  return message;
}

// Of each list: whether the kernel does not know what the last message is about.
std::vector<bool> write_all(const Fd& fd,
                            const std::vector<std::vector<std::vector<std::byte>>>& lists) {
  std::vector<bool> unknown;
  for (const auto& messages : lists) {
    ssize_t written = 0;
    for (const std::vector<std::byte>& message : messages) {
      written = ::write(fd.get(), message.data(), message.size());
    }
    unknown.push_back(written < 0 && errno == ENOENT);
  }
  return unknown;
}

double seconds(Nanos time) {
  return std::max(0.0, std::chrono::duration<double>(time).count());
}

}  // namespace

KernelCache::KernelCache(client::FileSystem& fs, rt::Reactor& reactor, int fd)
    : fs_(fs),
      fd_(std::make_shared<Fd>(fcntl(fd, F_DUPFD_CLOEXEC, 0))),
      names_(reactor),
      attrs_(reactor),
      pages_{Lane(reactor), Lane(reactor), Lane(reactor), Lane(reactor)},
      drops_(reactor) {
  fs_.nodes().cache().enable(this);
}

KernelCache::~KernelCache() {
  fs_.nodes().cache().disable();
}

// --- What the kernel is told ---------------------------------------------------------------------

double KernelCache::name_timeout(wire::InodeId parent, std::string_view name, wire::InodeId inode) {
  const client::NodeCache::KnownName* known = fs_.nodes().cache().find_name(parent, name);
  if (known == nullptr || known->inode != inode) {
    return 0;
  }
  if (!is_probed_) {  // not earlier: kernel and mount must have agreed
    is_probed_ = true;
    (void)make_all_names_old();
  }
  Nanos left = known->until - boot_now();
  return seconds(has_epochs_ ? left : std::min<Nanos>(left, kShortTrust));
}

double KernelCache::attr_timeout(const wire::Attr& attr) const {
  const client::NodeCache::KnownAttr* known = fs_.nodes().cache().find_attr(attr.id());
  bool is_same = known != nullptr && std::memcmp(&known->attr, &attr, sizeof attr) == 0;
  return is_same ? seconds(known->until - boot_now()) : 0;
}

// An older kernel that is told to forget an inode it knows, and then drops that inode, takes what
// is on its way for new (docs/models/kernelcache.pml). Those with epochs do not.
double KernelCache::attr_timeout_with_name(const wire::Attr& attr) const {
  return has_epochs_ ? attr_timeout(attr) : 0;
}

// --- Taking it back ------------------------------------------------------------------------------

KernelCache::Message KernelCache::forget_name(wire::InodeId parent,
                                              std::string_view name,
                                              std::uint32_t flags) {
  Message message = notification(FUSE_NOTIFY_INVAL_ENTRY);
  fuse_notify_inval_entry_out body{};
  body.parent = parent.value;
  body.namelen = static_cast<std::uint32_t>(name.size());
  body.flags = flags;
  append(message, body);
  std::span<const std::byte> text = std::as_bytes(std::span(name));
  message.insert(message.end(), text.begin(), text.end());
  message.push_back(std::byte{0});
  return finish(std::move(message));
}

KernelCache::Message KernelCache::forget_attr(wire::InodeId inode, Pages pages) {
  Message message = notification(FUSE_NOTIFY_INVAL_INODE);
  fuse_notify_inval_inode_out body{};
  body.ino = inode.value;
  body.off = pages == Pages::kDropped ? 0 : -1;  // all of them
  append(message, body);
  return finish(std::move(message));
}

bool KernelCache::make_all_names_old() {
  Message message = finish(notification(kNotifyIncEpoch));
  has_epochs_ = ::write(fd_->get(), message.data(), message.size()) > 0;
  return has_epochs_;
}

void KernelCache::on_name_revoked(wire::InodeId parent,
                                  std::string_view name,
                                  const rpc::Revocation& revocation) {
  add(names_,
      {.messages = {forget_name(parent, name, 0)}, .revocation = revocation, .is_name = true});
}

void KernelCache::on_attr_revoked(wire::InodeId inode, const rpc::Revocation& revocation) {
  forget_attr(inode, revocation);
}

void KernelCache::forget_attr(wire::InodeId inode, const rpc::Revocation& revocation) {
  Withdrawal withdrawal = on_revoked_ ? on_revoked_(inode) : Withdrawal{};
  if (withdrawal.pages == Pages::kNotTrusted) {
    if (revocation.session_id != 0) {
      fs_.pool().acknowledge(revocation);
    }
    return;
  }
  if (auto made = made_.find(inode); made != made_.end()) {
    withdrawal.not_before = std::max(withdrawal.not_before, made->second + kMadeTime);
    made_.erase(made);
  }
  Job job{.messages = {forget_attr(inode, withdrawal.pages)},
          .revocation = revocation,
          .not_before = withdrawal.not_before,
          .inode = inode,
          .with_pages = withdrawal.pages == Pages::kDropped,
          .give_up_at = mono_now() + kLongestTrust};
  add(lane_of(job), std::move(job));
}

KernelCache::Lane& KernelCache::lane_of(const Job& job) {
  return job.with_pages ? pages_[mix64(job.inode.value) % pages_.size()] : attrs_;
}

rt::CoStatus KernelCache::drop_pages(wire::InodeId inode) {
  auto drop = std::make_shared<Drop>();
  add(drops_, {.messages = {forget_attr(inode, Pages::kDropped)}, .drop = drop});
  (void)co_await drop->ended.wait(Deadline::never(), &scope_.cancel_source());
  co_return drop->is_done ? Status{} : fail(Errc::kCancelled, "dropping pages of the kernel");
}

rt::Task<void> KernelCache::drop_name(wire::EntryKey name) {
  auto drop = std::make_shared<Drop>();
  add(names_,
      {.messages = {forget_name(name.parent, name.name, 0)}, .drop = drop, .is_name = true});
  (void)co_await drop->ended.wait(Deadline::after(kDropPatience), &scope_.cancel_source());
}

void KernelCache::begin_drop_pages(wire::InodeId inode) {
  add(drops_, {.messages = {forget_attr(inode, Pages::kDropped)}});
}

void KernelCache::expire_name(wire::InodeId parent, std::string_view name) {
  add(names_, {.messages = {forget_name(parent, name, kExpireOnly)}, .is_name = true});
}

// Waits for nothing, so the reactor may write it.
bool KernelCache::forget_attr_now(wire::InodeId inode) {
  Message message = forget_attr(inode, Pages::kKept);
  if (::write(fd_->get(), message.data(), message.size()) >= 0) {
    return !made_.contains(inode);
  }
  return errno == ENOENT && !inodes_.has(inode);
}

void KernelCache::on_name_lost(wire::InodeId parent, std::string_view name) {
  expire_name(parent, name);
}

void KernelCache::on_attr_lost(wire::InodeId inode) {
  forget_attr(inode, {});
}

// The kernel does not know the inode now, but an answer about it is on the way.
bool KernelCache::may_take_up(const Job& job) const {
  return job.inode.is_valid() && inodes_.has(job.inode) && mono_now() < job.give_up_at;
}

rt::Task<void> KernelCache::tell_again(Job job) {
  Nanos pause =
      std::min<Nanos>(kTakeUpTime * (1 << std::min(job.times_unknown, 10)), kMaxTakeUpTime);
  ++job.times_unknown;
  if (co_await rt::sleep_for(pause, &scope_.cancel_source()) == rt::Wake::kDeadline) {
    job.messages = {forget_attr(job.inode, job.with_pages ? Pages::kDropped : Pages::kKept)};
    add(lane_of(job), std::move(job));
  }
}

void KernelCache::add(Lane& lane, Job job) {
  MonoTime taken_up = listed_at_ + kListTime;
  job.trusted_until = has_epochs_ ? taken_up : std::max(mono_now(), taken_up) + kShortTrust;
  lane.waiting.push_back(std::move(job));
  if (!lane.is_running) {
    lane.is_running = scope_.spawn(run(&lane));
  }
}

void KernelCache::acknowledge(Job& job) {
  if (job.revocation.session_id != 0) {
    fs_.pool().acknowledge(std::exchange(job.revocation, {}));
  }
}

void KernelCache::acknowledge_names(std::vector<Job>& jobs, MonoTime trusted_until) {
  for (Job& job : jobs) {
    if (job.is_name && job.trusted_until <= trusted_until) {
      acknowledge(job);
    }
  }
}

void KernelCache::end(Job& job, bool is_done) {
  if (job.with_pages && is_done) {
    on_dropped_(job.inode);
  }
  if (job.drop != nullptr) {
    job.drop->is_done = is_done;
    job.drop->ended.set();
  }
  if (is_done) {
    acknowledge(job);
  }
}

rt::Task<void> KernelCache::run(Lane* lane) {
  while (!lane->waiting.empty()) {
    std::vector<Job> jobs = std::exchange(lane->waiting, {});
    std::vector<std::vector<Message>> messages;
    MonoTime not_before{};
    for (Job& job : jobs) {
      not_before = std::max(not_before, job.not_before);
      messages.push_back(std::move(job.messages));
    }
    if (not_before > mono_now()) {
      (void)co_await rt::sleep_until(Deadline::at(not_before), &scope_.cancel_source());
    }
    // An error says that the kernel has not got what it is to forget: which of them.
    auto written = lane->thread.submit<std::vector<bool>>(
        [fd = fd_, messages = std::move(messages)] { return write_all(*fd, messages); });
    if (!written) {  // the leases run out
      for (Job& job : jobs) {
        end(job, false);
      }
      break;
    }
    bool is_patient = lane != &names_;
    for (;;) {
      Deadline patience = is_patient ? Deadline::never() : Deadline::after(kPatience);
      if (co_await (*written)->wait(patience, &scope_.cancel_source())) {
        break;
      }
      if (scope_.cancel_source().is_cancelled()) {
        co_return;
      }
      MonoTime now = mono_now();
      bool are_old = make_all_names_old();
      acknowledge_names(jobs, now);
      acknowledge_names(lane->waiting, now);
      if (are_old) {
        std::erase_if(lane->waiting,
                      [now](const Job& job) { return job.is_name && job.trusted_until <= now; });
      }
    }
    std::vector<bool> unknown = (*written)->result().value_or(std::vector<bool>(jobs.size()));
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (unknown[i] && may_take_up(jobs[i])) {
        scope_.spawn(tell_again(std::move(jobs[i])));
      } else {
        end(jobs[i], true);
      }
    }
  }
  lane->is_running = false;
}

rt::Task<void> KernelCache::close() {
  fs_.nodes().cache().disable();
  scope_.close();
  co_await scope_.join();
}

}  // namespace benchfs::mount
