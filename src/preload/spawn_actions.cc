// The entries of what posix_spawn() does before the program starts: glibc does it in the child,
// with system calls of its own.
//
// A file of ours is opened when the action is added, and stays open until the actions are
// destroyed; the child gets a duplicate. Changes of the directory are refused.
#include <pthread.h>

#include <cstdlib>
#include <cstring>

#include "preload/entry.h"
#include "preload/opening.h"
#include "preload/places.h"
#include "preload/real.h"

namespace benchfs::preload {
namespace {

struct Opened {
  const posix_spawn_file_actions_t* actions;
  int fd;
  Opened* next;
};

Opened* opened = nullptr;
pthread_mutex_t mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

// Returns the error number, as these functions do.
int refuse(Counter& counter, int error) {
  int before = errno;
  counter.refuse(error);
  errno = before;
  return error;
}

int keep_open(const posix_spawn_file_actions_t* actions, int fd) {
  auto* kept = static_cast<Opened*>(std::malloc(sizeof(Opened)));
  if (kept == nullptr) {
    return ENOMEM;
  }
  if (int error = pthread_mutex_lock(&mutex); error != 0) {
    std::free(kept);
    return error;
  }
  *kept = {.actions = actions, .fd = fd, .next = opened};
  opened = kept;
  pthread_mutex_unlock(&mutex);
  return 0;
}

int add_open(Counter& counter,
             posix_spawn_file_actions_t* actions,
             int target,
             const char* path,
             int flags,
             mode_t mode) {
  int before = errno;
  int fd = open_any(counter, AT_FDCWD, path, flags | O_CLOEXEC, mode);
  int error = fd < 0 ? errno : 0;
  errno = before;
  error = error != 0 ? error : keep_open(actions, fd);
  if (error != 0 && fd >= 0) {
    close_any(fd);
  }
  return error != 0 ? error : posix_spawn_file_actions_adddup2(actions, fd, target);
}

void close_all_of(const posix_spawn_file_actions_t* actions) {
  if (pthread_mutex_lock(&mutex) != 0) {
    return;
  }
  for (Opened** at = &opened; *at != nullptr;) {
    Opened* kept = *at;
    if (kept->actions != actions) {
      at = &kept->next;
      continue;
    }
    *at = kept->next;
    close_any(kept->fd);
    std::free(kept);
  }
  pthread_mutex_unlock(&mutex);
}

}  // namespace

void forget_spawn_actions_lock() {
  pthread_mutex_t fresh = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  std::memcpy(&mutex, &fresh, sizeof mutex);
}

ENTRY(int,
      posix_spawn_file_actions_addopen,
      posix_spawn_file_actions_t* actions,
      int target,
      const char* path,
      int flags,
      mode_t mode) {
  COUNTER(posix_spawn_file_actions_addopen);
  return is_ours_path(path)
             ? add_open(counter, actions, target, path, flags, mode)
             : real().posix_spawn_file_actions_addopen(actions, target, path, flags, mode);
}
ENTRY(int, posix_spawn_file_actions_destroy, posix_spawn_file_actions_t* actions) {
  close_all_of(actions);
  return real().posix_spawn_file_actions_destroy(actions);
}
ENTRY(int,
      posix_spawn_file_actions_addchdir_np,
      posix_spawn_file_actions_t* actions,
      const char* path) {
  COUNTER(posix_spawn_file_actions_addchdir_np);
  return is_ours_path(path) ? refuse(counter, ENOTSUP)
                            : real().posix_spawn_file_actions_addchdir_np(actions, path);
}
ENTRY(int,
      posix_spawn_file_actions_addfchdir_np,
      posix_spawn_file_actions_t* actions,
      int directory) {
  COUNTER(posix_spawn_file_actions_addfchdir_np);
  return is_ours(directory) ? refuse(counter, ENOTSUP)
                            : real().posix_spawn_file_actions_addfchdir_np(actions, directory);
}

}  // namespace benchfs::preload
