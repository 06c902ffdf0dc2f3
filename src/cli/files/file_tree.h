// A tree of files as `cp` sees it, whether it is local or in BenchFS.
//
// Thread: any; several threads may use one tree or file at the same time. Calls block.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace benchfs::cli {

struct FileInfo {
  std::uint32_t mode = 0;  // as st_mode
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint64_t size = 0;
  std::int64_t atime_ns = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t device = 0;  // with inode: which file it is
  std::uint64_t inode = 0;
  std::uint64_t links = 1;
  bool may_have_holes = false;

  [[nodiscard]] bool is_same_file(const FileInfo& other) const {
    return device == other.device && inode == other.inode;
  }
};

// Which attributes of a FileInfo a copy gets: always mode and times, the owner if wanted.
enum class Keep : std::uint8_t { kModeAndTimes, kOwnerToo };

class File {
 public:
  virtual ~File() = default;  // closes
  // Returns fewer bytes than asked only at the end of the file. A file that cannot seek is read
  // sequentially, whatever the offset.
  virtual Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) = 0;
  virtual Status write(std::uint64_t offset, std::span<const std::byte> from) = 0;
  // What became of a part of a file that the servers copied.
  struct Copied {
    std::uint64_t end = 0;  // before the end of the part when the source is shorter
    bool has_hole = false;
  };
  // The same part of another open file, which is in BenchFS like this one. Holes stay holes.
  // `source_failed` tells which file an error is of.
  virtual Result<Copied> copy_from(File& source,
                                   std::uint64_t offset,
                                   std::uint64_t length,
                                   bool& source_failed);
  virtual Status truncate(std::uint64_t size) = 0;
  virtual Status set_attributes(const FileInfo& info, Keep keep) = 0;
  // Reports errors that the destructor cannot report.
  virtual Status close() = 0;
};

// A small file that is read or written at once.
struct WholeFile {
  std::string path;
  FileInfo info;
  std::vector<std::byte> data;
  Status status;            // of reading or writing it
  bool is_created = false;  // it was written, or is there incomplete
};

class FileTree {
 public:
  virtual ~FileTree() = default;
  [[nodiscard]] virtual bool is_remote() const = 0;
  // The path as the user would write it.
  [[nodiscard]] virtual std::string argument(const std::string& path) const = 0;

  virtual Result<FileInfo> stat(const std::string& path) = 0;   // follows symlinks
  virtual Result<FileInfo> lstat(const std::string& path) = 0;  // does not
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;
  virtual Result<std::string> readlink(const std::string& path) = 0;
  virtual Result<std::unique_ptr<File>> open(const std::string& path) = 0;
  // Creates or empties a file. `mode` is subject to the umask.
  virtual Result<std::unique_ptr<File>> create(const std::string& path, std::uint32_t mode) = 0;
  // Many small files, several at a time where that pays. `data` is the room for what is in a file,
  // and then what is in it, as far as there is room.
  virtual void read_files(std::span<WholeFile> files);
  // As create(), with the mode of `info`, of which the files get `keep`. Files that are there
  // already may be left as they are, so that not many are emptied before one is known to fit.
  virtual void write_files(std::span<WholeFile> files, std::optional<Keep> keep);
  virtual Status mkdir(const std::string& path, std::uint32_t mode) = 0;
  virtual Status symlink(const std::string& target, const std::string& path) = 0;
  virtual Status unlink(const std::string& path) = 0;
  // Does not follow a symlink: sets the attributes of the link, except the mode.
  virtual Status set_attributes(const std::string& path, const FileInfo& info, Keep keep) = 0;
};

}  // namespace benchfs::cli
