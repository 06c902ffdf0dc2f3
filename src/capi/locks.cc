// The functions of benchfs.h that lock files.

#include <algorithm>

#include "capi/context.h"
#include "capi/last_error.h"
#include "client/io/file_locks.h"

namespace benchfs::capi {
namespace {

using client::FileLocks;
using client::LockOwner;

struct Parsed {
  LockOwner owner;
  FileLocks::Wanted wanted;
};

// Whom the caller names: a number of its own, or an open file that processes share.
struct Owner {
  std::uint64_t number = 0;
  std::uint64_t opener_uid = 0;
};

Owner to_owner(const std::uint64_t* id) {
  return {.number = id[1], .opener_uid = id[0]};
}

Result<LockOwner> parse_owner(const benchfs_file* file, Owner owner, int flags) {
  BENCHFS_TRY_VOID(check(file));
  if ((flags & ~BENCHFS_LOCK_FLOCK) != 0) {
    return fail_errno(EINVAL, "unknown flags");
  }
  return LockOwner{
      .number = owner.number, .is_whole_file = flags != 0, .opener_uid = owner.opener_uid};
}

Result<Parsed> parse(const benchfs_file* file, Owner owner, int flags, const benchfs_lock_t* lock) {
  Parsed parsed;
  BENCHFS_TRY(parsed.owner, parse_owner(file, owner, flags));
  if (lock == nullptr) {
    return fail_errno(EINVAL, "the lock is NULL");
  }
  bool is_mode = lock->mode >= BENCHFS_UNLOCK && lock->mode <= BENCHFS_LOCK_EXCLUSIVE;
  if (!is_mode || lock->start < 0 || lock->length < 0) {
    return fail_errno(EINVAL, "the lock has an unknown mode, or a negative start or length");
  }
  parsed.wanted.mode = static_cast<wire::LockMode>(lock->mode);
  parsed.wanted.begin = static_cast<std::uint64_t>(lock->start);
  // The sum of two that are not negative fits.
  parsed.wanted.end = lock->length == 0
                          ? wire::kLockToEnd
                          : parsed.wanted.begin + static_cast<std::uint64_t>(lock->length);
  parsed.wanted.pid = static_cast<std::uint32_t>(lock->pid);
  return parsed;
}

rt::CoStatus lock_until(client::FileSystem& fs,
                        const client::OpenFile& file,
                        Parsed what,
                        Deadline until) {
  for (;;) {
    BENCHFS_CO_TRY_VOID(fs.open_files().check(file));
    bool waits = !until.passed();
    BENCHFS_CO_TRY(wire::LockReply reply,
                   co_await fs.locks().lock(file.id(), what.owner, what.wanted, waits));
    if (reply.mode == static_cast<std::uint32_t>(wire::LockMode::kNone)) {
      co_return Status{};
    }
    if (until.passed()) {
      co_return fail_errno(EAGAIN, "another program has locked it");
    }
  }
}

int lock(benchfs_file_t* file,
         Owner owner,
         int flags,
         const benchfs_lock_t* lock,
         int timeout_ms) noexcept {
  return answer<int>(call_on(file, "lock"), [&]() -> Status {
    BENCHFS_TRY(Parsed what, parse(file, owner, flags, lock));
    Deadline until =
        timeout_ms < 0 ? Deadline::never() : Deadline::after(std::chrono::milliseconds(timeout_ms));
    return run(file->context,
               lock_until(file->context->client->fs(), *file->open_file, what, until));
  });
}

int test_lock(benchfs_file_t* file, Owner owner, int flags, benchfs_lock_t* lock) noexcept {
  return answer<int>(call_on(file, "test_lock"), [&]() -> Status {
    BENCHFS_TRY(Parsed what, parse(file, owner, flags, lock));
    BENCHFS_TRY(wire::LockReply reply,
                run(file->context,
                    file->context->client->fs().locks().test(
                        file->open_file->id(), what.owner, what.wanted)));
    lock->mode = static_cast<int32_t>(reply.mode);
    if (lock->mode != BENCHFS_UNLOCK) {
      lock->pid = static_cast<int32_t>(reply.pid);
      lock->start = static_cast<int64_t>(reply.begin);
      lock->length =
          reply.end == wire::kLockToEnd ? 0 : static_cast<int64_t>(reply.end - reply.begin);
    }
    return {};
  });
}

rt::CoStatus release(client::FileSystem& fs, wire::InodeId inode, LockOwner owner) {
  co_await fs.locks().release(inode, owner);
  co_return Status{};
}

int release(benchfs_file_t* file, Owner owner, int flags) noexcept {
  return answer<int>(call_on(file, "release_locks"), [&]() -> Status {
    BENCHFS_TRY(LockOwner parsed, parse_owner(file, owner, flags));
    return run(file->context, release(file->context->client->fs(), file->open_file->id(), parsed));
  });
}

}  // namespace
}  // namespace benchfs::capi

