// A file system as the model test drives it: the same calls, answered by BenchFS through its C API
// or by the kernel in a directory.
//
// Open files are numbered from 0, the lowest free number first, so that both give the same numbers.
#pragma once

#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "benchfs/benchfs.h"

namespace benchfs::test {

struct Outcome {
  std::int64_t result = 0;  // negative errno, or what the call returned
  std::string data;         // what it read: bytes, attributes, names
  friend bool operator==(const Outcome&, const Outcome&) = default;
};
// Control characters and other odd bytes as \x01.
std::string printable(std::string_view text);
// A text for messages, which shows the beginning of the data and a checksum.
std::string to_string(const Outcome& outcome);

class Door {
 public:
  virtual ~Door() = default;

  virtual Outcome open(const std::string& path, int flags, unsigned mode) = 0;
  virtual Outcome close(int file) = 0;
  virtual Outcome pread(int file, std::size_t size, std::int64_t offset) = 0;
  virtual Outcome pwrite(int file, const std::string& bytes, std::int64_t offset) = 0;
  virtual Outcome read(int file, std::size_t size) = 0;
  virtual Outcome write(int file, const std::string& bytes) = 0;
  virtual Outcome lseek(int file, std::int64_t offset, int whence) = 0;
  virtual Outcome fsync(int file) = 0;
  virtual Outcome ftruncate(int file, std::int64_t size) = 0;
  virtual Outcome allocate(int file, int mode, std::int64_t offset, std::int64_t length) = 0;
  virtual Outcome fstat(int file) = 0;  // data: type, permissions, size, links

  virtual Outcome stat(const std::string& path) = 0;
  virtual Outcome lstat(const std::string& path) = 0;
  virtual Outcome times(const std::string& path) = 0;  // data: access and modification time
  virtual Outcome access(const std::string& path, int mode) = 0;
  virtual Outcome truncate(const std::string& path, std::int64_t size) = 0;
  virtual Outcome chmod(const std::string& path, unsigned mode) = 0;
  virtual Outcome utimens(const std::string& path, const timespec times[2]) = 0;
  virtual Outcome mkdir(const std::string& path, unsigned mode) = 0;
  virtual Outcome rmdir(const std::string& path) = 0;
  virtual Outcome unlink(const std::string& path) = 0;
  virtual Outcome rename(const std::string& from, const std::string& to) = 0;
  virtual Outcome rename_without_replacing(const std::string& from, const std::string& to) = 0;
  virtual Outcome exchange(const std::string& from, const std::string& to) = 0;
  virtual Outcome link(const std::string& from, const std::string& to) = 0;
  virtual Outcome symlink(const std::string& target, const std::string& path) = 0;
  virtual Outcome readlink(const std::string& path) = 0;
  virtual Outcome readdir(const std::string& path) = 0;  // data: a line with type and name an entry
  // Of what symlinks lead to; names are those of the namespace user.
  virtual Outcome set_xattr(const std::string& path,
                            const std::string& name,
                            const std::string& value,
                            int flags) = 0;
  virtual Outcome get_xattr(const std::string& path, const std::string& name) = 0;
  virtual Outcome list_xattrs(const std::string& path) = 0;  // data: a line an attribute
  virtual Outcome remove_xattr(const std::string& path, const std::string& name) = 0;
  // Through a mapping of the open file, within its size.
  virtual Outcome map_read(int file, std::size_t size, std::int64_t offset) = 0;
  virtual Outcome map_write(int file, const std::string& bytes, std::int64_t offset) = 0;
  // What two file systems need not have in common, but two doors to one do: inode number, owner,
  // all times.
  virtual Outcome exact(const std::string& path) = 0;
  // Opens a file, reads its attributes and all of its bytes, and closes it.
  virtual Outcome peek(const std::string& path);

 protected:
  // The size of directories is up to the file system.
  static std::string describe(unsigned mode, std::int64_t size, std::uint64_t links);
  static std::string describe_time(const timespec& time);
  template <typename Stat>
  static std::string describe_exactly(const Stat& found);
  // The lines of a list of names with a NUL behind each, sorted; others than user.* left out.
  static std::string describe_names(std::string_view list);
};

template <typename Stat>
std::string Door::describe_exactly(const Stat& found) {
  return "inode " + std::to_string(found.st_ino) + " owner " + std::to_string(found.st_uid) + ":" +
         std::to_string(found.st_gid) + " times " + describe_time(found.st_atim) + " " +
         describe_time(found.st_mtim) + " " + describe_time(found.st_ctim);
}

// Calls go round the contexts as choose() says; a file stays with the context that opened it.
class ApiDoor final : public Door {
 public:
  // All paths are put below `root`. The contexts are borrowed.
  ApiDoor(std::vector<benchfs_context_t*> contexts, std::string root)
      : contexts_(std::move(contexts)), root_(std::move(root)) {}
  ~ApiDoor() override;
  void choose(std::size_t index) { current_ = contexts_[index % contexts_.size()]; }

