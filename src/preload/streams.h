// stdio on our descriptors: streams made by fopencookie(), and what becomes of stdin, stdout and
// stderr when their descriptors are ours. glibc's own streams reach the kernel without passing any
// entry, so they cannot be used. Streams of fopencookie() know bytes only: wide_streams.cc adds the
// rest.
#pragma once

#include <iconv.h>

#include <atomic>
#include <cstdio>

namespace benchfs::preload {

// What belongs to a stream of ours: the cookie of fopencookie().
struct Stream {
  std::atomic<FILE*> file;  // nullptr: the record is free
  int fd;
  int orientation;  // as fwide() answers; glibc takes the stream for one of bytes
  // Of a stream with ",ccs="; others convert as the locale says.
  char charset[32];
  iconv_t from_charset;
  iconv_t to_charset;  // also what other streams transliterate with; nullptr: not needed yet
  Stream* next;
};
// nullptr: not one of ours.
Stream* find_stream(FILE* file);

// Wide characters (wide_streams.cc). False: iconv does not know the character set.
bool begin_wide(Stream& stream, const char* charset);
void end_wide(Stream& stream);

// After descriptor `fd` has changed: stdin, stdout or stderr is the stream that fits it.
void sync_streams_slow(int fd);
inline void sync_streams(int fd) {
  if (fd >= 0 && fd <= 2) [[unlikely]] {
    sync_streams_slow(fd);
  }
}
// Before descriptor `fd` changes: writes what its standard stream holds.
void flush_stream_of(int fd);
void flush_streams();

}  // namespace benchfs::preload
