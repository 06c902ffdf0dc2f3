#include "mount/channel.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/epoll.h>

#include <cerrno>
#include <utility>

namespace benchfs::mount {
namespace {

// libfuse 3.14 does not know FUSE_TMPFILE. It is a FUSE_CREATE whose name is "/", which no other
// create has (Door::create).
void adapt(fuse_buf& received) {
  auto* header = static_cast<fuse_in_header*>(received.mem);
  if (received.size >= sizeof *header && header->opcode == FUSE_TMPFILE) {
    header->opcode = FUSE_CREATE;
  }
}

}  // namespace

Result<std::unique_ptr<Channel>> Channel::create(fuse_session* session, const rt::Scope& requests) {
  std::unique_ptr<Channel> channel(
      new Channel(session, requests));  // lint: allow new private constructor
  int fd = fuse_session_fd(session);
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return fail_system(errno, "making /dev/fuse non-blocking");
  }
  channel->watched_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  if (!channel->watched_.is_open()) {
    return fail_system(errno, "epoll_create1");
  }
  return channel;
}

// What was received is served before the kernel is asked for more.
bool Channel::poll() {
  return !is_paused() && receive();
}

// False when there is nothing to receive.
bool Channel::receive() {
  if (received_ == nullptr) {
    received_ = buffers_.take();
  }
  fuse_buf buffer{};
  buffer.mem = received_.release();
  int bytes = fuse_session_receive_buf(session_, &buffer);
  received_.reset(buffer.mem);
  if (bytes == -EAGAIN || bytes == -EINTR) {
    return false;
  }
  if (bytes <= 0) {
    ended_.set();
    return false;
  }
  adapt(buffer);
  fuse_session_process_buf(session_, &buffer);
  return true;
}

bool Channel::prepare_to_sleep() {
  bool must_watch = !is_paused();
  if (must_watch != is_watching_) {
    epoll_event event{};
    event.events = EPOLLIN;
    int operation = must_watch ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;
    if (epoll_ctl(watched_.get(), operation, fuse_session_fd(session_), &event) == 0) {
      is_watching_ = must_watch;
    }
  }
  return true;
}

}  // namespace benchfs::mount
