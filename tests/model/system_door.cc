#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <utility>

#include "model/door.h"

namespace benchfs::test {
namespace {

Outcome answer(std::int64_t result) {
  return {result < 0 ? -errno : result, {}};
}

Outcome with_data(std::int64_t count, std::string data) {
  Outcome outcome = answer(count);
  data.resize(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)));
  outcome.data = std::move(data);
  return outcome;
}

// Maps what the file has of the range, hands it to `use`, writes it back and takes it away again.
template <typename Use>
Outcome mapped(
    int fd, int protection, int flags, std::size_t size, std::int64_t offset, Use&& use) {
  struct stat found{};
  if (::fstat(fd, &found) < 0) {
    return answer(-1);
  }
  if (found.st_size <= offset) {
    return {};
  }
  std::size_t count = std::min(size, static_cast<std::size_t>(found.st_size - offset));
  if (count == 0) {
    return {};
  }
  std::int64_t begin = offset - offset % ::sysconf(_SC_PAGESIZE);
  std::size_t length = count + static_cast<std::size_t>(offset - begin);
  void* place = ::mmap(nullptr, length, protection, flags, fd, begin);
  if (place == MAP_FAILED) {
    return answer(-1);
  }
  Outcome outcome{static_cast<std::int64_t>(count),
                  use(static_cast<char*>(place) + (offset - begin), count)};
  if (::msync(place, length, MS_SYNC) < 0 || ::munmap(place, length) < 0) {
    return answer(-1);
  }
  return outcome;
}

}  // namespace

SystemDoor::~SystemDoor() {
  for (int file : files_) {
    if (file >= 0) {
      ::close(file);
    }
  }
}

bool SystemDoor::is_removed_directory(int file) const {
  struct stat found{};
  ::fstat(files_[static_cast<std::size_t>(file)], &found);
  return S_ISDIR(found.st_mode) && found.st_nlink == 0;
}

std::string SystemDoor::full(const std::string& path) const {
  return path.empty() ? path : root_ + path;
}

Outcome SystemDoor::open(const std::string& path, int flags, unsigned mode) {
  int fd = ::open(full(path).c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) {
    return answer(fd);
  }
  auto free = std::ranges::find(files_, -1);
  auto number = free - files_.begin();
  if (free == files_.end()) {
    files_.push_back(fd);
  } else {
    *free = fd;
  }
  return {number, {}};
}

Outcome SystemDoor::close(int file) {
  return answer(::close(std::exchange(files_[static_cast<std::size_t>(file)], -1)));
}

Outcome SystemDoor::pread(int file, std::size_t size, std::int64_t offset) {
  std::string data(size, '?');
  ssize_t count = ::pread(files_[static_cast<std::size_t>(file)], data.data(), size, offset);
  return with_data(count, std::move(data));
}

Outcome SystemDoor::pwrite(int file, const std::string& bytes, std::int64_t offset) {
  return answer(
      ::pwrite(files_[static_cast<std::size_t>(file)], bytes.data(), bytes.size(), offset));
}

Outcome SystemDoor::read(int file, std::size_t size) {
  std::string data(size, '?');
  ssize_t count = ::read(files_[static_cast<std::size_t>(file)], data.data(), size);
  return with_data(count, std::move(data));
}

Outcome SystemDoor::write(int file, const std::string& bytes) {
  return answer(::write(files_[static_cast<std::size_t>(file)], bytes.data(), bytes.size()));
}

Outcome SystemDoor::lseek(int file, std::int64_t offset, int whence) {
  return answer(::lseek(files_[static_cast<std::size_t>(file)], offset, whence));
}

Outcome SystemDoor::fsync(int file) {
  return answer(::fsync(files_[static_cast<std::size_t>(file)]));
}

Outcome SystemDoor::ftruncate(int file, std::int64_t size) {
  return answer(::ftruncate(files_[static_cast<std::size_t>(file)], size));
}

Outcome SystemDoor::allocate(int file, int mode, std::int64_t offset, std::int64_t length) {
  return answer(::fallocate(files_[static_cast<std::size_t>(file)], mode, offset, length));
}

Outcome SystemDoor::fstat(int file) {
  struct stat found{};
  Outcome outcome = answer(::fstat(files_[static_cast<std::size_t>(file)], &found));
  if (outcome.result == 0) {
    outcome.data = describe(found.st_mode, found.st_size, found.st_nlink);
  }
  return outcome;
}

Outcome SystemDoor::stat(const std::string& path) {
  struct stat found{};
  Outcome outcome = answer(::stat(full(path).c_str(), &found));
  if (outcome.result == 0) {
    outcome.data = describe(found.st_mode, found.st_size, found.st_nlink);
  }
  return outcome;
}

Outcome SystemDoor::lstat(const std::string& path) {
  struct stat found{};
  Outcome outcome = answer(::lstat(full(path).c_str(), &found));
  if (outcome.result == 0) {
    outcome.data = describe(found.st_mode, found.st_size, found.st_nlink);
  }
  return outcome;
}

Outcome SystemDoor::times(const std::string& path) {
  struct stat found{};
  Outcome outcome = answer(::stat(full(path).c_str(), &found));
  if (outcome.result == 0) {
    outcome.data = describe_time(found.st_atim) + " " + describe_time(found.st_mtim);
  }
  return outcome;
}

Outcome SystemDoor::access(const std::string& path, int mode) {
  return answer(::access(full(path).c_str(), mode));
}

Outcome SystemDoor::truncate(const std::string& path, std::int64_t size) {
  return answer(::truncate(full(path).c_str(), size));
}

