#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "capi/context.h"
#include "model/door.h"

namespace benchfs::test {

namespace {

Outcome described(int result, std::string data) {
  return result == 0 ? Outcome{0, std::move(data)} : Outcome{result, {}};
}

}  // namespace

ApiDoor::~ApiDoor() {
  for (benchfs_file_t* file : files_) {
    if (file != nullptr) {
      benchfs_close(file);
    }
  }
}

std::string ApiDoor::full(const std::string& path) const {
  return path.empty() ? path : root_ + path;
}

Outcome ApiDoor::open(const std::string& path, int flags, unsigned mode) {
  benchfs_file_t* file = benchfs_open(current_, full(path).c_str(), flags, mode);
  if (file == nullptr) {
    return {-errno, {}};
  }
  auto free = std::ranges::find(files_, nullptr);
  auto number = free - files_.begin();
  if (free == files_.end()) {
    files_.push_back(file);
  } else {
    *free = file;
  }
  return {number, {}};
}

Outcome ApiDoor::close(int file) {
  benchfs_file_t* handle = std::exchange(files_[static_cast<std::size_t>(file)], nullptr);
  return {benchfs_close(handle), {}};
}

Outcome ApiDoor::pread(int file, std::size_t size, std::int64_t offset) {
  std::string data(size, '?');
  std::int64_t count =
      benchfs_pread(files_[static_cast<std::size_t>(file)], data.data(), size, offset);
  data.resize(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)));
  return {count, std::move(data)};
}

Outcome ApiDoor::pwrite(int file, const std::string& bytes, std::int64_t offset) {
  return {
      benchfs_pwrite(files_[static_cast<std::size_t>(file)], bytes.data(), bytes.size(), offset),
      {}};
}

Outcome ApiDoor::read(int file, std::size_t size) {
  std::string data(size, '?');
  std::int64_t count = benchfs_read(files_[static_cast<std::size_t>(file)], data.data(), size);
  data.resize(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)));
  return {count, std::move(data)};
}

Outcome ApiDoor::write(int file, const std::string& bytes) {
  return {benchfs_write(files_[static_cast<std::size_t>(file)], bytes.data(), bytes.size()), {}};
}

Outcome ApiDoor::lseek(int file, std::int64_t offset, int whence) {
  return {benchfs_lseek(files_[static_cast<std::size_t>(file)], offset, whence), {}};
}

Outcome ApiDoor::fsync(int file) {
  return {benchfs_fsync(files_[static_cast<std::size_t>(file)]), {}};
}

Outcome ApiDoor::ftruncate(int file, std::int64_t size) {
  return {benchfs_ftruncate(files_[static_cast<std::size_t>(file)], size), {}};
}

Outcome ApiDoor::allocate(int file, int mode, std::int64_t offset, std::int64_t length) {
  return {benchfs_fallocate(files_[static_cast<std::size_t>(file)], mode, offset, length), {}};
}

Outcome ApiDoor::fstat(int file) {
  benchfs_stat_t stat{};
  int result = benchfs_fstat(files_[static_cast<std::size_t>(file)], &stat);
  return described(result, describe(stat.st_mode, stat.st_size, stat.st_nlink));
}

Outcome ApiDoor::stat(const std::string& path) {
  benchfs_stat_t stat{};
  int result = benchfs_stat(current_, full(path).c_str(), &stat);
  return described(result, describe(stat.st_mode, stat.st_size, stat.st_nlink));
}

Outcome ApiDoor::lstat(const std::string& path) {
  benchfs_stat_t stat{};
  int result = benchfs_lstat(current_, full(path).c_str(), &stat);
  return described(result, describe(stat.st_mode, stat.st_size, stat.st_nlink));
}

Outcome ApiDoor::times(const std::string& path) {
  benchfs_stat_t stat{};
  int result = benchfs_stat(current_, full(path).c_str(), &stat);
  return described(result, describe_time(stat.st_atim) + " " + describe_time(stat.st_mtim));
}

Outcome ApiDoor::access(const std::string& path, int mode) {
  return {benchfs_access(current_, full(path).c_str(), mode), {}};
}

Outcome ApiDoor::truncate(const std::string& path, std::int64_t size) {
  return {benchfs_truncate(current_, full(path).c_str(), size), {}};
}

Outcome ApiDoor::chmod(const std::string& path, unsigned mode) {
  return {benchfs_chmod(current_, full(path).c_str(), mode), {}};
}

