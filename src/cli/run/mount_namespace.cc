#include "cli/run/mount_namespace.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "cli/mount/connect.h"
#include "mount/mount_point.h"
#include "mount/private_mount.h"
#include "mount/serve.h"

namespace benchfs::cli {
namespace {

constexpr const char* kCommand = "run";

// One message with a descriptor.
union Message {
  cmsghdr header;
  std::array<char, CMSG_SPACE(sizeof(int))> room;
};

bool send_descriptor(int socket, int fd) {
  char word = 'd';
  iovec part{.iov_base = &word, .iov_len = 1};
  Message control{};
  control.header.cmsg_level = SOL_SOCKET;
  control.header.cmsg_type = SCM_RIGHTS;
  control.header.cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control;
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}

// Not open when the sender has gone.
Fd receive_descriptor(int socket) {
  char word = 0;
  iovec part{.iov_base = &word, .iov_len = 1};
  Message control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control;
  ssize_t got = 0;
  while ((got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  int fd = -1;
  if (got == 1 && CMSG_FIRSTHDR(&message) != nullptr) {
    std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
  }
  return Fd(fd);
}

// The program's terminal and pipes are not ours.
void leave_standard_streams(const std::string& log_path) {
  Fd nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  Fd log(log_path.empty()
             ? -1
             : ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  ::dup2(nothing.get(), STDIN_FILENO);
  ::dup2(nothing.get(), STDOUT_FILENO);
  ::dup2(log.is_open() ? log.get() : nothing.get(), STDERR_FILENO);
  [[maybe_unused]] int moved = ::chdir("/");
}

int serve(const Context& context, const NamespaceMount& wanted, Fd to_program) {
  Fd device = receive_descriptor(to_program.get());
  if (!device.is_open()) {
    return kExitFailed;  // it could not mount, and has said why
  }
  Result<std::unique_ptr<client::Client>> client = connect_for_mount(context);
  if (!client) {
    return report(kCommand, "", client.error());
  }
  mount::ServeOptions options;
  options.mount.mount_point = wanted.directory;
  options.mount.device = ::fcntl(device.get(), F_DUPFD_CLOEXEC, 0);
  options.on_ready = [&] {
    leave_standard_streams(wanted.log);
    [[maybe_unused]] ssize_t written = ::send(to_program.get(), "+", 1, MSG_NOSIGNAL);
    to_program.reset();
  };
  device.reset();
  if (Status served = mount::serve(**client, std::move(options)); !served) {
    return report(kCommand, wanted.directory, served.error());
  }
  return kExitOk;
}

// Starts the process that serves, which is no child of the program. Only the caller returns.
Status start_server(const Context& context,
                    const NamespaceMount& wanted,
                    Fd& to_program,
                    Fd& to_server) {
  pid_t child = ::fork();
  if (child < 0) {
    return fail_system(errno, "fork");
  }
  if (child == 0) {
    to_server.reset();
    ::setsid();
    pid_t server = ::fork();
    if (server == 0) {
      std::exit(serve(context, wanted, std::move(to_program)));
    }
    _exit(server < 0 ? 1 : 0);
  }
  to_program.reset();
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status == 0 ? Status{} : fail_system(EAGAIN, "fork");
}

bool is_below(std::string_view path, std::string_view directory) {
  return path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

}  // namespace

std::optional<int> mount_for_program(const Context& context, const NamespaceMount& mount) {
  Result<mount::MountPoint> point = mount::examine(mount.directory);
  if (!point) {
    std::string why = std::generic_category().message(point.error().posix);
    return report(kCommand,
                  mount.directory,
                  why + "; make a directory to mount on, and name it with --mount");
  }
  NamespaceMount wanted = mount;
  wanted.directory = point->path;
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return report(kCommand, "", fail_system(errno, "socketpair").error());
  }
  Fd to_program(ends[0]);
  Fd to_server(ends[1]);
  if (Status started = start_server(context, wanted, to_program, to_server); !started) {
    return report(kCommand, "", started.error());
  }
  Result<Fd> device =
      mount::mount_in_own_namespace(wanted.directory, "benchfs:" + context.registry_dir);
  if (!device) {
    return report(kCommand, wanted.directory, device.error());
  }
  char word = 0;
  bool is_sent = send_descriptor(to_server.get(), device->get());
  device->reset();
  ssize_t got = 0;
  while (is_sent && (got = ::read(to_server.get(), &word, 1)) < 0 && errno == EINTR) {
  }
  if (got != 1) {
    return kExitFailed;  // it has said why
  }
  // The working directory may be below what is mounted there now.
  std::array<char, 4096> current{};
  bool is_known = ::getcwd(current.data(), current.size()) != nullptr;
  if (is_known && ::chdir(current.data()) != 0 && is_below(current.data(), wanted.directory)) {
    std::string why = std::generic_category().message(errno);
    return report(kCommand, current.data(), why + "; the working directory is not in the cluster");
  }
  return std::nullopt;
}

}  // namespace benchfs::cli
