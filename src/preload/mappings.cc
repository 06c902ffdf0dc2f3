// The entries of mmap() and its like.
//
// A mapping is anonymous memory with the bytes of the file at the time of mmap(). A shared writable
// one is written back by msync(), munmap(), exec() and the end of the program: those pages that
// have changed since they were read or written last, as far as the file reaches. Writes of others
// are not seen in it.
#include "preload/mappings.h"

#include <pthread.h>

#include <cstdarg>
#include <cstdlib>
#include <cstring>

#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/locks.h"
#include "preload/real.h"
#include "preload/together.h"

namespace benchfs::preload {
namespace {

constexpr std::size_t kPage = 4096;

struct Mapping {
  char* begin = nullptr;
  std::size_t size = 0;  // of whole pages
  off_t offset = 0;
  Description* description = nullptr;  // kept open
  std::uint64_t* hashes = nullptr;     // of the pages as the file has them
  Mapping* next = nullptr;

  [[nodiscard]] char* end() const { return begin + size; }
  [[nodiscard]] std::size_t pages() const { return size / kPage; }
};

BENCHFS_TOGETHER pthread_mutex_t mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
BENCHFS_TOGETHER bool is_held = false;                     // for a fork
BENCHFS_TOGETHER std::atomic<Mapping*> mappings{nullptr};  // changed under the mutex

std::size_t whole_pages(std::size_t size) {
  return (size + kPage - 1) & ~(kPage - 1);
}

std::uint64_t hash_page(const char* page) {
  std::uint64_t hash = 0x9e3779b97f4a7c15;
  for (std::size_t at = 0; at < kPage; at += sizeof hash) {
    std::uint64_t word = 0;
    std::memcpy(&word, page + at, sizeof word);
    hash = (hash ^ word) * 0x9fb21c651e98df25;
    hash ^= hash >> 32;
  }
  return hash;
}

// Reads what the file has of the range; the rest stays zero. 0 or a negative errno value.
int fill(Description& description, char* memory, std::size_t size, off_t offset) {
  Handle handle = handle_of(description);
  if (!handle) {
    return -errno;
  }
  std::size_t done = 0;
  while (done < size) {
    ssize_t bytes =
        handle->pread(handle.file, memory + done, size - done, offset + static_cast<off_t>(done));
    if (bytes <= 0) {
      std::memset(memory + done, 0, size - done);  // a read may leave something beyond its end
      return static_cast<int>(bytes);
    }
    done += static_cast<std::size_t>(bytes);
  }
  return 0;
}

// Writes one page if it has changed; never beyond the end of the file.
int write_page(const Mapping& mapping, const Handle& handle, std::size_t page, off_t file_size) {
  const char* memory = mapping.begin + page * kPage;
  std::uint64_t hash = hash_page(memory);
  off_t offset = mapping.offset + static_cast<off_t>(page * kPage);
  if (hash == mapping.hashes[page] || offset >= file_size) {
    return 0;
  }
  off_t rest = file_size - offset;
  std::size_t size = rest < off_t{kPage} ? static_cast<std::size_t>(rest) : kPage;
  ssize_t written = handle->pwrite(handle.file, memory, size, offset);
  if (written < 0) {
    return static_cast<int>(written);
  }
  if (static_cast<std::size_t>(written) < size) {
    return -ENOSPC;
  }
  mapping.hashes[page] = hash;
  return 0;
}

// The pages of the mapping within [begin, end). 0 or the first error.
int write_back(const Mapping& mapping, const char* begin, const char* end) {
  Handle handle = handle_of(*mapping.description);
  benchfs_stat_t stat;
  if (!handle) {
    return -errno;
  }
  if (int error = handle->fstat(handle.file, &stat); error != 0) {
    return error;
  }
  int first_error = 0;
  for (std::size_t page = 0; page < mapping.pages(); ++page) {
    const char* memory = mapping.begin + page * kPage;
    if (memory < end && memory + kPage > begin) {
      int error = write_page(mapping, handle, page, stat.st_size);
      first_error = first_error != 0 ? first_error : error;
    }
  }
  return first_error;
}

class MappingLock {
 public:
  MappingLock() : is_held_(pthread_mutex_lock(&mutex) == 0) {}
  MappingLock(const MappingLock&) = delete;
  MappingLock& operator=(const MappingLock&) = delete;
  ~MappingLock() {
    if (is_held_) {
      pthread_mutex_unlock(&mutex);
    }
  }