using benchfs::Status;
namespace capi = benchfs::capi;

extern "C" {

int benchfs_lock(benchfs_file_t* file,
                 uint64_t owner,
                 int flags,
                 const benchfs_lock_t* lock,
                 int timeout_ms) noexcept {
  return capi::lock(file, {.number = owner}, flags, lock, timeout_ms);
}

int benchfs_test_lock(benchfs_file_t* file,
                      uint64_t owner,
                      int flags,
                      benchfs_lock_t* lock) noexcept {
  return capi::test_lock(file, {.number = owner}, flags, lock);
}

int benchfs_release_locks(benchfs_file_t* file, uint64_t owner, int flags) noexcept {
  return capi::release(file, {.number = owner}, flags);
}

// Not in benchfs.h: for the preload library alone, whose open files are shared by processes. `id`:
// the client that opened the file, and the number of its open.

void benchfs_open_id(const benchfs_file_t* file, uint64_t* id) noexcept;
void benchfs_open_id(const benchfs_file_t* file, uint64_t* id) noexcept {
  id[0] = file->context->client->uid();
  id[1] = file->open_file->number;
}

int benchfs_lock_shared(benchfs_file_t* file,
                        const uint64_t* id,
                        int flags,
                        const benchfs_lock_t* lock) noexcept;
int benchfs_lock_shared(benchfs_file_t* file,
                        const uint64_t* id,
                        int flags,
                        const benchfs_lock_t* lock) noexcept {
  return capi::lock(file, capi::to_owner(id), flags, lock, 0);
}

int benchfs_test_shared_lock(benchfs_file_t* file,
                             const uint64_t* id,
                             int flags,
                             benchfs_lock_t* lock) noexcept;
int benchfs_test_shared_lock(benchfs_file_t* file,
                             const uint64_t* id,
                             int flags,
                             benchfs_lock_t* lock) noexcept {
  return capi::test_lock(file, capi::to_owner(id), flags, lock);
}

int benchfs_join_locks(benchfs_file_t* file,
                       const uint64_t* id,
                       int flags,
                       uint64_t former_client) noexcept;
int benchfs_join_locks(benchfs_file_t* file,
                       const uint64_t* id,
                       int flags,
                       uint64_t former_client) noexcept {
  return capi::answer<int>(capi::call_on(file, "join_locks"), [&]() -> Status {
    BENCHFS_TRY(capi::LockOwner owner, capi::parse_owner(file, capi::to_owner(id), flags));
    return capi::run(
        file->context,
        file->context->client->fs().locks().join(file->open_file->id(), owner, former_client));
  });
}

int benchfs_leave_locks(benchfs_file_t* file, const uint64_t* id, int flags) noexcept;
int benchfs_leave_locks(benchfs_file_t* file, const uint64_t* id, int flags) noexcept {
  return capi::release(file, capi::to_owner(id), flags);
}
}
