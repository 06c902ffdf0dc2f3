#include "preload/left_opens.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iterator>

#include "preload/real.h"
#include "preload/together.h"

namespace benchfs::preload {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
// Longer than the dynamic linker needs to start a program.
constexpr int kStart = 10'000;  // ms
constexpr std::int64_t kLookEvery = kSecond / 10;

struct LeftOpen {
  const SharedState* page;
  int home;
  benchfs_file_t* file;
};

// In the order in which they were closed.
LeftOpen left[64];
BENCHFS_TOGETHER std::atomic<std::uint32_t> count{0};
BENCHFS_TOGETHER std::int64_t looked_at = 0;
BENCHFS_TOGETHER std::int64_t noted_at = 0;  // the last execution
BENCHFS_TOGETHER pthread_mutex_t left_mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

std::int64_t now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

int open_page(int home) {
  char link[64];
  std::snprintf(link, sizeof link, "/proc/self/fd/%d", home);
  return open_own(link, O_RDONLY | O_CLOEXEC);
}

bool is_mapped(int home) {
  int fd = open_page(home);
  if (fd < 0) {
    return false;
  }
  // A process that maps the page at this moment breaks the lease: by default with SIGIO, which
  // kills.
  real().fcntl(fd, F_SETSIG, SIGURG);
  bool is_refused = real().fcntl(fd, F_SETLEASE, F_RDLCK) != 0 && errno == EAGAIN;
  close_own(fd);
  return is_refused;
}

// This process does not have the page mapped for writing.
bool have_others(const SharedState& page, int home) {
  return is_starting(page, kStart) || is_mapped(home);
}

const SharedState* map_to_read(int home) {
  int fd = open_page(home);
  if (fd < 0) {
    return nullptr;
  }
  void* page = real().mmap(nullptr, sizeof(SharedState), PROT_READ, MAP_SHARED, fd, 0);
  close_own(fd);
  return page == MAP_FAILED ? nullptr : static_cast<const SharedState*>(page);
}

void drop_page(const SharedState* page) {
  real().munmap(const_cast<SharedState*>(page), sizeof *page);
}

void end(const LeftOpen& open) {
  if (Cluster here = cluster()) {
    here.api->close(open.file);
  }
  drop_page(open.page);
  close_hidden(open.home);
}

void end_unused() {
  std::uint32_t kept = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (have_others(*left[i].page, left[i].home)) {
      left[kept++] = left[i];
    } else {
      end(left[i]);
    }
  }
  count = kept;
  looked_at = now();
}

void add(const LeftOpen& open) {
  if (count == std::size(left)) {
    end_unused();
  }
  if (count == std::size(left)) {
    end(left[0]);
    std::copy(std::begin(left) + 1, std::end(left), std::begin(left));
    --count;
  }
  left[count] = open;
  ++count;
}

}  // namespace

bool is_starting(const SharedState& page, int within_ms) {
  std::int64_t at = page.executing;
  return at != 0 && now() - at < std::int64_t{within_ms} * 1'000'000 && at <= now();
}

void leave_to_others(Description& description) {
  if (description.shared->kind != Kind::kFile || description.home < 0) {
    return;
  }
  const SharedState* page = map_to_read(description.home);
  real().munmap(description.shared, sizeof(SharedState));
  description.shared = nullptr;
  if (page == nullptr) {
    return;
  }
  Cluster here = cluster();
  bool is_needed = here && have_others(*page, description.home);
  // A number of its own: the open file's own number is among those that keep its locks.
  benchfs_file_t* file =
      is_needed ? here.api->open_inode(here.context, page->inode, O_RDONLY) : nullptr;
  if (is_needed && file == nullptr) {  // no permission to read
    file = here.api->open_inode(here.context, page->inode, page->flags & O_ACCMODE);
  }
  if (file != nullptr && pthread_mutex_lock(&left_mutex) == 0) {
    add({page, description.home, file});
    description.home = -1;
    pthread_mutex_unlock(&left_mutex);
    return;
  }
  if (file != nullptr) {
    here.api->close(file);
  }
  drop_page(page);
}

void look_after_left_opens() {
  if (count.load(std::memory_order_relaxed) == 0) [[likely]] {
    return;
  }
  int before = errno;
  if (now() - looked_at >= kLookEvery && pthread_mutex_trylock(&left_mutex) == 0) {
    end_unused();
    pthread_mutex_unlock(&left_mutex);
  }
  errno = before;
}

void end_left_opens() {
  looked_at = 0;
  look_after_left_opens();
}

void forget_left_opens() {
  pthread_mutex_t fresh = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  std::memcpy(&left_mutex, &fresh, sizeof fresh);
  for (std::uint32_t i = 0; i < count; ++i) {
    drop_page(left[i].page);
    close_hidden(left[i].home);
  }
  count = 0;
}

void note_execution() {
  std::int64_t at = 0;
  for (int fd = 0; fd <= highest_descriptor(); ++fd) {
    OpenRef open(fd);
    if (open && (real().fcntl(fd, F_GETFD, 0) & FD_CLOEXEC) == 0) {
      at = at != 0 ? at : now();
      open->shared->executing = at;
    }
  }
  noted_at = at;
}

void note_no_execution() {
  for (int fd = 0; fd <= highest_descriptor(); ++fd) {
    if (OpenRef open(fd); open) {
      std::int64_t at = noted_at;  // another process may have executed something since
      open->shared->executing.compare_exchange_strong(at, 0);
    }
  }
}

void note_start() {
  for (int fd = 0; fd <= highest_descriptor(); ++fd) {
    if (OpenRef open(fd); open) {
      open->shared->executing = 0;
    }
  }
}

}  // namespace benchfs::preload