 private:
  Deferral deferral_;  // ends last
  bool is_held_;
};

Mapping* make_mapping(char* begin, std::size_t size, off_t offset, Description& description) {
  auto* mapping = static_cast<Mapping*>(std::calloc(1, sizeof(Mapping)));
  auto* hashes = static_cast<std::uint64_t*>(std::calloc(size / kPage + 1, sizeof(std::uint64_t)));
  if (mapping == nullptr || hashes == nullptr) {
    std::free(mapping);
    std::free(hashes);
    return nullptr;
  }
  mapping->begin = begin;
  mapping->size = size;
  mapping->offset = offset;
  mapping->hashes = hashes;
  mapping->description = &description;
  description.references.fetch_add(1);
  return mapping;
}

void insert(Mapping& mapping) {
  mapping.next = mappings;
  mappings = &mapping;
}

void discard(Mapping& mapping) {
  internal::release(mapping.description);
  std::free(mapping.hashes);
  std::free(&mapping);
}

// What is left of a mapping on one side of a hole.
void keep_part(const Mapping& mapping, char* begin, char* end) {
  if (begin >= end) {
    return;
  }
  std::size_t skipped = static_cast<std::size_t>(begin - mapping.begin);
  Mapping* part = make_mapping(begin,
                               static_cast<std::size_t>(end - begin),
                               mapping.offset + static_cast<off_t>(skipped),
                               *mapping.description);
  if (part != nullptr) {
    std::memcpy(
        part->hashes, mapping.hashes + skipped / kPage, part->pages() * sizeof(std::uint64_t));
    insert(*part);
  }
}

// Writes back what the range has of mappings, and forgets them there.
int unmap(char* begin, char* end) {
  MappingLock lock;
  int first_error = 0;
  Mapping* rest = mappings.exchange(nullptr);
  while (rest != nullptr) {
    Mapping& mapping = *rest;
    rest = mapping.next;
    if (mapping.begin >= end || mapping.end() <= begin) {
      insert(mapping);
      continue;
    }
    int error = write_back(mapping, begin, end);
    first_error = first_error != 0 ? first_error : error;
    keep_part(mapping, mapping.begin, begin);
    keep_part(mapping, end, mapping.end());
    discard(mapping);
  }
  return first_error;
}

// The access that mmap(2) asks of a descriptor. 0 or an errno value.
int check_access(const Description& description, int protection, int flags) {
  if (description.shared->kind != Kind::kFile) {
    return description.shared->kind == Kind::kPath ? EBADF : ENODEV;
  }
  int access = description.shared->flags & O_ACCMODE;
  bool writes_file = (protection & PROT_WRITE) != 0 && (flags & MAP_TYPE) != MAP_PRIVATE;
  return access == O_WRONLY || (writes_file && access != O_RDWR) ? EACCES : 0;
}

}  // namespace

void* map_open(Counter& counter,
               void* address,
               std::size_t size,
               int protection,
               int flags,
               Description& description,
               off_t offset) {
  int error = check_access(description, protection, flags);
  if (error != 0 || offset < 0 || offset % off_t{kPage} != 0) {
    errno = error != 0 ? error : EINVAL;
    return MAP_FAILED;
  }
  bool is_shared = (flags & MAP_TYPE) != MAP_PRIVATE;
  error = is_shared && (protection & PROT_WRITE) != 0 ? lock_for_mapping(description) : 0;
  if (error != 0) {
    counter.refuse(error);
    return MAP_FAILED;
  }
  int kind = (flags & ~(MAP_TYPE | MAP_SYNC | MAP_POPULATE)) | MAP_ANONYMOUS |
             (is_shared ? MAP_SHARED : MAP_PRIVATE);
  void* memory = real().mmap(address, size, PROT_READ | PROT_WRITE, kind, -1, 0);
  if (memory == MAP_FAILED) {
    return MAP_FAILED;
  }
  auto* bytes = static_cast<char*>(memory);
  std::size_t room = whole_pages(size);
  error = -fill(description, bytes, room, offset);
  if (error == 0 && is_shared && (description.shared->flags & O_ACCMODE) == O_RDWR) {
    Mapping* mapping = make_mapping(bytes, room, offset, description);
    error = mapping == nullptr ? ENOMEM : 0;
    if (mapping != nullptr) {
      for (std::size_t page = 0; page < mapping->pages(); ++page) {
        mapping->hashes[page] = hash_page(bytes + page * kPage);
      }
      MappingLock lock;
      insert(*mapping);
    }
  }
  if (error == 0 && protection != (PROT_READ | PROT_WRITE) &&
      real().mprotect(memory, size, protection) != 0) {
    error = errno;
  }
  if (error != 0) {
    real().munmap(memory, size);
    errno = error;
    return MAP_FAILED;
  }
  counter.served();
  return memory;
}

bool has_mapping(const void* address, std::size_t size) {
  auto* begin = static_cast<const char*>(address);
  for (Mapping* mapping = mappings; mapping != nullptr; mapping = mapping->next) {
    if (mapping->begin < begin + size && mapping->end() > begin) {
      return true;
    }
  }
  return false;
}

void write_back_mappings() {
  if (mappings.load() == nullptr) {
    return;
  }
  MappingLock lock;
  for (Mapping* mapping = mappings; mapping != nullptr; mapping = mapping->next) {
    write_back(*mapping, mapping->begin, mapping->end());
  }
}

void forget_memory(void* address, std::size_t size) {
  if (mappings.load(std::memory_order_relaxed) == nullptr) [[likely]] {
    return;
  }
  auto* begin = static_cast<char*>(address);
  int before = errno;
  unmap(begin, begin + whole_pages(size));
  errno = before;
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
  for (Mapping* mapping = mappings; mapping != nullptr; mapping = mapping->next) {
    leave_handle_to_parent(*mapping->description);
  }
  pthread_mutex_t fresh = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  std::memcpy(&mutex, &fresh, sizeof mutex);
}

#define MMAP_ENTRY(name)                                                                          \
  ENTRY(                                                                                          \
      void*, name, void* address, size_t size, int protection, int flags, int fd, off_t offset) { \
    if ((flags & MAP_ANONYMOUS) != 0 || !is_ours(fd)) [[likely]] {                                \
      return real().mmap(address, size, protection, flags, fd, offset);                           \
    }                                                                                             \
    COUNTER(name);                                                                                \
    OpenRef open(fd);                                                                             \
    if (!open) {                                                                                  \
      return real().mmap(address, size, protection, flags, fd, offset);                           \
    }                                                                                             \
    return map_open(counter, address, size, protection, flags, *open, offset);                    \
  }
MMAP_ENTRY(mmap)
MMAP_ENTRY(mmap64)

ENTRY(int, munmap, void* address, size_t size) {
  forget_memory(address, size);
  return real().munmap(address, size);
}

ENTRY(int, msync, void* address, size_t size, int flags) {
  COUNTER(msync);
  if (mappings.load(std::memory_order_relaxed) == nullptr) {
    return real().msync(address, size, flags);
  }
  auto* begin = static_cast<char*>(address);
  Errno keep;
  int first_error = 0;
  bool is_found = false;
  {
    MappingLock lock;
    for (Mapping* mapping = mappings; mapping != nullptr; mapping = mapping->next) {
      if (mapping->begin < begin + size && mapping->end() > begin) {
        is_found = true;
        int error = write_back(*mapping, begin, begin + size);
        first_error = first_error != 0 ? first_error : error;
      }
    }
  }
  if (!is_found) {
    return real().msync(address, size, flags);
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
  return target != nullptr ? real().mremap(address, old_size, new_size, flags, target)
                           : real().mremap(address, old_size, new_size, flags);
}

}  // namespace benchfs::preload
