// Open files: what several descriptors, threads and processes share.
//
// Each open file has a memory file of the kernel of its own (memfd). Its page holds the position,
// the flags and the inode; the program's descriptor is an O_PATH descriptor of it. So the kernel
// does the book-keeping: dup, dup2 in a spawned child, fork, exec and SCM_RIGHTS hand the open file
// on by handing the descriptor on, and the page is freed with the last one, however its processes
// end. A system call that the library misses fails with EBADF.
//
// The handle of the C API belongs to one process: a child of fork() and a program after exec() open
// the file again by inode when they use it first.
#pragma once

#include <pthread.h>
#include <sys/types.h>
#include <time.h>

#include <atomic>
#include <climits>
#include <cstdint>

#include "preload/cluster.h"
#include "preload/signals.h"

namespace benchfs::preload {

enum class Kind : std::uint32_t { kFile = 1, kDirectory = 2, kPath = 3 };  // kPath: O_PATH

enum LockKinds : std::uint32_t { kFlockLocks = 1, kRecordLocks = 2 };

// A process that the servers know as one that has the open file.
struct Sharer {
  std::atomic<std::uint64_t> client;
  std::atomic<std::uint64_t>
      seal;  // of the process and the client: two that write at once are nobody
};

// The shared page. Its layout is known to one version of the library only.
struct SharedState {
  std::uint64_t magic;
  Kind kind;
  std::atomic<int> flags;  // O_ACCMODE, O_APPEND, O_NONBLOCK, O_SYNC, …
  std::uint64_t inode;
  std::atomic<std::int64_t> position;
  pthread_mutex_t mutex;               // of the position; robust: its owner may be killed
  std::uint64_t id[2];                 // the client that opened it, and the number of its open
  std::atomic<std::uint32_t> locked;   // what may be locked: LockKinds
  std::atomic<std::uint32_t> joining;  // children that were just forked, and have not joined yet
  std::atomic<std::int64_t>
      executing;        // CLOCK_MONOTONIC in ns: a program that inherits it was started; 0: it runs
  Sharer sharers[32];   // by process; a later one may have taken the place
  char path[PATH_MAX];  // in the file system, when it was opened
};

struct Description {
  std::atomic<std::uint32_t> references{0};  // descriptors of this process, and calls under way
  SharedState* shared = nullptr;
  dev_t device = 0;  // of the memory file
  ino_t number = 0;
  int home = -1;  // an O_PATH descriptor that the program does not know; -1: none
  std::uint32_t spawn_generation = 0;  // when it was opened
  bool is_inherited = false;
  std::atomic<std::uint32_t> sharing{0};  // LockKinds that the servers know this process to have
  bool is_joining = false;                // in a fork: it counts in `joining`
  bool is_append = false;                 // the handle's state
  std::uint32_t epoch = 0;                // process_epoch() of the handle
  std::atomic<benchfs_file_t*> handle{nullptr};
  pthread_mutex_t mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;  // of making the handle
  Description* next = nullptr;  // in the list of those not in use

  [[nodiscard]] bool is_directory() const { return shared->kind == Kind::kDirectory; }
};

inline constexpr int kMaxDescriptors = 1 << 16;

namespace internal {
extern std::atomic<Description*> table[kMaxDescriptors];
extern std::atomic<int> highest;  // descriptor that was ever ours
Description* acquire(int fd);
void release(Description* description);
}  // namespace internal

inline bool is_ours(int fd) {
  return fd >= 0 && fd <= internal::highest.load(std::memory_order_relaxed) &&
         internal::table[fd].load(std::memory_order_relaxed) != nullptr;
}
// No descriptor above it was ever ours.
int highest_descriptor();
// To be called while the program has one thread: the kernel enlarges its table of descriptors for
// hide() at once then. Once it has more, that waits for all processors, some 10 ms.
void make_room_to_hide();
// Moves a descriptor of the library out of the program's way. Returns its new number.
int hide(int fd);
void close_hidden(int fd);
// Of a memory file of the library, which is sparse. False with errno.
bool make_long(int memory_file, off_t bytes);
// A mutex in memory that processes share: robust, and no thread waits for itself.
void init_shared_mutex(pthread_mutex_t& mutex);
// A descriptor that belongs to the library, which the program must not close.
bool is_internal(int fd);

// An open file that stays open while the object lives, and signals wait; empty when the descriptor
// is not ours.
class OpenRef {
 public:
  explicit OpenRef(int fd) {
    if (is_ours(fd)) {
      defer_signals();
      description_ = internal::acquire(fd);
      if (description_ == nullptr) {
        allow_signals();
      }
    }
  }
  OpenRef(const OpenRef&) = delete;
  OpenRef& operator=(const OpenRef&) = delete;
  ~OpenRef() {
    if (description_ != nullptr) {
      internal::release(description_);
      allow_signals();
    }
  }
  explicit operator bool() const { return description_ != nullptr; }
  Description* operator->() const { return description_; }
  Description& operator*() const { return *description_; }

 private:
  Description* description_ = nullptr;
};

// An open file that the C API can use: the cluster and the handle. Empty with errno when the file
// cannot be opened again in this process.
struct Handle {
  Cluster cluster;
  benchfs_file_t* file = nullptr;
  explicit operator bool() const { return file != nullptr; }
  const Api* operator->() const { return cluster.api; }
};
Handle handle_of(Description& description);

// Holds the position of an open file. Empty with errno EDEADLK in a signal handler that interrupted
// another call on it.
class PositionLock {
 public:
  explicit PositionLock(Description& description);
  PositionLock(const PositionLock&) = delete;
  PositionLock& operator=(const PositionLock&) = delete;
  ~PositionLock();
  explicit operator bool() const { return shared_ != nullptr; }

 private:
  SharedState* shared_ = nullptr;
};

// Exists while a thread changes what descriptors are: fork() waits for its end, because a child
// gets the kernel's table and this memory at different moments. Not held during calls to the
// cluster.
class TableChange {
 public:
  TableChange();
  TableChange(const TableChange&) = delete;
  TableChange& operator=(const TableChange&) = delete;
  ~TableChange();

 private:
  bool is_held_;
};

// A descriptor for a file that is about to be opened.
struct Reserved {
  Description* description = nullptr;
  int fd = -1;
};
// False with errno.
bool reserve(int flags, Reserved& reserved);
void give_back(const Reserved& reserved);
// Gives a reserved descriptor to a file that was just opened. `path` is in the file system.
int install(const Reserved& reserved,
            benchfs_file_t* file,
            Kind kind,
            std::uint64_t inode,
            int flags,
            const char* path);
// Gives it the lowest free descriptor. -1 with errno, and then the handle is closed.
int install(const Cluster& cluster,
            benchfs_file_t* file,
            Kind kind,
            std::uint64_t inode,
            int flags,
            const char* path);

// The entries of close() and dup() after or before the kernel's call.
Description* take_away(int fd);              // nullptr when it is not ours; then drop() it
void drop(Description* description);         // nullptr is allowed
void put(int fd, Description* description);  // takes a new reference

// At the start of a program: the descriptors that it inherited.
void adopt_inherited();
// Before a child that may share descriptors is made other than by fork().
void note_spawn();
// Around fork() in a process of several threads: no other thread is in the middle of a change.
void hold_table(const timespec& until);
void let_table_go();
// In the child of fork().
void leave_pool_to_parent();
// What another thread of the parent was doing with it concerns the parent only.
void leave_handle_to_parent(Description& description);

}  // namespace benchfs::preload