Outcome ApiDoor::utimens(const std::string& path, const timespec times[2]) {
  return {benchfs_utimens(current_, full(path).c_str(), times), {}};
}

Outcome ApiDoor::mkdir(const std::string& path, unsigned mode) {
  return {benchfs_mkdir(current_, full(path).c_str(), mode), {}};
}

Outcome ApiDoor::rmdir(const std::string& path) {
  return {benchfs_rmdir(current_, full(path).c_str()), {}};
}

Outcome ApiDoor::unlink(const std::string& path) {
  return {benchfs_unlink(current_, full(path).c_str()), {}};
}

Outcome ApiDoor::rename(const std::string& from, const std::string& to) {
  return {benchfs_rename(current_, full(from).c_str(), full(to).c_str()), {}};
}

Outcome ApiDoor::rename_without_replacing(const std::string& from, const std::string& to) {
  return {benchfs_rename2(current_, full(from).c_str(), full(to).c_str(), RENAME_NOREPLACE), {}};
}

Outcome ApiDoor::exchange(const std::string& from, const std::string& to) {
  return {benchfs_rename2(current_, full(from).c_str(), full(to).c_str(), RENAME_EXCHANGE), {}};
}

Outcome ApiDoor::link(const std::string& from, const std::string& to) {
  return {benchfs_link(current_, full(from).c_str(), full(to).c_str()), {}};
}

Outcome ApiDoor::symlink(const std::string& target, const std::string& path) {
  return {benchfs_symlink(current_, target.c_str(), full(path).c_str()), {}};
}

Outcome ApiDoor::readlink(const std::string& path) {
  std::string target(4096, '\0');
  std::int64_t length =
      benchfs_readlink(current_, full(path).c_str(), target.data(), target.size());
  target.resize(static_cast<std::size_t>(std::max<std::int64_t>(length, 0)));
  return {length, std::move(target)};
}

Outcome ApiDoor::readdir(const std::string& path) {
  std::string lines;
  auto fill = [](void* arg, const char* name, std::uint32_t type, std::uint64_t) {
    *static_cast<std::string*>(arg) += fmt::format("{:o} {}\n", type, name);
    return 0;
  };
  std::int64_t count = benchfs_readdir(current_, full(path).c_str(), fill, &lines);
  return {count, count >= 0 ? std::move(lines) : std::string()};
}

Outcome ApiDoor::set_xattr(const std::string& path,
                           const std::string& name,
                           const std::string& value,
                           int flags) {
  return {benchfs_setxattr(
              current_, full(path).c_str(), name.c_str(), value.data(), value.size(), flags),
          {}};
}

Outcome ApiDoor::get_xattr(const std::string& path, const std::string& name) {
  std::string value(64 << 10, '?');
  std::int64_t count =
      benchfs_getxattr(current_, full(path).c_str(), name.c_str(), value.data(), value.size());
  value.resize(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)));
  return {count, std::move(value)};
}

Outcome ApiDoor::list_xattrs(const std::string& path) {
  std::string names(64 << 10, '?');
  std::int64_t count = benchfs_listxattr(current_, full(path).c_str(), names.data(), names.size());
  names.resize(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)));
  return described(static_cast<int>(std::min<std::int64_t>(count, 0)), describe_names(names));
}

Outcome ApiDoor::remove_xattr(const std::string& path, const std::string& name) {
  return {benchfs_removexattr(current_, full(path).c_str(), name.c_str()), {}};
}

// The C API has no mappings.
Outcome ApiDoor::map_read(int file, std::size_t size, std::int64_t offset) {
  return pread(file, size, offset);
}

Outcome ApiDoor::map_write(int file, const std::string& bytes, std::int64_t offset) {
  benchfs_stat_t stat{};
  int result = benchfs_fstat(files_[static_cast<std::size_t>(file)], &stat);
  if (result < 0 || stat.st_size <= offset) {
    return {result, {}};
  }
  return pwrite(file, bytes.substr(0, static_cast<std::size_t>(stat.st_size - offset)), offset);
}

Outcome ApiDoor::exact(const std::string& path) {
  benchfs_stat_t stat{};
  int result = benchfs_lstat(current_, full(path).c_str(), &stat);
  return described(result, describe_exactly(stat));
}

}  // namespace benchfs::test