  Outcome open(const std::string& path, int flags, unsigned mode) override;
  Outcome close(int file) override;
  Outcome pread(int file, std::size_t size, std::int64_t offset) override;
  Outcome pwrite(int file, const std::string& bytes, std::int64_t offset) override;
  Outcome read(int file, std::size_t size) override;
  Outcome write(int file, const std::string& bytes) override;
  Outcome lseek(int file, std::int64_t offset, int whence) override;
  Outcome fsync(int file) override;
  Outcome ftruncate(int file, std::int64_t size) override;
  Outcome allocate(int file, int mode, std::int64_t offset, std::int64_t length) override;
  Outcome fstat(int file) override;
  Outcome stat(const std::string& path) override;
  Outcome lstat(const std::string& path) override;
  Outcome times(const std::string& path) override;
  Outcome access(const std::string& path, int mode) override;
  Outcome truncate(const std::string& path, std::int64_t size) override;
  Outcome chmod(const std::string& path, unsigned mode) override;
  Outcome utimens(const std::string& path, const timespec times[2]) override;
  Outcome mkdir(const std::string& path, unsigned mode) override;
  Outcome rmdir(const std::string& path) override;
  Outcome unlink(const std::string& path) override;
  Outcome rename(const std::string& from, const std::string& to) override;
  Outcome rename_without_replacing(const std::string& from, const std::string& to) override;
  Outcome exchange(const std::string& from, const std::string& to) override;
  Outcome link(const std::string& from, const std::string& to) override;
  Outcome symlink(const std::string& target, const std::string& path) override;
  Outcome readlink(const std::string& path) override;
  Outcome readdir(const std::string& path) override;
  Outcome set_xattr(const std::string& path,
                    const std::string& name,
                    const std::string& value,
                    int flags) override;
  Outcome get_xattr(const std::string& path, const std::string& name) override;
  Outcome list_xattrs(const std::string& path) override;
  Outcome remove_xattr(const std::string& path, const std::string& name) override;
  Outcome map_read(int file, std::size_t size, std::int64_t offset) override;
  Outcome map_write(int file, const std::string& bytes, std::int64_t offset) override;
  Outcome exact(const std::string& path) override;

 private:
  [[nodiscard]] std::string full(const std::string& path) const;

  std::vector<benchfs_context_t*> contexts_;
  std::string root_;
  benchfs_context_t* current_ = contexts_.front();
  std::vector<benchfs_file_t*> files_;
};

class SystemDoor final : public Door {
 public:
  explicit SystemDoor(std::string root) : root_(std::move(root)) {}
  ~SystemDoor() override;
  // An open directory that has lost its name: BenchFS remembers no such thing (benchfs.h).
  [[nodiscard]] bool is_removed_directory(int file) const;

  Outcome open(const std::string& path, int flags, unsigned mode) override;
  Outcome close(int file) override;
  Outcome pread(int file, std::size_t size, std::int64_t offset) override;
  Outcome pwrite(int file, const std::string& bytes, std::int64_t offset) override;
  Outcome read(int file, std::size_t size) override;
  Outcome write(int file, const std::string& bytes) override;
  Outcome lseek(int file, std::int64_t offset, int whence) override;
  Outcome fsync(int file) override;
  Outcome ftruncate(int file, std::int64_t size) override;
  Outcome allocate(int file, int mode, std::int64_t offset, std::int64_t length) override;
  Outcome fstat(int file) override;
  Outcome stat(const std::string& path) override;
  Outcome lstat(const std::string& path) override;
  Outcome times(const std::string& path) override;
  Outcome access(const std::string& path, int mode) override;
  Outcome truncate(const std::string& path, std::int64_t size) override;
  Outcome chmod(const std::string& path, unsigned mode) override;
  Outcome utimens(const std::string& path, const timespec times[2]) override;
  Outcome mkdir(const std::string& path, unsigned mode) override;
  Outcome rmdir(const std::string& path) override;
  Outcome unlink(const std::string& path) override;
  Outcome rename(const std::string& from, const std::string& to) override;
  Outcome rename_without_replacing(const std::string& from, const std::string& to) override;
  Outcome exchange(const std::string& from, const std::string& to) override;
  Outcome link(const std::string& from, const std::string& to) override;
  Outcome symlink(const std::string& target, const std::string& path) override;
  Outcome readlink(const std::string& path) override;
  Outcome readdir(const std::string& path) override;
  Outcome set_xattr(const std::string& path,
                    const std::string& name,
                    const std::string& value,
                    int flags) override;
  Outcome get_xattr(const std::string& path, const std::string& name) override;
  Outcome list_xattrs(const std::string& path) override;
  Outcome remove_xattr(const std::string& path, const std::string& name) override;
  Outcome map_read(int file, std::size_t size, std::int64_t offset) override;
  Outcome map_write(int file, const std::string& bytes, std::int64_t offset) override;
  Outcome exact(const std::string& path) override;

 private:
  [[nodiscard]] std::string full(const std::string& path) const;

  std::string root_;
  std::vector<int> files_;
};

}  // namespace benchfs::test
