// The entries of opendir() and its like.
//
// A stream of ours is a list of the directory that is taken when it is first read, and again after
// rewinddir(). So a position (telldir) stays valid whatever happens to the directory. glibc's
// streams begin with a descriptor; ours with a number that is none.
#include <cstdlib>
#include <cstring>

#include "preload/attributes.h"
#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/opening.h"
#include "preload/places.h"
#include "preload/real.h"
#include "preload/settings.h"

namespace benchfs::preload {
namespace {

constexpr std::uint64_t kMagic = 0xbf5d1f5dbf5d1f5d;

struct Stream {
  std::uint64_t magic = kMagic;
  int fd = -1;
  bool is_read = false;
  int error = 0;            // why it could not be read
  char* entries = nullptr;  // dirent64 structures, one after the other
  std::size_t bytes = 0;
  std::size_t room = 0;
  std::size_t at = 0;
  long index = 0;
};

Stream* ours(DIR* directory) {
  auto* stream = reinterpret_cast<Stream*>(directory);
  return stream != nullptr && stream->magic == kMagic ? stream : nullptr;
}

bool add(Stream& stream, const char* name, std::uint32_t type, std::uint64_t inode) {
  std::size_t name_bytes = std::strlen(name) + 1;
  std::size_t size = (offsetof(dirent64, d_name) + name_bytes + 7) & ~std::size_t{7};
  if (stream.bytes + sizeof(dirent64) > stream.room) {
    std::size_t room = stream.room != 0 ? 2 * stream.room : 4096;
    auto* more = static_cast<char*>(std::realloc(stream.entries, room));
    if (more == nullptr) {
      stream.error = ENOMEM;
      return false;
    }
    stream.entries = more;
    stream.room = room;
  }
  auto* entry = reinterpret_cast<dirent64*>(stream.entries + stream.bytes);
  stream.bytes += size;
  entry->d_ino = inode;
  entry->d_off = ++stream.index;
  entry->d_reclen = static_cast<unsigned short>(size);
  entry->d_type = static_cast<unsigned char>(IFTODT(type));
  std::memcpy(entry->d_name, name, name_bytes);
  return true;
}

int add_entry(void* stream, const char* name, std::uint32_t type, std::uint64_t inode) {
  return add(*static_cast<Stream*>(stream), name, type, inode) ? 0 : 1;
}

// The inode of the directory above: outside of the file system above the root.
std::uint64_t parent_of(const Handle& directory, std::uint64_t inode) {
  benchfs_stat_t stat;
  if (directory->fstatat(directory.file, "..", &stat, 0) == 0 && stat.st_ino != inode) {
    return stat.st_ino;
  }
  char text[PATH_MAX];
  struct stat above{};
  std::strcpy(text, settings().prefix);
  *std::strrchr(text, '/') = '\0';
  real().stat(text[0] != '\0' ? text : "/", &above);
  return above.st_ino != 0 ? above.st_ino : 1;
}

int read_entries(Stream& stream) {
  OpenRef open(stream.fd);
  if (!open) {
    return EBADF;
  }
  Handle handle = handle_of(*open);
  if (!handle) {
    return errno;
  }
  stream.bytes = stream.at = 0;
  stream.index = 0;
  stream.error = 0;
  add(stream, ".", S_IFDIR, open->shared->inode);
  add(stream, "..", S_IFDIR, parent_of(handle, open->shared->inode));
  ssize_t count = handle->freaddir(handle.file, add_entry, &stream);
  stream.index = 0;
  stream.is_read = count >= 0 && stream.error == 0;
  return count < 0 ? static_cast<int>(-count) : stream.error;
}

dirent64* next_entry(Stream& stream) {
  int before = errno;
  if (!stream.is_read) {
    if (int error = read_entries(stream); error != 0) {
      errno = error;
      return nullptr;
    }
  }
  errno = before;
  if (stream.at >= stream.bytes) {
    return nullptr;
  }
  auto* entry = reinterpret_cast<dirent64*>(stream.entries + stream.at);
  stream.at += entry->d_reclen;
  ++stream.index;
  return entry;
}

DIR* make_stream(int fd) {
  auto* stream = static_cast<Stream*>(std::calloc(1, sizeof(Stream)));
  if (stream == nullptr) {
    errno = ENOMEM;
    return nullptr;
  }
  stream->magic = kMagic;
  stream->fd = fd;
  return reinterpret_cast<DIR*>(stream);
}

DIR* open_stream(Counter& counter, int directory, const char* path) {
  int fd = open_any(counter, directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK, 0);
  if (fd < 0) {
    return nullptr;
  }
  DIR* stream = is_ours(fd) ? make_stream(fd) : real().fdopendir(fd);
  if (stream == nullptr) {
    int before = errno;
    close_any(fd);
    errno = before;
  }
  return stream;
}

void rewind_to(Stream& stream, long index) {
  stream.at = 0;
  stream.index = 0;
  while (stream.index < index && next_entry(stream) != nullptr) {
  }
}

template <typename Filter, typename Compare>
int scan(Counter& counter,
         int directory,
         const char* path,
         dirent*** list,
         Filter filter,
         Compare compare) {
  DIR* opened = open_stream(counter, directory, path);
  if (opened == nullptr) {
    return -1;
  }
  dirent** found = nullptr;
  std::size_t count = 0;
  std::size_t room = 0;
  bool is_full = false;
  errno = 0;
  while (dirent* entry = readdir(opened)) {
    if (filter != nullptr && filter(entry) == 0) {
      continue;
    }
    if (count == room) {
      room = room != 0 ? 2 * room : 64;
      auto** more = static_cast<dirent**>(std::realloc(found, room * sizeof(dirent*)));
      if (more == nullptr) {
        is_full = true;
        break;
      }
      found = more;
    }
    auto* copy = static_cast<dirent*>(std::malloc(entry->d_reclen));
    if (copy == nullptr) {
      is_full = true;
      break;
    }
    std::memcpy(copy, entry, entry->d_reclen);
    found[count++] = copy;
    errno = 0;
  }
  int error = is_full ? ENOMEM : errno;
  closedir(opened);
  if (error != 0) {
    while (count > 0) {
      std::free(found[--count]);
    }
    std::free(found);
    return fail_with(error);
  }
  if (compare != nullptr && count > 1) {
    std::qsort(found,
               count,
               sizeof(dirent*),
               reinterpret_cast<int (*)(const void*, const void*)>(compare));
  }
  *list = found;
  return static_cast<int>(count);
}

}  // namespace

ENTRY(DIR*, opendir, const char* path) {
  COUNTER(opendir);
  return open_stream(counter, AT_FDCWD, path);
}
ENTRY(DIR*, fdopendir, int fd) {
  COUNTER(fdopendir);
  OpenRef open(fd);
  if (!open) {
    return real().fdopendir(fd);
  }
  counter.served();
  if (!open->is_directory()) {
    errno = open->shared->kind == Kind::kPath ? EBADF : ENOTDIR;
    return nullptr;
  }
  return make_stream(fd);
}
ENTRY(dirent64*, readdir64, DIR* directory) {
  Stream* stream = ours(directory);
  // The structures are the same.
  return stream != nullptr ? next_entry(*stream)
                           : reinterpret_cast<dirent64*>(real().readdir(directory));
}
ENTRY(dirent*, readdir, DIR* directory) {
  return reinterpret_cast<dirent*>(entry_readdir64(directory));
}
ENTRY(int, readdir64_r, DIR* directory, dirent64* entry, dirent64** result) {
  Stream* stream = ours(directory);
  if (stream == nullptr) {
    return real().readdir_r(
        directory, reinterpret_cast<dirent*>(entry), reinterpret_cast<dirent**>(result));
  }
  int before = errno;
  errno = 0;
  dirent64* next = next_entry(*stream);
  int error = next == nullptr ? errno : 0;
  errno = before;
  *result = nullptr;
  if (next != nullptr) {
    std::memcpy(entry, next, next->d_reclen);
    *result = entry;
  }
  return error;
}
ENTRY(int, readdir_r, DIR* directory, dirent* entry, dirent** result) {
  return entry_readdir64_r(
      directory, reinterpret_cast<dirent64*>(entry), reinterpret_cast<dirent64**>(result));
}
ENTRY(void, rewinddir, DIR* directory) {
  if (Stream* stream = ours(directory)) {
    stream->is_read = false;
    stream->at = 0;
    stream->index = 0;
  } else {
    real().rewinddir(directory);
  }
}
ENTRY(long, telldir, DIR* directory) {
  Stream* stream = ours(directory);
  return stream != nullptr ? stream->index : real().telldir(directory);
}
ENTRY(void, seekdir, DIR* directory, long position) {
  if (Stream* stream = ours(directory)) {
    rewind_to(*stream, position);
  } else {
    real().seekdir(directory, position);
  }
}
ENTRY(int, dirfd, DIR* directory) {
  Stream* stream = ours(directory);
  return stream != nullptr ? stream->fd : real().dirfd(directory);
}
ENTRY(int, closedir, DIR* directory) {
  Stream* stream = ours(directory);
  if (stream == nullptr) {
    return real().closedir(directory);
  }
  int result = close_any(stream->fd);
  stream->magic = 0;
  std::free(stream->entries);
  std::free(stream);
  return result;
}

#define SCANDIR_ENTRIES(name, name_at)                            \
  ENTRY(int,                                                      \
        name,                                                     \
        const char* path,                                         \
        dirent*** list,                                           \
        int (*filter)(const dirent*),                             \
        int (*compare)(const dirent**, const dirent**)) {         \
    COUNTER(name);                                                \
    return scan(counter, AT_FDCWD, path, list, filter, compare);  \
  }                                                               \
  ENTRY(int,                                                      \
        name_at,                                                  \
        int directory,                                            \
        const char* path,                                         \
        dirent*** list,                                           \
        int (*filter)(const dirent*),                             \
        int (*compare)(const dirent**, const dirent**)) {         \
    COUNTER(name_at);                                             \
    return scan(counter, directory, path, list, filter, compare); \
  }
SCANDIR_ENTRIES(scandir, scandirat)
SCANDIR_ENTRIES(scandir64, scandirat64)

}  // namespace benchfs::preload
