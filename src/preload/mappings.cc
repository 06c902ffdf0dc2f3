// The entries of mmap() and its like.
//
// A private mapping is anonymous memory with the bytes of the file at the time of mmap(). The
// shared ones of a file are all mappings of one memory file (memfd) in which each byte is where the
// file has it, so they see each other at once. Beside the bytes it keeps a base: what the file had
// when this process last read or wrote it. What differs is what the program stored. It is written
// back by msync(), munmap(), fsync(), close() of the last descriptor, exec() and the end of the
// program, as far as the file reaches; read() of this process sees it before that, and write()
// changes both. Writes of other processes are not seen in a mapping.
#include "preload/mappings.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdarg>
#include <cstdlib>
#include <cstring>

#include "preload/locks.h"
#include "preload/real.h"
#include "preload/together.h"

namespace benchfs::preload {

namespace {

constexpr off_t kPage = 4096;
constexpr off_t kReadBytes = 1 << 20;
constexpr off_t kWithoutHoles = 1 << 20;  // reading it is cheaper than to ask where its holes are
constexpr off_t kUncounted = 64 << 20;    // so much data may be read whatever memory there is
// Equal bytes between two runs of changed ones that are written with them.
constexpr off_t kBridged = 3;

// Where a memory file has what: from 0 on the bytes of the file, then their base and the mutex.
constexpr off_t kLongest = off_t{1} << 60;
constexpr off_t kBaseAt = off_t{1} << 61;
constexpr off_t kMutexAt = off_t{1} << 62;

// A range of the file that its memory has. Without `begin` no memory of this process shows it.
struct Mapping {
  char* begin = nullptr;
  off_t size = 0;  // of whole pages
  off_t offset = 0;
  Mapping* next = nullptr;

  [[nodiscard]] char* end() const { return begin + size; }
  [[nodiscard]] off_t offset_end() const { return offset + size; }
  [[nodiscard]] bool overlaps(const char* from, const char* to) const {
    return begin != nullptr && begin < to && end() > from;
  }
};

}  // namespace

struct MappedMemory {
  std::uint64_t inode = 0;
  int memory_file = -1;
  pthread_mutex_t* mutex = nullptr;    // of the bytes and the base, which children of fork() share
  Description* description = nullptr;  // kept open; may write if `is_writable`
  bool is_writable = false;            // else there is no base
  std::uint32_t forks = 0;             // when it was made
  off_t begin = 0;                     // what the views of the library show
  off_t end = 0;
  char* bytes_view = nullptr;
  char* base_view = nullptr;
  Mapping* mappings = nullptr;
  MappedMemory* next = nullptr;

