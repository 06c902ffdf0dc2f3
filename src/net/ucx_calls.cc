#include "net/ucx_calls.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/signal_block.h"

// Defined in programs that link benchfs_overrides; null elsewhere.
extern "C" __attribute__((weak)) int benchfs_accept(int port, sockaddr* address, socklen_t* length);

namespace benchfs::net {
namespace {

// --- What is called instead ----------------------------------------------------------------------

int open_socket(int domain, int type, int protocol) {
  return ::socket(domain, type | SOCK_CLOEXEC, protocol);
}

int accept_socket(int port, sockaddr* address, socklen_t* length) {
  return has_overrides() ? benchfs_accept(port, address, length)
                         : ::accept4(port, address, length, SOCK_CLOEXEC);
}

int create_epoll(int) {
  return ::epoll_create1(EPOLL_CLOEXEC);
}

int create_epoll1(int flags) {
  return ::epoll_create1(flags | EPOLL_CLOEXEC);
}

int create_eventfd(unsigned value, int flags) {
  return ::eventfd(value, flags | EFD_CLOEXEC);
}

int create_timerfd(int clock, int flags) {
  return ::timerfd_create(clock, flags | TFD_CLOEXEC);
}

int create_pipe(int* ends) {
  return ::pipe2(ends, O_CLOEXEC);
}

// The root directory as it was when UCX was loaded. UCX opens files of /proc when it needs them for
// the first time, and a program may have called chroot() by then. The descriptor is used while it
// is what we opened: the program may have closed it, and opened something else under its number.
class RootDirectory {
 public:
  void keep() {
    if (fd_ < 0) {
      fd_ = ::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
      if (fd_ >= 0 && ::fstat(fd_, &kept_) != 0) {
        ::close(std::exchange(fd_, -1));
      }
    }
  }
  [[nodiscard]] int open(const char* path, int flags, mode_t mode) const {
    struct stat now{};
    bool is_ours = path[0] == '/' && path[1] != '\0' && fd_ >= 0 && ::fstat(fd_, &now) == 0 &&
                   now.st_dev == kept_.st_dev && now.st_ino == kept_.st_ino;
    return is_ours ? ::openat(fd_, path + 1, flags, mode) : ::open(path, flags, mode);
  }

