#include "model/model.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ranges>
#include <utility>

namespace benchfs::test {
namespace {

constexpr std::int64_t kChunkBytes = 64 << 10;
constexpr std::size_t kHistory = 40;
constexpr int kStepsBetweenTrees = 25;
constexpr std::size_t kMaxKnown = 120;
constexpr std::size_t kMaxTargetDepth = 2;

std::string shown(std::string_view text) {
  return text.size() > 80
             ? fmt::format("\"{}…\" ({} bytes)", printable(text.substr(0, 80)), text.size())
             : fmt::format("\"{}\"", printable(text));
}

// Accepts any of the errors between which POSIX leaves the choice.
bool agree(std::string_view what, const Outcome& expected, const Outcome& found) {
  if (expected == found) {
    return true;
  }
  bool has_empty_path = what.ends_with(" \"\"") || what.contains(" \"\" ");
  bool is_link = what.starts_with("link");
  if (!what.starts_with("rename") && !is_link) {
    return false;
  }
  // The other path may be wrong, too.
  if (has_empty_path && expected.result < 0 && found.result < 0) {
    return true;
  }
  if (is_link) {
    return false;
  }
  // A file to a directory above it; and two paths that are wrong each in its way.
  auto is_missing = [](const Outcome& outcome) {
    return outcome.result == -ENOENT || outcome.result == -ENOTDIR;
  };
  return (expected.result == -ENOTEMPTY && found.result == -EISDIR) ||
         (is_missing(expected) && is_missing(found));
}

}  // namespace

template <typename Operation>
Outcome Model::both(const std::string& what, Operation&& operation) {
  if (!failure_.empty()) {
    return {-EINTR, {}};
  }
  Outcome expected = operation(reference_);
  Outcome found = operation(subject_);
  if (!in_tree_) {
    history_.push_back(fmt::format("{:5} {} = {}", step_count_, what, expected.result));
  }
  if (history_.size() > kHistory) {
    history_.pop_front();
  }
  if (!agree(what, expected, found)) {
    failure_ = fmt::format("step {}: {}\n  expected {}\n  found    {}\nbefore it:\n",
                           step_count_,
                           what,
                           to_string(expected),
                           to_string(found));
    for (const std::string& line : history_) {
      failure_ += line + "\n";
    }
    auto place = std::ranges::mismatch(expected.data, found.data);
    if (place.in1 != expected.data.end() || place.in2 != found.data.end()) {
      failure_ += fmt::format("data differ from byte {}\n", place.in1 - expected.data.begin());
    }
  }
  return expected;
}

bool Model::run(int steps) {
  has_xattrs_ = reference_.set_xattr("/", "user.here", "", 0).result == 0 &&
                reference_.remove_xattr("/", "user.here").result == 0;
  for (int i = 0; i < steps; ++i) {
    ++step_count_;
    if (!step() || (step_count_ % kStepsBetweenTrees == 0 && !compare_trees())) {
      return false;
    }
    if (known_.size() > kMaxKnown) {
      thin_out();
    }
  }
  while (!files_.empty()) {
    close_step();
  }
  return compare_trees();
}

// --- What to do to what --------------------------------------------------------------------------

std::string Model::random_name() {
  static const std::array<std::string, 8> kNames = {"a", "b", "c", "d", "e", "f", ".g", "h h"};
  if (chance(2)) {
    return "\xff\xfe\n\x01";
  }
  if (chance(1)) {
    return std::string(255, 'n');
  }
  return kNames[random_.below(kNames.size())];
}

std::string Model::known_path() {
  return known_.empty() ? "/" + random_name() : known_[random_.below(known_.size())];
}

std::string Model::random_path() {
  if (chance(1)) {
    return chance(50) ? std::string() : "/";
  }
  std::string path;
  if (chance(60)) {
    path = known_path();
    if (chance(30)) {
      path += "/" + random_name();
    }
  } else {
    std::uint64_t depth = 1 + random_.below(3);
    for (std::uint64_t i = 0; i < depth; ++i) {
      path += "/" + random_name();
    }
  }
  if (chance(4)) {
    static const std::array<std::string, 6> kEnds = {"/", "//", "/.", "/..", "/../a", "/./b"};
    path += kEnds[random_.below(kEnds.size())];
  }
  return path;
}

// Relative, so that it means the same below both roots.
std::string Model::random_target() {
  std::string target;
  std::size_t up = random_.below(kMaxTargetDepth + 1);
  for (std::size_t i = 0; i < up; ++i) {
    target += "../";
  }
  target += random_name();
  if (chance(20)) {
    target += "/" + random_name();
  }
  if (chance(5)) {
    target += "/";
  }
  return target;
}

// Mostly within five chunks, often at a border.
std::int64_t Model::random_offset() {
  if (chance(30)) {
    auto border = static_cast<std::int64_t>(random_.below(5)) * kChunkBytes;
    return std::max<std::int64_t>(0, border + static_cast<std::int64_t>(random_.below(5)) - 2);
  }
  return static_cast<std::int64_t>(
      random_.below(chance(50) ? 2000 : static_cast<std::uint64_t>(5 * kChunkBytes)));
}

std::size_t Model::random_size() {
  if (chance(5)) {
    return 0;
  }
  if (chance(60)) {
    return 1 + random_.below(3000);
  }
  if (chance(50)) {
    return 1 + random_.below(static_cast<std::uint64_t>(3 * kChunkBytes));
  }
  return static_cast<std::size_t>(kChunkBytes) - 1 + random_.below(3);
}

// Bytes that tell where they came from: a pattern of this draw.
std::string Model::random_bytes() {
  std::string bytes(random_size(), '\0');
  Random pattern(random_.next());
  std::size_t at = 0;
  while (at < bytes.size()) {
    std::uint64_t word = pattern.next();
    std::size_t count = std::min(sizeof(word), bytes.size() - at);
    std::copy_n(reinterpret_cast<const char*>(&word), count, bytes.data() + at);
    at += count;
  }
  return bytes;
}

// --- Steps ---------------------------------------------------------------------------------------

bool Model::step() {
  before_each_(random_);
  touched_.clear();
  std::uint64_t kind = random_.below(108);
  if (kind < 36) {
    names_step(kind);
  } else if (kind < 56) {
    attributes_step(kind - 36);
  } else if (kind < 61) {
    xattrs_step();
  } else if (kind < 73 || files_.empty()) {
    open_step();
  } else if (kind < 80) {
    close_step();
  } else {
    file_step(random_.below(32));
  }
  if (!touched_.empty() && chance(50)) {
    both("peek " + shown(touched_), [&](Door& door) { return door.peek(touched_); });
    both("lstat " + shown(touched_), [&](Door& door) { return door.lstat(touched_); });
  }
  return failure_.empty();
}

void Model::names_step(std::uint64_t kind) {
  std::string path = random_path();
  touched_ = path;
  if (kind < 9) {
    both("mkdir " + shown(path), [&](Door& door) { return door.mkdir(path, 0755); });
  } else if (kind < 12) {
    both("rmdir " + shown(path), [&](Door& door) { return door.rmdir(path); });
  } else if (kind < 17) {
    both("unlink " + shown(path), [&](Door& door) { return door.unlink(path); });
  } else if (kind < 20) {
    std::string to = random_path();
    touched_ = chance(50) ? path : to;
    both("link " + shown(path) + " " + shown(to), [&](Door& door) { return door.link(path, to); });
  } else if (kind < 22) {
    std::string to = random_path();
    touched_ = chance(50) ? path : to;
    both("rename: exchange " + shown(path) + " " + shown(to),
         [&](Door& door) { return door.exchange(path, to); });
  } else if (kind < 27) {
    std::string to = random_path();
    touched_ = chance(50) ? path : to;
    both("rename " + shown(path) + " " + shown(to),
         [&](Door& door) { return door.rename(path, to); });
  } else if (kind < 30) {
    std::string target = random_target();
    both("symlink " + shown(target) + " " + shown(path),
         [&](Door& door) { return door.symlink(target, path); });
  } else if (kind < 31) {
    std::string to = random_path();
    touched_ = chance(50) ? path : to;
    both("rename: no replace " + shown(path) + " " + shown(to),
         [&](Door& door) { return door.rename_without_replacing(path, to); });
  } else if (kind < 33) {
    both("readlink " + shown(path), [&](Door& door) { return door.readlink(path); });
  } else {
    both("readdir " + shown(path), [&](Door& door) { return door.readdir(path); });
  }
}

void Model::attributes_step(std::uint64_t kind) {
  std::string path = random_path();
  touched_ = path;
  if (kind < 5) {
    both("stat " + shown(path), [&](Door& door) { return door.stat(path); });
  } else if (kind < 8) {
    both("lstat " + shown(path), [&](Door& door) { return door.lstat(path); });
  } else if (kind < 10) {
    both("access " + shown(path), [&](Door& door) { return door.access(path, F_OK); });
  } else if (kind < 14) {
    std::int64_t size = chance(3) ? -1 : random_offset();
    both(fmt::format("truncate {} {}", shown(path), size),
         [&](Door& door) { return door.truncate(path, size); });
  } else if (kind < 17) {
    // The owner keeps access: without privileges the kernel would keep the reference away.
    auto mode = static_cast<unsigned>(random_.below(0100)) | (chance(20) ? 01700 : 0700);
    both(fmt::format("chmod {} {:o}", shown(path), mode),
         [&](Door& door) { return door.chmod(path, mode); });
  } else {
    timespec times[2] = {{static_cast<std::time_t>(random_.below(2'000'000'000)), 123'456'789},
                         {static_cast<std::time_t>(random_.below(2'000'000'000)), 987'654'321}};
    Outcome set =
        both("utimens " + shown(path), [&](Door& door) { return door.utimens(path, times); });
    if (set.result == 0) {
      both("times " + shown(path), [&](Door& door) { return door.times(path); });
    }
  }
}

void Model::xattrs_step() {
  static const std::array<std::string, 4> kNames = {"user.a", "user.b", "user.with.dots", "user."};
  std::string path = random_path();
  std::string name = kNames[random_.below(chance(5) ? 4 : 3)];
  std::uint64_t kind = random_.below(10);
  std::string value = random_bytes().substr(0, 300);
  int flags = kind < 1 ? XATTR_CREATE : kind < 2 ? XATTR_REPLACE : 0;
  if (!has_xattrs_) {
    return;
  }
  if (kind < 5) {
    both(fmt::format("set_xattr {} {} {} bytes flags {}", shown(path), name, value.size(), flags),
         [&](Door& door) { return door.set_xattr(path, name, value, flags); });
  } else if (kind < 7) {
    both(fmt::format("remove_xattr {} {}", shown(path), name),
         [&](Door& door) { return door.remove_xattr(path, name); });
  }
  both(fmt::format("get_xattr {} {}", shown(path), name),
       [&](Door& door) { return door.get_xattr(path, name); });
  both("list_xattrs " + shown(path), [&](Door& door) { return door.list_xattrs(path); });
}

void Model::open_step() {
  if (files_.size() >= kMaxOpen) {
    close_step();
  }
  static const std::array<int, 3> kAccess = {O_RDONLY, O_WRONLY, O_RDWR};
  int flags = kAccess[random_.below(3)];
  bool writes = flags != O_RDONLY;
  if (writes) {
    flags |= (chance(70) ? O_CREAT : 0) | (chance(20) ? O_TRUNC : 0) | (chance(20) ? O_APPEND : 0);
    flags |= chance(20) && (flags & O_CREAT) != 0 ? O_EXCL : 0;
  }
  // Use only one of them: which of two errors comes first is up to the system.
  bool directory = chance(5) && (flags & O_CREAT) == 0;
  flags |= directory ? O_DIRECTORY : chance(10) ? O_NOFOLLOW : 0;
  std::string path = random_path();
  Outcome opened = both(fmt::format("open {} {:#o}", shown(path), flags),
                        [&](Door& door) { return door.open(path, flags, 0640); });
  if (opened.result >= 0 && failure_.empty()) {
    files_.push_back(OpenFile{static_cast<int>(opened.result), path, flags});
    touched_ = path;
  }
}

void Model::close_step() {
  if (files_.empty()) {
    return;
  }
  std::size_t index = random_.below(files_.size());
  OpenFile file = files_[index];
  files_.erase(files_.begin() + static_cast<std::ptrdiff_t>(index));
  both(fmt::format("close #{}", file.number), [&](Door& door) { return door.close(file.number); });
}

void Model::file_step(std::uint64_t kind) {
  OpenFile& file = random_file();
  int number = file.number;
  touched_ = file.path;
  if (reference_.is_removed_directory(number)) {
    return;
  }
  bool is_directory = reference_.fstat(number).data.starts_with("mode 4");
  if (kind < 5) {
    std::size_t size = random_size();
    std::int64_t offset = chance(2) ? -1 : random_offset();
    both(fmt::format("pread #{} {} bytes at {}", number, size, offset),
         [&](Door& door) { return door.pread(number, size, offset); });
  } else if (kind < 12) {
    std::string bytes = random_bytes();
    std::int64_t offset = chance(2) ? -1 : random_offset();
    both(fmt::format("pwrite #{} {} bytes at {}", number, bytes.size(), offset),
         [&](Door& door) { return door.pwrite(number, bytes, offset); });
  } else if (kind < 14) {
    std::size_t size = random_size();
    both(fmt::format("read #{} {} bytes", number, size),
         [&](Door& door) { return door.read(number, size); });
  } else if (kind < 18) {
    std::string bytes = random_bytes();
    both(fmt::format("write #{} {} bytes", number, bytes.size()),
         [&](Door& door) { return door.write(number, bytes); });
  } else if (kind < 20 && !is_directory) {  // positions in directories are the system's own affair
    static const std::array<int, 4> kWhence = {SEEK_SET, SEEK_CUR, SEEK_END, 77};
    int whence = kWhence[random_.below(chance(5) ? 4 : 3)];
    std::int64_t offset = random_offset() - (chance(30) ? kChunkBytes : 0);
    both(fmt::format("lseek #{} {} {}", number, offset, whence),
         [&](Door& door) { return door.lseek(number, offset, whence); });
  } else if (kind < 21) {
    both(fmt::format("fsync #{}", number), [&](Door& door) { return door.fsync(number); });
  } else if (kind < 23) {
    std::int64_t size = chance(3) ? -1 : random_offset();
    both(fmt::format("ftruncate #{} {}", number, size),
         [&](Door& door) { return door.ftruncate(number, size); });
  } else if (kind < 25) {
    static const std::array<int, 4> kModes = {
        0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE};
    int mode = kModes[random_.below(chance(5) ? 4 : 3)];
    std::int64_t offset = chance(3) ? -1 : random_offset();
    auto length = static_cast<std::int64_t>(random_size());
    both(fmt::format("allocate #{} mode {} {} bytes at {}", number, mode, length, offset),
         [&](Door& door) { return door.allocate(number, mode, offset, length); });
  } else if (kind < 28 && !is_directory) {
    mapping_step(file);
  } else {
    both(fmt::format("fstat #{}", number), [&](Door& door) { return door.fstat(number); });
  }
  both(fmt::format("fstat #{} after it", number), [&](Door& door) { return door.fstat(number); });
}

void Model::mapping_step(const OpenFile& file) {
  int number = file.number;
  std::int64_t offset = random_offset();
  bool appends = (file.flags & O_APPEND) != 0;  // which the C API would do here, too
  if ((file.flags & O_ACCMODE) == O_RDWR && !appends && chance(70)) {
    std::string bytes = random_bytes();
    both(fmt::format("map_write #{} {} bytes at {}", number, bytes.size(), offset),
         [&](Door& door) { return door.map_write(number, bytes, offset); });
  } else if ((file.flags & O_ACCMODE) != O_WRONLY) {
    std::size_t size = random_size();
    both(fmt::format("map_read #{} {} bytes at {}", number, size, offset),
         [&](Door& door) { return door.map_read(number, size, offset); });
  }
}

// --- Everything ----------------------------------------------------------------------------------

bool Model::compare_trees() {
  known_.clear();
  in_tree_ = true;
  tree_step("");
  in_tree_ = false;
  return failure_.empty();
}

// Removes half of the tree, from below, so that comparing it does not take longer and longer.
void Model::thin_out() {
  std::vector<std::string> paths = std::exchange(known_, {});
  for (const std::string& path : std::views::reverse(paths)) {
    if (chance(50)) {
      before_each_(random_);
      both("unlink " + shown(path), [&](Door& door) { return door.unlink(path); });
      both("rmdir " + shown(path), [&](Door& door) { return door.rmdir(path); });
    }
  }
}

void Model::tree_step(const std::string& path) {
  std::string directory = path.empty() ? "/" : path;
  Outcome listed =
      both("tree readdir " + shown(directory), [&](Door& door) { return door.readdir(directory); });
  std::size_t at = 0;
  while (failure_.empty() && at < listed.data.size()) {
    std::size_t space = listed.data.find(' ', at);
    // Names may hold newlines; the line ends before the next "<type> ".
    std::size_t end = listed.data.find('\n', space);
    while (end + 1 < listed.data.size() && std::isdigit(listed.data[end + 1]) == 0) {
      end = listed.data.find('\n', end + 1);
    }
    std::string type = listed.data.substr(at, space - at);
    std::string child = path + "/" + listed.data.substr(space + 1, end - space - 1);
    at = end + 1;
    known_.push_back(child);
    both("tree lstat " + shown(child), [&](Door& door) { return door.lstat(child); });
    if (type == "40000") {
      tree_step(child);
    } else if (type == "120000") {
      both("tree readlink " + shown(child), [&](Door& door) { return door.readlink(child); });
    } else {
      Outcome opened = both("tree open " + shown(child),
                            [&](Door& door) { return door.open(child, O_RDONLY, 0); });
      int number = static_cast<int>(opened.result);
      constexpr std::size_t kWholeFile = 16U * kChunkBytes;
      both("tree read " + shown(child),
           [&](Door& door) { return door.pread(number, kWholeFile, 0); });
      both("tree close " + shown(child), [&](Door& door) { return door.close(number); });
    }
  }
}

}  // namespace benchfs::test
