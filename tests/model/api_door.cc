#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/hash.h"
#include "capi/context.h"
#include "model/door.h"

namespace benchfs::test {

std::string printable(std::string_view text) {
  std::string shown;
  for (char character : text) {
    auto byte = static_cast<unsigned char>(character);
    shown +=
        byte >= 0x20 && byte < 0x7f ? std::string(1, character) : fmt::format("\\x{:02x}", byte);
  }
  return shown;
}

std::string to_string(const Outcome& outcome) {
  if (outcome.data.empty()) {
    return fmt::format("{}", outcome.result);
  }
  return fmt::format("{} with {} bytes \"{}\" hash {:x}",
                     outcome.result,
                     outcome.data.size(),
                     printable(std::string_view(outcome.data).substr(0, 60)),
                     hash_text(outcome.data, 0));
}

std::string Door::describe(unsigned mode, std::int64_t size, std::uint64_t links) {
  return S_ISDIR(mode) ? fmt::format("mode {:o} links {}", mode, links)
                       : fmt::format("mode {:o} size {} links {}", mode, size, links);
}

std::string Door::describe_time(const timespec& time) {
  return fmt::format("{}.{:09}", time.tv_sec, time.tv_nsec);
}

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

}  // namespace benchfs::test
