#include "preload/cluster.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "preload/descriptions.h"
#include "preload/left_opens.h"
#include "preload/locks.h"
#include "preload/mappings.h"
#include "preload/real.h"
#include "preload/settings.h"
#include "preload/signals.h"
#include "preload/streams.h"
#include "preload/together.h"

// They begin a page: this is the first file of the library that has one of them.
__asm__(".pushsection benchfs_together, \"aw\", @progbits\n.balign 4096\n.popsection");

namespace benchfs::preload {

namespace {

// Each of the two waits of benchfs_connect().
constexpr std::uint32_t kConnectMs = 900;
constexpr std::int64_t kRetryAfterSeconds = 5;
constexpr char kLibrary[] = "libbenchfs.so.0";

BENCHFS_TOGETHER Api functions;
BENCHFS_TOGETHER bool is_loaded = false;  // under the mutex
BENCHFS_TOGETHER std::atomic<benchfs_context_t*> connected{nullptr};
BENCHFS_TOGETHER std::atomic<std::uint32_t> epoch{1};
BENCHFS_TOGETHER std::int64_t failed_at = 0;  // under the mutex
BENCHFS_TOGETHER bool has_complained = false;
BENCHFS_TOGETHER bool is_held = false;  // for a fork
BENCHFS_TOGETHER pthread_mutex_t mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;

std::int64_t now_seconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + 1;
}

void complain(const char* what, const char* why) {
  if (has_complained) {
    return;
  }
  has_complained = true;
  char line[1024];
  int length = std::snprintf(line,
                             sizeof line,
                             "benchfs: %s: %s; files below %s are not there\n",
                             what,
                             why,
                             settings().prefix);
  if (length > 0) {
    std::size_t bytes = static_cast<std::size_t>(length);
    (void)!real().write(2, line, bytes < sizeof line ? bytes : sizeof line - 1);
  }
}

// While libbenchfs connects: UCX, which it loads when a server is on another node, must not catch
// the program's signals, and must not put its own mmap() in the place of ours.
class UcxSettings {
 public:
  UcxSettings() {
    for (Setting& setting : settings_) {
      setting.is_given = getenv(setting.name) != nullptr;
      setenv(setting.name, setting.value, 0);
    }
  }
  UcxSettings(const UcxSettings&) = delete;
  UcxSettings& operator=(const UcxSettings&) = delete;
  ~UcxSettings() {
    for (Setting& setting : settings_) {
      if (!setting.is_given) {
        unsetenv(setting.name);
      }
    }
  }

 private:
  struct Setting {
    const char* name;
    const char* value;
    bool is_given = false;
  };
  Setting settings_[3] = {
      {"UCX_MEM_EVENTS", "n"}, {"UCX_HANDLE_ERRORS", "none"}, {"UCX_ERROR_SIGNALS", ""}};
};

// Beside this library, as both are built and installed, else as the dynamic linker finds it.
void* open_library() {
  char path[PATH_MAX + sizeof kLibrary];
  std::strcpy(path, settings().library);
  char* slash = std::strrchr(path, '/');
  if (slash != nullptr) {
    std::strcpy(slash + 1, kLibrary);
    if (void* library = real().dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
      return library;
    }
  }
  return real().dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
}

// At the end of the program, while the library still works.
void end_files() {
  flush_streams();
  write_back_mappings();
  release_all_locks();
  end_left_opens();
}

bool load() {
  if (is_loaded) {
    return true;
  }
  void* library = open_library();
  if (library == nullptr) {
    complain("cannot load libbenchfs", dlerror());
    return false;
  }
#define BENCHFS_FIND(name)                                                                       \
  functions.name = reinterpret_cast<decltype(functions.name)>(dlsym(library, "benchfs_" #name)); \
  if (functions.name == nullptr) {                                                               \
    complain("libbenchfs is of another version", "it lacks benchfs_" #name);                     \
    return false;                                                                                \
  }
  BENCHFS_API_FUNCTIONS(BENCHFS_FIND)
#undef BENCHFS_FIND
  auto keep_descriptors =
      reinterpret_cast<void (*)(int (*)(int))>(dlsym(library, "benchfs_keep_descriptors"));
  if (keep_descriptors == nullptr) {
    complain("libbenchfs is of another version", "it lacks benchfs_keep_descriptors");
    return false;
  }
  keep_descriptors(hide);
  is_loaded = true;
  // The exit handlers that follow run before those of the libraries loaded so far.
  std::atexit(end_files);
  return true;
}

benchfs_context_t* connect() {
  if (failed_at != 0 && now_seconds() - failed_at < kRetryAfterSeconds) {
    return nullptr;
  }
  failed_at = now_seconds();
  UcxSettings ucx;
  if (!load()) {
    return nullptr;
  }
  benchfs_options_t options{};
  options.struct_size = sizeof options;
  options.registry_dir = settings().registry[0] != '\0' ? settings().registry : nullptr;
  options.connect_timeout_ms = kConnectMs;
  options.mount_prefix = settings().prefix;
  make_room_to_hide();  // connecting starts a thread
  benchfs_context_t* context = functions.connect(&options);
  if (context == nullptr) {
    complain("no cluster", functions.get_error());
    return nullptr;
  }
  failed_at = 0;
  return context;
}

}  // namespace

Cluster cluster() {
  benchfs_context_t* context = connected.load(std::memory_order_acquire);
  if (context != nullptr) [[likely]] {
    return {context, &functions};
  }
  Deferral deferral;
  if (int error = pthread_mutex_lock(&mutex); error != 0) {
    errno = error;  // EDEADLK: a signal handler interrupted this very function
    return {};
  }
  context = connected.load();
  if (context == nullptr) {
    context = connect();
    connected.store(context, std::memory_order_release);
  }
  pthread_mutex_unlock(&mutex);
  errno = ENOTCONN;
  return {context, &functions};
}

std::uint32_t process_epoch() {
  return epoch.load(std::memory_order_relaxed);
}

void hold_cluster(const timespec& until) {
  is_held = pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &until) == 0;
}

void let_cluster_go() {
  if (is_held) {
    is_held = false;
    pthread_mutex_unlock(&mutex);
  }
}

void forget_cluster() {
  is_held = false;
  epoch.fetch_add(1);
  connected = nullptr;
  failed_at = 0;
  pthread_mutex_t fresh = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
  std::memcpy(&mutex, &fresh, sizeof mutex);
}

}  // namespace benchfs::preload
