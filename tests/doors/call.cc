#include "doors/call.h"

#include <cstring>

namespace benchfs::test {
namespace {

void put_number(std::string& bytes, std::int64_t number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof number);
}

std::int64_t take_number(std::string_view& bytes) {
  std::int64_t number = 0;
  std::memcpy(&number, bytes.data(), sizeof number);
  bytes.remove_prefix(sizeof number);
  return number;
}

void put_text(std::string& bytes, std::string_view text) {
  put_number(bytes, static_cast<std::int64_t>(text.size()));
  bytes += text;
}

std::string take_text(std::string_view& bytes) {
  auto size = static_cast<std::size_t>(take_number(bytes));
  std::string text(bytes.substr(0, size));
  bytes.remove_prefix(size);
  return text;
}

}  // namespace

std::string encode(const Call& call) {
  std::string bytes;
  put_number(bytes, static_cast<std::int64_t>(call.operation));
  for (std::int64_t number : call.numbers) {
    put_number(bytes, number);
  }
  for (const std::string& text : call.texts) {
    put_text(bytes, text);
  }
  return bytes;
}

Call decode_call(std::string_view bytes) {
  Call call;
  call.operation = static_cast<Operation>(take_number(bytes));
  for (std::int64_t& number : call.numbers) {
    number = take_number(bytes);
  }
  for (std::string& text : call.texts) {
    text = take_text(bytes);
  }
  return call;
}

std::string encode(const Outcome& outcome) {
  std::string bytes;
  put_number(bytes, outcome.result);
  put_text(bytes, outcome.data);
  return bytes;
}

Outcome decode_outcome(std::string_view bytes) {
  std::int64_t result = take_number(bytes);
  return {result, take_text(bytes)};
}

Outcome apply(Door& door, const Call& call) {
  const auto& n = call.numbers;
  const auto& t = call.texts;
  switch (call.operation) {
    case Operation::kOpen:
      return door.open(t[0], static_cast<int>(n[0]), static_cast<unsigned>(n[1]));
    case Operation::kClose:
      return door.close(static_cast<int>(n[0]));
    case Operation::kPread:
      return door.pread(static_cast<int>(n[0]), static_cast<std::size_t>(n[1]), n[2]);
    case Operation::kPwrite:
      return door.pwrite(static_cast<int>(n[0]), t[0], n[1]);
    case Operation::kRead:
      return door.read(static_cast<int>(n[0]), static_cast<std::size_t>(n[1]));
    case Operation::kWrite:
      return door.write(static_cast<int>(n[0]), t[0]);
    case Operation::kLseek:
      return door.lseek(static_cast<int>(n[0]), n[1], static_cast<int>(n[2]));
    case Operation::kFsync:
      return door.fsync(static_cast<int>(n[0]));
    case Operation::kFtruncate:
      return door.ftruncate(static_cast<int>(n[0]), n[1]);
    case Operation::kAllocate:
      return door.allocate(static_cast<int>(n[0]), static_cast<int>(n[1]), n[2], n[3]);
    case Operation::kFstat:
      return door.fstat(static_cast<int>(n[0]));
    case Operation::kMapRead:
      return door.map_read(static_cast<int>(n[0]), static_cast<std::size_t>(n[1]), n[2]);
    case Operation::kMapWrite:
      return door.map_write(static_cast<int>(n[0]), t[0], n[1]);
    case Operation::kStat:
      return door.stat(t[0]);
    case Operation::kLstat:
      return door.lstat(t[0]);
    case Operation::kTimes:
      return door.times(t[0]);
    case Operation::kAccess:
      return door.access(t[0], static_cast<int>(n[0]));
    case Operation::kReadlink:
      return door.readlink(t[0]);
    case Operation::kReaddir:
      return door.readdir(t[0]);
    case Operation::kGetXattr:
      return door.get_xattr(t[0], t[1]);
    case Operation::kListXattrs:
      return door.list_xattrs(t[0]);
    case Operation::kExact:
      return door.exact(t[0]);
    case Operation::kPeek:
      return door.peek(t[0]);
    case Operation::kTruncate:
      return door.truncate(t[0], n[0]);
    case Operation::kChmod:
      return door.chmod(t[0], static_cast<unsigned>(n[0]));
    case Operation::kUtimens: {
      timespec times[2] = {{n[0], n[1]}, {n[2], n[3]}};
      return door.utimens(t[0], times);
    }
    case Operation::kMkdir:
      return door.mkdir(t[0], static_cast<unsigned>(n[0]));
    case Operation::kRmdir:
      return door.rmdir(t[0]);
    case Operation::kUnlink:
      return door.unlink(t[0]);
    case Operation::kRename:
      return door.rename(t[0], t[1]);
    case Operation::kRenameWithoutReplacing:
      return door.rename_without_replacing(t[0], t[1]);
    case Operation::kExchange:
      return door.exchange(t[0], t[1]);
    case Operation::kLink:
      return door.link(t[0], t[1]);
    case Operation::kSymlink:
      return door.symlink(t[0], t[1]);
    case Operation::kSetXattr:
      return door.set_xattr(t[0], t[1], t[2], static_cast<int>(n[0]));
    case Operation::kRemoveXattr:
      return door.remove_xattr(t[0], t[1]);
  }
  return {-1, "no such operation"};
}

Outcome CallDoor::open(const std::string& path, int flags, unsigned mode) {
  return call({Operation::kOpen, {flags, mode}, {path, "", ""}});
}