Outcome SystemDoor::chmod(const std::string& path, unsigned mode) {
  return answer(::chmod(full(path).c_str(), mode));
}

Outcome SystemDoor::utimens(const std::string& path, const timespec times[2]) {
  return answer(::utimensat(AT_FDCWD, full(path).c_str(), times, 0));
}

Outcome SystemDoor::mkdir(const std::string& path, unsigned mode) {
  return answer(::mkdir(full(path).c_str(), mode));
}

Outcome SystemDoor::rmdir(const std::string& path) {
  return answer(::rmdir(full(path).c_str()));
}

Outcome SystemDoor::unlink(const std::string& path) {
  return answer(::unlink(full(path).c_str()));
}

namespace {
bool is_mounted(const std::string& path) {
  struct statfs system{};
  std::string directory = path.substr(0, path.rfind('/'));
  bool is_fuse = ::statfs(directory.c_str(), &system) == 0 && system.f_type == FUSE_SUPER_MAGIC;
  errno = ESTALE;
  return is_fuse;
}

// Through a mount: a directory that another client has moved, and in which files are open here,
// takes its new place when it is looked at, but not in the middle of a rename (docs/semantics.md).
template <typename Rename>
int look_and_rename(const std::string& from, const std::string& to, Rename rename) {
  int result = rename();
  if (result != 0 && errno == ESTALE && is_mounted(to)) {
    struct stat seen{};
    (void)::lstat(from.c_str(), &seen);
    (void)::lstat(to.c_str(), &seen);
    result = rename();
  }
  return result;
}

int rename_with(const std::string& from, const std::string& to, unsigned flags) {
  return look_and_rename(
      from, to, [&] { return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags); });
}
}  // namespace

Outcome SystemDoor::rename(const std::string& from, const std::string& to) {
  std::string old_path = full(from);
  std::string new_path = full(to);
  return answer(look_and_rename(
      old_path, new_path, [&] { return ::rename(old_path.c_str(), new_path.c_str()); }));
}

Outcome SystemDoor::rename_without_replacing(const std::string& from, const std::string& to) {
  return answer(rename_with(full(from), full(to), RENAME_NOREPLACE));
}

Outcome SystemDoor::exchange(const std::string& from, const std::string& to) {
  return answer(rename_with(full(from), full(to), RENAME_EXCHANGE));
}

Outcome SystemDoor::link(const std::string& from, const std::string& to) {
  return answer(::link(full(from).c_str(), full(to).c_str()));
}

Outcome SystemDoor::symlink(const std::string& target, const std::string& path) {
  return answer(::symlink(target.c_str(), full(path).c_str()));
}

Outcome SystemDoor::readlink(const std::string& path) {
  std::string target(4096, '\0');
  ssize_t length = ::readlink(full(path).c_str(), target.data(), target.size());
  return with_data(length, std::move(target));
}

Outcome SystemDoor::readdir(const std::string& path) {
  DIR* directory = ::opendir(full(path).c_str());
  if (directory == nullptr) {
    return answer(-1);
  }
  std::map<std::string, unsigned> entries;
  while (dirent* entry = ::readdir(directory)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") {
      entries.emplace(std::move(name), DTTOIF(entry->d_type));
    }
  }
  ::closedir(directory);
  Outcome outcome{static_cast<std::int64_t>(entries.size()), {}};
  for (const auto& [name, type] : entries) {
    outcome.data += fmt::format("{:o} {}\n", type, name);
  }
  return outcome;
}

Outcome SystemDoor::set_xattr(const std::string& path,
                              const std::string& name,
                              const std::string& value,
                              int flags) {
  return answer(::setxattr(full(path).c_str(), name.c_str(), value.data(), value.size(), flags));
}

Outcome SystemDoor::get_xattr(const std::string& path, const std::string& name) {
  std::string value(64 << 10, '?');
  ssize_t count = ::getxattr(full(path).c_str(), name.c_str(), value.data(), value.size());
  return with_data(count, std::move(value));
}

Outcome SystemDoor::list_xattrs(const std::string& path) {
  std::string names(64 << 10, '?');
  ssize_t count = ::listxattr(full(path).c_str(), names.data(), names.size());
  Outcome outcome = with_data(count, std::move(names));
  outcome.result = std::min<std::int64_t>(outcome.result, 0);
  outcome.data = describe_names(outcome.data);
  return outcome;
}

Outcome SystemDoor::remove_xattr(const std::string& path, const std::string& name) {
  return answer(::removexattr(full(path).c_str(), name.c_str()));
}

Outcome SystemDoor::map_read(int file, std::size_t size, std::int64_t offset) {
  std::string bytes(size, '?');
  return mapped(files_[static_cast<std::size_t>(file)],
                PROT_READ,
                MAP_PRIVATE,
                size,
                offset,
                [&](char* place, std::size_t count) {
                  bytes.assign(place, count);
                  return std::move(bytes);
                });
}

Outcome SystemDoor::map_write(int file, const std::string& bytes, std::int64_t offset) {
  return mapped(files_[static_cast<std::size_t>(file)],
                PROT_READ | PROT_WRITE,
                MAP_SHARED,
                bytes.size(),
                offset,
                [&](char* place, std::size_t count) {
                  std::copy_n(bytes.data(), count, place);
                  return std::string();
                });
}

Outcome SystemDoor::exact(const std::string& path) {
  struct stat found{};
  Outcome outcome = answer(::lstat(full(path).c_str(), &found));
  if (outcome.result == 0) {
    outcome.data = describe_exactly(found);
  }
  return outcome;
}

}  // namespace benchfs::test
