// Wide characters on our streams. glibc's wide functions follow a pointer that a stream of
// fopencookie() does not have, so here each character is converted from and to the stream's bytes.
// Nothing is kept between calls: ftell() and fseek() are exact, and so is a later reader of bytes.
#include <dlfcn.h>
#include <langinfo.h>
#include <sys/mman.h>
#include <wchar.h>

#include <cctype>
#include <climits>
#include <cstdarg>
#include <cstdlib>
#include <cstring>

#include "preload/entry.h"
#include "preload/real.h"
#include "preload/streams.h"

namespace benchfs::preload {
namespace {

using Print = int(FILE*, const wchar_t*, va_list);
using Scan = int(FILE*, const wchar_t*, va_list);

// libc's functions, looked up when the program first uses one: few do.
struct Libc {
  int (*fwide)(FILE*, int);
  wint_t (*fgetwc)(FILE*);
  wint_t (*getwc_unlocked)(FILE*);
  wint_t (*fputwc)(wchar_t, FILE*);
  wint_t (*putwc_unlocked)(wchar_t, FILE*);
  wint_t (*ungetwc)(wint_t, FILE*);
  wchar_t* (*fgetws)(wchar_t*, int, FILE*);
  wchar_t* (*fgetws_unlocked)(wchar_t*, int, FILE*);
  wchar_t* (*__fgetws_chk)(wchar_t*, std::size_t, int, FILE*);
  wchar_t* (*__fgetws_unlocked_chk)(wchar_t*, std::size_t, int, FILE*);
  int (*fputws)(const wchar_t*, FILE*);
  int (*fputws_unlocked)(const wchar_t*, FILE*);
  Print* vfwprintf;
  int (*__vfwprintf_chk)(FILE*, int, const wchar_t*, va_list);
  Scan* vfwscanf;
  Scan* __isoc99_vfwscanf;
};

template <typename Function>
void find(Function& function, const char* name) {
  function = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

const Libc& libc() {
  static Libc found;
  static std::atomic<bool> is_found{false};
  if (!is_found.load(std::memory_order_acquire)) {
#define BENCHFS_FIND(name) find(found.name, #name);
    BENCHFS_FIND(fwide)
    BENCHFS_FIND(fgetwc)
    BENCHFS_FIND(getwc_unlocked)
    BENCHFS_FIND(fputwc)
    BENCHFS_FIND(putwc_unlocked)
    BENCHFS_FIND(ungetwc)
    BENCHFS_FIND(fgetws)
    BENCHFS_FIND(fgetws_unlocked)
    BENCHFS_FIND(__fgetws_chk)
    BENCHFS_FIND(__fgetws_unlocked_chk)
    BENCHFS_FIND(fputws)
    BENCHFS_FIND(fputws_unlocked)
    BENCHFS_FIND(vfwprintf)
    BENCHFS_FIND(__vfwprintf_chk)
    BENCHFS_FIND(vfwscanf)
    BENCHFS_FIND(__isoc99_vfwscanf)
#undef BENCHFS_FIND
    is_found.store(true, std::memory_order_release);
  }
  return found;
}

// nullptr: libc's functions know the stream. Theirs have no orientation or the one they were given.
Stream* own_stream(FILE* file) {
  return libc().fwide(file, 0) < 0 ? find_stream(file) : nullptr;
}

class StreamLock {
 public:
  explicit StreamLock(FILE* file) : file_(file) { flockfile(file); }
  StreamLock(const StreamLock&) = delete;
  StreamLock& operator=(const StreamLock&) = delete;
  ~StreamLock() { funlockfile(file_); }

 private:
  FILE* file_;
};

bool become_wide(Stream& stream) {
  if (stream.orientation == 0) {
    stream.orientation = 1;
  }
  return stream.orientation > 0;
}

wint_t fail_conversion(FILE* file) {
  file->_flags |= _IO_ERR_SEEN;
  errno = EILSEQ;
  return WEOF;
}

enum class Conversion { kDone, kNeedsMore, kFailed };

// One character of the first bytes. `count` becomes 0 when they stand for none: a byte order mark.
Conversion decode(Stream& stream, char* bytes, std::size_t& count, wchar_t& wide) {
  if (stream.from_charset == nullptr) {
    std::mbstate_t state{};
    std::size_t used = std::mbrtowc(&wide, bytes, count, &state);
    return used == static_cast<std::size_t>(-1)   ? Conversion::kFailed
           : used == static_cast<std::size_t>(-2) ? Conversion::kNeedsMore
                                                  : Conversion::kDone;
  }
  char* in = bytes;
  std::size_t left = count;
  auto* out = reinterpret_cast<char*>(&wide);
  std::size_t room = sizeof wide;
  std::size_t result = iconv(stream.from_charset, &in, &left, &out, &room);
  if (room == 0) {
    return Conversion::kDone;
  }
  if (result == static_cast<std::size_t>(-1) && errno != EINVAL) {
    return Conversion::kFailed;
  }
  count = left;
  return Conversion::kNeedsMore;
}

wint_t get_wide(Stream& stream, FILE* file) {
  int before = errno;
  char bytes[MB_LEN_MAX];
  std::size_t count = 0;
  Conversion conversion = Conversion::kNeedsMore;
  while (conversion == Conversion::kNeedsMore && count < sizeof bytes) {
    int byte = getc_unlocked(file);
    if (byte == EOF) {
      if (count == 0 || ferror_unlocked(file) != 0) {
        return WEOF;
      }
      break;
    }
    bytes[count++] = static_cast<char>(byte);
    wchar_t wide = 0;
    conversion = decode(stream, bytes, count, wide);
    if (conversion == Conversion::kDone) {
      errno = before;
      return static_cast<wint_t>(wide);
    }
  }
  while (count > 0) {
    ungetc(static_cast<unsigned char>(bytes[--count]), file);
  }
  return fail_conversion(file);
}

constexpr std::size_t kEncodedRoom = 64;  // transliteration may need several characters

// The number of bytes; 0: the character has none, in no spelling.
std::size_t encode(Stream& stream, wchar_t wide, char* bytes) {
  if (stream.from_charset == nullptr) {
    std::mbstate_t state{};
    std::size_t size = std::wcrtomb(bytes, wide, &state);
    if (size != static_cast<std::size_t>(-1)) {
      return size;
    }
    if (stream.to_charset == nullptr) {
      char target[64];
      std::snprintf(target, sizeof target, "%s//TRANSLIT", nl_langinfo(CODESET));
      iconv_t opened = iconv_open(target, "WCHAR_T");
      if (opened == reinterpret_cast<iconv_t>(-1)) {
        return 0;
      }
      stream.to_charset = opened;
    }
  }
  auto* in = reinterpret_cast<char*>(&wide);
  std::size_t left = sizeof wide;
  char* out = bytes;
  std::size_t room = kEncodedRoom;
  std::size_t result = iconv(stream.to_charset, &in, &left, &out, &room);
  return result == static_cast<std::size_t>(-1) ? 0 : kEncodedRoom - room;
}

bool put_wide(Stream& stream, FILE* file, wchar_t wide) {
  int before = errno;
  char bytes[kEncodedRoom];
  std::size_t size = encode(stream, wide, bytes);
  if (size == 0) {
    fail_conversion(file);
    return false;
  }
  errno = before;
  return size == 1 ? putc_unlocked(static_cast<unsigned char>(bytes[0]), file) != EOF
                   : fwrite_unlocked(bytes, 1, size, file) == size;
}

wint_t get_one(Counter& counter, Stream& stream, FILE* file) {
  counter.served();
  StreamLock lock(file);
  return become_wide(stream) ? get_wide(stream, file) : WEOF;
}

wint_t put_one(Counter& counter, Stream& stream, wchar_t wide, FILE* file) {
  counter.served();
  StreamLock lock(file);
  return become_wide(stream) && put_wide(stream, file, wide) ? static_cast<wint_t>(wide) : WEOF;
}

wchar_t* get_line(Counter& counter, Stream& stream, wchar_t* buffer, int room, FILE* file) {
  counter.served();
  StreamLock lock(file);
  if (room <= 0 || !become_wide(stream)) {
    return nullptr;
  }
  // An error of an earlier call is not one of this call.
  int had_error = file->_flags & _IO_ERR_SEEN;
  file->_flags &= ~_IO_ERR_SEEN;
  int count = 0;
  while (count < room - 1) {
    wint_t wide = get_wide(stream, file);
    if (wide == WEOF) {
      break;
    }
    buffer[count++] = static_cast<wchar_t>(wide);
    if (wide == L'\n') {
      break;
    }
  }
  bool failed = (count == 0 && room > 1) || ferror_unlocked(file) != 0;
  file->_flags |= had_error;
  if (failed) {
    return nullptr;
  }
  buffer[count] = L'\0';
  return buffer;
}

int put_text(Stream& stream, const wchar_t* text, std::size_t size, FILE* file) {
  for (std::size_t i = 0; i < size; ++i) {
    if (!put_wide(stream, file, text[i])) {
      return EOF;
    }
  }
  return 1;
}

int put_string(Counter& counter, Stream& stream, const wchar_t* text, FILE* file) {
  counter.served();
  StreamLock lock(file);
  return become_wide(stream) ? put_text(stream, text, std::wcslen(text), file) : EOF;
}

// `format` prints to a stream of libc's in memory.
template <typename Format>
int print(Counter& counter, Stream& stream, FILE* file, Format format) {
  counter.served();
  StreamLock lock(file);
  if (!become_wide(stream)) {
    return -1;
  }
  wchar_t* text = nullptr;
  std::size_t size = 0;
  FILE* memory = open_wmemstream(&text, &size);
  if (memory == nullptr) {
    return -1;
  }
  int result = format(memory);
  int error = errno;
  if (std::fclose(memory) != 0) {
    result = -1;
  } else {
    errno = error;
    result = put_text(stream, text, size, file) == EOF ? -1 : result;
  }
  error = errno;
  std::free(text);
  errno = error;
  return result;
}

// A stream of libc's that holds these bytes.
FILE* copy_of(const Stream& stream, const char* bytes, std::size_t size) {
  int memory = memfd_create("benchfs-scan", MFD_CLOEXEC);
  if (memory < 0) {
    return nullptr;
  }
  bool is_whole = real().pwrite(memory, bytes, size, 0) == static_cast<ssize_t>(size);
  char path[64];
  char mode[64];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", memory);
  bool has_charset = stream.from_charset != nullptr;
  std::snprintf(mode, sizeof mode, "re%s%s", has_charset ? ",ccs=" : "", stream.charset);
  FILE* copy = is_whole ? real().fopen(path, mode) : nullptr;
  close_own(memory);
  return copy;
}

// Scans a copy of what follows in the stream, and leaves behind what that has taken. When the copy
// was too short, `scan` runs again and stores everything again.
int scan(Counter& counter,
         Stream& stream,
         FILE* file,
         Scan* function,
         const wchar_t* format,
         va_list arguments) {
  counter.served();
  StreamLock lock(file);
  off_t begin = ftello(file);
  if (!become_wide(stream) || begin < 0) {
    return EOF;
  }
  for (std::size_t window = 4096;; window *= 4) {
    auto* bytes = static_cast<char*>(std::malloc(window));
    std::size_t size = bytes != nullptr ? fread_unlocked(bytes, 1, window, file) : 0;
    bool failed = bytes == nullptr || ferror_unlocked(file) != 0;
    FILE* copy = failed ? nullptr : copy_of(stream, bytes, size);
    std::free(bytes);
    if (copy == nullptr) {
      return EOF;
    }
    va_list again;
    va_copy(again, arguments);
    int result = function(copy, format, again);
    int error = errno;
    va_end(again);
    bool at_end = feof_unlocked(copy) != 0;
    bool is_short = at_end && size == window;
    bool has_error = ferror_unlocked(copy) != 0;
    off_t used = ftello(copy);
    std::fclose(copy);
    if (fseeko(file, is_short ? begin : begin + used, SEEK_SET) != 0) {
      return EOF;
    }
    if (is_short) {
      continue;
    }
    file->_flags |= (at_end ? _IO_EOF_SEEN : 0) | (has_error ? _IO_ERR_SEEN : 0);
    errno = error;
    return result;
  }
}

}  // namespace

bool begin_wide(Stream& stream, const char* charset) {
  std::size_t size = std::strcspn(charset, ",");
  char target[sizeof stream.charset + sizeof "//TRANSLIT"];
  if (size == 0 || size >= sizeof stream.charset) {
    return false;
  }
  for (std::size_t i = 0; i < size; ++i) {
    stream.charset[i] = static_cast<char>(std::toupper(static_cast<unsigned char>(charset[i])));
  }
  stream.charset[size] = '\0';
  std::snprintf(target, sizeof target, "%s//TRANSLIT", stream.charset);
  iconv_t from = iconv_open("WCHAR_T", stream.charset);
  iconv_t to = iconv_open(target, "WCHAR_T");
  constexpr auto kNone = static_cast<iconv_t>(nullptr);
  stream.from_charset = from != reinterpret_cast<iconv_t>(-1) ? from : kNone;
  stream.to_charset = to != reinterpret_cast<iconv_t>(-1) ? to : kNone;
  stream.orientation = 1;
  return stream.from_charset != kNone && stream.to_charset != kNone;
}

void end_wide(Stream& stream) {
  for (iconv_t* conversion : {&stream.from_charset, &stream.to_charset}) {
    if (*conversion != nullptr) {
      iconv_close(*conversion);
      *conversion = nullptr;
    }
  }
  stream.charset[0] = '\0';
}

ENTRY(int, fwide, FILE* file, int mode) {
  Stream* stream = own_stream(file);
  if (stream == nullptr) {
    return libc().fwide(file, mode);
  }
  if (stream->orientation == 0) {
    stream->orientation = mode < 0 ? -1 : mode > 0 ? 1 : 0;
  }
  return stream->orientation;
}

#define GET_ENTRIES(of_file, of_stdin, theirs)                                        \
  ENTRY(wint_t, of_file, FILE* file) {                                                \
    COUNTER(of_file);                                                                 \
    Stream* stream = own_stream(file);                                                \
    return stream != nullptr ? get_one(counter, *stream, file) : libc().theirs(file); \
  }                                                                                   \
  ENTRY(wint_t, of_stdin) {                                                           \
    return entry_##of_file(stdin);                                                    \
  }
GET_ENTRIES(getwc, getwchar, fgetwc)
GET_ENTRIES(getwc_unlocked, getwchar_unlocked, getwc_unlocked)
ENTRY(wint_t, fgetwc, FILE* file) {
  return entry_getwc(file);
}
ENTRY(wint_t, fgetwc_unlocked, FILE* file) {
  return entry_getwc_unlocked(file);
}

#define PUT_ENTRIES(to_file, to_stdout, theirs)                                                   \
  ENTRY(wint_t, to_file, wchar_t wide, FILE* file) {                                              \
    COUNTER(to_file);                                                                             \
    Stream* stream = own_stream(file);                                                            \
    return stream != nullptr ? put_one(counter, *stream, wide, file) : libc().theirs(wide, file); \
  }                                                                                               \
  ENTRY(wint_t, to_stdout, wchar_t wide) {                                                        \
    return entry_##to_file(wide, stdout);                                                         \
  }
PUT_ENTRIES(putwc, putwchar, fputwc)
PUT_ENTRIES(putwc_unlocked, putwchar_unlocked, putwc_unlocked)
ENTRY(wint_t, fputwc, wchar_t wide, FILE* file) {
  return entry_putwc(wide, file);
}
ENTRY(wint_t, fputwc_unlocked, wchar_t wide, FILE* file) {
  return entry_putwc_unlocked(wide, file);
}

ENTRY(wint_t, ungetwc, wint_t wide, FILE* file) {
  COUNTER(ungetwc);
  Stream* stream = own_stream(file);
  if (stream == nullptr) {
    return libc().ungetwc(wide, file);
  }
  counter.served();
  StreamLock lock(file);
  char bytes[kEncodedRoom];
  std::size_t size =
      wide != WEOF && become_wide(*stream) ? encode(*stream, static_cast<wchar_t>(wide), bytes) : 0;
  if (size == 0) {
    return WEOF;
  }
  while (size > 0) {
    if (ungetc(static_cast<unsigned char>(bytes[--size]), file) == EOF) {
      return WEOF;
    }
  }
  return wide;
}

#define GET_LINE_ENTRIES(name, checked)                                               \
  ENTRY(wchar_t*, name, wchar_t* buffer, int room, FILE* file) {                      \
    COUNTER(name);                                                                    \
    Stream* stream = own_stream(file);                                                \
    return stream != nullptr ? get_line(counter, *stream, buffer, room, file)         \
                             : libc().name(buffer, room, file);                       \
  }                                                                                   \
  ENTRY(wchar_t*, checked, wchar_t* buffer, std::size_t size, int room, FILE* file) { \
    COUNTER(checked);                                                                 \
    Stream* stream = own_stream(file);                                                \
    if (stream != nullptr && room > 0 && static_cast<std::size_t>(room) > size) {     \
      std::abort();                                                                   \
    }                                                                                 \
    return stream != nullptr ? get_line(counter, *stream, buffer, room, file)         \
                             : libc().checked(buffer, size, room, file);              \
  }
GET_LINE_ENTRIES(fgetws, __fgetws_chk)
GET_LINE_ENTRIES(fgetws_unlocked, __fgetws_unlocked_chk)

#define PUT_STRING_ENTRY(name)                                                                     \
  ENTRY(int, name, const wchar_t* text, FILE* file) {                                              \
    COUNTER(name);                                                                                 \
    Stream* stream = own_stream(file);                                                             \
    return stream != nullptr ? put_string(counter, *stream, text, file) : libc().name(text, file); \
  }
PUT_STRING_ENTRY(fputws)
PUT_STRING_ENTRY(fputws_unlocked)

ENTRY(int, vfwprintf, FILE* file, const wchar_t* format, va_list arguments) {
  COUNTER(vfwprintf);
  Stream* stream = own_stream(file);
  if (stream == nullptr) {
    return libc().vfwprintf(file, format, arguments);
  }
  return print(counter, *stream, file, [&](FILE* memory) {
    return libc().vfwprintf(memory, format, arguments);
  });
}
ENTRY(int, __vfwprintf_chk, FILE* file, int flag, const wchar_t* format, va_list arguments) {
  COUNTER(__vfwprintf_chk);
  Stream* stream = own_stream(file);
  if (stream == nullptr) {
    return libc().__vfwprintf_chk(file, flag, format, arguments);
  }
  return print(counter, *stream, file, [&](FILE* memory) {
    return libc().__vfwprintf_chk(memory, flag, format, arguments);
  });
}
ENTRY(int, vwprintf, const wchar_t* format, va_list arguments) {
  return entry_vfwprintf(stdout, format, arguments);
}
ENTRY(int, __vwprintf_chk, int flag, const wchar_t* format, va_list arguments) {
  return entry___vfwprintf_chk(stdout, flag, format, arguments);
}

#define WITH_ARGUMENTS(call)   \
  va_list arguments;           \
  va_start(arguments, format); \
  int result = call;           \
  va_end(arguments);           \
  return result

ENTRY(int, fwprintf, FILE* file, const wchar_t* format, ...) {
  WITH_ARGUMENTS(entry_vfwprintf(file, format, arguments));
}
ENTRY(int, wprintf, const wchar_t* format, ...) {
  WITH_ARGUMENTS(entry_vfwprintf(stdout, format, arguments));
}
ENTRY(int, __fwprintf_chk, FILE* file, int flag, const wchar_t* format, ...) {
  WITH_ARGUMENTS(entry___vfwprintf_chk(file, flag, format, arguments));
}
ENTRY(int, __wprintf_chk, int flag, const wchar_t* format, ...) {
  WITH_ARGUMENTS(entry___vfwprintf_chk(stdout, flag, format, arguments));
}

#define SCAN_ENTRIES(of_file, list_of_file, of_stdin, list_of_stdin)                   \
  ENTRY(int, list_of_file, FILE* file, const wchar_t* format, va_list arguments) {     \
    COUNTER(list_of_file);                                                             \
    Stream* stream = own_stream(file);                                                 \
    Scan* theirs = libc().list_of_file;                                                \
    return stream != nullptr ? scan(counter, *stream, file, theirs, format, arguments) \
                             : theirs(file, format, arguments);                        \
  }                                                                                    \
  ENTRY(int, list_of_stdin, const wchar_t* format, va_list arguments) {                \
    return entry_##list_of_file(stdin, format, arguments);                             \
  }                                                                                    \
  ENTRY(int, of_file, FILE* file, const wchar_t* format, ...) {                        \
    WITH_ARGUMENTS(entry_##list_of_file(file, format, arguments));                     \
  }                                                                                    \
  ENTRY(int, of_stdin, const wchar_t* format, ...) {                                   \
    WITH_ARGUMENTS(entry_##list_of_file(stdin, format, arguments));                    \
  }
SCAN_ENTRIES(fwscanf, vfwscanf, wscanf, vwscanf)
SCAN_ENTRIES(__isoc99_fwscanf, __isoc99_vfwscanf, __isoc99_wscanf, __isoc99_vwscanf)

}  // namespace benchfs::preload
