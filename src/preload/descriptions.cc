#include "preload/descriptions.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "preload/left_opens.h"
#include "preload/locks.h"
#include "preload/mappings.h"
#include "preload/real.h"
#include "preload/together.h"

namespace benchfs::preload {

namespace {

constexpr std::uint64_t kMagic = 0x31736662'68636e65;
constexpr char kName[] = "benchfs-open";
constexpr char kLink[] = "/memfd:benchfs-open";
constexpr std::size_t kBytes = sizeof(SharedState);
constexpr int kPooled = 16;

BENCHFS_TOGETHER pthread_mutex_t pool_mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
BENCHFS_TOGETHER bool is_pool_held = false;  // for a fork
// Held for writing around fork(), which the threads that open and close files must not starve.
BENCHFS_TOGETHER pthread_rwlock_t changes = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
BENCHFS_TOGETHER bool are_changes_held = false;
BENCHFS_TOGETHER Description* pool = nullptr;   // with a shared page and a home, ready for use
BENCHFS_TOGETHER Description* empty = nullptr;  // without
BENCHFS_TOGETHER int pooled = 0;
BENCHFS_TOGETHER std::atomic<std::uint32_t> spawns{0};
// The homes of all descriptions, and what open() has taken and not given to a file yet; what is
// above all that ever were one of them.
enum class Internal : char { kNone, kHome, kReserved };
BENCHFS_TOGETHER std::atomic<int> homes_end{0};
std::atomic<Internal> homes[kMaxDescriptors];

class PoolLock {
 public:
  PoolLock() : is_held_(pthread_mutex_lock(&pool_mutex) == 0) {}
  PoolLock(const PoolLock&) = delete;
  PoolLock& operator=(const PoolLock&) = delete;
  ~PoolLock() {
    if (is_held_) {
      pthread_mutex_unlock(&pool_mutex);
    }
  }
  explicit operator bool() const { return is_held_; }

 private:
  bool is_held_;
};

void raise_to(std::atomic<int>& most, int value) {
  int before = most.load();
  while (before < value && !most.compare_exchange_weak(before, value)) {
  }
}

void note_highest(int fd) {
  raise_to(internal::highest, fd);
}

constexpr rlim_t kHighestFloor = 960;

// Where descriptors that the program does not know are out of its way. Not far beyond: the kernel's
// table of descriptors grows up to the highest, and each fork copies it.
int home_floor() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  rlim_t soft = limit.rlim_cur < kMaxDescriptors ? limit.rlim_cur : kMaxDescriptors;
  return static_cast<int>(std::min<rlim_t>(soft - soft / 4, kHighestFloor));
}

Description* new_description() {
  if (Description* old = empty) {
    empty = old->next;
    return old;
  }
  void* memory = std::calloc(1, sizeof(Description));
  return memory != nullptr ? new (memory) Description : nullptr;  // lint: allow new in place
}

void close_page(Description& description) {
  if (description.shared != nullptr) {
    real().munmap(description.shared, kBytes);
    description.shared = nullptr;
  }
  if (description.home >= 0) {
    close_hidden(description.home);
    description.home = -1;
  }
}

bool map_page(Description& description, int memory_file) {
  void* page = real().mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_file, 0);
  if (page == MAP_FAILED) {
    return false;
  }
  description.shared = static_cast<SharedState*>(page);
  struct stat info{};
  real().fstat(memory_file, &info);
  description.device = info.st_dev;
  description.number = info.st_ino;
  return true;
}

