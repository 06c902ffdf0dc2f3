// Calls of a door as values: to send them to another process, or to choose who makes them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "model/door.h"

namespace benchfs::test {

enum class Operation : std::uint8_t {
  kOpen,
  // Of open files, whose number is numbers[0].
  kClose,
  kPread,
  kPwrite,
  kRead,
  kWrite,
  kLseek,
  kFsync,
  kFtruncate,
  kAllocate,
  kFstat,
  kMapRead,
  kMapWrite,
  // That read by path.
  kStat,
  kLstat,
  kTimes,
  kAccess,
  kReadlink,
  kReaddir,
  kGetXattr,
  kListXattrs,
  kExact,
  kPeek,
  // That change by path.
  kTruncate,
  kChmod,
  kUtimens,
  kMkdir,
  kRmdir,
  kUnlink,
  kRename,
  kRenameWithoutReplacing,
  kExchange,
  kLink,
  kSymlink,
  kSetXattr,
  kRemoveXattr,
};

struct Call {
  Operation operation = Operation::kOpen;
  std::array<std::int64_t, 4> numbers{};
  std::array<std::string, 3> texts;

  [[nodiscard]] bool is_of_open_file() const {
    return operation >= Operation::kClose && operation <= Operation::kMapWrite;
  }
  [[nodiscard]] bool reads_by_path() const {
    return operation >= Operation::kStat && operation <= Operation::kPeek;
  }
  [[nodiscard]] const std::string& path() const { return texts[0]; }
};

Outcome apply(Door& door, const Call& call);

std::string encode(const Call& call);
Call decode_call(std::string_view bytes);
std::string encode(const Outcome& outcome);
Outcome decode_outcome(std::string_view bytes);

// A door that makes a value of each call.
class CallDoor : public Door {
 public:
  virtual Outcome call(const Call& call) = 0;

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
  Outcome peek(const std::string& path) override;
};

}  // namespace benchfs::test
