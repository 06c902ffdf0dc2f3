// The entries that make processes and start programs.
//
// A new program gets the library and its settings whatever environment its caller gives it. One
// that lies below the prefix is copied into memory, because the kernel cannot read it there; a
// script is given to its interpreter by name.
#include <alloca.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/left_opens.h"
#include "preload/locks.h"
#include "preload/mappings.h"
#include "preload/opening.h"
#include "preload/places.h"
#include "preload/real.h"
#include "preload/settings.h"
#include "preload/text.h"

namespace benchfs::preload {
namespace {

constexpr int kOwnVariables = 5;
constexpr int kMaxInterpreters = 4;

// The value when the entry is of that variable, else nullptr. Like all that most children of a fork
// come by on their way to exec(), without libc's functions and large variables: each page that such
// a child is the first to touch costs it a fault.
const char* value_of(const char* entry, const char* name) {
  const char* rest = behind(entry, name);
  return rest != nullptr && *rest == '=' ? rest + 1 : nullptr;
}

bool is_variable(const char* entry, const char* name) {
  return value_of(entry, name) != nullptr;
}

// Whether an environment has the variables that the library needs, each once, as Environment would
// make it.
bool is_complete(char* const* given) {
  const Settings& own = settings();
  struct Wanted {
    const char* name;
    const char* value;  // "": none
    int found = 0;
  };
  Wanted wanted[] = {{kPreloadVariable, own.library},
                     {kMountVariable, own.prefix},
                     {kRegistryVariable, own.registry},
                     {kDirectoryVariable, own_working_directory()}};
  for (; given != nullptr && *given != nullptr; ++given) {
    for (Wanted& one : wanted) {
      if (const char* value = value_of(*given, one.name)) {
        bool is_same =
            one.name == kPreloadVariable ? contains(value, one.value) : is_equal(value, one.value);
        if (*one.value == '\0' || !is_same || ++one.found > 1) {
          return false;
        }
      }
    }
  }
  for (const Wanted& one : wanted) {
    if (*one.value != '\0' && one.found == 0) {
      return false;
    }
  }
  return true;
}

// The caller's environment with the variables that the library needs. Lives as long as the object;
// no allocation, as exec() may be called where nothing may be allocated.
class Environment {
 public:
  // `storage` has room for size_of(given) pointers.
  Environment(char* const* given, char** storage) : variables_(storage) {
    static char* nothing[] = {nullptr};
    const Settings& own = settings();
    for (char* const* entry = given != nullptr ? given : nothing; *entry != nullptr; ++entry) {
      if (is_variable(*entry, kPreloadVariable)) {
        std::snprintf(preload_, sizeof preload_, "%s", *entry);
      } else if (!is_variable(*entry, kMountVariable) && !is_variable(*entry, kRegistryVariable) &&
                 !is_variable(*entry, kDirectoryVariable)) {
        add(*entry);
      }
    }
    if (std::strstr(preload_, own.library) == nullptr) {
      char others[PATH_MAX];
      const char* equals = std::strchr(preload_, '=');
      std::snprintf(others, sizeof others, "%s", equals != nullptr ? equals + 1 : "");
      std::snprintf(preload_,
                    sizeof preload_,
                    "%s=%s%s%s",
                    kPreloadVariable,
                    own.library,
                    others[0] != '\0' ? ":" : "",
                    others);
    }
    add(preload_);
    std::snprintf(mount_, sizeof mount_, "%s=%s", kMountVariable, own.prefix);
    add(mount_);
    if (own.registry[0] != '\0') {
      std::snprintf(registry_, sizeof registry_, "%s=%s", kRegistryVariable, own.registry);
      add(registry_);
    }
    if (*own_working_directory() != '\0') {
      std::snprintf(
          directory_, sizeof directory_, "%s=%s", kDirectoryVariable, own_working_directory());
      add(directory_);
    }
    variables_[count_] = nullptr;
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  static std::size_t size_of(char* const* given) {
    std::size_t count = kOwnVariables + 1;
    for (; given != nullptr && *given != nullptr; ++given) {
      ++count;
    }
    return count;
  }
  [[nodiscard]] char** get() const { return variables_; }

 private:
  void add(char* entry) { variables_[count_++] = entry; }

  char** variables_;
  std::size_t count_ = 0;
  char preload_[2 * PATH_MAX] = "";
  char mount_[512] = "";
  char registry_[PATH_MAX + 64] = "";
  char directory_[PATH_MAX + 64] = "";
};

[[gnu::noinline]] int execute_with_own(const char* path,
                                       char* const* arguments,
                                       char* const* environment);

#define OWN_ENVIRONMENT(name, given) \
  Environment name(given, static_cast<char**>(alloca(Environment::size_of(given) * sizeof(char*))))

// A program below the prefix, ready for the kernel.
struct Program {
  int memory_file = -1;    // an executable in memory
  char interpreter[256];   // or a script's
  char argument[256];      // of the interpreter; "" for none
  char script[kPathRoom];  // its name for the program
};

// The first line of a script: "#!interpreter argument".
bool parse_script(char* line, Program& program) {
  line[std::strcspn(line, "\n")] = '\0';
  char* at = line + 2 + std::strspn(line + 2, " \t");
  std::size_t bytes = std::strcspn(at, " \t");
  if (bytes == 0 || bytes >= sizeof program.interpreter) {
    return false;
  }
  std::memcpy(program.interpreter, at, bytes);
  program.interpreter[bytes] = '\0';
  at += bytes + std::strspn(at + bytes, " \t");
  std::snprintf(program.argument, sizeof program.argument, "%s", at);
  return true;
}

// How much may be written behind `offset` of a file, at a time: beyond "ulimit -f" it is a signal.
std::size_t room_below_limit(off_t offset) {
  constexpr rlim_t kMost = rlim_t{1} << 24;
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return kMost;
  }
  auto begin = static_cast<rlim_t>(offset);
  return limit.rlim_cur <= begin ? 0 : std::min(kMost, limit.rlim_cur - begin);
}

// The content of an open file, which the kernel can then read.
int copy_to_memory(int fd) {
  int memory_file = memfd_create("benchfs-program", MFD_CLOEXEC);
  off_t offset = 0;
  ssize_t bytes = 1;
  while (memory_file >= 0 && bytes > 0) {
    std::size_t most = room_below_limit(offset);
    errno = EFBIG;
    bytes = most == 0 ? -1 : sendfile(memory_file, fd, &offset, most);
  }
  if (bytes < 0) {
    int before = errno;
    close_own(memory_file);
    errno = before;
    return -1;
  }
  return memory_file;
}

// 0 or a negative errno value.
int load(const char* path, Program& program) {
  Deferral deferral;
  Cluster here = cluster();
  if (!here) {
    return -errno;
  }
  if (int error = here.api->eaccess(here.context, path, X_OK); error != 0) {
    return error;
  }
  long fd = open_ours(path, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) {
    return static_cast<int>(fd);
  }
  Uncancelled uncancelled;
  int result = 0;
  char line[256];
  ssize_t bytes = pread(static_cast<int>(fd), line, sizeof line - 1, 0);
  if (bytes < 0) {
    result = errno == EISDIR ? -EACCES : -errno;
  } else {
    line[bytes] = '\0';
    bool is_script = bytes >= 2 && line[0] == '#' && line[1] == '!';
    if (is_script) {
      result = parse_script(line, program) ? 0 : -ENOEXEC;
      to_program_path(path, program.script);
    } else {
      program.memory_file = copy_to_memory(static_cast<int>(fd));
      result = program.memory_file < 0 ? -errno : 0;
    }
  }
  close_any(static_cast<int>(fd));
  return result;
}

}  // namespace

void* open_own_library(const char* path, int flags) {
  // The dynamic linker knows a library by its name, so its descriptor stays open and hidden.
  struct Library {
    dev_t device;
    ino_t inode;
    timespec changed;
    int memory_file;
  };
  static Library libraries[256];
  static std::atomic<int> count{0};
  struct stat info{};
  if (stat(path, &info) != 0) {
    return real().dlopen(path, flags);  // for its message
  }
  char name[64];
  for (int i = 0; i < count; ++i) {
    const Library& known = libraries[i];
    if (known.inode == info.st_ino && known.changed.tv_sec == info.st_mtim.tv_sec &&
        known.changed.tv_nsec == info.st_mtim.tv_nsec) {
      std::snprintf(name, sizeof name, "/proc/self/fd/%d", known.memory_file);
      return real().dlopen(name, flags);
    }
  }
  Uncancelled uncancelled;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  int memory_file = fd >= 0 ? hide(copy_to_memory(fd)) : -1;
  close(fd);
  if (memory_file < 0) {
    return real().dlopen(path, flags);
  }
  int slot = count.load() < 256 ? count.fetch_add(1) : 255;
  libraries[slot] = {info.st_dev, info.st_ino, info.st_mtim, memory_file};
  std::snprintf(name, sizeof name, "/proc/self/fd/%d", memory_file);
  return real().dlopen(name, flags);
}

namespace {

std::size_t count_of(char* const* arguments) {
  std::size_t count = 0;
  while (arguments != nullptr && arguments[count] != nullptr) {
    ++count;
  }
  return count;
}

// The arguments of a script's interpreter.
void script_arguments(const Program& program, char* const* arguments, char** into) {
  *into++ = const_cast<char*>(program.interpreter);
  if (program.argument[0] != '\0') {
    *into++ = const_cast<char*>(program.argument);
  }
  *into++ = const_cast<char*>(program.script);
  for (std::size_t i = 1; i < count_of(arguments); ++i) {
    *into++ = arguments[i];
  }
  *into = nullptr;
}

// Most programs have no open file of ours: they need nothing of what lies elsewhere in the library.
void leave_locks(const char* path) {
  if (highest_descriptor() >= 0) {
    leave_before_exec(path);
    note_execution();
  }
}

// The program could not be executed.
void stay() {
  if (highest_descriptor() >= 0) {
    int before = errno;
    note_no_execution();
    errno = before;
  }
}

int execute(Counter& counter,
            int directory,
            const char* path,
            char* const* arguments,
            char* const* environment,
            int depth = 0) {
  if (!settings().is_active) {
    return real().execve(path, arguments, environment);
  }
  return at_place(
      counter,
      directory,
      path,
      Follow::kYes,
      [&](const char* ours) {
        Program program;
        if (int error = load(ours, program); error != 0) {
          return error;
        }
        if (program.memory_file >= 0) {
          OWN_ENVIRONMENT(own, environment);
          write_back_mappings();
          leave_locks(nullptr);
          {
            Interruptible interruptible;  // else the new program has signals blocked
            real().syscall(
                SYS_execveat, program.memory_file, "", arguments, own.get(), AT_EMPTY_PATH);
          }
          int error = errno;
          stay();
          close_own(program.memory_file);
          return -error;
        }
        if (depth >= kMaxInterpreters) {
          return -ELOOP;
        }
        auto** all = static_cast<char**>(alloca((count_of(arguments) + 4) * sizeof(char*)));
        script_arguments(program, arguments, all);
        execute(counter, AT_FDCWD, program.interpreter, all, environment, depth + 1);
        return -errno;
      },
      [&](int, const char* theirs) {
        write_back_mappings();
        leave_locks(theirs);
        {
          Interruptible interruptible;
          (void)(is_complete(environment) ? real().execve(theirs, arguments, environment)
                                          : execute_with_own(theirs, arguments, environment));
        }
        stay();
        return -1;
      });
}

int execute_with_own(const char* path, char* const* arguments, char* const* environment) {
  OWN_ENVIRONMENT(own, environment);
  return real().execve(path, arguments, own.get());
}

// What execvp() does with a file that has no format of the kernel's.
int execute_or_script(Counter& counter,
                      const char* path,
                      char* const* arguments,
                      char* const* environment) {
  int result = execute(counter, AT_FDCWD, path, arguments, environment);
  if (errno != ENOEXEC) {
    return result;
  }
  auto** all = static_cast<char**>(alloca((count_of(arguments) + 3) * sizeof(char*)));
  all[0] = const_cast<char*>("/bin/sh");
  all[1] = const_cast<char*>(path);
  std::size_t count = count_of(arguments);
  for (std::size_t i = 1; i < count; ++i) {
    all[i + 1] = arguments[i];
  }
  all[count > 0 ? count + 1 : 2] = nullptr;
  return execute(counter, AT_FDCWD, all[0], all, environment);
}

int search_and_execute(Counter& counter,
                       const char* file,
                       char* const* arguments,
                       char* const* environment) {
  if (std::strchr(file, '/') != nullptr) {
    return execute_or_script(counter, file, arguments, environment);
  }
  const char* at = std::getenv("PATH");
  at = at != nullptr ? at : "/bin:/usr/bin";
  int error = ENOENT;
  char candidate[kPathRoom];
  for (;;) {
    std::size_t bytes = std::strcspn(at, ":");
    if (bytes + std::strlen(file) + 2 < sizeof candidate) {
      std::snprintf(candidate,
                    sizeof candidate,
                    "%.*s%s%s",
                    static_cast<int>(bytes),
                    at,
                    bytes != 0 ? "/" : "",
                    file);
      execute_or_script(counter, candidate, arguments, environment);
      if (errno == EACCES) {
        error = EACCES;
      } else if (errno != ENOENT && errno != ENOTDIR && errno != ESTALE) {
        return -1;
      }
    }
    if (at[bytes] == '\0') {
      return fail_with(error);
    }
    at += bytes + 1;
  }
}

using Spawn = int (*)(pid_t*,
                      const char*,
                      const posix_spawn_file_actions_t*,
                      const posix_spawnattr_t*,
                      char* const*,
                      char* const*);

// posix_spawn() returns the error number.
int spawn(Counter& counter,
          Spawn real_spawn,
          pid_t* pid,
          const char* file,
          const posix_spawn_file_actions_t* actions,
          const posix_spawnattr_t* attributes,
          char* const* arguments,
          char* const* environment) {
  note_spawn();
  note_execution();
  if (!settings().is_active) {
    return real_spawn(pid, file, actions, attributes, arguments, environment);
  }
  OWN_ENVIRONMENT(own, environment);
  Place place;
  if (std::strchr(file, '/') != nullptr) {
    find_place(AT_FDCWD, file, place);
  }
  if (!place.is_ours) {
    counter.passed();
    int error = real_spawn(pid, file, actions, attributes, arguments, own.get());
    if (error != 0) {
      stay();
    }
    return error;
  }
  counter.served();
  Program program;
  if (int error = load(place.path, program); error != 0) {
    return -error;
  }
  if (program.memory_file >= 0) {
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", program.memory_file);
    int error = real().posix_spawn(pid, path, actions, attributes, arguments, own.get());
    close_own(program.memory_file);
    return error;
  }
  auto** all = static_cast<char**>(alloca((count_of(arguments) + 4) * sizeof(char*)));
  script_arguments(program, arguments, all);
  return real().posix_spawn(pid, program.interpreter, actions, attributes, all, own.get());
}

// The arguments of execl() and its like.
std::size_t count_list(va_list list) {
  std::size_t count = 1;
  while (va_arg(list, char*) != nullptr) {
    ++count;
  }
  return count;
}
void fill_list(const char* first, va_list list, char** into) {
  *into++ = const_cast<char*>(first);
  while (char* next = va_arg(list, char*)) {
    *into++ = next;
  }
  *into = nullptr;
}

#define LIST_ARGUMENTS(arguments, first, list)                                          \
  va_list list;                                                                         \
  va_start(list, first);                                                                \
  std::size_t argument_count = (first) != nullptr ? count_list(list) : 0;               \
  va_end(list);                                                                         \
  auto** arguments = static_cast<char**>(alloca((argument_count + 1) * sizeof(char*))); \
  arguments[0] = nullptr;                                                               \
  va_start(list, first);                                                                \
  if (argument_count > 0) {                                                             \
    fill_list(first, list, arguments);                                                  \
  }

}  // namespace

// A child that shares this memory would change the tables of its parent.
// Joins when all handlers of pthread_atfork() have run, those of libbenchfs among them.
ENTRY(pid_t, fork) {
  if (highest_descriptor() < 0) {
    return real().fork();
  }
  look_after_left_opens();
  announce_child();
  pid_t child = real().fork();
  int error = errno;
  if (child > 0) {
    note_announced();
  }
  if (child >= 0) {
    join_locks();
  }
  if (child <= 0) {
    end_announcement();
  }
  errno = error;
  return child;
}
ENTRY(pid_t, vfork) {
  return entry_fork();
}
ENTRY(pid_t, __vfork) {
  return entry_fork();
}

ENTRY(int, execve, const char* path, char* const* arguments, char* const* environment) {
  COUNTER(execve);
  return execute(counter, AT_FDCWD, path, arguments, environment);
}
ENTRY(int, execv, const char* path, char* const* arguments) {
  COUNTER(execv);
  return execute(counter, AT_FDCWD, path, arguments, environ);
}
ENTRY(int, execvp, const char* file, char* const* arguments) {
  COUNTER(execvp);
  return search_and_execute(counter, file, arguments, environ);
}
ENTRY(int, execvpe, const char* file, char* const* arguments, char* const* environment) {
  COUNTER(execvpe);
  return search_and_execute(counter, file, arguments, environment);
}
ENTRY(int, execl, const char* path, const char* first, ...) {
  COUNTER(execl);
  LIST_ARGUMENTS(arguments, first, list)
  va_end(list);
  return execute(counter, AT_FDCWD, path, arguments, environ);
}
ENTRY(int, execlp, const char* file, const char* first, ...) {
  COUNTER(execlp);
  LIST_ARGUMENTS(arguments, first, list)
  va_end(list);
  return search_and_execute(counter, file, arguments, environ);
}
ENTRY(int, execle, const char* path, const char* first, ...) {
  COUNTER(execle);
  LIST_ARGUMENTS(arguments, first, list)
  char* const* environment = va_arg(list, char* const*);
  va_end(list);
  return execute(counter, AT_FDCWD, path, arguments, environment);
}
ENTRY(int, fexecve, int fd, char* const* arguments, char* const* environment) {
  COUNTER(fexecve);
  OpenRef open(fd);
  if (open) {
    char path[kPathRoom];
    to_program_path(open->shared->path, path);
    return execute(counter, AT_FDCWD, path, arguments, environment);
  }
  OWN_ENVIRONMENT(own, environment);
  return static_cast<int>(real().syscall(SYS_execveat,
                                         fd,
                                         "",
                                         arguments,
                                         settings().is_active ? own.get() : environment,
                                         AT_EMPTY_PATH));
}

ENTRY(int,
      posix_spawn,
      pid_t* pid,
      const char* path,
      const posix_spawn_file_actions_t* actions,
      const posix_spawnattr_t* attributes,
      char* const* arguments,
      char* const* environment) {
  COUNTER(posix_spawn);
  return spawn(counter, real().posix_spawn, pid, path, actions, attributes, arguments, environment);
}
ENTRY(int,
      posix_spawnp,
      pid_t* pid,
      const char* file,
      const posix_spawn_file_actions_t* actions,
      const posix_spawnattr_t* attributes,
      char* const* arguments,
      char* const* environment) {
  COUNTER(posix_spawnp);
  return spawn(
      counter, real().posix_spawnp, pid, file, actions, attributes, arguments, environment);
}

ENTRY(FILE*, popen, const char* command, const char* mode) {
  note_spawn();
  note_execution();
  return real().popen(command, mode);
}
ENTRY(int, system, const char* command) {
  note_spawn();
  note_execution();
  return real().system(command);
}

ENTRY(void, _exit, int status) {
  write_back_mappings();
  release_all_locks();
  end_left_opens();
  write_report();
  real()._exit(status);
  __builtin_unreachable();
}

}  // namespace benchfs::preload
