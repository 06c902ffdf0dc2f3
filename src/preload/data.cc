// The entries that move data and positions.
#include "preload/data.h"

#include <cstdlib>
#include <cstring>
#include <limits>

#include "preload/addresses.h"
#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/file_size_limit.h"
#include "preload/mappings.h"
#include "preload/places.h"
#include "preload/real.h"

namespace benchfs::preload {
namespace {

constexpr std::size_t kCopyBytes = 1 << 20;
constexpr off_t kEnd = std::numeric_limits<off_t>::max();

// A write goes where the flags of the open file say, which another process may have changed.
void sync_append(Description& description, const Handle& handle) {
  bool is_append = (description.shared->flags & O_APPEND) != 0;
  if (is_append != description.is_append) [[unlikely]] {
    handle->set_append(handle.file, is_append ? 1 : 0);
    description.is_append = is_append;
  }
}

// What a read into no memory answers: nothing is wrong with it where there is nothing to read.
ssize_t read_into_nothing(const Handle& handle, const void* buffer, off_t offset) {
  char byte = 0;
  ssize_t bytes = handle->pread(handle.file, &byte, 1, offset);
  return bytes > 0 || (bytes == 0 && is_beyond_addresses(buffer)) ? -EFAULT : bytes;
}

ssize_t write_from_nothing(const Description& description) {
  return (description.shared->flags & O_ACCMODE) == O_RDONLY ? -EBADF : -EFAULT;
}

// Writes behind the end, which the handle's position is behind then.
ssize_t append(const Handle& handle, MappedFile& mapped, const void* buffer, std::size_t size) {
  ssize_t bytes = handle->write(handle.file, buffer, size);
  if (mapped && bytes > 0) [[unlikely]] {
    mapped.take(buffer, bytes, handle->lseek(handle.file, 0, SEEK_CUR) - bytes);
  }
  return bytes;
}

}  // namespace

ssize_t read_at(Description& description, void* buffer, std::size_t size, off_t offset) {
  Handle handle = handle_of(description);
  if (size > 0 && !is_address(buffer) && handle) [[unlikely]] {
    return read_into_nothing(handle, buffer, offset);
  }
  MappedFile mapped(description);
  if (!handle || mapped.error() != 0) [[unlikely]] {
    return handle ? mapped.error() : -errno;
  }
  ssize_t bytes = handle->pread(handle.file, buffer, size, offset);
  if (mapped) [[unlikely]] {
    mapped.show(buffer, bytes, offset);
  }
  return bytes;
}

ssize_t write_at(Description& description, const void* buffer, std::size_t size, off_t offset) {
  Handle handle = handle_of(description);
  if (!handle) {
    return -errno;
  }
  if (size > 0 && !is_address(buffer)) [[unlikely]] {
    return write_from_nothing(description);
  }
  MappedFile mapped(description);
  if (mapped.error() != 0) [[unlikely]] {
    return mapped.error();
  }
  sync_append(description, handle);
  if (!mapped) [[likely]] {
    return handle->pwrite(handle.file, buffer, size, offset);
  }
  if (description.is_append) {  // pwrite() does not say where the bytes are
    return append(handle, mapped, buffer, size);
  }
  ssize_t bytes = handle->pwrite(handle.file, buffer, size, offset);
  mapped.take(buffer, bytes, offset);
  return bytes;
}

int sync_file(Description& description) {
  Handle handle = handle_of(description);
  if (!handle) {
    return -errno;
  }
  int stored = MappedFile(description).write_back();
  int error = handle->fsync(handle.file);
  return error != 0 ? error : stored;
}

namespace {

off_t size_of(Description& description) {
  benchfs_stat_t stat;
  Handle handle = handle_of(description);
  if (!handle) {
    return -errno;
  }
  int error = handle->fstat(handle.file, &stat);
  return error != 0 ? error : stat.st_size;
}

// Takes from a write what is beyond the limit of file sizes. False when nothing is left.
bool cut_to_limit(Description& description, off_t offset, std::size_t& size) {
  rlim_t limit = file_size_limit();
  bool is_writable = (description.shared->flags & O_ACCMODE) != O_RDONLY;
  if (limit == RLIM_INFINITY || size == 0 || offset < 0 || !is_writable) {
    return true;
  }
  auto begin = static_cast<rlim_t>(offset);
  if (begin >= limit) {
    return false;
  }
  size = size < limit - begin ? size : limit - begin;
  return true;
}

// Whether a file may become this long. Called before it does; `is_now` gives its size.
template <typename Size>
bool may_become(off_t size, Size is_now) {
  rlim_t limit = file_size_limit();
  return limit == RLIM_INFINITY || size < 0 || static_cast<rlim_t>(size) <= limit ||
         size <= is_now();
}

ssize_t write_limited(Description& description,
                      const void* buffer,
                      std::size_t size,
                      off_t offset) {
  if (has_file_size_limit()) [[unlikely]] {
    bool appends = (description.shared->flags & O_APPEND) != 0;
    if (!cut_to_limit(description, appends ? size_of(description) : offset, size)) {
      return kBeyondLimit;
    }
  }
  return write_at(description, buffer, size, offset);
}

// With the position, which the caller holds.
ssize_t read_here(Description& description, void* buffer, std::size_t size) {
  ssize_t bytes = read_at(description, buffer, size, description.shared->position);
  if (bytes > 0) {
    description.shared->position += bytes;
  }
  return bytes;
}

ssize_t write_here(Description& description, const void* buffer, std::size_t size) {
  Handle handle = handle_of(description);
  if (!handle) {
    return -errno;
  }
  if (size > 0 && !is_address(buffer)) [[unlikely]] {
    return write_from_nothing(description);
  }
  MappedFile mapped(description);
  if (mapped.error() != 0) [[unlikely]] {
    return mapped.error();
  }
  sync_append(description, handle);
  if (has_file_size_limit()) [[unlikely]] {
    off_t begin =
        description.is_append ? size_of(description) : description.shared->position.load();
    if (!cut_to_limit(description, begin, size)) {
      return kBeyondLimit;
    }
  }
  if (!description.is_append) {
    off_t offset = description.shared->position;
    ssize_t bytes = handle->pwrite(handle.file, buffer, size, offset);
    if (mapped) [[unlikely]] {
      mapped.take(buffer, bytes, offset);
    }
    if (bytes > 0) {
      description.shared->position += bytes;
    }
    return bytes;
  }
  ssize_t bytes = append(handle, mapped, buffer, size);
  if (bytes > 0) {
    description.shared->position = handle->lseek(handle.file, 0, SEEK_CUR);
  }
  return bytes;
}

template <typename Transfer>
ssize_t at_position(Description& description, Transfer transfer) {
  PositionLock lock(description);
  return lock ? transfer() : -errno;
}

// The buffers of a vector one after the other, until one is not filled or emptied.
template <typename One>
ssize_t each_buffer(const iovec* vector, int count, One one) {
  if (count < 0 || count > IOV_MAX) {
    return -EINVAL;
  }
  if (count > 0 && !is_address(vector)) {
    return -EFAULT;
  }
  for (int i = 0; i < count; ++i) {
    if (vector[i].iov_len > 0 && is_beyond_addresses(vector[i].iov_base)) {
      return one(vector[i].iov_base, vector[i].iov_len, 0);
    }
  }
  ssize_t total = 0;
  for (int i = 0; i < count; ++i) {
    if (vector[i].iov_len == 0) {
      continue;
    }
    ssize_t bytes = one(vector[i].iov_base, vector[i].iov_len, total);
    if (bytes < 0) {
      return total > 0 ? total : bytes;
    }
    total += bytes;
    if (static_cast<std::size_t>(bytes) < vector[i].iov_len) {
      break;
    }
  }
  return total;
}

// Appending is one step, so the buffers of a vector are gathered first.
template <typename Write>
ssize_t write_vector(
    Description& description, const iovec* vector, int count, bool appends, Write write) {
  if (count <= 1 || !appends) {
    return each_buffer(vector, count, write);
  }
  if (!is_address(vector)) {
    return -EFAULT;
  }
  std::size_t size = 0;
  for (int i = 0; i < count; ++i) {
    if (vector[i].iov_len > 0 && !is_address(vector[i].iov_base)) {
      return write_from_nothing(description);
    }
    size += vector[i].iov_len;
  }
  auto* all = static_cast<char*>(std::malloc(size + 1));
  if (all == nullptr) {
    return -ENOMEM;
  }
  std::size_t at = 0;
  for (int i = 0; i < count; ++i) {
    std::memcpy(all + at, vector[i].iov_base, vector[i].iov_len);
    at += vector[i].iov_len;
  }
  ssize_t bytes = write(all, size, 0);
  std::free(all);
  return bytes;
}

ssize_t read_vector_at(Description& description, const iovec* vector, int count, off_t offset) {
  return each_buffer(vector, count, [&](void* buffer, std::size_t size, ssize_t done) {
    return read_at(description, buffer, size, offset + done);
  });
}

ssize_t write_vector_at(Description& description, const iovec* vector, int count, off_t offset) {
  bool appends = (description.shared->flags & O_APPEND) != 0;
  return write_vector(
      description, vector, count, appends, [&](const void* buffer, std::size_t size, ssize_t done) {
        return write_limited(description, buffer, size, offset + done);
      });
}

ssize_t read_vector(Description& description, const iovec* vector, int count) {
  return at_position(description, [&] {
    return each_buffer(vector, count, [&](void* buffer, std::size_t size, ssize_t) {
      return read_here(description, buffer, size);
    });
  });
}

ssize_t write_vector(Description& description, const iovec* vector, int count) {
  return at_position(description, [&] {
    bool appends = (description.shared->flags & O_APPEND) != 0;
    return write_vector(
        description, vector, count, appends, [&](const void* buffer, std::size_t size, ssize_t) {
          return write_here(description, buffer, size);
        });
  });
}

// RWF_APPEND: to the end of the file, whatever the flags of the open file say. By a handle of its
// own, as other threads write where those flags say. The position moves only if the call is
// about it.
ssize_t append_vector(Description& description, const iovec* vector, int count, bool moves) {
  if ((description.shared->flags & O_ACCMODE) == O_RDONLY) {
    return -EBADF;
  }
  Handle handle = handle_of(description);
  if (!handle) {
    return -errno;
  }
  int flags = O_WRONLY | O_APPEND | (description.shared->flags & (O_SYNC | O_DSYNC));
  benchfs_file_t* file =
      handle->open_inode(handle.cluster.context, description.shared->inode, flags);
  if (file == nullptr) {
    return -errno;
  }
  ssize_t bytes = at_position(description, [&] {
    ssize_t written = write_vector(
        description, vector, count, true, [&](const void* buffer, std::size_t size, ssize_t) {
          if (!is_address(buffer)) {
            return write_from_nothing(description);
          }
          if (has_file_size_limit() && !cut_to_limit(description, size_of(description), size)) {
            return ssize_t{kBeyondLimit};
          }
          return handle->write(file, buffer, size);
        });
    if (written > 0 && moves) {
      description.shared->position = handle->lseek(file, 0, SEEK_CUR);
    }
    return written;
  });
  handle->close(file);
  return bytes;
}

off_t seek_data(Description& description, off_t offset, int whence) {
  Handle handle = handle_of(description);
  if (!handle) {
    return -errno;
  }
  MappedFile(description).write_back();
  return handle->lseek(handle.file, offset, whence);
}

off_t seek_target(Description& description, off_t offset, int whence) {
  off_t base = 0;
  switch (whence) {
    case SEEK_SET:
      break;
    case SEEK_CUR:
      base = description.shared->position;
      break;
    case SEEK_END:
      base = size_of(description);
      if (base < 0) {
        return base;
      }
      break;
    case SEEK_DATA:
    case SEEK_HOLE:
      return seek_data(description, offset, whence);
    default:
      return -EINVAL;
  }
  off_t target = 0;
  if (__builtin_add_overflow(base, offset, &target)) {
    return -EOVERFLOW;
  }
  return target < 0 ? -EINVAL : target;
}

off_t seek(Description& description, off_t offset, int whence) {
  PositionLock lock(description);
  if (!lock) {
    return -errno;
  }
  off_t target = seek_target(description, offset, whence);
  if (target >= 0) {
    description.shared->position = target;
  }
  return target;
}

// Copies between two files of the cluster. Offsets may be nullptr: the position. 0: not done.
ssize_t copy_inside(
    Description& in, off_t* in_offset, Description& out, off_t* out_offset, std::size_t size) {
  Handle from = handle_of(in);
  Handle to = from ? handle_of(out) : Handle{};
  if (!to) {
    return -errno;
  }
  sync_append(out, to);
  off_t from_at = in_offset != nullptr ? *in_offset : in.shared->position.load();
  off_t to_at = out_offset != nullptr ? *out_offset : out.shared->position.load();
  if (!cut_to_limit(out, to_at, size)) {
    return kBeyondLimit;
  }
  std::size_t total = 0;
  ssize_t copied = 0;
  do {
    auto done = static_cast<off_t>(total);
    copied = from->copy_file_range(from.file, from_at + done, to.file, to_at + done, size - total);
    total += copied > 0 ? static_cast<std::size_t>(copied) : 0;
  } while (copied > 0 && total < size);
  if (total == 0) {
    return copied;
  }
  auto done = static_cast<off_t>(total);
  (in_offset != nullptr ? *in_offset : from_at) = from_at + done;
  (out_offset != nullptr ? *out_offset : to_at) = to_at + done;
  if (in_offset == nullptr) {
    in.shared->position = from_at;
  }
  if (out_offset == nullptr) {
    out.shared->position = to_at;
  }
  return static_cast<ssize_t>(total);
}

// Copies between descriptors of which at least one is ours. Offsets may be nullptr: the position.
ssize_t copy_bytes(int in, off_t* in_offset, int out, off_t* out_offset, std::size_t size) {
  std::size_t room = size < kCopyBytes ? size : kCopyBytes;
  auto* buffer = static_cast<char*>(std::malloc(room + 1));
  if (buffer == nullptr) {
    return fail_with(ENOMEM);
  }
  // The entries of this library take descriptors of both kinds.
  Uncancelled uncancelled;
  std::size_t total = 0;
  ssize_t failed = 0;
  while (total < size) {
    std::size_t wanted = size - total < room ? size - total : room;
    ssize_t got =
        in_offset != nullptr ? pread(in, buffer, wanted, *in_offset) : read(in, buffer, wanted);
    if (got <= 0) {
      failed = got;
      break;
    }
    ssize_t put = out_offset != nullptr
                      ? pwrite(out, buffer, static_cast<std::size_t>(got), *out_offset)
                      : write(out, buffer, static_cast<std::size_t>(got));
    if (put < got && in_offset == nullptr) {  // what was read too much is not lost
      int before = errno;
      lseek(in, (put < 0 ? 0 : put) - got, SEEK_CUR);
      errno = before;
    }
    if (put < 0) {
      failed = put;
      break;
    }
    if (in_offset != nullptr) {
      *in_offset += put;
    }
    if (out_offset != nullptr) {
      *out_offset += put;
    }
    total += static_cast<std::size_t>(put);
    if (put < got || static_cast<std::size_t>(got) < wanted) {
      break;
    }
  }
  std::free(buffer);
  return total > 0 ? static_cast<ssize_t>(total) : failed;
}

ssize_t with_flags(Counter& counter, Description& description, int flags, ssize_t result) {
  constexpr int kSync = RWF_DSYNC | RWF_SYNC;
  (void)counter;
  if (result > 0 && (flags & kSync) != 0) {
    Handle handle = handle_of(description);
    int error = handle ? handle->fsync(handle.file) : -errno;
    return error != 0 ? error : result;
  }
  return result;
}

bool are_flags_known(int flags) {
  return (flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_APPEND)) == 0;
}

int truncate_open(Description& description, off_t size) {
  if (description.is_directory()) {
    return -EINVAL;
  }
  bool is_writable = (description.shared->flags & O_ACCMODE) != O_RDONLY;
  if (is_writable && !may_become(size, [&] { return size_of(description); })) {
    return kBeyondLimit;
  }
  Handle handle = handle_of(description);
  MappedFile mapped(description);
  if (!handle || mapped.error() != 0) {
    return handle ? mapped.error() : -errno;
  }
  int error = handle->ftruncate(handle.file, size);
  if (error == 0) {
    mapped.zero(size, kEnd);
  }
  return error;
}

int truncate_named(const Cluster& here, const char* path, off_t size) {
  int error = here.api->truncate(here.context, path, size);
  benchfs_stat_t stat;
  if (error == 0 && internal::mapped_inodes != 0 &&
      here.api->stat(here.context, path, &stat) == 0) {
    MappedFile(stat.st_ino).zero(size, kEnd);
  }
  return error;
}

int truncate_path(const char* path, off_t size) {
  Cluster here = cluster();
  if (!here) {
    return -errno;
  }
  benchfs_stat_t stat;
  auto is_now = [&] {
    bool is_known = here.api->stat(here.context, path, &stat) == 0 && S_ISREG(stat.st_mode);
    return is_known ? stat.st_size : size;
  };
  return may_become(size, is_now) ? truncate_named(here, path, size) : kBeyondLimit;
}

int change_space(Description& description, int mode, off_t offset, off_t length) {
  bool is_writable = (description.shared->flags & O_ACCMODE) != O_RDONLY;
  off_t end = 0;
  if (is_writable && (mode & FALLOC_FL_KEEP_SIZE) == 0 && offset >= 0 && length > 0 &&
      !__builtin_add_overflow(offset, length, &end) &&
      !may_become(end, [&] { return size_of(description); })) {
    return kBeyondLimit;
  }
  Handle handle = handle_of(description);
  MappedFile mapped(description);
  if (!handle || mapped.error() != 0) {
    return handle ? mapped.error() : -errno;
  }
  int error = handle->fallocate(handle.file, mode, offset, length);
  if (error == 0 && (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0) {
    mapped.zero(offset, offset + length);
  }
  return error;
}

// Makes the file at least this long. The cluster does not reserve space.
int extend(Description& description, off_t offset, off_t length) {
  if (offset < 0 || length <= 0) {
    return -EINVAL;
  }
  if ((description.shared->flags & O_ACCMODE) == O_RDONLY) {
    return -EBADF;
  }
  return change_space(description, 0, offset, length);
}

}  // namespace

// The usual shape: the open file, what it does with it, and libc's function for other descriptors.
#define ON_OPEN(name, ours, theirs) \
  COUNTER(name);                    \
  if (is_ours(fd)) {                \
    pthread_testcancel();           \
  }                                 \
  OpenRef open(fd);                 \
  if (!open) {                      \
    return theirs;                  \
  }                                 \
  counter.served();                 \
  Errno keep;                       \
  return keep.finish(with_limit_signal(ours))

#define READ_ENTRIES(name)                                                      \
  ENTRY(ssize_t, name, int fd, void* buffer, size_t size) {                     \
    ON_OPEN(name,                                                               \
            at_position(*open, [&] { return read_here(*open, buffer, size); }), \
            real().read(fd, buffer, size));                                     \
  }
READ_ENTRIES(read)
READ_ENTRIES(__read)
ENTRY(ssize_t, __read_chk, int fd, void* buffer, size_t size, size_t room) {
  if (size > room) {
    std::abort();
  }
  return entry_read(fd, buffer, size);
}

#define WRITE_ENTRIES(name)                                                      \
  ENTRY(ssize_t, name, int fd, const void* buffer, size_t size) {                \
    ON_OPEN(name,                                                                \
            at_position(*open, [&] { return write_here(*open, buffer, size); }), \
            real().write(fd, buffer, size));                                     \
  }
WRITE_ENTRIES(write)
WRITE_ENTRIES(__write)

#define PREAD_ENTRIES(name)                                                                      \
  ENTRY(ssize_t, name, int fd, void* buffer, size_t size, off_t offset) {                        \
    ON_OPEN(name, read_at(*open, buffer, size, offset), real().pread(fd, buffer, size, offset)); \
  }
PREAD_ENTRIES(pread)
PREAD_ENTRIES(pread64)
PREAD_ENTRIES(__pread64)
ENTRY(ssize_t, __pread_chk, int fd, void* buffer, size_t size, off_t offset, size_t room) {
  if (size > room) {
    std::abort();
  }
  return entry_pread(fd, buffer, size, offset);
}
ENTRY(ssize_t, __pread64_chk, int fd, void* buffer, size_t size, off_t offset, size_t room) {
  return entry___pread_chk(fd, buffer, size, offset, room);
}

#define PWRITE_ENTRIES(name)                                                    \
  ENTRY(ssize_t, name, int fd, const void* buffer, size_t size, off_t offset) { \
    ON_OPEN(name,                                                               \
            write_limited(*open, buffer, size, offset),                         \
            real().pwrite(fd, buffer, size, offset));                           \
  }
PWRITE_ENTRIES(pwrite)
PWRITE_ENTRIES(pwrite64)
PWRITE_ENTRIES(__pwrite64)

ENTRY(ssize_t, readv, int fd, const iovec* vector, int count) {
  ON_OPEN(readv, read_vector(*open, vector, count), real().readv(fd, vector, count));
}
ENTRY(ssize_t, writev, int fd, const iovec* vector, int count) {
  ON_OPEN(writev, write_vector(*open, vector, count), real().writev(fd, vector, count));
}

#define VECTOR_AT_ENTRIES(reader, writer)                                        \
  ENTRY(ssize_t, reader, int fd, const iovec* vector, int count, off_t offset) { \
    ON_OPEN(reader,                                                              \
            read_vector_at(*open, vector, count, offset),                        \
            real().preadv(fd, vector, count, offset));                           \
  }                                                                              \
  ENTRY(ssize_t, writer, int fd, const iovec* vector, int count, off_t offset) { \
    ON_OPEN(writer,                                                              \
            write_vector_at(*open, vector, count, offset),                       \
            real().pwritev(fd, vector, count, offset));                          \
  }
VECTOR_AT_ENTRIES(preadv, pwritev)
VECTOR_AT_ENTRIES(preadv64, pwritev64)

namespace {

// As pwritev2() does: -1 is the position.
ssize_t write_vector_as(
    Description& description, const iovec* vector, int count, off_t offset, int flags) {
  if ((flags & RWF_APPEND) != 0) {
    return append_vector(description, vector, count, offset == -1);
  }
  return offset == -1 ? write_vector(description, vector, count)
                      : write_vector_at(description, vector, count, offset);
}

}  // namespace

#define VECTOR_FLAGS_ENTRIES(reader, writer)                                                \
  ENTRY(ssize_t, reader, int fd, const iovec* vector, int count, off_t offset, int flags) { \
    COUNTER(reader);                                                                        \
    OpenRef open(fd);                                                                       \
    if (!open) {                                                                            \
      return real().preadv2(fd, vector, count, offset, flags);                              \
    }                                                                                       \
    if (!are_flags_known(flags)) {                                                          \
      return counter.refuse(EOPNOTSUPP);                                                    \
    }                                                                                       \
    counter.served();                                                                       \
    Errno keep;                                                                             \
    return keep.finish(offset == -1 ? read_vector(*open, vector, count)                     \
                                    : read_vector_at(*open, vector, count, offset));        \
  }                                                                                         \
  ENTRY(ssize_t, writer, int fd, const iovec* vector, int count, off_t offset, int flags) { \
    COUNTER(writer);                                                                        \
    OpenRef open(fd);                                                                       \
    if (!open) {                                                                            \
      return real().pwritev2(fd, vector, count, offset, flags);                             \
    }                                                                                       \
    if (!are_flags_known(flags)) {                                                          \
      return counter.refuse(EOPNOTSUPP);                                                    \
    }                                                                                       \
    counter.served();                                                                       \
    Errno keep;                                                                             \
    ssize_t bytes = write_vector_as(*open, vector, count, offset, flags);                   \
    return keep.finish(with_flags(counter, *open, flags, with_limit_signal(bytes)));        \
  }
VECTOR_FLAGS_ENTRIES(preadv2, pwritev2)
VECTOR_FLAGS_ENTRIES(preadv64v2, pwritev64v2)

#define LSEEK_ENTRY(name)                                                         \
  ENTRY(off_t, name, int fd, off_t offset, int whence) {                          \
    ON_OPEN(name, seek(*open, offset, whence), real().lseek(fd, offset, whence)); \
  }
LSEEK_ENTRY(lseek)
LSEEK_ENTRY(lseek64)
LSEEK_ENTRY(__lseek)

#define FTRUNCATE_ENTRY(name)                                              \
  ENTRY(int, name, int fd, off_t size) {                                   \
    ON_OPEN(name, truncate_open(*open, size), real().ftruncate(fd, size)); \
  }
FTRUNCATE_ENTRY(ftruncate)
FTRUNCATE_ENTRY(ftruncate64)

#define TRUNCATE_ENTRY(name)                                                            \
  ENTRY(int, name, const char* path, off_t size) {                                      \
    COUNTER(name);                                                                      \
    return at_place(                                                                    \
        counter,                                                                        \
        AT_FDCWD,                                                                       \
        path,                                                                           \
        Follow::kYes,                                                                   \
        [&](const char* ours) { return with_limit_signal(truncate_path(ours, size)); }, \
        [&](int, const char* theirs) { return real().truncate(theirs, size); });        \
  }
TRUNCATE_ENTRY(truncate)
TRUNCATE_ENTRY(truncate64)

#define FALLOCATE_ENTRY(name)                                      \
  ENTRY(int, name, int fd, int mode, off_t offset, off_t length) { \
    ON_OPEN(name,                                                  \
            change_space(*open, mode, offset, length),             \
            real().fallocate(fd, mode, offset, length));           \
  }
FALLOCATE_ENTRY(fallocate)
FALLOCATE_ENTRY(fallocate64)

#define POSIX_FALLOCATE_ENTRY(name)                           \
  ENTRY(int, name, int fd, off_t offset, off_t length) {      \
    COUNTER(name);                                            \
    OpenRef open(fd);                                         \
    if (!open) {                                              \
      return real().posix_fallocate(fd, offset, length);      \
    }                                                         \
    counter.served();                                         \
    return -with_limit_signal(extend(*open, offset, length)); \
  }
POSIX_FALLOCATE_ENTRY(posix_fallocate)
POSIX_FALLOCATE_ENTRY(posix_fallocate64)

#define POSIX_FADVISE_ENTRY(name)                                              \
  ENTRY(int, name, int fd, off_t offset, off_t length, int advice) {           \
    return is_ours(fd) ? 0 : real().posix_fadvise(fd, offset, length, advice); \
  }
POSIX_FADVISE_ENTRY(posix_fadvise)
POSIX_FADVISE_ENTRY(posix_fadvise64)
ENTRY(ssize_t, readahead, int fd, off_t offset, size_t size) {
  return is_ours(fd) ? 0 : real().readahead(fd, offset, size);
}

ENTRY(int, fsync, int fd) {
  ON_OPEN(fsync, sync_file(*open), real().fsync(fd));
}
ENTRY(int, fdatasync, int fd) {
  ON_OPEN(fdatasync, sync_file(*open), real().fdatasync(fd));
}
ENTRY(int, syncfs, int fd) {
  ON_OPEN(syncfs, sync_file(*open), real().syncfs(fd));
}
ENTRY(int, sync_file_range, int fd, off_t offset, off_t size, unsigned flags) {
  ON_OPEN(sync_file_range, sync_file(*open), real().sync_file_range(fd, offset, size, flags));
}

#define SENDFILE_ENTRY(name)                                          \
  ENTRY(ssize_t, name, int out, int in, off_t* offset, size_t size) { \
    COUNTER(name);                                                    \
    if (!is_ours(in) && !is_ours(out)) {                              \
      return real().sendfile(out, in, offset, size);                  \
    }                                                                 \
    counter.served();                                                 \
    return copy_bytes(in, offset, out, nullptr, size);                \
  }
SENDFILE_ENTRY(sendfile)
SENDFILE_ENTRY(sendfile64)

ENTRY(ssize_t,
      copy_file_range,
      int in,
      off_t* in_offset,
      int out,
      off_t* out_offset,
      size_t size,
      unsigned flags) {
  COUNTER(copy_file_range);
  if (!is_ours(in) && !is_ours(out)) {
    return real().copy_file_range(in, in_offset, out, out_offset, size, flags);
  }
  if (flags != 0) {
    return counter.refuse(EINVAL);
  }
  counter.served();
  OpenRef from(in);
  OpenRef to(out);
  if (from && to) {
    bool is_mapped = may_be_mapped(*from) || may_be_mapped(*to);
    if (is_mapped && (to->shared->flags & O_APPEND) == 0) {  // by way of read() and write()
      return copy_bytes(in, in_offset, out, out_offset, size);
    }
    Errno keep;
    return keep.finish(with_limit_signal(copy_inside(*from, in_offset, *to, out_offset, size)));
  }
  struct stat other;
  if (real().fstat(from ? out : in, &other) != 0) {
    return -1;
  }
  if (!S_ISREG(other.st_mode)) {
    return fail_with(S_ISDIR(other.st_mode) ? EISDIR : EINVAL);
  }
  return copy_bytes(in, in_offset, out, out_offset, size);
}
ENTRY(ssize_t,
      splice,
      int in,
      off_t* in_offset,
      int out,
      off_t* out_offset,
      size_t size,
      unsigned flags) {
  COUNTER(splice);
  if (!is_ours(in) && !is_ours(out)) {
    return real().splice(in, in_offset, out, out_offset, size, flags);
  }
  return counter.refuse(EINVAL);
}

}  // namespace benchfs::preload
