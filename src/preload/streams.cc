#include "preload/streams.h"

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/opening.h"
#include "preload/places.h"
#include "preload/real.h"
#include "preload/together.h"

namespace benchfs::preload {
namespace {

struct Standard {
  FILE** variable;
  FILE* original = nullptr;
  FILE* own = nullptr;  // made when first needed
};
BENCHFS_TOGETHER Standard standards[3] = {{&stdin}, {&stdout}, {&stderr}};

// Records are reused and never freed, so the list needs no lock.
BENCHFS_TOGETHER std::atomic<Stream*> all_streams{nullptr};

Stream& stream_of_cookie(void* cookie) {
  return *static_cast<Stream*>(cookie);
}

// The entries of this library take descriptors of both kinds.
ssize_t read_cookie(void* cookie, char* buffer, std::size_t size) {
  return read(stream_of_cookie(cookie).fd, buffer, size);
}
ssize_t write_cookie(void* cookie, const char* buffer, std::size_t size) {
  ssize_t written = write(stream_of_cookie(cookie).fd, buffer, size);
  return written < 0 ? 0 : written;
}
int seek_cookie(void* cookie, off64_t* position, int whence) {
  off_t reached = lseek(stream_of_cookie(cookie).fd, *position, whence);
  *position = reached;
  return reached < 0 ? -1 : 0;
}
int close_cookie(void* cookie) {
  Stream& stream = stream_of_cookie(cookie);
  int fd = stream.fd;
  for (Standard& standard : standards) {
    if (standard.own != nullptr && standard.own == stream.file) {
      *standard.variable = standard.original;
      standard.own = nullptr;
    }
  }
  end_wide(stream);
  stream.file = nullptr;
  Uncancelled uncancelled;
  return close(fd);
}

// A record that no stream uses, marked until it gets its stream. nullptr: no memory.
Stream* take_record() {
  FILE* taken = reinterpret_cast<FILE*>(1);
  for (Stream* stream = all_streams; stream != nullptr; stream = stream->next) {
    FILE* expected = nullptr;
    if (stream->file.compare_exchange_strong(expected, taken)) {
      return stream;
    }
  }
  auto* stream = static_cast<Stream*>(std::calloc(1, sizeof(Stream)));
  if (stream == nullptr) {
    return nullptr;
  }
  stream->file = taken;
  stream->next = all_streams;
  while (!all_streams.compare_exchange_weak(stream->next, stream)) {
  }
  return stream;
}

FILE* make_stream(int fd, const char* mode) {
  Stream* stream = take_record();
  if (stream == nullptr) {
    return nullptr;
  }
  stream->fd = fd;
  stream->orientation = 0;
  FILE* file = real().fopencookie(
      stream,
      mode,
      {.read = read_cookie, .write = write_cookie, .seek = seek_cookie, .close = close_cookie});
  if (file != nullptr) {
    file->_fileno = fd;  // for fileno(); glibc itself goes through the functions
  }
  stream->file = file;
  return file;
}

// The flags of open() for a mode of fopen(); -1: no such mode.
int flags_of(const char* mode) {
  int flags = 0;
  switch (*mode) {
    case 'r':
      break;
    case 'w':
      flags = O_CREAT | O_TRUNC;
      break;
    case 'a':
      flags = O_CREAT | O_APPEND;
      break;
    default:
      return -1;
  }
  int access = *mode == 'r' ? O_RDONLY : O_WRONLY;
  for (const char* more = mode + 1; *more != '\0' && *more != ','; ++more) {
    access = *more == '+' ? O_RDWR : access;
    flags |= *more == 'x' ? O_EXCL : 0;
    flags |= *more == 'e' ? O_CLOEXEC : 0;
  }
  return flags | access;
}

FILE* open_stream(Counter& counter, const char* path, const char* mode) {
  constexpr int kTheirs = INT_MAX;
  int flags = flags_of(mode);
  if (flags < 0) {
    return real().fopen(path, mode);
  }
  FILE* file = nullptr;
  OpenRef again(own_descriptor(path));
  int fd = at_place(
      counter,
      AT_FDCWD,
      path,
      Follow::kYes,
      [&](const char* ours) {
        return again ? open_again(*again, flags) : open_ours(ours, flags, 0666);
      },
      [&](int, const char* theirs) {
        file = real().fopen(theirs, mode);
        return file != nullptr ? kTheirs : -1;
      });
  if (fd == kTheirs || fd < 0) {
    return file;
  }
  file = make_stream(fd, mode);
  if (file == nullptr) {
    close_any(fd);
    errno = ENOMEM;
  }
  const char* charset = std::strstr(mode, ",ccs=");
  if (file != nullptr && charset != nullptr &&
      !begin_wide(*find_stream(file), charset + std::strlen(",ccs="))) {
    std::fclose(file);
    errno = EINVAL;
    return nullptr;
  }
  return file;
}

FILE* stream_on(Counter& counter, int fd, const char* mode) {
  OpenRef open(fd);
  if (!open) {
    return real().fdopen(fd, mode);
  }
  int wanted = flags_of(mode);
  int access = open->shared->flags & O_ACCMODE;
  if (wanted < 0 || (access != O_RDWR && (wanted & O_ACCMODE) != access)) {
    errno = EINVAL;
    return nullptr;
  }
  counter.served();
  if ((wanted & O_APPEND) != 0) {
    open->shared->flags |= O_APPEND;
  }
  return make_stream(fd, mode);
}

Standard* standard_of(FILE* file) {
  for (Standard& standard : standards) {
    if (file == *standard.variable) {
      return &standard;
    }
  }
  return nullptr;
}

// A standard stream gets the new file at its descriptor. Other streams keep their kind: one of
// glibc's cannot become one of ours.
FILE* reopen(Counter& counter, const char* path, const char* mode, FILE* file) {
  Standard* standard = standard_of(file);
  bool was_own = is_ours(file->_fileno);
  bool becomes_own =
      is_ours_path(path) || (path == nullptr && was_own) || is_ours(own_descriptor(path));
  if (!was_own && !becomes_own) {
    return real().freopen(path, mode, file);
  }
  if (standard == nullptr || path == nullptr) {
    counter.refuse(EOPNOTSUPP);
    return nullptr;
  }
  counter.served();
  int fd = file->_fileno;
  std::fflush(file);
  int opened = open_any(counter, AT_FDCWD, path, flags_of(mode), 0666);
  if (opened < 0) {
    return nullptr;
  }
  if (opened != fd) {
    dup2(opened, fd);
    close_any(opened);
  }
  return *standard->variable;
}

}  // namespace

Stream* find_stream(FILE* file) {
  for (Stream* stream = all_streams; stream != nullptr; stream = stream->next) {
    if (stream->file == file) {
      return stream;
    }
  }
  return nullptr;
}

void sync_streams_slow(int fd) {
  Standard& standard = standards[fd];
  bool is_own = standard.own != nullptr && *standard.variable == standard.own;
  OpenRef open(fd);
  if (open.operator bool() == is_own) {
    return;
  }
  int before = errno;
  if (!open) {
    *standard.variable = standard.original;
  } else {
    if (standard.own == nullptr) {
      standard.original = *standard.variable;
      bool is_append = (open->shared->flags & O_APPEND) != 0;
      standard.own = make_stream(fd, fd == 0 ? "r" : is_append ? "a" : "w");
      if (standard.own != nullptr && fd == 2) {
        std::setvbuf(standard.own, nullptr, _IONBF, 0);
      }
    }
    if (standard.own != nullptr) {
      *standard.variable = standard.own;
    }
  }
  errno = before;
}

void flush_stream_of(int fd) {
  if (fd == 1 || fd == 2) {
    int before = errno;
    std::fflush(*standards[fd].variable);
    errno = before;
  }
}

void flush_streams() {
  std::fflush(nullptr);
}

#define FOPEN_ENTRIES(open_name, reopen_name)                                 \
  ENTRY(FILE*, open_name, const char* path, const char* mode) {               \
    COUNTER(open_name);                                                       \
    return open_stream(counter, path, mode);                                  \
  }                                                                           \
  ENTRY(FILE*, reopen_name, const char* path, const char* mode, FILE* file) { \
    COUNTER(reopen_name);                                                     \
    return reopen(counter, path, mode, file);                                 \
  }
FOPEN_ENTRIES(fopen, freopen)
FOPEN_ENTRIES(fopen64, freopen64)

ENTRY(FILE*, fdopen, int fd, const char* mode) {
  COUNTER(fdopen);
  return stream_on(counter, fd, mode);
}

// glibc's makes a stream of its own on the descriptor.
ENTRY(void, perror, const char* text) {
  int error = errno;
  bool has_text = text != nullptr && *text != '\0';
  std::fprintf(stderr,
               "%s%s%s\n",
               has_text ? text : "",
               has_text ? ": " : "",
               strerrordesc_np(error) != nullptr ? strerrordesc_np(error) : "Unknown error");
  errno = error;
}

}  // namespace benchfs::preload