// The page of a new open file, and its O_PATH descriptor.
bool make_page(Description& description) {
  int memory_file = memfd_create(kName, MFD_CLOEXEC);
  if (memory_file < 0) {
    return false;
  }
  char link[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", memory_file);
  // The kernel does not count the first descriptor of a memory file as one for writing.
  int writable = make_long(memory_file, kBytes) ? open_own(link, O_RDWR | O_CLOEXEC) : -1;
  bool is_mapped = writable >= 0 && map_page(description, writable);
  int path_fd = is_mapped ? open_own(link, O_PATH | O_CLOEXEC) : -1;
  int error = errno;
  if (writable >= 0) {
    close_own(writable);
  }
  close_own(memory_file);
  if (path_fd < 0) {
    close_page(description);
    errno = error;
    return false;
  }
  init_shared_mutex(description.shared->mutex);
  description.shared->magic = kMagic;
  description.home = hide(path_fd);
  if (description.home < 0) {
    close_page(description);
    errno = EMFILE;
    return false;
  }
  return true;
}

// A description with one reference, of the pool if there is one.
Description* take_description() {
  PoolLock lock;
  if (!lock) {
    errno = EDEADLK;
    return nullptr;
  }
  Description* description = pool;
  if (description != nullptr) {
    pool = description->next;
    --pooled;
  } else {
    description = new_description();
    if (description == nullptr) {
      errno = ENOMEM;
      return nullptr;
    }
    if (!make_page(*description)) {
      description->next = empty;
      empty = description;
      return nullptr;
    }
  }
  description->is_inherited = false;
  description->sharing = 0;
  description->is_append = false;
  description->spawn_generation = spawns;
  description->handle = nullptr;
  description->references = 1;
  return description;
}

bool may_be_shared(const Description& description) {
  return description.is_inherited || description.spawn_generation != spawns;
}

void recycle(Description& description) {
  PoolLock lock;
  if (!lock) {
    return;  // lost to a signal handler's close()
  }
  if (may_be_shared(description) || description.home < 0 || pooled >= kPooled) {
    close_page(description);
    description.next = empty;
    empty = &description;
  } else {
    description.next = pool;
    pool = &description;
    ++pooled;
  }
}

void adopt(int fd) {
  char link[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  int memory_file = open_own(link, O_RDWR | O_CLOEXEC);
  if (memory_file < 0) {
    return;
  }
  struct stat info{};
  real().fstat(memory_file, &info);
  for (int other = 0; other <= internal::highest; ++other) {
    Description* known = internal::table[other];
    if (known != nullptr && known->number == info.st_ino && known->device == info.st_dev) {
      put(fd, known);
      close_own(memory_file);
      return;
    }
  }
  Description* description = new_description();
  if (description != nullptr && info.st_size == static_cast<off_t>(kBytes) &&
      map_page(*description, memory_file) && description->shared->magic == kMagic) {
    description->is_inherited = true;
    description->references = 0;
    description->home = hide(real().fcntl(fd, F_DUPFD_CLOEXEC, 0));
    put(fd, description);
  }
  close_own(memory_file);
}

}  // namespace

namespace internal {

std::atomic<Description*> table[kMaxDescriptors];
BENCHFS_TOGETHER std::atomic<int> highest{-1};

Description* acquire(int fd) {
  Description* description = table[fd].load();
  if (description == nullptr) {
    return nullptr;
  }
  std::uint32_t count = description->references.load();
  do {
    if (count == 0) {
      return nullptr;  // just closed
    }
  } while (!description->references.compare_exchange_weak(count, count + 1));
  if (table[fd].load() != description) {
    release(description);
    return nullptr;
  }
  return description;
}

void release(Description* description) {
  if (description->references.fetch_sub(1) != 1) {
    return;
  }
  int before = errno;
  release_own_locks(*description);
  benchfs_file_t* file = description->handle.exchange(nullptr);
  if (file != nullptr && description->epoch == process_epoch()) {
    if (may_be_shared(*description)) [[unlikely]] {
      leave_to_others(*description);
    }
    cluster().api->close(file);
  }
  recycle(*description);
  look_after_left_opens();
  errno = before;
}

}  // namespace internal

int highest_descriptor() {
  return internal::highest;
}

void make_room_to_hide() {
  int fd = open_own("/", O_PATH | O_CLOEXEC);
  int hidden = fd >= 0 ? real().fcntl(fd, F_DUPFD_CLOEXEC, home_floor()) : -1;
  for (int opened : {fd, hidden}) {
    if (opened >= 0) {
      close_own(opened);
    }
  }
}

int hide(int fd) {
  int hidden = fd >= 0 ? real().fcntl(fd, F_DUPFD_CLOEXEC, home_floor()) : -1;
  if (hidden >= 0) {
    close_own(fd);
  } else {
    hidden = fd;  // no room above: it stays below
  }
  if (hidden >= kMaxDescriptors) {
    close_own(hidden);
    return -1;
  }
  if (hidden >= 0) {
    homes[hidden] = Internal::kHome;
    raise_to(homes_end, hidden + 1);
  }
  return hidden;
}

void close_hidden(int fd) {
  homes[fd] = Internal::kNone;
  close_own(fd);
}

// "ulimit -f" counts for memory that has a descriptor, too, and going beyond it is a signal. The
// program's limit is as it was when this returns.
bool make_long(int memory_file, off_t bytes) {
  auto wanted = static_cast<rlim_t>(bytes);
  rlimit limit{};
  bool is_short = getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < wanted;
  if (is_short && limit.rlim_max < wanted) {
    errno = EFBIG;
    return false;
  }
  if (is_short) {
    rlimit longer = limit;
    longer.rlim_cur = wanted;
    real().setrlimit(RLIMIT_FSIZE, &longer);
  }
  bool is_long = real().ftruncate(memory_file, bytes) == 0;
  if (is_short) {
    real().setrlimit(RLIMIT_FSIZE, &limit);
  }
  return is_long;
}

void init_shared_mutex(pthread_mutex_t& mutex) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&mutex, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

bool is_internal(int fd) {
  return fd >= 0 && fd < homes_end.load(std::memory_order_relaxed) && homes[fd] != Internal::kNone;
}

Handle handle_of(Description& description) {
  benchfs_file_t* file = description.handle.load(std::memory_order_acquire);
  if (file != nullptr && description.epoch == process_epoch()) [[likely]] {
    return {cluster(), file};
  }
  if (description.shared->kind == Kind::kPath) {
    errno = EBADF;
    return {};
  }
  Cluster here = cluster();
  if (!here) {
    return {};
  }
  if (int error = pthread_mutex_lock(&description.mutex); error != 0) {
    errno = error;
    return {};
  }
  file = description.handle.load();
  if (file == nullptr || description.epoch != process_epoch()) {
    int flags = description.shared->flags & (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC);
    file = here.api->open_inode(here.context, description.shared->inode, flags);
    description.is_append = (flags & O_APPEND) != 0;
    description.epoch = process_epoch();
    description.handle.store(file, std::memory_order_release);
  }
  pthread_mutex_unlock(&description.mutex);
  return {here, file};
}

PositionLock::PositionLock(Description& description) {
  SharedState* shared = description.shared;
  int error = pthread_mutex_lock(&shared->mutex);
  if (error == EOWNERDEAD) {  // killed between a transfer and the new position
    pthread_mutex_consistent(&shared->mutex);
    error = 0;
  }
  if (error != 0) {
    errno = error;
    return;
  }
  shared_ = shared;
}

PositionLock::~PositionLock() {
  if (shared_ != nullptr) {
    pthread_mutex_unlock(&shared_->mutex);
  }
}

TableChange::TableChange()
    : is_held_(__libc_single_threaded == 0 && pthread_rwlock_rdlock(&changes) == 0) {}

TableChange::~TableChange() {
  if (is_held_) {
    pthread_rwlock_unlock(&changes);
  }
}

bool reserve(int flags, Reserved& reserved) {
  Description* description = take_description();
  if (description == nullptr) {
    return false;
  }
  TableChange change;
  int command = (flags & O_CLOEXEC) != 0 ? F_DUPFD_CLOEXEC : F_DUPFD;
  int fd = real().fcntl(description->home, command, 0);
  if (fd >= kMaxDescriptors) {
    close_own(fd);
    fd = -1;
    errno = EMFILE;
  }
  if (fd < 0) {
    int error = errno;
    internal::release(description);
    errno = error;
    return false;
  }
  homes[fd] = Internal::kReserved;
  raise_to(homes_end, fd + 1);
  reserved = {description, fd};
  return true;
}

void give_back(const Reserved& reserved) {
  int before = errno;
  TableChange change;
  homes[reserved.fd] = Internal::kNone;
  close_own(reserved.fd);
  internal::release(reserved.description);
  errno = before;
}

int install(const Reserved& reserved,
            benchfs_file_t* file,
            Kind kind,
            std::uint64_t inode,
            int flags,
            const char* path) {
  Description* description = reserved.description;
  SharedState& shared = *description->shared;
  shared.kind = kind;
  shared.flags = flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC);
  shared.inode = inode;
  shared.position = 0;
  shared.locked = 0;
  shared.joining = 0;
  shared.executing = 0;
  if (file != nullptr) {
    cluster().api->open_id(file, shared.id);
  }
  std::strcpy(shared.path, path);
  description->is_append = (flags & O_APPEND) != 0;
  description->epoch = process_epoch();
  description->handle = file;
  look_after_left_opens();
  TableChange change;
  homes[reserved.fd] = Internal::kNone;
  note_highest(reserved.fd);
  internal::table[reserved.fd] = description;
  return reserved.fd;
}

