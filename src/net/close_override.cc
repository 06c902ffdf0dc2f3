// Takes the place of libc's close() in the program that links this, see closed_sockets.h and
// incoming_sockets.h.
#include <unistd.h>

#include "net/closed_sockets.h"
#include "net/incoming_sockets.h"

extern "C" int close(int fd) {
  benchfs::net::incoming::forget(fd);
  return benchfs::net::close_and_keep_number(fd);
}
