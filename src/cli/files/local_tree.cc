#include "cli/files/local_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

namespace benchfs::cli {
namespace {

constexpr std::int64_t kNanosInSecond = 1'000'000'000;

// Users expect to see the kernel's error unchanged, so no context is added.
std::unexpected<Error> last_error() {
  return fail_errno(errno);
}

FileInfo to_info(const struct stat& from) {
  FileInfo info;
  info.mode = from.st_mode;
  info.uid = from.st_uid;
  info.gid = from.st_gid;
  info.size = static_cast<std::uint64_t>(from.st_size);
  info.atime_ns = from.st_atim.tv_sec * kNanosInSecond + from.st_atim.tv_nsec;
  info.mtime_ns = from.st_mtim.tv_sec * kNanosInSecond + from.st_mtim.tv_nsec;
  info.device = from.st_dev;
  info.inode = from.st_ino;
  info.links = from.st_nlink;
  info.may_have_holes = static_cast<std::uint64_t>(from.st_blocks) * 512 < info.size;
  return info;
}

timespec to_timespec(std::int64_t ns) {
  timespec time{.tv_sec = ns / kNanosInSecond, .tv_nsec = ns % kNanosInSecond};
  if (time.tv_nsec < 0) {
    --time.tv_sec;
    time.tv_nsec += kNanosInSecond;
  }
  return time;
}

// Keeps the owner where the system permits it, as cp -p does.
void try_owner(int directory, const char* path, const FileInfo& info, int flags) {
  if (fchownat(directory, path, info.uid, info.gid, flags) != 0) {
    [[maybe_unused]] int group_only = fchownat(directory, path, UINT32_MAX, info.gid, flags);
  }
}

class LocalFile final : public File {
 public:
  explicit LocalFile(int fd) : fd_(fd), can_seek_(lseek(fd, 0, SEEK_CUR) >= 0) {}
  LocalFile(const LocalFile&) = delete;
  LocalFile& operator=(const LocalFile&) = delete;
  ~LocalFile() override { (void)close(); }

  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override {
    std::size_t done = 0;
    while (done < into.size()) {
      std::span rest = into.subspan(done);
      ssize_t count = can_seek_
                          ? pread(fd_, rest.data(), rest.size(), static_cast<off_t>(offset + done))
                          : ::read(fd_, rest.data(), rest.size());
      if (count == 0) {
        break;
      }
      if (count > 0) {
        done += static_cast<std::size_t>(count);
      } else if (errno != EINTR) {
        return last_error();
      }
    }
    return done;
  }

  Status write(std::uint64_t offset, std::span<const std::byte> from) override {
    while (!from.empty()) {
      ssize_t count = can_seek_ ? pwrite(fd_, from.data(), from.size(), static_cast<off_t>(offset))
                                : ::write(fd_, from.data(), from.size());
      if (count >= 0) {
        from = from.subspan(static_cast<std::size_t>(count));
        offset += static_cast<std::uint64_t>(count);
      } else if (errno != EINTR) {
        return last_error();
      }
    }
    return {};
  }

  Status truncate(std::uint64_t size) override {
    if (ftruncate(fd_, static_cast<off_t>(size)) != 0) {
      return last_error();
    }
    return {};
  }

  Status set_attributes(const FileInfo& info, Keep keep) override {
    if (keep == Keep::kOwnerToo) {
      try_owner(fd_, "", info, AT_EMPTY_PATH);  // before the mode: it clears set-user-id bits
    }
    timespec times[2] = {to_timespec(info.atime_ns), to_timespec(info.mtime_ns)};
    if (fchmod(fd_, info.mode & 07777) != 0 || futimens(fd_, times) != 0) {
      return last_error();
    }
    return {};
  }

  Status close() override {
    int fd = std::exchange(fd_, -1);
    if (fd >= 0 && ::close(fd) != 0) {
      return last_error();
    }
    return {};
  }

 private:
  int fd_;
  bool can_seek_;
};

Result<std::unique_ptr<File>> open_fd(const std::string& path, int flags, std::uint32_t mode) {
  int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) {
    return last_error();
  }
  return std::make_unique<LocalFile>(fd);
}

}  // namespace

Result<FileInfo> LocalTree::stat(const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0) {
    return last_error();
  }
  return to_info(found);
}

Result<FileInfo> LocalTree::lstat(const std::string& path) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) != 0) {
    return last_error();
  }
  return to_info(found);
}

Result<std::vector<std::string>> LocalTree::list(const std::string& path) {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (directory == nullptr) {
    return last_error();
  }
  std::vector<std::string> names;
  errno = 0;
  while (dirent* entry = readdir(directory.get())) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      names.emplace_back(name);
    }
    errno = 0;
  }
  if (errno != 0) {
    return last_error();
  }
  return names;
}

Result<std::string> LocalTree::readlink(const std::string& path) {
  std::string target(PATH_MAX, '\0');
  ssize_t length = ::readlink(path.c_str(), target.data(), target.size());
  if (length < 0) {
    return last_error();
  }
  target.resize(static_cast<std::size_t>(length));
  return target;
}

Result<std::unique_ptr<File>> LocalTree::open(const std::string& path) {
  return open_fd(path, O_RDONLY, 0);
}

Result<std::unique_ptr<File>> LocalTree::create(const std::string& path, std::uint32_t mode) {
  return open_fd(path, O_WRONLY | O_CREAT | O_TRUNC, mode & 0777);
}

Status LocalTree::mkdir(const std::string& path, std::uint32_t mode) {
  if (::mkdir(path.c_str(), mode & 07777) != 0) {
    return last_error();
  }
  return {};
}

Status LocalTree::symlink(const std::string& target, const std::string& path) {
  if (::symlink(target.c_str(), path.c_str()) != 0) {
    return last_error();
  }
  return {};
}

Status LocalTree::unlink(const std::string& path) {
  if (::unlink(path.c_str()) != 0) {
    return last_error();
  }
  return {};
}

Status LocalTree::set_attributes(const std::string& path, const FileInfo& info, Keep keep) {
  if (keep == Keep::kOwnerToo) {
    try_owner(AT_FDCWD, path.c_str(), info, AT_SYMLINK_NOFOLLOW);
  }
  if (!S_ISLNK(info.mode) && chmod(path.c_str(), info.mode & 07777) != 0) {
    return last_error();
  }
  timespec times[2] = {to_timespec(info.atime_ns), to_timespec(info.mtime_ns)};
  if (utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
    return last_error();
  }
  return {};
}

}  // namespace benchfs::cli