int install(const Cluster& cluster,
            benchfs_file_t* file,
            Kind kind,
            std::uint64_t inode,
            int flags,
            const char* path) {
  Reserved reserved;
  if (!reserve(flags, reserved)) {
    int error = errno;
    if (file != nullptr) {
      cluster.api->close(file);
    }
    errno = error;
    return -1;
  }
  return install(reserved, file, kind, inode, flags, path);
}

Description* take_away(int fd) {
  return is_ours(fd) ? internal::table[fd].exchange(nullptr) : nullptr;
}

void drop(Description* description) {
  if (description != nullptr) {
    if (may_be_mapped(*description)) [[unlikely]] {
      write_back_at_close(*description);
    }
    after_close(*description);
    internal::release(description);
  }
}

void put(int fd, Description* description) {
  description->references.fetch_add(1);
  note_highest(fd);
  internal::table[fd] = description;
}

void adopt_inherited() {
  int directory = open_own("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) {
    return;
  }
  alignas(8) char entries[4096];
  for (;;) {
    long bytes = real().syscall(SYS_getdents64, directory, entries, sizeof entries);
    if (bytes <= 0) {
      break;
    }
    for (long at = 0; at < bytes;) {
      auto* entry = reinterpret_cast<dirent64*>(entries + at);
      at += entry->d_reclen;
      char target[sizeof kLink + 16];
      int fd = std::atoi(entry->d_name);
      long flags = real().syscall(SYS_fcntl, fd, F_GETFL);  // cheaper than to ask for the name
      long length = flags >= 0 && (flags & O_PATH) != 0
                        ? real().readlinkat(directory, entry->d_name, target, sizeof target - 1)
                        : -1;
      if (length >= static_cast<long>(sizeof kLink - 1) &&
          std::memcmp(target, kLink, sizeof kLink - 1) == 0 && fd < kMaxDescriptors &&
          !is_internal(fd)) {
        adopt(fd);
      }
    }
  }
  close_own(directory);
}

