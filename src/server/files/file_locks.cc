#include "server/files/file_locks.h"

#include <cerrno>
#include <utility>

namespace benchfs::server {

Result<std::optional<RangeLock>> FileLocks::carry_out(const wire::LockRequest& wanted,
                                                      std::uint64_t client_uid) {
  auto mode = static_cast<wire::LockMode>(wanted.mode);
  RangeLock lock{.begin = wanted.begin,
                 .end = wanted.end,
                 .owner = {.client_uid = client_uid, .number = wanted.owner},
                 .pid = wanted.pid,
                 .is_exclusive = mode == wire::LockMode::kExclusive};
  wire::InodeId inode{wanted.inode};
  bool is_test = (wanted.flags & wire::kLockTest) != 0;
  auto found = files_.find(inode);
  if (found == files_.end()) {
    if (mode == wire::LockMode::kNone || is_test) {
      return std::nullopt;
    }
    found = files_.emplace(inode, std::make_shared<Locks>()).first;
  }
  Locks& file = *found->second;
  RangeLocks& locks = (wanted.flags & wire::kLockWholeFile) != 0 ? file.whole_file : file.records;
  std::size_t before = locks.size();
  std::optional<RangeLock> in_the_way;
  bool is_full = false;
  if (mode == wire::LockMode::kNone) {
    locks.clear(lock.owner, lock.begin, lock.end);
    file.ended.wake_all();
  } else if (const RangeLock* other = locks.find_conflict(lock)) {
    in_the_way = *other;
  } else if (!is_test) {
    is_full = held_ + 2 > kMaxLocks;  // a lock in the middle of another makes three of one
    if (!is_full) {
      locks.set(lock);
      file.ended.wake_all();  // it may have become a shared one
    }
  }
  add(client_uid, before, locks.size());
  if (file.records.size() + file.whole_file.size() == 0) {
    files_.erase(found);
  }
  if (is_full) {
    return fail_errno(ENOLCK);
  }
  return in_the_way;
}

rt::Task<rt::Wake> FileLocks::wait(wire::InodeId inode,
                                   Deadline deadline,
                                   rt::CancelSource* stopping) {
  auto found = files_.find(inode);
  if (found == files_.end()) {
    co_return rt::Wake::kReady;
  }
  std::shared_ptr<Locks> file = found->second;
  ++waiting_;
  rt::Wake wake = co_await file->ended.wait(deadline, stopping);
  --waiting_;
  co_return wake;
}

void FileLocks::drop_client(std::uint64_t client_uid) {
  if (!held_by_.contains(client_uid)) {
    return;
  }
  std::erase_if(files_, [&](const auto& entry) {
    Locks& file = *entry.second;
    std::size_t ended =
        file.records.clear_client(client_uid) + file.whole_file.clear_client(client_uid);
    add(client_uid, ended, 0);
    if (ended > 0) {
      file.ended.wake_all();
    }
    return file.records.size() + file.whole_file.size() == 0;
  });
}

void FileLocks::drop_file(wire::InodeId inode) {
  auto found = files_.find(inode);
  if (found == files_.end()) {
    return;
  }
  for (const RangeLocks* locks : {&found->second->records, &found->second->whole_file}) {
    for (const RangeLock& lock : locks->all()) {
      add(lock.owner.client_uid, 1, 0);
    }
  }
  found->second->ended.wake_all();
  files_.erase(found);
}

void FileLocks::add(std::uint64_t client_uid, std::size_t before, std::size_t after) {
  held_ = held_ - before + after;
  std::size_t& held = held_by_[client_uid];
  held = held - before + after;
  if (held == 0) {
    held_by_.erase(client_uid);
  }
}

}  // namespace benchfs::server
