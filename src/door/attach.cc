#include "door/attach.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <system_error>
#include <thread>

#include "base/environment.h"
#include "base/signal_block.h"
#include "base/user_namespace.h"
#include "door/steps.h"

namespace benchfs::door {
namespace {

constexpr int kBacklog = 128;
// Directories of other runs that are looked at when a door opens, and how old those are that may
// go.
constexpr std::size_t kMostDeadRuns = 256;
constexpr std::int64_t kYoungSeconds = 60;
constexpr std::int64_t kLongestPoll = 1000;  // ms
constexpr std::size_t kVersionEnd = 8;       // of both messages, in every version

std::string base_directory(const std::string& base) {
  const char* variable = environment("BENCHFS_DOOR_DIR");
  return !base.empty() ? base : variable != nullptr ? variable : "/tmp";
}

// Whose doors a program may enter: its user's, and root that of the user it trusts.
struct User {
  uid_t here = 0;     // in this user namespace
  uid_t outside = 0;  // in the one around it, by which directories are named
};

// Errors: kConfig.
Result<User> own_user() {
  uid_t here = geteuid();
  std::optional<uid_t> outside = user_outside(here);
  if (!outside) {
    return fail(Errc::kConfig,
                fmt::format("user {} has no number outside of this user namespace", here));
  }
  return User{here, *outside};
}

constexpr std::string_view kDirectoryPrefix = "benchfs-door-";

std::string directory_name(uid_t user_outside) {
  return fmt::format("{}{}", kDirectoryPrefix, user_outside);
}

// SafeDir has checked the owner.
Status check_private(const SafeDir& dir, uid_t user) {
  struct stat info{};
  if (fstat(dir.fd(), &info) != 0) {
    return fail_system(errno, dir.path());
  }
  if ((info.st_mode & 077) != 0 || info.st_uid != user) {
    return fail(Errc::kConfig,
                fmt::format("{} has mode {:04o} and belongs to user {}; the door needs a directory "
                            "that only user {} may enter",
                            dir.path(),
                            info.st_mode & 07777,
                            info.st_uid,
                            user));
  }
  return {};
}

// A path of any length does not fit into an address; the way through the descriptor does, and it
// leads to the directory that was checked.
Result<sockaddr_un> address_in(const SafeDir& dir, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = fmt::format("/proc/self/fd/{}/{}", dir.fd(), name);
  if (path.size() >= sizeof address.sun_path) {
    return fail(Errc::kConfig, path + " is too long for a socket");
  }
  std::copy(path.begin(), path.end(), address.sun_path);
  return address;
}

Result<Fd> new_socket(int flags) {
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
  if (!socket.is_open()) {
    return fail_system(errno, "a socket for the node door");
  }
  return socket;
}

// Returns an errno, or 0.
int connect_to(int socket, const sockaddr_un& address) {
  bool is_connected =
      ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  return is_connected ? 0 : errno;
}

constexpr std::size_t kMostDescriptors = 4;

// The descriptors that came with a message; more are closed.
std::array<Fd, kMostDescriptors> take_descriptors(msghdr& message) {
  std::array<Fd, kMostDescriptors> taken;
  std::size_t count = 0;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    std::size_t here = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < here; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      Fd owned(fd);
      if (count < taken.size()) {
        taken[count++] = std::move(owned);
      }
    }
  }
  return taken;
}

// Removes the doors of a run whose daemons were all killed. One that is just being opened is young.
void remove_if_dead(const SafeDir& user, const std::string& run_name) {
  Result<SafeDir> run = user.subdirectory(run_name);
  struct stat info{};
  if (!run || fstat(run->fd(), &info) != 0 ||
      info.st_mtim.tv_sec > wall_now_ns() / 1'000'000'000 - kYoungSeconds) {
    return;
  }
  for (const std::string& name : run->names()) {
    Result<sockaddr_un> address = address_in(*run, name);
    Result<Fd> socket = new_socket(SOCK_NONBLOCK);
    if (!address || !socket || connect_to(socket->get(), *address) != ECONNREFUSED) {
      return;
    }
    ::unlinkat(run->fd(), name.c_str(), 0);
  }
  user.remove_subdirectory(run_name);
}

void remove_dead(const SafeDir& user, const std::string& own_name) {
  std::size_t looked_at = 0;
  for (const std::string& name : user.names()) {
    if (name != own_name && ++looked_at <= kMostDeadRuns) {
      remove_if_dead(user, name);
    }
  }
}

}  // namespace

