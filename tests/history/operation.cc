#include "history/operation.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <unordered_map>

#include "base/hash.h"

namespace benchfs::history {
namespace {

constexpr std::uint64_t kMark = 0xb5f5'0000'0000'0000;
constexpr std::uint64_t kMarkOfAppend = 0xb5f6'0000'0000'0000;
// The rest of an append's second word is the offset in the append.
constexpr std::uint64_t kSealOfAppend = ~std::uint64_t{0xffffff};
constexpr std::array<const char*, 15> kNames = {"open",
                                                "stat",
                                                "unlink",
                                                "rename",
                                                "mkdir",
                                                "rmdir",
                                                "readdir",
                                                "truncate",
                                                "ftruncate",
                                                "pwrite",
                                                "append",
                                                "pread",
                                                "fstat",
                                                "fsync",
                                                "close"};

std::uint64_t seal(std::uint64_t word, std::int64_t offset) {
  return mix64(word ^ (static_cast<std::uint64_t>(offset) << 16));
}

bool is_by_handle(Kind kind) {
  return kind >= Kind::kFileTruncate;
}

// An empty word in a line of text.
std::string word(const std::string& text) {
  return text.empty() ? "-" : text;
}
std::string unword(const std::string& text) {
  return text == "-" ? "" : text;
}

}  // namespace

bool Operation::was_refused() const {
  if (!has_ended() || result >= 0 || is_by_handle(kind)) {
    return false;
  }
  switch (-result) {
    case ENOENT:
    case EEXIST:
    case ENOTEMPTY:
    case ENOTDIR:
    case EISDIR:
      return true;
    default:
      return false;
  }
}

std::string Operation::text() const {
  std::string text = kNames[static_cast<std::size_t>(kind)];
  if (is_by_handle(kind)) {
    text += fmt::format(" inode {:#x}", inode);
  } else {
    text += " " + path;
  }
  if (!target.empty()) {
    text += " to " + target;
  }
  for (auto [flag, name] : {std::pair{kCreate, "create"},
                            {kExclusive, "exclusive"},
                            {kCutToZero, "truncate"},
                            {kAppending, "append"}}) {
    text += (flags & flag) != 0 ? fmt::format(" {}", name) : "";
  }
  if (kind == Kind::kWrite || kind == Kind::kRead) {
    text += fmt::format(" [{}, {})", offset, offset + length);
  } else if (kind == Kind::kAppend || kind == Kind::kTruncate || kind == Kind::kFileTruncate) {
    text += fmt::format(" {}", length);
  }
  if (!has_ended()) {
    return text + " -> never answered";
  }
  if (result < 0) {
    return text + fmt::format(" -> {}", strerrorname_np(static_cast<int>(-result)));
  }
  text += fmt::format(" -> {}", result);
  if (!is_by_handle(kind) && inode != 0) {
    text += fmt::format(", inode {:#x}", inode);
  }
  if (size >= 0) {
    text += fmt::format(", size {}", size);
  }
  std::uint32_t last = kGarbage - 1;
  for (auto [index, tag] : tags) {
    if (tag != last) {
      text += tag == kHole      ? fmt::format(", {}: zeros", sample_offset(index))
              : tag == kGarbage ? fmt::format(", {}: GARBAGE", sample_offset(index))
                                : fmt::format(", {}: of {:x}", sample_offset(index), tag);
      last = tag;
    }
  }
  for (const auto& [name, found] : entries) {
    text += fmt::format(", {} {:#x}", name, found);
  }
  return text;
}

std::int64_t sample_offset(std::uint32_t index) {
  constexpr std::array<std::int64_t, kSamplesOfBlock> kInBlock = {0, kBlock / 2, kBlock - kCell};
  return index / kSamplesOfBlock * kBlock + kInBlock[index % kSamplesOfBlock];
}

void fill(std::span<std::byte> bytes, std::int64_t offset, std::uint32_t id) {
  for (std::size_t at = 0; at + kCell <= bytes.size(); at += kCell) {
    std::array<std::uint64_t, 2> cell = {kMark | id, 0};
    cell[1] = seal(cell[0], offset + static_cast<std::int64_t>(at));
    std::memcpy(&bytes[at], cell.data(), kCell);
  }
}

void fill_append(std::span<std::byte> bytes, std::uint32_t id) {
  for (std::size_t at = 0; at + kCell <= bytes.size(); at += kCell) {
    std::array<std::uint64_t, 2> cell = {kMarkOfAppend | id, 0};
    cell[1] = (seal(cell[0], 0) & kSealOfAppend) | at;
    std::memcpy(&bytes[at], cell.data(), kCell);
  }
}

std::uint32_t tag_of(const std::byte* bytes, std::int64_t offset) {
  std::array<std::uint64_t, 2> cell{};
  std::memcpy(cell.data(), bytes, kCell);
  if (cell[0] == 0 && cell[1] == 0) {
    return kHole;
  }
  bool is_of_write = cell[0] >> 32 == kMark >> 32 && cell[1] == seal(cell[0], offset);
  bool is_of_append = cell[0] >> 32 == kMarkOfAppend >> 32 &&
                      (cell[1] & kSealOfAppend) == (seal(cell[0], 0) & kSealOfAppend);
  return is_of_write || is_of_append ? static_cast<std::uint32_t>(cell[0]) : kGarbage;
}

std::vector<std::pair<std::uint32_t, std::uint32_t>> tags_of(std::span<const std::byte> bytes,
                                                             std::int64_t offset) {
  auto size = static_cast<std::int64_t>(bytes.size());
  std::vector<bool> has_garbage(kSamples / kSamplesOfBlock + 1);
  for (std::int64_t at = 0; at + kCell <= size; at += kCell) {
    auto block = static_cast<std::size_t>((offset + at) / kBlock);
    if (block < has_garbage.size() &&
        tag_of(&bytes[static_cast<std::size_t>(at)], offset + at) == kGarbage) {
      has_garbage[block] = true;
    }
  }
  std::vector<std::pair<std::uint32_t, std::uint32_t>> tags;
  for (std::uint32_t index = 0; index < kSamples; ++index) {
    std::int64_t at = sample_offset(index) - offset;
    if (at >= 0 && at + kCell <= size) {
      std::uint32_t tag = has_garbage[index / kSamplesOfBlock]
                              ? kGarbage
                              : tag_of(&bytes[static_cast<std::size_t>(at)], offset + at);
      tags.emplace_back(index, tag);
    }
  }
  return tags;
}

std::string begin_line(const Operation& operation) {
  return fmt::format("B {} {} {} {} {} {} {} {} {} {}\n",
                     operation.id,
                     operation.begin,
                     operation.round,
                     static_cast<int>(operation.kind),
                     word(operation.path),
                     word(operation.target),
                     operation.inode,
                     operation.offset,
                     operation.length,
                     operation.flags);
}

std::string end_line(const Operation& operation) {
  std::string line = fmt::format("E {} {} {} {} {}",
                                 operation.id,
                                 operation.end,
                                 operation.result,
                                 operation.inode,
                                 operation.size);
  for (auto [index, tag] : operation.tags) {
    line += fmt::format(" t {} {}", index, tag);
  }
  for (const auto& [name, inode] : operation.entries) {
    line += fmt::format(" e {} {}", name, inode);
  }
  return line + " .\n";
}

void parse(const std::string& lines, std::vector<Operation>& history) {
  std::unordered_map<std::uint32_t, std::size_t> index;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line) && !in.eof();) {
    std::istringstream words(line);
    std::string kind;
    std::uint32_t id = 0;
    words >> kind >> id;
    if (kind == "B") {
      Operation operation;
      operation.id = id;
      int number = 0;
      words >> operation.begin >> operation.round >> number >> operation.path >> operation.target >>
          operation.inode >> operation.offset >> operation.length >> operation.flags;
      operation.kind = static_cast<Kind>(number);
      operation.path = unword(operation.path);
      operation.target = unword(operation.target);
      index[id] = history.size();
      history.push_back(std::move(operation));
      continue;
    }
    auto found = index.find(id);
    if (kind != "E" || found == index.end() || !line.ends_with(" .")) {
      continue;
    }
    Operation& operation = history[found->second];
    words >> operation.end >> operation.result >> operation.inode >> operation.size;
    for (std::string what; words >> what && what != ".";) {
      if (what == "t") {
        auto& [sample, tag] = operation.tags.emplace_back();
        words >> sample >> tag;
      } else {
        std::string name;
        words >> name;
        words >> operation.entries[name];
      }
    }
  }
}

}  // namespace benchfs::history