  [[nodiscard]] char* bytes(off_t offset) const { return bytes_view + (offset - begin); }
  [[nodiscard]] char* base(off_t offset) const { return base_view + (offset - begin); }
};

namespace {

using Memory = MappedMemory;

// Held as long as bytes move. The list changes under both, so that others can ask whether memory is
// mapped while a thread waits for a server.
BENCHFS_TOGETHER pthread_mutex_t mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
BENCHFS_TOGETHER pthread_mutex_t list_mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
BENCHFS_TOGETHER std::atomic<Memory*> memories{nullptr};
BENCHFS_TOGETHER std::atomic<std::uint32_t> forks{0};

class MutexLock {
 public:
  explicit MutexLock(pthread_mutex_t& held) : mutex_(held) {
    int error = pthread_mutex_lock(&held);
    if (error ==
        EOWNERDEAD) {  // a process was killed: what it had not noted differs, and is written
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
  pthread_mutex_t& mutex_;
  bool is_held_ = false;
};

off_t page_down(off_t offset) {
  return offset & ~(kPage - 1);
}

off_t page_up(off_t offset) {
  return page_down(offset + kPage - 1);
}

Memory* find(std::uint64_t inode) {
  Memory* memory = memories;
  while (memory != nullptr && memory->inode != inode) {
    memory = memory->next;
  }
  return memory;
}

// --- What the memory has of a file

// Calls for what there is in [begin, end); the rest has never been touched.
template <typename Call>
void each_touched(const Memory& memory, off_t begin, off_t end, Call call) {
  begin = std::max(begin, memory.begin);
  end = std::min(end, memory.end);
  while (begin < end) {
    off_t from = real().lseek(memory.memory_file, begin, SEEK_DATA);
    if (from < 0 || from >= end) {
      return;
    }
    off_t to = std::min(real().lseek(memory.memory_file, from, SEEK_HOLE), end);
    call(from, to);
    begin = to;
  }
}

// Calls for the parts of [begin, end) that mappings cover; for some more than once.
template <typename Call>
void each_covered(const Memory& memory, off_t begin, off_t end, Call call) {
  for (Mapping* mapping = memory.mappings; mapping != nullptr; mapping = mapping->next) {
    off_t from = std::max(begin, mapping->offset);
    off_t to = std::min(end, mapping->offset_end());
    if (from < to) {
      call(from, to);
    }
  }
}

// Calls for the parts of [begin, end) that no mapping covers. 0 or the first error of a call.
template <typename Call>
int each_uncovered(const Memory& memory, off_t begin, off_t end, Call call) {
  while (begin < end) {
    off_t covered_to = begin;
    off_t next = end;
    each_covered(memory, begin, end, [&](off_t from, off_t to) {
      covered_to = from == begin ? std::max(covered_to, to) : covered_to;
      next = std::min(next, from);
    });
    if (covered_to == begin) {
      if (int error = call(begin, next); error != 0) {
        return error;
      }
    }
    begin = std::max(covered_to, next);
  }
  return 0;
}

// Zeroes [begin, end) of a view, and gives the memory of whole pages back.
void zero(char* view, off_t begin, off_t end) {
  off_t first = std::min(page_up(begin), end);
  off_t last = std::max(page_down(end), first);
  std::memset(view, 0, static_cast<std::size_t>(first - begin));
  if (first < last) {
    madvise(view + (first - begin), static_cast<std::size_t>(last - first), MADV_REMOVE);
  }
  std::memset(view + (last - begin), 0, static_cast<std::size_t>(end - last));
}

void zero(Memory& memory, off_t begin, off_t end) {
  zero(memory.bytes(begin), begin, end);
  zero(memory.base(begin), begin, end);
}

// --- Writing back

// Writes what has changed of one page, of which `size` bytes are in the file.
int write_page(Memory& memory, const Handle& handle, off_t offset, off_t size) {
  char now[kPage];  // threads of the program go on storing
  std::memcpy(now, memory.bytes(offset), sizeof now);
  char* base = memory.base(offset);
  for (off_t from = 0; from < size; ++from) {
    if (now[from] == base[from]) {
      continue;
    }
    off_t to = from + 1;
    for (off_t at = to; at < size && at - to <= kBridged; ++at) {
      to = now[at] != base[at] ? at + 1 : to;
    }
    auto length = static_cast<std::size_t>(to - from);
    ssize_t written = handle->pwrite(handle.file, now + from, length, offset + from);
    if (written < 0) {
      return static_cast<int>(written);
    }
    std::memcpy(base + from, now + from, static_cast<std::size_t>(written));
    if (written < to - from) {
      return -ENOSPC;
    }
    from = to;
  }
  return 0;
}

// The handle, for writes at offsets, and the size of the file.
int prepare_writing(Description& description, Handle& handle, off_t& file_size) {
  handle = handle_of(description);
  benchfs_stat_t stat;
  if (!handle) {
    return -errno;
  }
  if (description.is_append) {  // its next write() changes it again, after us
    handle->set_append(handle.file, 0);
    description.is_append = false;
  }
  int error = handle->fstat(handle.file, &stat);
  file_size = error == 0 ? stat.st_size : 0;
  return error;
}

// What has changed in the pages of [begin, end). 0 or the first error. The caller has the mutex of
// the bytes.
int write_back(Memory& memory, off_t begin, off_t end) {
  if (!memory.is_writable) {
    return 0;
  }
  Handle handle;
  off_t file_size = 0;
  int first_error = 0;
  each_touched(memory, page_down(begin), page_up(end), [&](off_t from, off_t to) {
    for (; from < to; from += kPage) {
      if (std::memcmp(memory.bytes(from), memory.base(from), kPage) == 0) {
        continue;
      }
      int error = handle ? 0 : prepare_writing(*memory.description, handle, file_size);
      if (error == 0 && from < file_size) {
        error = write_page(memory, handle, from, std::min(kPage, file_size - from));
      }
      first_error = first_error != 0 ? first_error : error;
    }
  });
  return first_error;
}

int lock_and_write_back(Memory& memory, off_t begin, off_t end) {
  MutexLock lock(*memory.mutex);
  return lock ? write_back(memory, begin, end) : -EDEADLK;
}

// --- Reading

// Calls for the parts of [begin, end) where the file has data.
template <typename Call>
int each_data(const Handle& handle, off_t begin, off_t end, Call call) {
  while (begin < end) {
    off_t from = handle->lseek(handle.file, begin, SEEK_DATA);
    if (from == -ENXIO || from >= end) {
      return 0;
    }
    off_t to = from < 0 ? from : handle->lseek(handle.file, from, SEEK_HOLE);
    if (to < 0) {
      return static_cast<int>(to);
    }
    to = std::min(to, end);
    if (int error = call(from, to); error != 0) {
      return error;
    }
    begin = to;
  }
  return 0;
}

// Reads [begin, end) to the memory, of which the first byte is that of `begin`. It is zero before.
int read_range(const Handle& handle, char* memory, off_t begin, off_t end) {
  for (off_t at = begin; at < end;) {
    off_t size = std::min(kReadBytes, end - at);
    ssize_t bytes =
        handle->pread(handle.file, memory + (at - begin), static_cast<std::size_t>(size), at);
    if (bytes < 0) {
      return static_cast<int>(bytes);
    }
    if (bytes == 0) {
      return 0;
    }
    at += bytes;
  }
  return 0;
}

// Half of the memory of the node.
off_t most_data() {
  struct sysinfo info{};
  sysinfo(&info);
  return static_cast<off_t>(std::uint64_t{info.totalram} * info.mem_unit / 2);
}

// Reads what the file has in [begin, end) to memory that is zero. -ENOMEM when that is too much to
// have it in so many copies; holes do not count.
int fill(Description& description, char* memory, off_t begin, off_t end, int copies) {
  Handle handle = handle_of(description);
  benchfs_stat_t stat;
  if (!handle) {
    return -errno;
  }
  if (int error = handle->fstat(handle.file, &stat); error != 0) {
    return error;
  }
  end = std::min<off_t>(end, stat.st_size);
  if (end - begin <= kWithoutHoles) {
    return begin < end ? read_range(handle, memory, begin, end) : 0;
  }
  if (end - begin > kUncounted) {
    off_t room = most_data() / copies;
    int error = each_data(handle, begin, end, [&](off_t from, off_t to) {
      room -= to - from;
      return room < 0 ? -ENOMEM : 0;
    });
    if (error != 0) {
      return error;
    }
  }
  return each_data(handle, begin, end, [&](off_t from, off_t to) {
    return read_range(handle, memory + (from - begin), from, to);
  });
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

void unmap_views(const Memory& memory) {
  for (char* view : {memory.bytes_view, memory.base_view}) {
    if (view != nullptr) {
      real().munmap(view, static_cast<std::size_t>(memory.end - memory.begin));
    }
  }
}

void discard(Memory& memory) {
  while (Mapping* mapping = memory.mappings) {
    memory.mappings = mapping->next;
    std::free(mapping);
  }
  unmap_views(memory);
  if (memory.mutex != nullptr) {
    real().munmap(memory.mutex, kPage);
  }
  if (memory.memory_file >= 0) {
    close_hidden(memory.memory_file);
  }
  if (memory.description != nullptr) {
    internal::release(memory.description);
  }
  std::free(&memory);
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

void* view_of(int memory_file, off_t size, off_t offset) {
  return real().mmap(nullptr,
                     static_cast<std::size_t>(size),
                     PROT_READ | PROT_WRITE,
                     MAP_SHARED,
                     memory_file,
                     offset);
}

// Makes the views show [begin, end), too.
int extend_views(Memory& memory, off_t begin, off_t end) {
  if (memory.bytes_view != nullptr) {
    begin = std::min(begin, memory.begin);
    end = std::max(end, memory.end);
    if (begin == memory.begin && end == memory.end) {
      return 0;
    }
  }
  off_t size = end - begin;
  void* bytes = view_of(memory.memory_file, size, begin);
  void* base =
      bytes != MAP_FAILED ? view_of(memory.memory_file, size, kBaseAt + begin) : MAP_FAILED;
  if (base == MAP_FAILED) {
    int error = errno;
    if (bytes != MAP_FAILED) {
      real().munmap(bytes, static_cast<std::size_t>(size));
    }
    return -error;
  }
  unmap_views(memory);
  memory.begin = begin;
  memory.end = end;
  memory.bytes_view = static_cast<char*>(bytes);
  memory.base_view = static_cast<char*>(base);
  return 0;
}

int make_memory_file(Memory& memory) {
  int fd = memfd_create("benchfs-map", MFD_CLOEXEC);
  if (fd < 0 || !make_long(fd, kMutexAt + kPage)) {
    int error = errno;
    if (fd >= 0) {
      close_own(fd);
    }
    return -error;
  }
  memory.memory_file = hide(fd);
  if (memory.memory_file < 0) {
    return -EMFILE;
  }
  void* page = view_of(memory.memory_file, kPage, kMutexAt);
  if (page == MAP_FAILED) {
    return -errno;
  }
  memory.mutex = static_cast<pthread_mutex_t*>(page);
  init_shared_mutex(*memory.mutex);
  return 0;
}

// The memory of the file, which is made if there is none. nullptr with errno.
Memory* memory_of(Description& description) {
  if (Memory* known = find(description.shared->inode)) {
    return known;
  }
  auto* memory = static_cast<Memory*>(std::calloc(1, sizeof(Memory)));
  if (memory == nullptr) {
    errno = ENOMEM;
    return nullptr;
  }
  memory->inode = description.shared->inode;
  memory->memory_file = -1;
  memory->forks = forks;
  memory->description = &description;
  description.references.fetch_add(1);
  if (int error = make_memory_file(*memory); error != 0) {
    discard(*memory);
    errno = -error;
    return nullptr;
  }
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
  each_touched(memory, memory.begin, memory.end, [&](off_t from, off_t to) {
    std::memcpy(memory.base(from), memory.bytes(from), static_cast<std::size_t>(to - from));
  });
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
        each_touched(memory, from, to, [&](off_t at, off_t stop) {
          std::memcpy(memory.base(at), memory.bytes(at), static_cast<std::size_t>(stop - at));
        });
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
  return has_mapping(address, size) && pthread_mutex_lock(&mutex) == 0;
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
}

}  // namespace internal

void MappedFile::take_hold(std::uint64_t inode) {
  if (pthread_mutex_lock(&mutex) != 0) {
    error_ = -EDEADLK;
    return;
  }
  memory_ = find(inode);
  if (memory_ == nullptr) {
    pthread_mutex_unlock(&mutex);
  } else if (pthread_mutex_lock(memory_->mutex) == EOWNERDEAD) {
    pthread_mutex_consistent(memory_->mutex);
  }
}

void MappedFile::let_go() {
  pthread_mutex_unlock(memory_->mutex);
  pthread_mutex_unlock(&mutex);
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

void forget_mapping_lock() {
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