Result<DoorDirectory> DoorDirectory::open(std::uint64_t run_id, const std::string& base) {
  BENCHFS_TRY(SafeDir root, SafeDir::open(base_directory(base), Owner::kSelfOrSticky));
  BENCHFS_TRY(User own, own_user());
  std::string run_name = fmt::format("{:016x}", run_id);
  auto find = [&](const User& user, Owner owner) -> Result<DoorDirectory> {
    BENCHFS_TRY(SafeDir of_user, root.subdirectory(directory_name(user.outside), owner));
    BENCHFS_TRY_VOID(check_private(of_user, user.here));
    BENCHFS_TRY(SafeDir run, of_user.subdirectory(run_name));
    BENCHFS_TRY_VOID(check_private(run, user.here));
    BENCHFS_TRY_VOID(run.keep());
    return DoorDirectory(std::move(run), user.here);
  };
  Result<DoorDirectory> found = find(own, Owner::kSelf);
  std::optional<uid_t> trusted = trusted_user();
  if (!found && own.here == 0 && trusted) {
    std::optional<uid_t> outside = user_outside(*trusted);
    Result<DoorDirectory> of_trusted = find({*trusted, outside.value_or(0)}, Owner::kTrusted);
    return of_trusted ? std::move(of_trusted) : std::move(found);
  }
  return found;
}

Result<DoorDirectory> DoorDirectory::create(std::uint64_t run_id, const std::string& base) {
  BENCHFS_TRY(SafeDir root, SafeDir::open(base_directory(base), Owner::kSelfOrSticky));
  BENCHFS_TRY(User own, own_user());
  std::string run_name = fmt::format("{:016x}", run_id);
  BENCHFS_TRY(SafeDir user, root.create_subdirectory(directory_name(own.outside), 0700));
  BENCHFS_TRY_VOID(check_private(user, own.here));
  BENCHFS_TRY(SafeDir run, user.create_subdirectory(run_name, 0700));
  BENCHFS_TRY_VOID(check_private(run, own.here));
  remove_dead(user, run_name);
  return DoorDirectory(std::move(run), own.here);
}

bool DoorDirectory::is_there() const {
  struct stat info{};
  return run_.is_ours() && ::fstat(run_.fd(), &info) == 0 && info.st_nlink > 0;
}

Result<Fd> DoorDirectory::listen(std::uint32_t shard) const {
  std::string name = std::to_string(shard);
  BENCHFS_TRY(sockaddr_un address, address_in(run_, name));
  BENCHFS_TRY(Fd socket, new_socket(SOCK_NONBLOCK));
  // Whatever has the name: it lies in a directory of ours, and we are this shard.
  ::unlinkat(run_.fd(), name.c_str(), 0);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    return fail_system(errno, "opening the node door " + run_.path_of(name));
  }
  return socket;
}

// Where the directory has no path, because /proc is missing or the program has called chroot().
int DoorDirectory::connect_below(int socket, const std::string& name) const {
  int error = ENOENT;
  auto connect = [&] {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::copy(name.begin(), name.end(), address.sun_path);
    // The working directory is this thread's from now on.
    bool is_there = ::unshare(CLONE_FS) == 0 && ::fchdir(run_.fd()) == 0;
    error = is_there ? connect_to(socket, address) : errno;
  };
  SignalBlock block;
  try {
    std::thread(connect).join();  // lint: allow thread ends here
  } catch (const std::system_error& no_thread) {
    error = no_thread.code().value();
  }
  return error;
}

Result<Fd> DoorDirectory::connect(std::uint32_t shard) const {
  std::string name = std::to_string(shard);
  struct stat info{};
  if (fstatat(run_.fd(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return fail(Errc::kUnreachable, "there is no node door " + run_.path_of(name));
  }
  if (!S_ISSOCK(info.st_mode) || (info.st_uid != owner_ && info.st_uid != 0)) {
    return fail(Errc::kConfig, run_.path_of(name) + " is not a socket of this user");
  }
  BENCHFS_TRY(sockaddr_un address, address_in(run_, name));
  BENCHFS_TRY(Fd socket, new_socket(SOCK_NONBLOCK));
  int error = 0;
  do {
    error = connect_to(socket.get(), address);
  } while (error == EINTR);
  if (error == ENOENT) {
    error = connect_below(socket.get(), name);
  }
  if (error != 0) {
    Errc code = error == EAGAIN ? Errc::kBusy : Errc::kUnreachable;
    return std::unexpected(Error{code, error, "connecting to the node door " + run_.path_of(name)});
  }
  BENCHFS_TRY_VOID(accepted_peer(socket.get(), owner_));
  return socket;
}

bool DoorDirectory::has(std::uint32_t shard) const {
  struct stat info{};
  return ::fstatat(run_.fd(), std::to_string(shard).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISSOCK(info.st_mode);
}

std::vector<std::uint32_t> DoorDirectory::shards() const {
  std::vector<std::uint32_t> found;
  for (const std::string& name : run_.names()) {
    std::uint32_t shard = 0;
    auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), shard);
    if (error == std::errc() && std::to_string(shard) == name && has(shard)) {
      found.push_back(shard);
    }
  }
  return found;
}

void DoorDirectory::remove(std::uint32_t shard) const {
  ::unlinkat(run_.fd(), std::to_string(shard).c_str(), 0);
  run_.remove_self();
}

void remove_doors(std::uint64_t run_id, std::uint32_t shards, const std::string& base) {
  if (auto directory = DoorDirectory::open(run_id, base)) {
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      directory->remove(shard);
    }
  }
}

