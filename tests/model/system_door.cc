#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
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

Outcome SystemDoor::rename(const std::string& from, const std::string& to) {
  return answer(::rename(full(from).c_str(), full(to).c_str()));
}

Outcome SystemDoor::rename_without_replacing(const std::string& from, const std::string& to) {
  return answer(
      ::renameat2(AT_FDCWD, full(from).c_str(), AT_FDCWD, full(to).c_str(), RENAME_NOREPLACE));
}

Outcome SystemDoor::exchange(const std::string& from, const std::string& to) {
  return answer(
      ::renameat2(AT_FDCWD, full(from).c_str(), AT_FDCWD, full(to).c_str(), RENAME_EXCHANGE));
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

}  // namespace benchfs::test
