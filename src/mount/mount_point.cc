#include "mount/mount_point.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <vector>

#include "base/fd.h"

namespace benchfs::mount {
namespace {

constexpr const char* kOurType = "fuse.benchfs";
constexpr int kProbeMs = 1000;
constexpr std::string_view kReadAheadKiB = "2048";

Result<std::string> real_path(const std::string& path) {
  std::array<char, PATH_MAX> resolved{};
  if (::realpath(path.c_str(), resolved.data()) == nullptr) {
    return fail_system(errno, path);
  }
  return std::string(resolved.data());
}

// Resolves all but the last component, which may be a dead mount. "" when there is no such split.
std::string path_without_touching_it(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  std::size_t slash = path.rfind('/');
  std::string name = slash == std::string::npos ? path : path.substr(slash + 1);
  if (name.empty() || name == "." || name == "..") {
    return {};
  }
  std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  Result<std::string> resolved = real_path(parent);
  if (!resolved) {
    return {};
  }
  return *resolved == "/" ? "/" + name : *resolved + "/" + name;
}

std::string read_mountinfo() {
  std::ifstream file("/proc/self/mountinfo");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Octal escapes stand for spaces, tabs, newlines and backslashes.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      out += static_cast<char>(((text[i + 1] - '0') << 6) | ((text[i + 2] - '0') << 3) |
                               (text[i + 3] - '0'));
      i += 3;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Asks a child to look at the path, because that may take for ever.
MountPoint::State probe(const std::string& path) {
  pid_t child = ::fork();
  if (child < 0) {
    return MountPoint::State::kSilent;
  }
  if (child == 0) {
    struct stat attr{};
    int error = ::stat(path.c_str(), &attr) == 0 ? 0 : errno;
    _exit(error == ENOTCONN || error == ECONNABORTED ? 1 : 0);
  }
  Fd process(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  pollfd watched{.fd = process.get(), .events = POLLIN, .revents = 0};
  if (process.is_open() && ::poll(&watched, 1, kProbeMs) == 0) {
    ::kill(child, SIGKILL);  // it is not waited for: the kernel may hold it
    return MountPoint::State::kSilent;
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  bool is_dead = WIFEXITED(status) && WEXITSTATUS(status) == 1;
  return is_dead ? MountPoint::State::kDead : MountPoint::State::kServed;
}

Status run_fusermount(const std::string& path, bool is_lazy) {
  std::string program = "fusermount3";
  std::vector<std::string> words = {program, "-u"};
  if (is_lazy) {
    words.emplace_back("-z");
  }
  words.emplace_back("--");
  words.push_back(path);
  std::vector<char*> arguments;
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return fail_system(errno, "pipe");
  }
  Fd output(ends[0]);
  Fd input(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input.get(), STDERR_FILENO);
  pid_t child = 0;
  int error = posix_spawnp(&child, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return fail_system(error, "fusermount3, which unmounts for ordinary users (package fuse3)");
  }
  input.reset();
  std::string text;
  std::array<char, 512> part{};
  for (ssize_t got = 0; (got = ::read(output.get(), part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    return {};
  }
  while (text.ends_with('\n')) {
    text.pop_back();
  }
  return fail_system(text.contains("busy") ? EBUSY : EPERM, text);
}

}  // namespace

Mounted find_mounted(std::string_view mountinfo, std::string_view path) {
  Mounted mounted;
  std::istringstream lines{std::string(mountinfo)};
  for (std::string line; std::getline(lines, line);) {
    // 36 35 98:0 /root /mount/point options… - type source options
    std::istringstream words(line);
    std::array<std::string, 5> first;
    for (std::string& word : first) {
      words >> word;
    }
    std::string word;
    while (words >> word && word != "-") {
    }
    if (unescape(first[4]) == path) {  // the last one is on top
      mounted.device = first[2];
      words >> mounted.type;
    }
  }
  return mounted;
}

void read_far_ahead(const std::string& path) {
  Mounted mounted = find_mounted(read_mountinfo(), path);
  if (mounted.type != kOurType) {
    return;  // in a namespace of others
  }
  std::string setting = "/sys/class/bdi/" + mounted.device + "/read_ahead_kb";
  Fd file(::open(setting.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.is_open()) {
    (void)::write(file.get(), kReadAheadKiB.data(), kReadAheadKiB.size());
  }
}

Result<MountPoint> examine(const std::string& directory) {
  MountPoint point;
  point.path = path_without_touching_it(directory);
  std::string mounts = read_mountinfo();
  if (!point.path.empty()) {
    point.type = find_mounted(mounts, point.path).type;
  }
  if (point.type != kOurType) {
    BENCHFS_TRY(point.path, real_path(directory));
    point.type = find_mounted(mounts, point.path).type;
  }
  if (point.type == kOurType) {
    point.state = probe(point.path);
    return point;
  }
  struct stat attr{};
  if (::stat(point.path.c_str(), &attr) != 0) {
    return fail_system(errno, point.path);
  }
  if (!S_ISDIR(attr.st_mode)) {
    return fail_system(ENOTDIR, point.path);
  }
  point.state = point.type.empty() ? MountPoint::State::kFree : MountPoint::State::kForeign;
  return point;
}

Status unmount(const std::string& path, bool is_lazy) {
  if (::geteuid() != 0) {
    return run_fusermount(path, is_lazy);
  }
  int flags = UMOUNT_NOFOLLOW | (is_lazy ? MNT_DETACH : 0);
  if (::umount2(path.c_str(), flags) != 0) {
    return fail_system(errno, path);
  }
  return {};
}

}  // namespace benchfs::mount
