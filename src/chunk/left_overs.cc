#include "chunk/left_overs.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "chunk/segments.h"

namespace benchfs::chunk {
namespace {

// An open directory that belongs to this user.
class Directory {
 public:
  static Result<Directory> open_at(int parent, const std::string& name, std::string path) {
    int fd = ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
      return fail_system(errno, fmt::format("opening data directory {}", path));
    }
    struct stat info{};
    if (fstat(fd, &info) != 0 || info.st_uid != geteuid()) {
      ::close(fd);
      return fail_system(EPERM, fmt::format("{} belongs to somebody else", path));
    }
    DIR* stream = fdopendir(fd);
    if (stream == nullptr) {
      int error = errno;
      ::close(fd);
      return fail_system(error, fmt::format("reading data directory {}", path));
    }
    return Directory(stream, std::move(path));
  }
  Directory(Directory&& other) noexcept
      : stream_(std::exchange(other.stream_, nullptr)), path_(std::move(other.path_)) {}
  Directory& operator=(Directory&&) = delete;
  ~Directory() {
    if (stream_ != nullptr) {
      closedir(stream_);
    }
  }

  [[nodiscard]] int fd() const { return dirfd(stream_); }
  [[nodiscard]] std::string path_of(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] std::vector<std::string> names() const {
    std::vector<std::string> names;
    rewinddir(stream_);
    while (dirent* entry = readdir(stream_)) {
      std::string name = entry->d_name;
      if (name != "." && name != "..") {
        names.push_back(std::move(name));
      }
    }
    return names;
  }

 private:
  Directory(DIR* stream, std::string path) : stream_(stream), path_(std::move(path)) {}
  DIR* stream_;
  std::string path_;
};

// The lock of a store that does not run; negative when there is no lock file.
class StaleLock {
 public:
  explicit StaleLock(const Directory& directory)
      : fd_(openat(directory.fd(), "lock", O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)) {
    is_held_ = fd_ >= 0 && flock(fd_, LOCK_EX | LOCK_NB) != 0;
  }
  StaleLock(const StaleLock&) = delete;
  StaleLock& operator=(const StaleLock&) = delete;
  ~StaleLock() {
    if (fd_ >= 0) {
      close(fd_);
    }
  }
  [[nodiscard]] bool exists() const { return fd_ >= 0; }
  // True if a running store holds it.
  [[nodiscard]] bool is_held() const { return is_held_; }

 private:
  int fd_;
  bool is_held_ = false;
};

void visit_shard(const Directory& directory, bool remove, std::vector<LeftOverFile>* found) {
  StaleLock lock(directory);
  if (lock.is_held()) {
    return;
  }
  for (const std::string& name : directory.names()) {
    struct stat info{};
    bool is_ours = is_segment_name(name) &&
                   fstatat(directory.fd(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
                   S_ISREG(info.st_mode) && info.st_uid == geteuid();
    if (is_ours && (!remove || unlinkat(directory.fd(), name.c_str(), 0) == 0)) {
      found->push_back({directory.path_of(name), static_cast<std::uint64_t>(info.st_blocks) * 512});
    }
  }
  if (remove && lock.exists()) {
    unlinkat(directory.fd(), "lock", 0);
  }
}

Result<std::vector<LeftOverFile>> visit(const std::string& path, bool remove) {
  std::vector<LeftOverFile> found;
  Result<Directory> top = Directory::open_at(AT_FDCWD, path, path);
  if (!top) {
    if (top.error().posix == ENOENT) {
      return found;
    }
    return std::unexpected(std::move(top).error());
  }
  visit_shard(*top, remove, &found);
  for (const std::string& name : top->names()) {
    struct stat info{};
    if (fstatat(top->fd(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISDIR(info.st_mode)) {
      continue;
    }
    if (auto shard = Directory::open_at(top->fd(), name, top->path_of(name)); shard) {
      visit_shard(*shard, remove, &found);
      if (remove) {
        unlinkat(top->fd(), name.c_str(), AT_REMOVEDIR);  // fails unless it is empty
      }
    }
  }
  if (remove) {
    rmdir(path.c_str());  // the same
  }
  return found;
}

}  // namespace

Result<std::vector<LeftOverFile>> find_left_overs(const std::string& directory) {
  return visit(directory, false);
}

Result<std::vector<LeftOverFile>> remove_left_overs(const std::string& directory) {
  return visit(directory, true);
}

}  // namespace benchfs::chunk