 private:
  int fd_ = -1;
  struct stat kept_{};
};

RootDirectory root_directory;

int open_file(const char* path, int flags, ...) {  // NOLINT(modernize-avoid-variadic-functions)
  mode_t mode = 0;
  if ((flags & (O_CREAT | O_TMPFILE)) != 0) {
    va_list more;
    va_start(more, flags);
    mode = static_cast<mode_t>(va_arg(more, int));
    va_end(more);
  }
  return root_directory.open(path, flags | O_CLOEXEC, mode);
}

std::FILE* open_stream(const char* path, const char* mode) {
  if (mode[0] != 'r' || mode[1] == '+') {
    return std::fopen(path, (std::string(mode) + "e").c_str());
  }
  int fd = root_directory.open(path, O_RDONLY | O_CLOEXEC, 0);
  return fd < 0 ? nullptr : ::fdopen(fd, mode);
}

int create_thread(pthread_t* thread,
                  const pthread_attr_t* attributes,
                  void* (*function)(void*),
                  void* argument) {
  SignalBlock block;
  return ::pthread_create(thread, attributes, function, argument);
}

bool is_end_of_connection(int error) {
  return error == ECONNRESET || error == ECONNABORTED || error == EPIPE || error == ETIMEDOUT;
}

struct Replacement {
  std::string_view name;
  void* function;
};

template <typename Function>
void* address_of(Function* function) {
  return reinterpret_cast<void*>(function);
}

const Replacement kReplacements[] = {
    {"socket", address_of(open_socket)},
    {"accept", address_of(accept_socket)},
    {"epoll_create", address_of(create_epoll)},
    {"epoll_create1", address_of(create_epoll1)},
    {"eventfd", address_of(create_eventfd)},
    {"timerfd_create", address_of(create_timerfd)},
    {"pipe", address_of(create_pipe)},
    {"open", address_of(open_file)},
    {"open64", address_of(open_file)},
    {"fopen", address_of(open_stream)},
    {"fopen64", address_of(open_stream)},
    {"pthread_create", address_of(create_thread)},
    {"send", address_of(send_or_put_off)},
};

void* replacement_of(std::string_view name) {
  const auto* found = std::ranges::find(kReplacements, name, &Replacement::name);
  return found == std::end(kReplacements) ? nullptr : found->function;
}

// --- Where it is called --------------------------------------------------------------------------

bool is_ucx_library(std::string_view path) {
  std::string_view name = path.substr(path.rfind('/') + 1);
  return std::ranges::any_of(
      std::initializer_list<std::string_view>{"libucs", "libuct", "libucp", "libucm"},
      [name](std::string_view prefix) { return name.starts_with(prefix); });
}

// The parts of a loaded library that say through which words it calls others.
struct Library {
  std::uintptr_t base = 0;
  const ElfW(Sym) * symbols = nullptr;
  const char* names = nullptr;
  std::uintptr_t tables[2] = {};  // of relocations
  std::size_t table_bytes[2] = {};
  std::uintptr_t sealed_begin = 0;  // made read-only once it was loaded
  std::uintptr_t sealed_end = 0;
};

Library read_library(const dl_phdr_info& info) {
  Library library{.base = info.dlpi_addr};
  const ElfW(Dyn)* entry = nullptr;
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = info.dlpi_phdr[i];
    if (header.p_type == PT_DYNAMIC) {
      entry = reinterpret_cast<const ElfW(Dyn)*>(library.base + header.p_vaddr);
    } else if (header.p_type == PT_GNU_RELRO) {
      library.sealed_begin = library.base + header.p_vaddr;
      library.sealed_end = library.sealed_begin + header.p_memsz;
    }
  }
  bool has_addends = true;
  for (; entry != nullptr && entry->d_tag != DT_NULL; ++entry) {
    std::uintptr_t value = entry->d_un.d_ptr;
    std::uintptr_t address = value < library.base ? library.base + value : value;
    switch (entry->d_tag) {
      case DT_SYMTAB:
        library.symbols = reinterpret_cast<const ElfW(Sym)*>(address);
        break;
      case DT_STRTAB:
        library.names = reinterpret_cast<const char*>(address);
        break;
      case DT_JMPREL:
        library.tables[0] = address;
        break;
      case DT_PLTRELSZ:
        library.table_bytes[0] = value;
        break;
      case DT_PLTREL:
        has_addends = value == DT_RELA;
        break;
      case DT_RELA:
        library.tables[1] = address;
        break;
      case DT_RELASZ:
        library.table_bytes[1] = value;
        break;
      default:
        break;
    }
  }
  if (!has_addends) {
    library.table_bytes[0] = 0;  // a machine we do not know
  }
  return library;
}

bool is_address_of_function(const ElfW(Rela) & relocation) {
#if defined(__x86_64__)
  std::uint64_t type = ELF64_R_TYPE(relocation.r_info);
  return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT;
#elif defined(__aarch64__)
  std::uint64_t type = ELF64_R_TYPE(relocation.r_info);
  return type == R_AARCH64_JUMP_SLOT || type == R_AARCH64_GLOB_DAT;
#else
  (void)relocation;
  return false;
#endif
}

void replace(const Library& library, std::uintptr_t slot, void* function) {
  auto* word = reinterpret_cast<void**>(slot);
  if (std::atomic_ref(*word).load(std::memory_order_relaxed) == function) {
    return;
  }
  static const auto page_bytes = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  auto* page = reinterpret_cast<void*>(slot & ~(page_bytes - 1));
  bool is_sealed = slot >= library.sealed_begin && slot < library.sealed_end;
  if (is_sealed && ::mprotect(page, page_bytes, PROT_READ | PROT_WRITE) != 0) {
    return;
  }
  std::atomic_ref(*word).store(function, std::memory_order_relaxed);
  if (is_sealed) {
    (void)::mprotect(page, page_bytes, PROT_READ);
  }
}

int redirect_library(dl_phdr_info* info, std::size_t, void*) {
  if (!is_ucx_library(info->dlpi_name)) {
    return 0;
  }
  Library library = read_library(*info);
  if (library.symbols == nullptr || library.names == nullptr) {
    return 0;
  }
  for (int table = 0; table < 2; ++table) {
    const auto* begin = reinterpret_cast<const ElfW(Rela)*>(library.tables[table]);
    const auto* end = begin + library.table_bytes[table] / sizeof(ElfW(Rela));
    for (const auto* relocation = begin; relocation != end; ++relocation) {
      if (!is_address_of_function(*relocation)) {
        continue;
      }
      const ElfW(Sym)& symbol = library.symbols[ELF64_R_SYM(relocation->r_info)];
      if (void* function = replacement_of(library.names + symbol.st_name)) {
        replace(library, library.base + relocation->r_offset, function);
      }
    }
  }
  return 0;
}

}  // namespace

ssize_t send_or_put_off(int fd, const void* data, std::size_t length, int flags) {
  static thread_local int put_off = -1;
  ssize_t sent = ::send(fd, data, length, flags);
  if (sent < 0 && is_end_of_connection(errno)) [[unlikely]] {
    if (fd == std::exchange(put_off, fd)) {
      put_off = -1;  // UCX repeats some sends until they end
    } else {
      errno = EAGAIN;
    }
  }
  return sent;
}

bool has_overrides() {
  return benchfs_accept != nullptr;
}

void redirect_ucx_calls() {
  static std::mutex one_at_a_time;
  std::lock_guard lock(one_at_a_time);
  root_directory.keep();
  ::dl_iterate_phdr(redirect_library, nullptr);
}

}  // namespace benchfs::net
