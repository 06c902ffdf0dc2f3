// The entries of poll(), select() and epoll: files are always ready, and epoll takes none.
#include <cstdlib>
#include <cstring>

#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/real.h"

namespace benchfs::preload {
namespace {

constexpr short kReady = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;

bool has_ours(const pollfd* files, nfds_t count) {
  for (nfds_t i = 0; i < count; ++i) {
    if (is_ours(files[i].fd)) {
      return true;
    }
  }
  return false;
}

// `wait(files, is_ready)` asks the kernel about the others; not for long when `is_ready`.
template <typename Wait>
int poll_with_ours(pollfd* files, nfds_t count, Wait wait) {
  auto* others = static_cast<pollfd*>(std::malloc(count * sizeof(pollfd)));
  if (others == nullptr) {
    return fail_with(ENOMEM);
  }
  int ready = 0;
  for (nfds_t i = 0; i < count; ++i) {
    others[i] = files[i];
    if (is_ours(files[i].fd)) {
      others[i].fd = -1;
      ready += (files[i].events & kReady) != 0 ? 1 : 0;
    }
  }
  int result = wait(others, ready > 0);
  for (nfds_t i = 0; result >= 0 && i < count; ++i) {
    files[i].revents =
        is_ours(files[i].fd) ? static_cast<short>(files[i].events & kReady) : others[i].revents;
  }
  std::free(others);
  return result < 0 ? result : result + ready;
}

bool has_ours(int count, const fd_set* set) {
  for (int fd = 0; set != nullptr && fd < count; ++fd) {
    if (FD_ISSET(fd, set) && is_ours(fd)) {
      return true;
    }
  }
  return false;
}

// Moves our descriptors of `set` to `taken` and returns how many they are.
int take_ours(int count, fd_set* set, fd_set& taken) {
  int found = 0;
  FD_ZERO(&taken);
  for (int fd = 0; set != nullptr && fd < count; ++fd) {
    if (FD_ISSET(fd, set) && is_ours(fd)) {
      FD_CLR(fd, set);
      FD_SET(fd, &taken);
      ++found;
    }
  }
  return found;
}

void put_back(int count, fd_set* set, const fd_set& taken) {
  for (int fd = 0; set != nullptr && fd < count; ++fd) {
    if (FD_ISSET(fd, &taken)) {
      FD_SET(fd, set);
    }
  }
}

template <typename Wait>
int select_with_ours(int count, fd_set* reads, fd_set* writes, fd_set* others, Wait wait) {
  fd_set own_reads;
  fd_set own_writes;
  fd_set own_others;
  int ready = take_ours(count, reads, own_reads) + take_ours(count, writes, own_writes);
  take_ours(count, others, own_others);
  int result = wait(ready > 0);
  if (result < 0) {
    return result;
  }
  put_back(count, reads, own_reads);
  put_back(count, writes, own_writes);
  return result + ready;
}

bool concerns_ours(int count, fd_set* reads, fd_set* writes, fd_set* others) {
  return has_ours(count, reads) || has_ours(count, writes) || has_ours(count, others);
}

}  // namespace

ENTRY(int, poll, pollfd* files, nfds_t count, int timeout) {
  if (!has_ours(files, count)) {
    return real().poll(files, count, timeout);
  }
  COUNTER(poll);
  counter.served();
  return poll_with_ours(files, count, [&](pollfd* others, bool is_ready) {
    return real().poll(others, count, is_ready ? 0 : timeout);
  });
}
ENTRY(int, __poll_chk, pollfd* files, nfds_t count, int timeout, size_t room) {
  if (room / sizeof(pollfd) < count) {
    std::abort();
  }
  return entry_poll(files, count, timeout);
}
ENTRY(int, ppoll, pollfd* files, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  if (!has_ours(files, count)) {
    return real().ppoll(files, count, timeout, mask);
  }
  COUNTER(ppoll);
  counter.served();
  timespec none{};
  return poll_with_ours(files, count, [&](pollfd* others, bool is_ready) {
    return real().ppoll(others, count, is_ready ? &none : timeout, mask);
  });
}
ENTRY(int, select, int count, fd_set* reads, fd_set* writes, fd_set* others, timeval* timeout) {
  if (!concerns_ours(count, reads, writes, others)) {
    return real().select(count, reads, writes, others, timeout);
  }
  COUNTER(select);
  counter.served();
  timeval none{};
  return select_with_ours(count, reads, writes, others, [&](bool is_ready) {
    return real().select(count, reads, writes, others, is_ready ? &none : timeout);
  });
}
ENTRY(int,
      pselect,
      int count,
      fd_set* reads,
      fd_set* writes,
      fd_set* others,
      const timespec* timeout,
      const sigset_t* mask) {
  if (!concerns_ours(count, reads, writes, others)) {
    return real().pselect(count, reads, writes, others, timeout, mask);
  }
  COUNTER(pselect);
  counter.served();
  timespec none{};
  return select_with_ours(count, reads, writes, others, [&](bool is_ready) {
    return real().pselect(count, reads, writes, others, is_ready ? &none : timeout, mask);
  });
}
ENTRY(int, epoll_ctl, int epoll, int operation, int fd, epoll_event* event) {
  if (!is_ours(fd)) {
    return real().epoll_ctl(epoll, operation, fd, event);
  }
  return fail_with(EPERM);  // as for every regular file
}

}  // namespace benchfs::preload
