#include "net/memory_access.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

namespace benchfs::net {
namespace {

// The inode of the namespace "user" or "ipc"; nothing if the kernel does not tell.
std::optional<ino_t> namespace_of(const std::string& process, const char* kind) {
  struct stat status{};
  if (::stat(("/proc/" + process + "/ns/" + kind).c_str(), &status) != 0) {
    return std::nullopt;
  }
  return status.st_ino;
}

// The line of /proc/PID/status that begins so; empty when there is none.
std::string status_line(const std::string& process, std::string_view begin) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen(("/proc/" + process + "/status").c_str(), "re"), std::fclose);
  std::string found;
  char* line = nullptr;
  std::size_t room = 0;
  while (file && found.empty() && ::getline(&line, &room, file.get()) >= 0) {
    found = std::string_view(line).starts_with(begin) ? line : "";
  }
  std::free(line);
  return found;
}

// Asks the kernel: it looks at the permission before it looks at the address, which is nobody's.
bool may_read(pid_t process) {
  char byte = 0;
  iovec here{.iov_base = &byte, .iov_len = 1};
  iovec there{.iov_base = reinterpret_cast<void*>(std::uintptr_t{8}), .iov_len = 1};
  return ::process_vm_readv(process, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT ||
         errno == ESRCH;
}

}  // namespace

Sharing sharing_with(pid_t process) {
  if (process == ::getpid()) {
    return Sharing::kMemory;
  }
  std::string other = std::to_string(process);
  auto is_equal = [&other](std::string_view line) {
    return status_line(other, line) == status_line("self", line);
  };
  std::optional<ino_t> ipc = namespace_of(other, "ipc");
  if (!is_equal("Uid:") || !is_equal("Gid:") || (ipc && ipc != namespace_of("self", "ipc"))) {
    return Sharing::kNothing;
  }
  // The other direction cannot be tried from here: it is allowed between equals.
  bool may_read_both = may_read(process) && is_equal("CapPrm:") &&
                       namespace_of(other, "user") == namespace_of("self", "user");
  return may_read_both ? Sharing::kMemory : Sharing::kSegments;
}

}  // namespace benchfs::net
