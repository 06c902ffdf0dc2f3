// The memory of mapped files: reading it, and writing back what differs.
#include "preload/mapped_memory.h"

#include <sys/sysinfo.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace benchfs::preload {
namespace {

constexpr off_t kReadBytes = 1 << 20;
constexpr off_t kWithoutHoles = 1 << 20;  // reading it is cheaper than to ask where its holes are
constexpr off_t kUncounted = 64 << 20;    // so much data may be read whatever memory there is
// Equal bytes between two runs of changed ones that are written with them.
constexpr off_t kBridged = 3;

// Where a memory file has what: from 0 on the bytes of the file, then their base and the mutex.
constexpr off_t kBaseAt = off_t{1} << 61;
constexpr off_t kMutexAt = off_t{1} << 62;

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

// Writes what has changed of one page, of which `size` bytes are in the file.
int write_page(MappedMemory& memory, const Handle& handle, off_t offset, off_t size) {
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
    if (bytes == 0) {  // it is shorter by now; a read may leave something beyond its end
      std::memset(memory + (at - begin), 0, static_cast<std::size_t>(size));
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

void unmap_views(const MappedMemory& memory) {
  for (char* view : {memory.bytes_view, memory.base_view}) {
    if (view != nullptr) {
      real().munmap(view, static_cast<std::size_t>(memory.end - memory.begin));
    }
  }
}

void* view_of(int memory_file, off_t size, off_t offset) {
  return real().mmap(nullptr,
                     static_cast<std::size_t>(size),
                     PROT_READ | PROT_WRITE,
                     MAP_SHARED,
                     memory_file,
                     offset);
}

int make_memory_file(MappedMemory& memory) {
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

}  // namespace

MappedMemory* make_memory(Description& description) {
  auto* memory = static_cast<MappedMemory*>(std::calloc(1, sizeof(MappedMemory)));
  if (memory == nullptr) {
    errno = ENOMEM;
    return nullptr;
  }
  memory->inode = description.shared->inode;
  memory->memory_file = -1;
  memory->description = &description;
  description.references.fetch_add(1);
  if (int error = make_memory_file(*memory); error != 0) {
    discard(*memory);
    errno = -error;
    return nullptr;
  }
  return memory;
}

void discard(MappedMemory& memory) {
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

int extend_views(MappedMemory& memory, off_t begin, off_t end) {
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

void zero(MappedMemory& memory, off_t begin, off_t end) {
  zero(memory.bytes(begin), begin, end);
  zero(memory.base(begin), begin, end);
}

void copy_to_base(MappedMemory& memory, off_t begin, off_t end) {
  each_touched(memory, begin, end, [&](off_t from, off_t to) {
    std::memcpy(memory.base(from), memory.bytes(from), static_cast<std::size_t>(to - from));
  });
}

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

int write_back(MappedMemory& memory, off_t begin, off_t end) {
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

}  // namespace benchfs::preload
