#include "preload/locks.h"

#include <pthread.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "preload/real.h"
#include "preload/together.h"

namespace benchfs::preload {
namespace {

constexpr std::uint64_t kProcess = 0;  // the owner of record locks; those of open files are others

// The files of which this process may have record locks. Few programs have any.
constexpr int kMaxFiles = 1024;
std::uint64_t files[kMaxFiles];
BENCHFS_TOGETHER std::atomic<int> file_count{0};
BENCHFS_TOGETHER pthread_mutex_t files_mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

class FilesLock {
 public:
  FilesLock() : is_held_(pthread_mutex_lock(&files_mutex) == 0) {}
  FilesLock(const FilesLock&) = delete;
  FilesLock& operator=(const FilesLock&) = delete;
  ~FilesLock() {
    if (is_held_) {
      pthread_mutex_unlock(&files_mutex);
    }
  }
  explicit operator bool() const { return is_held_; }

 private:
  bool is_held_;
};

int find_file(std::uint64_t inode) {
  for (int i = 0; i < file_count; ++i) {
    if (files[i] == inode) {
      return i;
    }
  }
  return -1;
}

bool note_file(std::uint64_t inode) {
  FilesLock lock;
  if (!lock || (find_file(inode) < 0 && file_count == kMaxFiles)) {
    return false;
  }
  if (find_file(inode) < 0) {
    files[file_count] = inode;
    ++file_count;
  }
  return true;
}

bool is_noted(std::uint64_t inode) {
  FilesLock lock;
  return lock && find_file(inode) >= 0;
}

// What exit() has to do from now on.
void note_locks() {
  static std::atomic<bool> is_noted{false};
  if (!is_noted.exchange(true)) {
    std::atexit(release_all_locks);
  }
}

bool forget_file(std::uint64_t inode) {
  FilesLock lock;
  int at = lock ? find_file(inode) : -1;
  if (at >= 0) {
    --file_count;
    files[at] = files[file_count];
  }
  return at >= 0;
}

// Its locks would end with this process, not with the open file.
bool is_of_another_process(const Description& description) {
  return description.is_inherited || description.made_in != process_epoch();
}

// The range from the start of the file; false: EINVAL, EOVERFLOW.
int resolve(Description& description,
            const Handle& handle,
            const struct flock& lock,
            benchfs_lock_t& out) {
  std::int64_t base = 0;
  if (lock.l_whence == SEEK_CUR) {
    base = description.shared->position;
  } else if (lock.l_whence == SEEK_END) {
    benchfs_stat_t stat{};
    if (int error = handle->fstat(handle.file, &stat); error != 0) {
      return -error;
    }
    base = stat.st_size;
  } else if (lock.l_whence != SEEK_SET) {
    return EINVAL;
  }
  std::int64_t start = 0;
  std::int64_t length = lock.l_len;
  if (__builtin_add_overflow(base, lock.l_start, &start)) {
    return EOVERFLOW;
  }
  if (length < 0) {  // the bytes before it
    start += length;
    length = -length;
  }
  if (start < 0) {
    return EINVAL;
  }
  out.start = start;
  out.length = length;
  return 0;
}

int mode_of(short type) {
  switch (type) {
    case F_RDLCK:
      return BENCHFS_LOCK_SHARED;
    case F_WRLCK:
      return BENCHFS_LOCK_EXCLUSIVE;
    case F_UNLCK:
      return BENCHFS_UNLOCK;
    default:
      return -1;
  }
}

bool may_lock(const Description& description, int mode) {
  int access = description.shared->flags & O_ACCMODE;
  return mode == BENCHFS_UNLOCK || access == O_RDWR ||
         access == (mode == BENCHFS_LOCK_SHARED ? O_RDONLY : O_WRONLY);
}

// Calls `attempt`, which gives 0 or an errno value, until nothing is in the way or a handler of a
// signal has run: the kernel cannot tell us of that while a call is under way, so the wait is here.
// Nothing is held meanwhile, as the handler may leave with siglongjmp().
template <typename Attempt>
int lock_or_wait(bool waits, Attempt attempt) {
  std::uint32_t runs = handler_runs();
  long pause_ns = 200'000;
  for (;;) {
    int error = attempt();
    if (error != EAGAIN || !waits) {
      return error;
    }
    timespec pause{.tv_sec = 0, .tv_nsec = pause_ns};
    if (handler_runs() != runs || nanosleep(&pause, nullptr) != 0) {
      return EINTR;
    }
    pause_ns = std::min(2 * pause_ns, 10'000'000L);
  }
}

int finish(Counter& counter, int error) {
  if (error != 0) {
    return counter.refuse(error);
  }
  counter.served();
  return 0;
}

int test_lock(const Handle& handle,
              std::uint64_t owner,
              benchfs_lock_t wanted,
              struct flock& lock) {
  if (wanted.mode == BENCHFS_UNLOCK) {
    return EINVAL;
  }
  int error = -handle->test_lock(handle.file, owner, 0, &wanted);
  if (error == 0 && wanted.mode == BENCHFS_UNLOCK) {
    lock.l_type = F_UNLCK;
  } else if (error == 0) {
    lock.l_type = wanted.mode == BENCHFS_LOCK_SHARED ? F_RDLCK : F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = wanted.start;
    lock.l_len = wanted.length;
    lock.l_pid = wanted.pid;
  }
  return error;
}

// One attempt.
int try_flock(Description& description, int operation) {
  if (is_of_another_process(description)) {
    return ENOLCK;
  }
  benchfs_lock_t lock{};
  lock.pid = getpid();
  switch (operation & ~LOCK_NB) {
    case LOCK_SH:
      lock.mode = BENCHFS_LOCK_SHARED;
      break;
    case LOCK_EX:
      lock.mode = BENCHFS_LOCK_EXCLUSIVE;
      break;
    case LOCK_UN:
      break;
    default:
      return EINVAL;
  }
  Handle handle = handle_of(description);
  if (!handle) {
    return errno;
  }
  description.has_locks = true;
  note_locks();
  return -handle->lock(handle.file, description.number, BENCHFS_LOCK_FLOCK, &lock, 0);
}

int try_fcntl(Description& description, int command, struct flock* lock) {
  bool is_of_open_file =
      command == F_OFD_SETLK || command == F_OFD_SETLKW || command == F_OFD_GETLK;
  bool is_test = command == F_GETLK || command == F_OFD_GETLK;
  if (lock == nullptr) {
    return EFAULT;
  }
  int mode = mode_of(lock->l_type);
  if (mode < 0 || (is_of_open_file && lock->l_pid != 0)) {
    return EINVAL;
  }
  if (is_of_open_file && is_of_another_process(description)) {
    return ENOLCK;
  }
  if (description.shared->kind != Kind::kFile || (!is_test && !may_lock(description, mode))) {
    return EBADF;
  }
  Handle handle = handle_of(description);
  if (!handle) {
    return errno;
  }
  std::uint64_t owner = is_of_open_file ? description.number : kProcess;
  benchfs_lock_t wanted{};
  wanted.mode = mode;
  wanted.pid = is_of_open_file ? -1 : getpid();
  if (int error = resolve(description, handle, *lock, wanted); error != 0) {
    return error;
  }
  if (is_test) {
    return test_lock(handle, owner, wanted, *lock);
  }
  if (mode != BENCHFS_UNLOCK) {
    if (is_of_open_file) {
      description.has_locks = true;
    } else if (!note_file(description.shared->inode)) {
      return ENOLCK;
    }
    note_locks();
  }
  return -handle->lock(handle.file, owner, 0, &wanted, 0);
}

}  // namespace

int lock_by_fcntl(Counter& counter, int fd, int command, struct flock* lock) {
  bool waits = command == F_SETLKW || command == F_OFD_SETLKW;
  return finish(counter, lock_or_wait(waits, [&] {
                  OpenRef open(fd);
                  return open ? try_fcntl(*open, command, lock) : EBADF;
                }));
}

int lock_for_mapping(Description& description) {
  if (file_count.load(std::memory_order_relaxed) == 0 || !is_noted(description.shared->inode)) {
    return 0;
  }
  Handle handle = handle_of(description);
  if (!handle) {
    return errno;
  }
  // Where no program locks anything: it ends with the record locks.
  constexpr std::int64_t kByte = std::numeric_limits<std::int64_t>::max() - 1;
  benchfs_lock_t lock{.mode = BENCHFS_LOCK_EXCLUSIVE, .pid = getpid(), .start = kByte, .length = 1};
  int error = -handle->lock(handle.file, kProcess, 0, &lock, 0);
  return error == EAGAIN ? ENODEV : error;
}

void after_close(Description& description) {
  if (file_count.load(std::memory_order_relaxed) == 0 || description.shared->kind != Kind::kFile ||
      !forget_file(description.shared->inode)) [[likely]] {
    return;
  }
  int before = errno;
  if (Handle handle = handle_of(description)) {
    handle->release_locks(handle.file, kProcess, 0);
  }
  errno = before;
}

void release_own_locks(Description& description) {
  if (!description.has_locks) [[likely]] {
    return;
  }
  description.has_locks = false;
  if (Handle handle = handle_of(description)) {
    handle->release_locks(handle.file, description.number, 0);
    handle->release_locks(handle.file, description.number, BENCHFS_LOCK_FLOCK);
  }
}

void release_all_locks() {
  for (int fd = 0; fd <= highest_descriptor(); ++fd) {
    if (OpenRef open(fd); open) {
      after_close(*open);
      if (open->epoch == process_epoch()) {
        release_own_locks(*open);
      }
    }
  }
}

void forget_locks() {
  pthread_mutex_t fresh = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  std::memcpy(&files_mutex, &fresh, sizeof fresh);
  file_count = 0;
}

ENTRY(int, flock, int fd, int operation) {
  COUNTER(flock);
  if (!is_ours(fd)) {
    return real().flock(fd, operation);
  }
  return finish(counter, lock_or_wait((operation & LOCK_NB) == 0, [&] {
                  OpenRef open(fd);
                  return open ? try_flock(*open, operation) : EBADF;
                }));
}

ENTRY(int, lockf, int fd, int command, off_t size) {
  COUNTER(lockf);
  if (!is_ours(fd)) {
    return real().lockf(fd, command, size);
  }
  struct flock lock{};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_CUR;
  lock.l_len = size;
  switch (command) {
    case F_LOCK:
      return lock_by_fcntl(counter, fd, F_SETLKW, &lock);
    case F_TLOCK:
      return lock_by_fcntl(counter, fd, F_SETLK, &lock);
    case F_ULOCK:
      lock.l_type = F_UNLCK;
      return lock_by_fcntl(counter, fd, F_SETLK, &lock);
    case F_TEST:
      lock.l_type = F_RDLCK;  // as glibc asks
      if (lock_by_fcntl(counter, fd, F_GETLK, &lock) != 0) {
        return -1;
      }
      return lock.l_type == F_UNLCK ? 0 : fail_with(EACCES);
    default:
      return counter.refuse(EINVAL);
  }
}
ENTRY(int, lockf64, int fd, int command, off_t size) {
  return entry_lockf(fd, command, size);
}

}  // namespace benchfs::preload
