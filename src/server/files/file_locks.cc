#include "server/files/file_locks.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

namespace benchfs::server {

Result<std::optional<RangeLock>> FileLocks::carry_out(const wire::LockRequest& wanted,
                                                      std::uint64_t client_uid,
                                                      bool opener_has_it) {
  auto mode = static_cast<wire::LockMode>(wanted.mode);
  bool is_shared = (wanted.flags & wire::kLockShared) != 0;
  RangeLock lock{.begin = wanted.begin,
                 .end = wanted.end,
                 .owner = {.client_uid = is_shared ? wanted.opener_uid : client_uid,
                           .number = wanted.owner,
                           .is_shared = is_shared},
                 .pid = wanted.pid,
                 .is_exclusive = mode == wire::LockMode::kExclusive};
  wire::InodeId inode{wanted.inode};
  bool is_test = (wanted.flags & wire::kLockTest) != 0;
  bool is_join = (wanted.flags & wire::kLockJoin) != 0;
  auto found = files_.find(inode);
  if (found == files_.end()) {
    if ((mode == wire::LockMode::kNone && !is_join) || is_test) {
      return std::nullopt;
    }
    found = files_.emplace(inode, std::make_shared<Locks>()).first;
  }
  Locks& file = *found->second;
  Kind& kind = (wanted.flags & wire::kLockWholeFile) != 0 ? file.whole_file : file.records;
  RangeLocks& locks = kind.locks;
  std::size_t before = locks.size();
  std::optional<RangeLock> in_the_way;
  bool is_full = false;
  if ((wanted.flags & wire::kLockLeave) != 0) {
    leave(file, kind, lock.owner, client_uid);
    before = locks.size();
  } else if (is_join) {
    is_full = sharers_ >= kMaxLocks;
    if (!is_full) {
      join(kind, lock.owner, client_uid);
      if (wanted.former_uid != client_uid) {
        leave(file, kind, lock.owner, wanted.former_uid);
      }
    }
  } else if (mode == wire::LockMode::kNone) {
    locks.clear(lock.owner, lock.begin, lock.end);
    file.ended.wake_all();
  } else if (const RangeLock* other = locks.find_conflict(lock)) {
    in_the_way = *other;
  } else if (!is_test) {
    // A lock in the middle of another makes three of one; the opener becomes a sharer, too.
    is_full = held_ + 2 > kMaxLocks || (is_shared && sharers_ + 2 > kMaxLocks);
    if (!is_full) {
      locks.set(lock);
      file.ended.wake_all();  // it may have become a shared one
      if (is_shared) {
        join(kind, lock.owner, client_uid);
      }
      if (is_shared && opener_has_it) {
        join(kind, lock.owner, wanted.opener_uid);
      }
    }
  }
  add(lock.owner.client_uid, before, locks.size());
  held_ = held_ - before + locks.size();
  if (file.is_empty()) {
    files_.erase(found);
  }
  if (is_full) {
    return fail_errno(ENOLCK);
  }
  return in_the_way;
}

void FileLocks::join(Kind& kind, const LockOwner& open_file, std::uint64_t client_uid) {
  if (kind.sharers[open_file].insert(client_uid).second) {
    ++sharers_;
    add(client_uid, 0, 1);
  }
}

void FileLocks::leave(Locks& file,
                      Kind& kind,
                      const LockOwner& open_file,
                      std::uint64_t client_uid) {
  auto sharers = kind.sharers.find(open_file);
  if (sharers == kind.sharers.end() || sharers->second.erase(client_uid) == 0) {
    return;
  }
  --sharers_;
  add(client_uid, 1, 0);
  if (!sharers->second.empty()) {
    return;
  }
  kind.sharers.erase(sharers);
  std::size_t before = kind.locks.size();
  kind.locks.clear(open_file, 0, wire::kLockToEnd);
  add(open_file.client_uid, before, kind.locks.size());
  held_ = held_ - before + kind.locks.size();
  file.ended.wake_all();
}

template <typename IsLeft>
void FileLocks::leave_all(Locks& file, Kind& kind, std::uint64_t client_uid, IsLeft is_left) {
  std::vector<LockOwner> left;
  for (const auto& [open_file, clients] : kind.sharers) {
    if (is_left(open_file) && clients.contains(client_uid)) {
      left.push_back(open_file);
    }
  }
  for (const LockOwner& open_file : left) {
    leave(file, kind, open_file, client_uid);
  }
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

void FileLocks::on_close(wire::InodeId inode, std::uint64_t client_uid, std::uint64_t number) {
  auto found = held_by_.contains(client_uid) ? files_.find(inode) : files_.end();
  if (found == files_.end()) {
    return;
  }
  Locks& file = *found->second;
  LockOwner open_file{.client_uid = client_uid, .number = number, .is_shared = true};
  for (Kind* kind : {&file.records, &file.whole_file}) {
    leave(file, *kind, open_file, client_uid);
  }
  if (file.is_empty()) {
    files_.erase(found);
  }
}

void FileLocks::keep_only(std::uint64_t client_uid,
                          std::uint64_t from,
                          std::uint64_t to,
                          std::span<const std::uint64_t> kept) {
  if (!held_by_.contains(client_uid)) {
    return;
  }
  std::erase_if(files_, [&](const auto& entry) {
    Locks& file = *entry.second;
    for (Kind* kind : {&file.records, &file.whole_file}) {
      leave_all(file, *kind, client_uid, [&](const LockOwner& open_file) {
        return open_file.client_uid == client_uid && open_file.number >= from &&
               open_file.number < to && !std::ranges::binary_search(kept, open_file.number);
      });
    }
    return file.is_empty();
  });
}

void FileLocks::drop_client(std::uint64_t client_uid) {
  if (!held_by_.contains(client_uid)) {
    return;
  }
  std::erase_if(files_, [&](const auto& entry) {
    Locks& file = *entry.second;
    for (Kind* kind : {&file.records, &file.whole_file}) {
      std::size_t ended = kind->locks.clear_client(client_uid);
      add(client_uid, ended, 0);
      held_ -= ended;
      if (ended > 0) {
        file.ended.wake_all();
      }
      leave_all(file, *kind, client_uid, [](const LockOwner&) { return true; });
    }
    return file.is_empty();
  });
}

void FileLocks::drop_file(wire::InodeId inode) {
  auto found = files_.find(inode);
  if (found == files_.end()) {
    return;
  }
  for (const Kind* kind : {&found->second->records, &found->second->whole_file}) {
    for (const RangeLock& lock : kind->locks.all()) {
      add(lock.owner.client_uid, 1, 0);
    }
    for (const auto& [open_file, clients] : kind->sharers) {
      for (std::uint64_t client : clients) {
        add(client, 1, 0);
      }
      sharers_ -= clients.size();
    }
    held_ -= kind->locks.size();
  }
  found->second->ended.wake_all();
  files_.erase(found);
}

void FileLocks::add(std::uint64_t client_uid, std::size_t before, std::size_t after) {
  std::size_t& held = held_by_[client_uid];
  held = held - before + after;
  if (held == 0) {
    held_by_.erase(client_uid);
  }
}

}  // namespace benchfs::server
