#include "base/safe_dir.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <optional>
#include <system_error>

#include "base/user_namespace.h"

namespace benchfs {
namespace {

constexpr const char* kTrustVariable = "BENCHFS_REGISTRY_OWNER";
constexpr int kMostLinks = 8;
constexpr mode_t kOthersWrite = S_IWGRP | S_IWOTH;

bool accepts(Owner owner, uid_t uid) {
  if (uid == geteuid()) {
    return uid != kOverflowUser || user_outside(uid).has_value();
  }
  switch (owner) {
    case Owner::kSelf:
      return false;
    case Owner::kSelfOrSticky:
      // Root may have no number in this user namespace. Who else it might be may rename what is in
      // its directory; it cannot make files of this user's.
      return uid == 0 || (uid == kOverflowUser && !is_user_known(0));
    case Owner::kTrusted:
      return uid == 0 || uid == trusted_user();
  }
  return false;
}

std::unexpected<Error> refuse(const std::string& path, std::string_view problem) {
  return fail(Errc::kConfig, fmt::format("{} {}", path, problem));
}

std::unexpected<Error> refuse_owner(const std::string& path, uid_t uid, Owner owner) {
  std::string advice =
      owner == Owner::kTrusted
          ? fmt::format(
                "use a directory of your own, or trust that user with {}={}", kTrustVariable, uid)
          : "use a directory of your own";
  return refuse(
      path,
      fmt::format(
          "belongs to user {}, and this process runs as user {}; {}", uid, geteuid(), advice));
}

Status check_directory(const std::string& path, const struct stat& info, Owner owner) {
  if (!S_ISDIR(info.st_mode)) {
    return refuse(path, "is not a directory");
  }
  if (!accepts(owner, info.st_uid)) {
    return refuse_owner(path, info.st_uid, owner);
  }
  bool is_sticky_accepted = owner == Owner::kSelfOrSticky && (info.st_mode & S_ISVTX) != 0;
  if ((info.st_mode & kOthersWrite) != 0 && !is_sticky_accepted) {
    return refuse(path,
                  fmt::format("has mode {:04o}, so others may replace the files in it; chmod go-w "
                              "it, or use a directory below it",
                              info.st_mode & 07777));
  }
  return {};
}

Status check_file(const std::string& path, const struct stat& info, Owner owner) {
  if (!S_ISREG(info.st_mode)) {
    return refuse(path, "is not a regular file; somebody else put it there");
  }
  if (!accepts(owner, info.st_uid)) {
    return refuse_owner(path, info.st_uid, owner);
  }
  if ((info.st_mode & kOthersWrite) != 0) {
    return refuse(path,
                  fmt::format("has mode {:04o}, so others may have changed it; remove it, or chmod "
                              "go-w it if its content is right",
                              info.st_mode & 07777));
  }
  return {};
}

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  return path;
}

// The path of `target` as it is meant in the link at `link`.
std::string path_from(const std::string& link, std::string_view target) {
  std::size_t directory_bytes = target.starts_with('/') ? 0 : link.rfind('/') + 1;  // npos + 1 is 0
  return link.substr(0, directory_bytes).append(target);
}

// The target of the link when this user or root made it.
Result<std::string> follow_link(const std::string& path, int fd, uid_t maker) {
  if (maker != geteuid() && maker != 0) {
    return refuse(path,
                  fmt::format("is a symbolic link that user {} made; use the directory itself, "
                              "or one of your own",
                              maker));
  }
  std::array<char, PATH_MAX> target{};
  ssize_t got = ::readlinkat(fd, "", target.data(), target.size() - 1);
  if (got <= 0) {
    return fail_system(got < 0 ? errno : EINVAL, path);
  }
  return path_from(path, target.data());
}

// Returns a descriptor to reach files through (O_PATH: no right to list the directory is needed).
Result<Fd> open_directory(std::string path) {
  for (int links = 0; links < kMostLinks; ++links) {
    Fd handle(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat info{};
    if (!handle.is_open() || ::fstat(handle.get(), &info) != 0) {
      return fail_system(errno, path);
    }
    if (S_ISLNK(info.st_mode)) {
      BENCHFS_TRY(path, follow_link(path, handle.get(), info.st_uid));
      path = without_slashes(std::move(path));
      continue;
    }
    if (!S_ISDIR(info.st_mode)) {
      return refuse(path, "is not a directory");
    }
    return handle;
  }
  return fail_system(ELOOP, path);
}

Status make_directories(const std::string& path) {
  int error = 0;
  for (std::size_t end = 0; end < path.size();) {
    end = std::min(path.find('/', end + 1), path.size());
    std::string parent = path.substr(0, end);
    bool is_new = ::mkdir(parent.c_str(), 0700) == 0;
    error = is_new && ::chmod(parent.c_str(), 0700) == 0 ? 0 : errno;  // whatever the umask
  }
  // Parents on other file systems fail with EROFS or EACCES although they exist; only the last one
  // matters.
  bool exists = error == 0 || error == EEXIST || ::access(path.c_str(), F_OK) == 0;
  return exists ? Status{} : fail_system(error, path);
}

}  // namespace

std::optional<uid_t> trusted_user() {
  const char* text = std::getenv(kTrustVariable);
  std::string_view digits(text == nullptr ? "" : text);
  uid_t uid = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), uid);
  bool is_number = !digits.empty() && error == std::errc() && end == digits.data() + digits.size();
  return is_number ? std::optional(uid) : std::nullopt;
}

