// One operation of a recorded history: what a client asked for, between which two moments, and what
// it was told. Clients write operations as lines of text, so that a client that is killed leaves
// what it had begun.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace benchfs::history {

inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
// Chunk size of the clusters of the history test. A large write becomes visible chunk by chunk.
inline constexpr std::int64_t kChunk = std::int64_t{64} << 10;
inline constexpr std::int64_t kBlock = 8192;
// No operation reaches beyond this size, but appends may.
inline constexpr std::int64_t kLargestFile = 24 * kBlock;
// Offsets and sizes are multiples of this, so that every byte belongs to a cell that names its
// writer.
inline constexpr std::int64_t kCell = 16;

// Bytes that nobody wrote, and bytes that no client of the history wrote.
inline constexpr std::uint32_t kHole = 0;
inline constexpr std::uint32_t kGarbage = 0xffffffff;

enum class Kind : std::uint8_t {
  kOpen,             // path, flags; finds inode
  kStat,             // path; finds inode and size
  kUnlink,           // path
  kRename,           // path, target
  kMakeDirectory,    // path
  kRemoveDirectory,  // path
  kList,             // path; finds entries
  kTruncate,         // path, length
  kFileTruncate,     // inode, length
  kWrite,            // inode, offset, length
  kAppend,           // inode, length; finds the size after it
  kRead,             // inode, offset, length; finds tags
  kFileStat,         // inode; finds size
  kSync,             // inode
  kClose,            // inode
};

enum OpenFlag : std::uint32_t {
  kCreate = 1,
  kExclusive = 2,
  kCutToZero = 4,
  kAppending = 8,
};

struct Operation {
  std::uint32_t id = 0;  // unique in a history, not 0; what it wrote carries it
  std::uint32_t round = 0;
  Kind kind = Kind::kStat;
  std::string path;    // below the directory of the round
  std::string target;  // of a rename
  std::uint64_t inode = 0;
  std::int64_t offset = 0;
  std::int64_t length = 0;
  std::uint32_t flags = 0;  // OpenFlag
  std::int64_t begin = 0;   // monotonic, in nanoseconds
  std::int64_t end = kNever;
  std::int64_t result = 0;  // negative: an errno
  std::int64_t size = -1;   // -1: not told
  // The writers of the bytes at sample_offset(index), for the samples that a read covered.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> tags;
  std::map<std::string, std::uint64_t> entries;

  [[nodiscard]] bool has_ended() const { return end != kNever; }
  [[nodiscard]] bool succeeded() const { return has_ended() && result >= 0; }
  // It certainly had no effect, and the result says something about the state.
  [[nodiscard]] bool was_refused() const;
  // It may have happened at any moment since its begin, or may happen still, or not.
  [[nodiscard]] bool is_unknown() const { return !succeeded() && !was_refused(); }
  // "create-exclusive a/x -> inode 7"
  [[nodiscard]] std::string text() const;
};

// Three samples a block: its first, its middle and its last cell.
constexpr std::uint32_t kSamplesOfBlock = 3;
constexpr std::uint32_t kSamples =
    static_cast<std::uint32_t>(kLargestFile / kBlock) * kSamplesOfBlock;
std::int64_t sample_offset(std::uint32_t index);

// Fills `bytes` with cells that name operation `id` and their own offset in the file.
void fill(std::span<std::byte> bytes, std::int64_t offset, std::uint32_t id);
// The same for an append, whose offset in the file is not known beforehand: the cells name their
// offset in the append.
void fill_append(std::span<std::byte> bytes, std::uint32_t id);
// The writer of the cell at `bytes`, which was read at `offset`.
std::uint32_t tag_of(const std::byte* bytes, std::int64_t offset);
// The tags of all samples in what was read at `offset`. A block with garbage anywhere has garbage
// in its samples.
std::vector<std::pair<std::uint32_t, std::uint32_t>> tags_of(std::span<const std::byte> bytes,
                                                             std::int64_t offset);

std::string begin_line(const Operation& operation);
std::string end_line(const Operation& operation);
// Adds the operations of one client's lines to `history`. A last line that is cut short is ignored.
void parse(const std::string& lines, std::vector<Operation>& history);

}  // namespace benchfs::history
