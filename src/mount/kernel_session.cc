#include "mount/kernel_session.h"

#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <string>

#include "base/log.h"
#include "mount/device.h"

namespace benchfs::mount {
namespace {

// What libfuse said last; it writes its messages to a function, not into its results.
thread_local std::string last_message;

void on_message(fuse_log_level level, const char* format, va_list arguments) {
  std::array<char, 512> text{};
  std::vsnprintf(text.data(), text.size(), format, arguments);
  last_message = text.data();
  while (last_message.ends_with('\n')) {
    last_message.pop_back();
  }
  if (level <= FUSE_LOG_ERR) {
    BENCHFS_LOG(kInfo, "{}", last_message);
  } else {
    BENCHFS_LOG(kDebug, "{}", last_message);
  }
}

}  // namespace

Result<std::unique_ptr<KernelSession>> KernelSession::mount(Door& door,
                                                            const MountOptions& options) {
  bool is_mounted = options.device >= 0;
  if (!is_mounted) {
    BENCHFS_TRY_VOID(check_device());
  }
  fuse_set_log_func(on_message);
  // A comma would end the option, a backslash begins an escape.
  std::string source;
  for (char c : options.source) {
    if (c == ',' || c == '\\') {
      source += '\\';
    }
    source += c;
  }
  std::string list = fmt::format("default_permissions,subtype=benchfs,fsname={}{}",
                                 source,
                                 options.allow_other ? ",allow_other" : "");
  std::array<std::string, 3> words = {"benchfs", "-o", list};
  std::array<char*, 3> pointers = {words[0].data(), words[1].data(), words[2].data()};
  fuse_args args = FUSE_ARGS_INIT(static_cast<int>(pointers.size()), pointers.data());
  last_message.clear();
  fuse_session* made =
      fuse_session_new(&args, &Door::operations(), sizeof(fuse_lowlevel_ops), &door);
  fuse_opt_free_args(&args);
  if (made == nullptr) {
    return fail(Errc::kInternal, "libfuse refused the session: " + last_message);
  }
  std::unique_ptr<KernelSession> session(
      new KernelSession(made));  // lint: allow new private constructor
  // libfuse's name for a mount that is there already.
  std::string where = is_mounted ? fmt::format("/dev/fd/{}", options.device) : options.mount_point;
  if (fuse_session_mount(made, where.c_str()) != 0) {
    return fail_system(EPERM, last_message.empty() ? "fusermount3 mounts nothing" : last_message);
  }
  fuse_custom_io io{};
  io.writev = [](int fd, iovec* parts, int count, void* self) {
    std::span<const iovec> answer(parts, static_cast<std::size_t>(count));
    static_cast<Door*>(self)->before_reply(answer);
    return ::writev(fd, parts, count);
  };
  io.read = [](int fd, void* into, std::size_t bytes, void* /*self*/) {
    return ::read(fd, into, bytes);
  };
  if (int error = fuse_session_custom_io(made, &io, fuse_session_fd(made)); error != 0) {
    return fail_system(-error, "fuse_session_custom_io");
  }
  return session;
}

KernelSession::~KernelSession() {
  fuse_session_destroy(session_);
}

}  // namespace benchfs::mount