Result<SafeDir> SafeDir::open(const std::string& given, Owner owner) {
  std::string path = without_slashes(given);
  BENCHFS_TRY(Fd fd, open_directory(path));
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) {
    return fail_system(errno, path);
  }
  BENCHFS_TRY_VOID(check_directory(path, info, owner));
  return SafeDir(std::move(path), owner, std::move(fd));
}

Result<SafeDir> SafeDir::open_or_create(const std::string& path, Owner owner) {
  BENCHFS_TRY_VOID(make_directories(path));
  return open(path, owner);
}

Status SafeDir::keep() {
  Fd copy(::fcntl(fd(), F_DUPFD_CLOEXEC, 0));
  if (!copy.is_open()) {
    return fail_system(errno, path_);
  }
  BENCHFS_TRY(OwnDescriptor own, OwnDescriptor::create(std::move(copy)));
  fd_ = std::make_shared<const OwnDescriptor>(std::move(own));
  return {};
}

std::string SafeDir::path_of(std::string_view name) const {
  return name == "." ? path_ : fmt::format("{}/{}", path_, name);
}

Result<SafeDir> SafeDir::create_subdirectory(const std::string& name, mode_t mode) const {
  bool is_new = ::mkdirat(fd(), name.c_str(), mode) == 0;
  if (is_new ? ::fchmodat(fd(), name.c_str(), mode, 0) != 0 : errno != EEXIST) {  // any umask
    return fail_system(errno, path_of(name));
  }
  return subdirectory(name);
}

Result<SafeDir> SafeDir::subdirectory(const std::string& name, Owner owner) const {
  std::string path = path_of(name);
  Fd opened(::openat(fd(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!opened.is_open()) {
    return errno == ENOTDIR || errno == ELOOP
               ? refuse(path, "is not a directory but a link or a file; remove it")
               : fail_system(errno, path);
  }
  struct stat info{};
  if (::fstat(opened.get(), &info) != 0) {
    return fail_system(errno, path);
  }
  BENCHFS_TRY_VOID(check_directory(path, info, owner));
  return SafeDir(std::move(path), owner, std::move(opened));
}

Result<Fd> SafeDir::open_file(const std::string& name, int flags, mode_t mode) const {
  std::string path = path_of(name);
  constexpr int kAlways = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  // The file must not be truncated before it is checked.
  Fd fd(::openat(this->fd(), name.c_str(), (flags & ~O_TRUNC) | kAlways, mode));
  if (!fd.is_open()) {
    return errno == ELOOP ? refuse(path, "is a symbolic link; remove it")
                          : fail_system(errno, path);
  }
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) {
    return fail_system(errno, path);
  }
  if (S_ISDIR(info.st_mode)) {
    return fail_system(EISDIR, path);
  }
  BENCHFS_TRY_VOID(check_file(path, info, owner_));
  if ((flags & O_TRUNC) != 0 && ::ftruncate(fd.get(), 0) != 0) {
    return fail_system(errno, path);
  }
  return fd;
}

Result<std::string> SafeDir::read_file(const std::string& name, std::size_t limit) const {
  BENCHFS_TRY(Fd fd, open_file(name, O_RDONLY));
  return read_all(fd.get(), limit, path_of(name));
}

std::vector<std::string> SafeDir::names() const {
  std::vector<std::string> names;
  int copy = ::openat(fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* directory = copy >= 0 ? ::fdopendir(copy) : nullptr;
  if (directory == nullptr) {
    if (copy >= 0) {
      ::close(copy);
    }
    return names;
  }
  while (const dirent* entry = ::readdir(directory)) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      names.emplace_back(name);
    }
  }
  ::closedir(directory);
  std::ranges::sort(names);
  return names;
}

bool SafeDir::exists(const std::string& name) const {
  struct stat info{};
  return ::fstatat(fd(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
}

bool SafeDir::is_named(const std::string& name, int fd) const {
  struct stat opened{};
  struct stat named{};
  return ::fstat(fd, &opened) == 0 && opened.st_nlink > 0 &&
         ::fstatat(this->fd(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

bool SafeDir::remove_file(const std::string& name) const {
  struct stat info{};
  if (::fstatat(fd(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT;
  }
  return S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
         ::unlinkat(fd(), name.c_str(), 0) == 0;
}

bool SafeDir::remove_subdirectory(const std::string& name) const {
  return ::unlinkat(fd(), name.c_str(), AT_REMOVEDIR) == 0;
}

bool SafeDir::remove_self() const {
  struct stat opened{};
  struct stat named{};
  return ::fstat(fd(), &opened) == 0 && ::lstat(path_.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev &&
         ::rmdir(path_.c_str()) == 0;
}

Result<std::string> read_all(int fd, std::size_t limit, const std::string& path) {
  std::string out;
  std::array<char, 16384> buffer;  // not cleared: most files are short
  while (out.size() <= limit) {
    ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got == 0) {
      return out;
    }
    if (got > 0) {
      out.append(buffer.data(), static_cast<std::size_t>(got));
    } else if (errno != EINTR) {
      return fail_system(errno, path);
    }
  }
  return fail_system(EFBIG, path);
}

Status write_all(int fd, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    ssize_t put = ::write(fd, text.data(), text.size());
    if (put >= 0) {
      text.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno != EINTR) {
      return fail_system(errno, path);
    }
  }
  return {};
}

}  // namespace benchfs
