// The entries of mmap() and its like.
//
// A private mapping is anonymous memory with the bytes of the file at the time of mmap(); shared
// ones show the memory of the file (mapped_memory.h). What the program stores there is written back
// by msync(), munmap(), fsync(), close() of the last descriptor, exec() and the end of the program,
// as far as the file reaches. read() of this process sees it before that, and write() changes both
// the file and its memory. Writes of other processes are not seen in a mapping.
#include "preload/mappings.h"

#include <algorithm>
#include <cstdarg>
#include <cstdlib>
#include <cstring>

#include "preload/locks.h"
#include "preload/mapped_memory.h"
#include "preload/real.h"
#include "preload/signals.h"
#include "preload/together.h"

namespace benchfs::preload {

namespace {

using Memory = MappedMemory;

// Held as long as bytes move. The list changes under both, so that others can ask whether memory is
// mapped while a thread waits for a server.
BENCHFS_TOGETHER pthread_mutex_t mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
BENCHFS_TOGETHER pthread_mutex_t list_mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
BENCHFS_TOGETHER bool is_held = false;  // for a fork
BENCHFS_TOGETHER std::atomic<Memory*> memories{nullptr};
BENCHFS_TOGETHER std::atomic<std::uint32_t> forks{0};

class MutexLock {
 public:
  explicit MutexLock(pthread_mutex_t& held) : mutex_(held) {
    int error = pthread_mutex_lock(&held);
    if (error == EOWNERDEAD) {  // its process was killed; what it had not noted is written again
      pthread_mutex_consistent(&held);
      error = 0;
    }
    is_held_ = error == 0;
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  ~MutexLock() {
    if (is_held_) {
      pthread_mutex_unlock(&mutex_);
    }
  }
  explicit operator bool() const { return is_held_; }

 private:
  Deferral deferral_;  // ends last
  pthread_mutex_t& mutex_;
  bool is_held_ = false;
};

Memory* find(std::uint64_t inode) {
  Memory* memory = memories;
  while (memory != nullptr && memory->inode != inode) {
    memory = memory->next;
  }
  return memory;
}

int lock_and_write_back(Memory& memory, off_t begin, off_t end) {
  MutexLock lock(*memory.mutex);
  return lock ? write_back(memory, begin, end) : -EDEADLK;
}

// --- The list

void update_filter() {
  std::uint64_t bits = 0;
  for (Memory* memory = memories; memory != nullptr; memory = memory->next) {
    bits |= internal::mapped_bit(memory->inode);
  }
  internal::mapped_inodes = bits;
}

Mapping* add(Memory& memory, char* begin, off_t size, off_t offset) {
  auto* mapping = static_cast<Mapping*>(std::malloc(sizeof(Mapping)));
  if (mapping != nullptr) {
    MutexLock lock(list_mutex);
    *mapping = {.begin = begin, .size = size, .offset = offset, .next = memory.mappings};
    memory.mappings = mapping;
  }
  return mapping;
}

// Removes the file if no memory shows it any more.
void discard_unused(Memory& memory) {
  for (Mapping* mapping = memory.mappings; mapping != nullptr; mapping = mapping->next) {
    if (mapping->begin != nullptr) {
      return;
    }
  }
  {
    MutexLock lock(list_mutex);
    if (memories == &memory) {
      memories = memory.next;
    } else {
      Memory* before = memories;
      while (before->next != &memory) {
        before = before->next;
      }
      before->next = memory.next;
    }
  }
  update_filter();
  discard(memory);
}

// The memory of the file, which is made if there is none. nullptr with errno.
Memory* memory_of(Description& description) {
  if (Memory* known = find(description.shared->inode)) {
    return known;
  }
  Memory* memory = make_memory(description);
  if (memory == nullptr) {
    return nullptr;
  }
  memory->forks = forks;
  {
    MutexLock lock(list_mutex);
    memory->next = memories;
    memories = memory;
  }
  update_filter();
  return memory;
}

// From now on stores are written back, through this open file.
void make_writable(Memory& memory, Description& description) {
  copy_to_base(memory, memory.begin, memory.end);
  description.references.fetch_add(1);
  internal::release(memory.description);
  memory.description = &description;
  memory.is_writable = true;
}

// Reads what no other mapping has of [begin, end) yet. nullptr with errno.
Mapping* cover(Memory& memory, Description& description, off_t begin, off_t end) {
  MutexLock lock(*memory.mutex);
  int error = lock ? extend_views(memory, begin, end) : -EDEADLK;
  bool may_write = (description.shared->flags & O_ACCMODE) == O_RDWR;
  int copies = memory.is_writable || may_write ? 2 : 1;
  if (error == 0) {
    error = each_uncovered(memory, begin, end, [&](off_t from, off_t to) {
      zero(memory, from, to);
      int failed = fill(description, memory.bytes(from), from, to, copies);
      if (failed == 0 && memory.is_writable) {
        copy_to_base(memory, from, to);
      }
      return failed;
    });
  }
  if (error != 0) {
    errno = -error;
    return nullptr;
  }
  if (!memory.is_writable && may_write) {
    make_writable(memory, description);
  }
  Mapping* mapping = add(memory, nullptr, end - begin, begin);
  if (mapping == nullptr) {
    errno = ENOMEM;
  }
  return mapping;
}

// Forgets that the mapping has [begin, end), after it was written back.
void forget_part(Memory& memory, Mapping& mapping, char* begin, char* end) {
  off_t from = mapping.offset + (begin - mapping.begin);
  off_t to = mapping.offset + (end - mapping.begin);
  {
    MutexLock lock(*memory.mutex);
    if (lock) {
      write_back(memory, from, to);
    }
  }
  if (end < mapping.end()) {
    add(memory, end, mapping.end() - end, to);
  }
  {
    MutexLock lock(list_mutex);
    mapping.size = begin - mapping.begin;
  }
  bool is_shared = memory.forks != forks;  // another process may show it, and store there
  each_uncovered(memory, from, to, [&](off_t at, off_t stop) {
    if (is_shared) {
      add(memory, nullptr, stop - at, at);
    } else {
      zero(memory, at, stop);
    }
    return 0;
  });
}

void remove_empty(Memory& memory) {
  MutexLock lock(list_mutex);
  for (Mapping** at = &memory.mappings; *at != nullptr;) {
    Mapping* mapping = *at;
    if (mapping->size == 0) {
      *at = mapping->next;
      std::free(mapping);
    } else {
      at = &mapping->next;
    }
  }
}

// What these addresses showed, they show no longer.
void forget(char* begin, char* end) {
  for (Memory *memory = memories, *next = nullptr; memory != nullptr; memory = next) {
    next = memory->next;
    bool is_changed = false;
    for (Mapping* mapping = memory->mappings; mapping != nullptr; mapping = mapping->next) {
      if (mapping->overlaps(begin, end)) {
        forget_part(
            *memory, *mapping, std::max(begin, mapping->begin), std::min(end, mapping->end()));
        is_changed = true;
      }
    }
    if (is_changed) {
      remove_empty(*memory);
    }
  }
}

void discard_unused() {
  for (Memory *memory = memories, *next = nullptr; memory != nullptr; memory = next) {
    next = memory->next;
    discard_unused(*memory);
  }
}

// --- mmap()

// The access that mmap(2) asks of a descriptor. 0 or an errno value.
int check_access(const Description& description, int protection, int flags) {
  if (description.shared->kind != Kind::kFile) {
    return description.shared->kind == Kind::kPath ? EBADF : ENODEV;
  }
  int access = description.shared->flags & O_ACCMODE;
  bool writes_file = (protection & PROT_WRITE) != 0 && (flags & MAP_TYPE) != MAP_PRIVATE;
  return access == O_WRONLY || (writes_file && access != O_RDWR) ? EACCES : 0;
}

char* map_shared(
    Description& description, void* address, off_t size, int protection, int flags, off_t offset) {
  MutexLock lock(mutex);
  if (!lock) {
    errno = EDEADLK;
    return nullptr;
  }
  Memory* memory = memory_of(description);
  if (memory == nullptr) {
    return nullptr;
  }
  Mapping* mapping = cover(*memory, description, offset, offset + size);
  void* mapped = MAP_FAILED;
  if (mapping != nullptr) {
    mapped = real().mmap(address,
                         static_cast<std::size_t>(size),
                         protection,
                         (flags & ~(MAP_TYPE | MAP_SYNC | MAP_POPULATE)) | MAP_SHARED,
                         memory->memory_file,
                         offset);
  }
  int error = errno;
  auto* begin = mapped != MAP_FAILED ? static_cast<char*>(mapped) : nullptr;
  if (begin != nullptr) {
    forget(begin, begin + size);  // MAP_FIXED
  }
  if (mapping != nullptr) {
    MutexLock list_lock(list_mutex);
    mapping->begin = begin;
    mapping->size = begin != nullptr ? size : 0;
  }
  remove_empty(*memory);
  discard_unused();
  errno = error;
  return begin;
}

char* map_private(
    Description& description, void* address, off_t size, int protection, int flags, off_t offset) {
  constexpr int kBoth = PROT_READ | PROT_WRITE;
  int kind = (flags & ~(MAP_SYNC | MAP_POPULATE)) | MAP_ANONYMOUS | MAP_NORESERVE;
  auto room = static_cast<std::size_t>(size);
  void* mapped = change_memory(address, (flags & MAP_FIXED) != 0 ? room : 0, MAP_FAILED, [&] {
    return real().mmap(address, room, kBoth, kind, -1, 0);
  });
  if (mapped == MAP_FAILED) {
    return nullptr;
  }
  auto* begin = static_cast<char*>(mapped);
  MappedFile file(description);
  int error = file.error() != 0 ? file.error() : fill(description, begin, offset, offset + size, 1);
  if (error == 0) {
    file.show(begin, size, offset);
  }
  if (error == 0 && protection != kBoth && real().mprotect(mapped, room, protection) != 0) {
    error = -errno;
  }
  if (error != 0) {
    real().munmap(mapped, room);
    errno = -error;
    return nullptr;
  }
  return begin;
}

}  // namespace

namespace internal {

BENCHFS_TOGETHER std::atomic<std::uint64_t> mapped_inodes{0};

bool begin_change(const void* address, std::size_t size) {
  if (!has_mapping(address, size)) {
    return false;
  }
  defer_signals();
  bool is_locked = pthread_mutex_lock(&mutex) == 0;
  if (!is_locked) {
    allow_signals();
  }
  return is_locked;
}

void end_change(void* address, std::size_t size, bool is_changed) {
  int before = errno;
  if (is_changed) {
    auto* begin = static_cast<char*>(address);
    forget(begin, begin + page_up(static_cast<off_t>(size)));
    discard_unused();
  }
  pthread_mutex_unlock(&mutex);
  errno = before;
  allow_signals();
}

}  // namespace internal

void MappedFile::take_hold(std::uint64_t inode) {
  defer_signals();
  if (pthread_mutex_lock(&mutex) != 0) {
    error_ = -EDEADLK;
    return allow_signals();
  }
  memory_ = find(inode);
  if (memory_ == nullptr) {
    pthread_mutex_unlock(&mutex);
    allow_signals();
  } else if (pthread_mutex_lock(memory_->mutex) == EOWNERDEAD) {
    pthread_mutex_consistent(memory_->mutex);
  }
}

void MappedFile::let_go() {
  pthread_mutex_unlock(memory_->mutex);
  pthread_mutex_unlock(&mutex);
  allow_signals();
}

int MappedFile::write_back() {
  return memory_ != nullptr ? preload::write_back(*memory_, memory_->begin, memory_->end) : 0;
}

void MappedFile::show(void* buffer, ssize_t size, off_t offset) {
  if (memory_ == nullptr || !memory_->is_writable || size <= 0) {
    return;
  }
  each_touched(*memory_, offset, offset + size, [&](off_t at, off_t stop) {
    const char* now = memory_->bytes(at);
    const char* base = memory_->base(at);
    char* shown = static_cast<char*>(buffer) + (at - offset);
    for (off_t done = 0; done < stop - at; done += kPage) {
      off_t end = std::min(done + kPage, stop - at);
      if (std::memcmp(now + done, base + done, static_cast<std::size_t>(end - done)) != 0) {
        for (off_t i = done; i < end; ++i) {
          shown[i] = now[i] != base[i] ? now[i] : shown[i];
        }
      }
    }
  });
}

void MappedFile::take(const void* buffer, ssize_t size, off_t offset) {
  if (memory_ == nullptr || size <= 0) {
    return;
  }
  each_covered(*memory_, offset, offset + size, [&](off_t at, off_t stop) {
    const char* taken = static_cast<const char*>(buffer) + (at - offset);
    auto length = static_cast<std::size_t>(stop - at);
    std::memcpy(memory_->bytes(at), taken, length);
    if (memory_->is_writable) {
      std::memcpy(memory_->base(at), taken, length);
    }
  });
}

void MappedFile::zero(off_t begin, off_t end) {
  if (memory_ != nullptr) {
    each_covered(
        *memory_, begin, end, [&](off_t at, off_t stop) { preload::zero(*memory_, at, stop); });
  }
}

void* map_open(Counter& counter,
               void* address,
               std::size_t size,
               int protection,
               int flags,
               Description& description,
               off_t offset) {
  int error = check_access(description, protection, flags);
  if (error == 0 && (size == 0 || offset < 0 || offset % kPage != 0)) {
    error = EINVAL;
  }
  if (error == 0 && (offset > kLongest || size > static_cast<std::size_t>(kLongest - offset))) {
    error = EOVERFLOW;
  }
  if (error != 0) {
    errno = error;
    return MAP_FAILED;
  }
  bool is_shared = (flags & MAP_TYPE) != MAP_PRIVATE;
  error = is_shared && (protection & PROT_WRITE) != 0 ? lock_for_mapping(description) : 0;
  if (error != 0) {
    counter.refuse(error);
    return MAP_FAILED;
  }
  int before = errno;
  PositionLock position(description);  // of the handle, which looks for holes
  if (!position) {
    return MAP_FAILED;
  }
  char* memory = (is_shared ? map_shared : map_private)(
      description, address, page_up(static_cast<off_t>(size)), protection, flags, offset);
  if (memory == nullptr) {
    return MAP_FAILED;
  }
  errno = before;
  counter.served();
  return memory;
}

bool has_mapping(const void* address, std::size_t size) {
  if (memories.load(std::memory_order_relaxed) == nullptr) [[likely]] {
    return false;
  }
  auto* begin = static_cast<const char*>(address);
  MutexLock lock(list_mutex);
  for (Memory* memory = lock ? memories.load() : nullptr; memory != nullptr;
       memory = memory->next) {
    for (Mapping* mapping = memory->mappings; mapping != nullptr; mapping = mapping->next) {
      if (mapping->overlaps(begin, begin + size)) {
        return true;
      }
    }
  }
  return false;
}

void write_back_mappings() {
  if (memories.load() == nullptr) {
    return;
  }
  MutexLock lock(mutex);
  for (Memory* memory = lock ? memories.load() : nullptr; memory != nullptr;
       memory = memory->next) {
    lock_and_write_back(*memory, memory->begin, memory->end);
  }
}

void write_back_at_close(const Description& description) {
  std::uint64_t inode = description.shared->inode;
  for (int fd = 0; fd <= internal::highest; ++fd) {
    OpenRef other(fd);
    if (other && other->shared->inode == inode && other->shared->kind == Kind::kFile) {
      return;
    }
  }
  MappedFile file(description);
  file.write_back();
}

void note_fork_of_mappings() {
  forks.fetch_add(1);
}

void hold_mappings(const timespec& until) {
  is_held = pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &until) == 0;
}

void let_mappings_go() {
  if (is_held) {
    is_held = false;
    pthread_mutex_unlock(&mutex);
  }
}

void forget_mapping_lock() {
  is_held = false;
  for (Memory* memory = memories; memory != nullptr; memory = memory->next) {
    leave_handle_to_parent(*memory->description);
  }
  pthread_mutex_t fresh = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  std::memcpy(&mutex, &fresh, sizeof mutex);
  std::memcpy(&list_mutex, &fresh, sizeof list_mutex);
}

#define MMAP_ENTRY(name)                                                                          \
  ENTRY(                                                                                          \
      void*, name, void* address, size_t size, int protection, int flags, int fd, off_t offset) { \
    if ((flags & MAP_ANONYMOUS) != 0 || !is_ours(fd)) [[likely]] {                                \
      return map_other(address, size, protection, flags, fd, offset);                             \
    }                                                                                             \
    COUNTER(name);                                                                                \
    OpenRef open(fd);                                                                             \
    if (!open) {                                                                                  \
      return map_other(address, size, protection, flags, fd, offset);                             \
    }                                                                                             \
    return map_open(counter, address, size, protection, flags, *open, offset);                    \
  }
MMAP_ENTRY(mmap)
MMAP_ENTRY(mmap64)

ENTRY(int, munmap, void* address, size_t size) {
  return change_memory(address, size, -1, [&] { return real().munmap(address, size); });
}

ENTRY(int, msync, void* address, size_t size, int flags) {
  COUNTER(msync);
  if (!has_mapping(address, size)) {
    return real().msync(address, size, flags);
  }
  auto* begin = static_cast<char*>(address);
  char* end = begin + size;
  Errno keep;
  int first_error = 0;
  MutexLock lock(mutex);
  if (!lock) {
    return counter.refuse(EDEADLK);
  }
  for (Memory* memory = memories; memory != nullptr; memory = memory->next) {
    for (Mapping* mapping = memory->mappings; mapping != nullptr; mapping = mapping->next) {
      if (mapping->overlaps(begin, end)) {
        char* from = std::max(begin, mapping->begin);
        char* to = std::min(end, mapping->end());
        int error = lock_and_write_back(*memory,
                                        mapping->offset + (from - mapping->begin),
                                        mapping->offset + (to - mapping->begin));
        first_error = first_error != 0 ? first_error : error;
      }
    }
  }
  counter.served();
  return keep.finish(first_error);
}

ENTRY(void*, mremap, void* address, size_t old_size, size_t new_size, int flags, ...) {
  COUNTER(mremap);
  if (has_mapping(address, old_size)) {
    counter.refuse(ENOMEM);
    return MAP_FAILED;
  }
  va_list arguments;
  va_start(arguments, flags);
  void* target = (flags & MREMAP_FIXED) != 0 ? va_arg(arguments, void*) : nullptr;
  va_end(arguments);
  if (target == nullptr) {
    return real().mremap(address, old_size, new_size, flags);
  }
  return change_memory(target, new_size, MAP_FAILED, [&] {
    return real().mremap(address, old_size, new_size, flags, target);
  });
}

}  // namespace benchfs::preload
