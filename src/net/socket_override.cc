// Takes the place of libc's functions on sockets in the program that links this, see
// incoming_sockets.h. They are what libucs calls in every version, through the dynamic symbol
// table.
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/descriptors.h"
#include "net/closed_sockets.h"
#include "net/incoming_sockets.h"

#if __has_feature(thread_sanitizer)
// Its functions, whose place we take: what goes through a socket orders memory.
extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier)
int __interceptor_listen(int fd, int backlog);
int __interceptor_accept4(int port, sockaddr* address, socklen_t* length, int flags);
ssize_t __interceptor_recv(int fd, void* data, size_t length, int flags);
ssize_t __interceptor_send(int fd, const void* data, size_t length, int flags);
// NOLINTEND(bugprone-reserved-identifier)
}
#endif

namespace {

namespace incoming = benchfs::net::incoming;
using benchfs::net::Port;

int listen_now(int fd, int backlog) {
#if __has_feature(thread_sanitizer)
  return __interceptor_listen(fd, backlog);
#else
  return static_cast<int>(syscall(SYS_listen, fd, backlog));
#endif
}

int accept_now(int port, sockaddr* address, socklen_t* length, int flags) {
#if __has_feature(thread_sanitizer)
  return __interceptor_accept4(port, address, length, flags);
#else
  return static_cast<int>(syscall(SYS_accept4, port, address, length, flags));
#endif
}

// Connections that came in must leave room for what UCX opens for those that it has begun to make:
// where it finds none it aborts.
constexpr std::size_t kReservedForUcx = 16;

ssize_t receive_now(int fd, void* data, size_t length, int flags) {
#if __has_feature(thread_sanitizer)
  return __interceptor_recv(fd, data, length, flags);
#else
  return syscall(SYS_recvfrom, fd, data, length, flags, nullptr, nullptr);
#endif
}

ssize_t send_now(int fd, const void* data, size_t length, int flags) {
#if __has_feature(thread_sanitizer)
  return __interceptor_send(fd, data, length, flags);
#else
  return syscall(SYS_sendto, fd, data, length, flags, nullptr, 0);
#endif
}

}  // namespace

extern "C" {

int listen(int fd, int backlog) noexcept {
  incoming::add_port(fd);
  return listen_now(fd, backlog);
}

int accept(int port, sockaddr* address, socklen_t* length) {
  bool is_ours = incoming::port_of(port) != Port::kForeign;
  int fd = accept_now(port, address, length, is_ours ? SOCK_CLOEXEC : 0);
  bool is_refused = fd >= 0 && is_ours && !benchfs::has_free_descriptors(kReservedForUcx);
  if (is_refused || (fd >= 0 && !incoming::add_connection(port, fd))) {
    benchfs::net::close_at_once(fd);  // UCX has not seen it
    fd = -1;
    errno = EAGAIN;
  }
  // UCX's transport would stop to listen for good, when descriptors are short for a moment.
  if (fd < 0 && incoming::port_of(port) == Port::kTransport) {
    errno = EAGAIN;
  }
  return fd;
}

// The accept() of the program, for net/ucx_calls.h.
int benchfs_accept(int port, sockaddr* address, socklen_t* length) {
  return accept(port, address, length);
}

ssize_t recv(int fd, void* data, size_t length, int flags) {
  if (incoming::is_watched(fd)) [[unlikely]] {
    return incoming::receive_watched(fd, data, length, flags, receive_now);
  }
  return receive_now(fd, data, length, flags);
}

ssize_t send(int fd, const void* data, size_t length, int flags) {
  ssize_t sent = send_now(fd, data, length, flags);
  if (incoming::is_watched(fd) && sent == static_cast<ssize_t>(length)) [[unlikely]] {
    incoming::was_sent(fd);
  }
  return sent;
}

}  // extern "C"