bool has_doors_of_others(const std::string& base) {
  Result<SafeDir> root = SafeDir::open(base_directory(base), Owner::kSelfOrSticky);
  Result<User> own = own_user();
  return root && own && std::ranges::any_of(root->names(), [&](const std::string& name) {
           return name.starts_with(kDirectoryPrefix) && name != directory_name(own->outside);
         });
}

Result<PeerIdentity> accepted_peer(int socket, uid_t user) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return fail_system(errno, "asking who is at the node door");
  }
  if (peer.uid != user && peer.uid != 0) {
    return fail(Errc::kRefused,
                fmt::format("user {} is at the node door of user {}", peer.uid, user));
  }
  return PeerIdentity{.pid = peer.pid, .uid = peer.uid};
}

Status send_attach(int socket, const AttachRequest& request) {
  if (::send(socket, &request, sizeof request, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof request) {
    return fail(Errc::kDisconnected, "the node door was closed before the request to attach");
  }
  at_step(Step::kAskedToAttach);
  return {};
}

Result<AttachAnswer> receive_answer(int socket) {
  AttachAnswer answer;
  iovec part{.iov_base = &answer.reply, .iov_len = sizeof answer.reply};
  alignas(cmsghdr) std::array<char, CMSG_SPACE((kMostDescriptors + 2) * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && errno == EAGAIN) {
    return fail(Errc::kNotReady, "no answer of the node door yet");
  }
  if (got <= 0) {
    return fail(Errc::kDisconnected, "the node door was closed before it answered");
  }
  std::array<Fd, kMostDescriptors> descriptors = take_descriptors(message);
  answer.page = std::move(descriptors[0]);
  answer.memory = std::move(descriptors[1]);
  answer.slots = std::move(descriptors[2]);
  answer.slot_states = std::move(descriptors[3]);
  auto bytes = static_cast<std::size_t>(got);
  if (bytes < kVersionEnd || answer.reply.magic != kDoorMagic) {
    return fail(Errc::kMalformed, "the answer of the node door");
  }
  if (answer.reply.version != kDoorVersion) {
    return fail(
        Errc::kVersion,
        fmt::format(
            "the node door has version {}, this program {}", answer.reply.version, kDoorVersion));
  }
  if (bytes != sizeof answer.reply || (message.msg_flags & MSG_TRUNC) != 0) {
    return fail(Errc::kMalformed, "the answer of the node door");
  }
  if (answer.reply.status != 0) {
    auto code = static_cast<Errc>(answer.reply.status);
    return fail(code,
                code == Errc::kSystem
                    ? "the daemon of this node has no memory for this program (its log says more)"
                    : "the node door refused this program");
  }
  SessionShape shape{answer.reply.lanes, answer.reply.area_bytes};
  bool is_cut = (message.msg_flags & MSG_CTRUNC) != 0;
  if (is_cut && (!answer.page.is_open() || !answer.memory.is_open())) {
    return fail_system(EMFILE, "taking the descriptors that the node door hands over");
  }
  if (!answer.page.is_open() || !answer.memory.is_open() || !shape.is_valid()) {
    return fail(Errc::kMalformed, "the answer of the node door brings no memory");
  }
  // Such as for want of descriptors: there is a way without.
  if (!answer.slots.is_open() || !answer.slot_states.is_open()) {
    answer.reply.slot_bytes = 0;
  }
  at_step(Step::kGotDescriptors);
  return answer;
}

Result<AttachAnswer> ask_to_attach(int socket, const AttachRequest& request, Deadline deadline) {
  BENCHFS_TRY_VOID(send_attach(socket, request));
  BENCHFS_TRY_VOID(wait_for_answer(socket, deadline));
  return receive_answer(socket);
}

Status wait_for_answer(int socket, Deadline deadline) {
  pollfd wanted{.fd = socket, .events = POLLIN, .revents = 0};
  int ready = 0;
  do {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline.remaining()).count();
    ready = ::poll(&wanted, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, kLongestPoll)));
  } while (ready <= 0 && !deadline.passed());
  if (ready <= 0) {
    return fail(Errc::kDeadline, "the node door does not answer");
  }
  return {};
}

Result<AttachRequest> receive_attach(int socket) {
  AttachRequest request;
  // Longer messages are of another version; what is cut off is not needed to tell.
  ssize_t got = ::recv(socket, &request, sizeof request, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    return fail(Errc::kNotReady, "no request to attach yet");
  }
  if (got <= 0) {
    return fail(Errc::kDisconnected, "a program left the node door");
  }
  auto bytes = static_cast<std::size_t>(got);
  bool is_whole = bytes == sizeof request || request.version != kDoorVersion;
  if (bytes < kVersionEnd || request.magic != kDoorMagic || !is_whole) {
    return fail(Errc::kMalformed, "a request to attach");
  }
  return request;
}

Status answer_attach(int socket, const AttachReply& reply, std::span<const int> descriptors) {
  AttachReply copy = reply;
  iovec part{.iov_base = &copy, .iov_len = sizeof copy};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostDescriptors * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof copy) {
    return fail(Errc::kDisconnected, "a program left the node door before the answer");
  }
  return {};
}

}  // namespace benchfs::door