void note_spawn() {
  spawns.fetch_add(1);
}

void hold_table(const timespec& until) {
  are_changes_held = pthread_rwlock_clockwrlock(&changes, CLOCK_MONOTONIC, &until) == 0;
  is_pool_held = pthread_mutex_clocklock(&pool_mutex, CLOCK_MONOTONIC, &until) == 0;
}

void let_table_go() {
  if (is_pool_held) {
    is_pool_held = false;
    pthread_mutex_unlock(&pool_mutex);
  }
  if (are_changes_held) {
    are_changes_held = false;
    pthread_rwlock_unlock(&changes);
  }
}

void leave_handle_to_parent(Description& description) {
  pthread_mutex_t fresh = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  std::memcpy(&description.mutex, &fresh, sizeof fresh);
  description.handle = nullptr;
  description.sharing = 0;
}

void leave_pool_to_parent() {
  forget_locks();
  pthread_mutex_t fresh = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  std::memcpy(&pool_mutex, &fresh, sizeof fresh);
  pthread_rwlock_t unlocked = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
  std::memcpy(&changes, &unlocked, sizeof unlocked);
  is_pool_held = false;
  are_changes_held = false;
  while (pool != nullptr) {
    Description* description = pool;
    pool = description->next;
    close_page(*description);
    description->next = empty;
    empty = description;
  }
  pooled = 0;
  for (int fd = 0; fd < homes_end; ++fd) {  // another thread of the parent is about to open these
    if (homes[fd] == Internal::kReserved) {
      homes[fd] = Internal::kNone;
      close_own(fd);
    }
  }
  for (int fd = 0; fd <= internal::highest; ++fd) {
    if (Description* description = internal::table[fd]) {
      leave_handle_to_parent(*description);
    }
  }
}

}  // namespace benchfs::preload
