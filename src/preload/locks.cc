#include "preload/locks.h"

#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
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

bool forget_file(std::uint64_t inode) {
  FilesLock lock;
  int at = lock ? find_file(inode) : -1;
  if (at >= 0) {
    --file_count;
    files[at] = files[file_count];
  }
  return at >= 0;
}

constexpr LockKinds kKinds[] = {kFlockLocks, kRecordLocks};

int flags_of(LockKinds kind) {
  return kind == kFlockLocks ? BENCHFS_LOCK_FLOCK : 0;
}

std::uint64_t own_client(const Handle& handle) {
  std::uint64_t id[2];
  handle->open_id(handle.file, id);
  return id[0];
}

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 32)) * 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 29)) * 0x9e3779b97f4a7c15;
  return x ^ (x >> 32);
}

// The same before and after exec(), and of no other process, in whatever PID namespace: the number
// there, when it started, and the namespace.
std::uint64_t process_identity() {
  static std::atomic<std::uint64_t> identity{0};
  static std::atomic<std::uint32_t> epoch{0};
  if (epoch == process_epoch()) {
    return identity;
  }
  std::uint64_t mixed = mix(static_cast<std::uint64_t>(getpid()));
  char text[1024];
  int fd = open_own("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  ssize_t bytes = fd >= 0 ? real().read(fd, text, sizeof text - 1) : 0;
  if (fd >= 0) {
    close_own(fd);
  }
  text[std::max<ssize_t>(bytes, 0)] = '\0';
  constexpr int kStart = 20;  // fields behind the program's name
  const char* at = std::strrchr(text, ')');
  for (int field = 0; field < kStart && at != nullptr; ++field) {
    at = std::strchr(at + 1, ' ');
  }
  if (at != nullptr) {
    mixed = mix(mixed ^ std::strtoull(at, nullptr, 10));
  }
  struct stat space{};
  if (real().stat("/proc/self/ns/pid", &space) == 0) {
    mixed = mix(mixed ^ space.st_ino);
  }
  identity = mixed;
  epoch = process_epoch();
  return mixed;
}

Sharer& sharer_of(SharedState& shared, std::uint64_t process) {
  return shared.sharers[process % std::size(shared.sharers)];
}

std::uint64_t seal_of(std::uint64_t process, std::uint64_t client) {
  return mix(process ^ mix(client));
}

// What this process was before it executed its program, or is; 0: not known.
std::uint64_t noted_client(SharedState& shared) {
  const Sharer& sharer = sharer_of(shared, process_identity());
  std::uint64_t client = sharer.client;
  return sharer.seal == seal_of(process_identity(), client) ? client : 0;
}

// What the servers know the process by as long as it is one, exec() included.
void note_sharer(SharedState& shared, std::uint64_t client) {
  std::uint64_t process = process_identity();
  Sharer& sharer = sharer_of(shared, process);
  sharer.client = client;
  sharer.seal = seal_of(process, client);
}

// A process that has executed another program is another client.
void join(Description& description, std::uint32_t kinds) {
  SharedState& shared = *description.shared;
  Handle handle = handle_of(description);
  if (!handle) {
    return;
  }
  std::uint64_t former = noted_client(shared);
  for (LockKinds kind : kKinds) {
    if ((kinds & kind) != 0 &&
        handle->join_locks(handle.file, shared.id, flags_of(kind), former) == 0) {
      description.sharing |= kind;
    }
  }
  note_sharer(shared, own_client(handle));
}

// Until they have joined; one that was killed meanwhile never does, nor does a program without the
// library.
void wait_for_children(SharedState& shared) {
  constexpr int kMostPauses = 2000;
  for (int i = 0; i < kMostPauses; ++i) {
    if (shared.joining == 0) {
      return;
    }
    timespec pause{.tv_sec = 0, .tv_nsec = 1'000'000};
    nanosleep(&pause, nullptr);
  }
  shared.joining = 0;
}

// Locks or unlocks for the open file, whoever opened it.
int lock_shared(Description& description,
                const Handle& handle,
                LockKinds kind,
                const benchfs_lock_t& lock) {
  SharedState& shared = *description.shared;
  bool is_unlock = lock.mode == BENCHFS_UNLOCK;
  if (!is_unlock) {
    shared.locked |= kind;  // who starts from now on joins
  }
  int error = -handle->lock_shared(handle.file, shared.id, flags_of(kind), &lock);
  if (error == 0 && is_unlock && lock.start == 0 && lock.length == 0) {
    shared.locked &= ~kind;
  }
  if (error == 0 && !is_unlock) {
    shared.locked |= kind;  // an unlock that was served before may have been noted after the above
  }
  if (error != EAGAIN && !is_unlock) {
    description.sharing |= kind;
    std::uint64_t former = noted_client(shared);
    if (former == 0) {
      note_sharer(shared, own_client(handle));
    } else if (former != own_client(handle)) {
      join(description, kind);
    }
  }
  return error;
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

int test_lock(const Description& description,
              const Handle& handle,
              bool is_of_open_file,
              benchfs_lock_t wanted,
              struct flock& lock) {
  if (wanted.mode == BENCHFS_UNLOCK) {
    return EINVAL;
  }
  int error = is_of_open_file
                  ? -handle->test_shared_lock(handle.file, description.shared->id, 0, &wanted)
                  : -handle->test_lock(handle.file, kProcess, 0, &wanted);
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
  return lock_shared(description, handle, kFlockLocks, lock);
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
  if (description.shared->kind != Kind::kFile || (!is_test && !may_lock(description, mode))) {
    return EBADF;
  }
  Handle handle = handle_of(description);
  if (!handle) {
    return errno;
  }
  benchfs_lock_t wanted{};
  wanted.mode = mode;
  wanted.pid = is_of_open_file ? -1 : getpid();
  if (int error = resolve(description, handle, *lock, wanted); error != 0) {
    return error;
  }
  if (is_test) {
    return test_lock(description, handle, is_of_open_file, wanted, *lock);
  }
  if (is_of_open_file) {
    return lock_shared(description, handle, kRecordLocks, wanted);
  }
  if (mode != BENCHFS_UNLOCK && !note_file(description.shared->inode)) {
    return ENOLCK;
  }
  return -handle->lock(handle.file, kProcess, 0, &wanted, 0);
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

// Another process may have locked for it.
void release_own_locks(Description& description) {
  std::uint32_t kinds = description.sharing | description.shared->locked;
  benchfs_file_t* file = description.handle;
  if (kinds == 0 || file == nullptr || description.epoch != process_epoch()) [[likely]] {
    return;
  }
  description.sharing = 0;
  wait_for_children(*description.shared);
  Cluster here = cluster();
  for (LockKinds kind : kKinds) {
    if ((kinds & kind) != 0 && here) {
      here.api->leave_locks(file, description.shared->id, flags_of(kind));
    }
  }
}

void release_all_locks() {
  for (int fd = 0; fd <= highest_descriptor(); ++fd) {
    if (OpenRef open(fd); open) {
      after_close(*open);
      release_own_locks(*open);
    }
  }
}

void announce_child() {
  for (int fd = 0; fd <= highest_descriptor(); ++fd) {
    OpenRef open(fd);
    if (open && open->shared->locked != 0 && !open->is_joining) {
      open->is_joining = true;
      ++open->shared->joining;
    }
  }
}

void end_announcement() {
  for (int fd = 0; fd <= highest_descriptor(); ++fd) {
    OpenRef open(fd);
    if (open && open->is_joining) {
      open->is_joining = false;
      std::uint32_t others = open->shared->joining;
      while (others > 0 && !open->shared->joining.compare_exchange_weak(others, others - 1)) {
      }
    }
  }
}

void note_announced() {
  for (int fd = 0; fd <= highest_descriptor(); ++fd) {
    if (OpenRef open(fd); open) {
      open->is_joining = false;
    }
  }
}

void join_locks() {
  for (int fd = 0; fd <= highest_descriptor(); ++fd) {
    OpenRef open(fd);
    std::uint32_t kinds = open ? open->shared->locked & ~open->sharing : 0;
    if (kinds != 0) [[unlikely]] {
      int before = errno;
      join(*open, kinds);
      errno = before;
    }
  }
}

namespace {

bool is_handed_on(const Description& description) {
  for (int fd = 0; fd <= highest_descriptor(); ++fd) {
    OpenRef open(fd);
    if (open && &*open == &description && (real().fcntl(fd, F_GETFD, 0) & FD_CLOEXEC) == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

void leave_before_exec(const char* path) {
  for (int fd = 0; fd <= highest_descriptor(); ++fd) {
    OpenRef open(fd);
    if (!open || (open->sharing | open->shared->locked) == 0) [[likely]] {
      continue;
    }
    bool is_closed = (real().fcntl(fd, F_GETFD, 0) & FD_CLOEXEC) != 0 && !is_handed_on(*open);
    if (is_closed && (path == nullptr || real().access(path, X_OK) == 0)) {
      release_own_locks(*open);
    } else if (!is_closed && open->handle != nullptr && open->epoch == process_epoch()) {
      note_sharer(*open->shared, own_client(handle_of(*open)));
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
