// stdio on our descriptors: streams made by fopencookie(), and what becomes of stdin, stdout and
// stderr when their descriptors are ours. glibc's own streams reach the kernel without passing any
// entry, so they cannot be used.
#pragma once

namespace benchfs::preload {

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