Outcome CallDoor::close(int file) {
  return call({Operation::kClose, {file}, {"", "", ""}});
}

Outcome CallDoor::pread(int file, std::size_t size, std::int64_t offset) {
  return call({Operation::kPread, {file, static_cast<std::int64_t>(size), offset}, {"", "", ""}});
}

Outcome CallDoor::pwrite(int file, const std::string& bytes, std::int64_t offset) {
  return call({Operation::kPwrite, {file, offset}, {bytes, "", ""}});
}

Outcome CallDoor::read(int file, std::size_t size) {
  return call({Operation::kRead, {file, static_cast<std::int64_t>(size)}, {"", "", ""}});
}

Outcome CallDoor::write(int file, const std::string& bytes) {
  return call({Operation::kWrite, {file}, {bytes, "", ""}});
}

Outcome CallDoor::lseek(int file, std::int64_t offset, int whence) {
  return call({Operation::kLseek, {file, offset, whence}, {"", "", ""}});
}

Outcome CallDoor::fsync(int file) {
  return call({Operation::kFsync, {file}, {"", "", ""}});
}

Outcome CallDoor::ftruncate(int file, std::int64_t size) {
  return call({Operation::kFtruncate, {file, size}, {"", "", ""}});
}

Outcome CallDoor::allocate(int file, int mode, std::int64_t offset, std::int64_t length) {
  return call({Operation::kAllocate, {file, mode, offset, length}, {"", "", ""}});
}

Outcome CallDoor::fstat(int file) {
  return call({Operation::kFstat, {file}, {"", "", ""}});
}

Outcome CallDoor::map_read(int file, std::size_t size, std::int64_t offset) {
  return call({Operation::kMapRead, {file, static_cast<std::int64_t>(size), offset}, {"", "", ""}});
}

Outcome CallDoor::map_write(int file, const std::string& bytes, std::int64_t offset) {
  return call({Operation::kMapWrite, {file, offset}, {bytes, "", ""}});
}

Outcome CallDoor::stat(const std::string& path) {
  return call({Operation::kStat, {}, {path, "", ""}});
}

Outcome CallDoor::lstat(const std::string& path) {
  return call({Operation::kLstat, {}, {path, "", ""}});
}

Outcome CallDoor::times(const std::string& path) {
  return call({Operation::kTimes, {}, {path, "", ""}});
}

Outcome CallDoor::access(const std::string& path, int mode) {
  return call({Operation::kAccess, {mode}, {path, "", ""}});
}

Outcome CallDoor::readlink(const std::string& path) {
  return call({Operation::kReadlink, {}, {path, "", ""}});
}

Outcome CallDoor::readdir(const std::string& path) {
  return call({Operation::kReaddir, {}, {path, "", ""}});
}

Outcome CallDoor::get_xattr(const std::string& path, const std::string& name) {
  return call({Operation::kGetXattr, {}, {path, name, ""}});
}

Outcome CallDoor::list_xattrs(const std::string& path) {
  return call({Operation::kListXattrs, {}, {path, "", ""}});
}

Outcome CallDoor::exact(const std::string& path) {
  return call({Operation::kExact, {}, {path, "", ""}});
}

Outcome CallDoor::peek(const std::string& path) {
  return call({Operation::kPeek, {}, {path, "", ""}});
}

Outcome CallDoor::truncate(const std::string& path, std::int64_t size) {
  return call({Operation::kTruncate, {size}, {path, "", ""}});
}

Outcome CallDoor::chmod(const std::string& path, unsigned mode) {
  return call({Operation::kChmod, {mode}, {path, "", ""}});
}

Outcome CallDoor::utimens(const std::string& path, const timespec times[2]) {
  return call({Operation::kUtimens,
               {times[0].tv_sec, times[0].tv_nsec, times[1].tv_sec, times[1].tv_nsec},
               {path, "", ""}});
}

Outcome CallDoor::mkdir(const std::string& path, unsigned mode) {
  return call({Operation::kMkdir, {mode}, {path, "", ""}});
}

Outcome CallDoor::rmdir(const std::string& path) {
  return call({Operation::kRmdir, {}, {path, "", ""}});
}

Outcome CallDoor::unlink(const std::string& path) {
  return call({Operation::kUnlink, {}, {path, "", ""}});
}

Outcome CallDoor::rename(const std::string& from, const std::string& to) {
  return call({Operation::kRename, {}, {from, to, ""}});
}

Outcome CallDoor::rename_without_replacing(const std::string& from, const std::string& to) {
  return call({Operation::kRenameWithoutReplacing, {}, {from, to, ""}});
}

Outcome CallDoor::exchange(const std::string& from, const std::string& to) {
  return call({Operation::kExchange, {}, {from, to, ""}});
}

Outcome CallDoor::link(const std::string& from, const std::string& to) {
  return call({Operation::kLink, {}, {from, to, ""}});
}

Outcome CallDoor::symlink(const std::string& target, const std::string& path) {
  return call({Operation::kSymlink, {}, {target, path, ""}});
}

Outcome CallDoor::set_xattr(const std::string& path,
                            const std::string& name,
                            const std::string& value,
                            int flags) {
  return call({Operation::kSetXattr, {flags}, {path, name, value}});
}

Outcome CallDoor::remove_xattr(const std::string& path, const std::string& name) {
  return call({Operation::kRemoveXattr, {}, {path, name, ""}});
}

}  // namespace benchfs::test
