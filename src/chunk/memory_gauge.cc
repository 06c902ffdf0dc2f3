#include "chunk/memory_gauge.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <limits>
#include <sstream>
#include <string_view>

namespace benchfs::chunk {
namespace {

// Limits from here on are none: cgroup v1 says "almost 2^63".
constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 60;

std::optional<std::string> read_text(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return std::nullopt;
  }
  std::string text;
  std::array<char, 8192> part;
  ssize_t got = 0;
  while ((got = read(fd, part.data(), part.size())) > 0) {
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  close(fd);
  return text;
}

// The number that `text` begins with.
std::optional<std::uint64_t> number(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} ? std::optional(value) : std::nullopt;
}

// The number after `name` at the beginning of a line.
std::optional<std::uint64_t> field(std::string_view text, std::string_view name) {
  for (std::size_t at = 0; at < text.size();) {
    std::string_view line = text.substr(at, text.find('\n', at) - at);
    if (line.starts_with(name)) {
      return number(line.substr(name.size()));
    }
    at += line.size() + 1;
  }
  return std::nullopt;
}

// The mount point of a hierarchy's memory controller, and the cgroup that is visible there.
struct Hierarchy {
  std::string mount;
  std::string top;
  bool is_v2 = false;
};

// A line of mountinfo: id parent device top mount options… - type source super-options.
std::optional<Hierarchy> parse_mount(const std::string& line) {
  std::istringstream words(line);
  std::string skipped;
  std::string type;
  std::string super_options;
  Hierarchy found;
  words >> skipped >> skipped >> skipped >> found.top >> found.mount;
  while (words >> skipped && skipped != "-") {
  }
  words >> type >> skipped >> super_options;
  found.is_v2 = type == "cgroup2";
  bool is_memory = type == "cgroup" && ("," + super_options + ",").contains(",memory,");
  return found.is_v2 || is_memory ? std::optional(found) : std::nullopt;
}

// The process's cgroup in a hierarchy, from the lines "id:controllers:path".
std::string group_path(const std::string& text, bool is_v2) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::size_t first = line.find(':');
    std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    std::string controllers = line.substr(first + 1, second - first - 1);
    if (is_v2 ? controllers.empty() : ("," + controllers + ",").contains(",memory,")) {
      return line.substr(second + 1);
    }
  }
  return "/";
}

}  // namespace

MemoryGauge::MemoryGauge(std::string root) : root_(std::move(root)) {
  std::string mounts = read_text(root_ + "/proc/self/mountinfo").value_or("");
  std::string own = read_text(root_ + "/proc/self/cgroup").value_or("");
  std::istringstream lines(mounts);
  for (std::string line; std::getline(lines, line);) {
    if (auto hierarchy = parse_mount(line)) {
      std::string path = group_path(own, hierarchy->is_v2);
      // In a container, the mount shows only a part of the tree; a cgroup outside of it is not
      // visible.
      std::string top = hierarchy->top == "/" ? "" : hierarchy->top;
      bool is_seen = path.starts_with(top) && !path.starts_with("/..");
      std::string below = is_seen ? path.substr(top.size()) : "";
      add_groups(
          hierarchy->mount + (below == "/" ? "" : below), hierarchy->mount, hierarchy->is_v2);
    }
  }
}

void MemoryGauge::add_groups(std::string directory, const std::string& mount, bool is_v2) {
  while (directory.size() >= mount.size()) {
    groups_.push_back({directory, is_v2});
    directory.resize(std::max(directory.rfind('/'), std::size_t{0}));
  }
}

std::optional<MemoryLeft> MemoryGauge::left_in(const Group& group) const {
  std::string directory = root_ + group.directory;
  auto limit_text = read_text(directory + (group.is_v2 ? "/memory.max" : "/memory.limit_in_bytes"));
  auto limit = limit_text ? number(*limit_text) : std::nullopt;
  if (!limit || *limit >= kNoLimit) {  // "max", the root of a hierarchy, no memory controller here
    return std::nullopt;
  }
  auto usage =
      number(read_text(directory + (group.is_v2 ? "/memory.current" : "/memory.usage_in_bytes"))
                 .value_or(""));
  std::string details = read_text(directory + "/memory.stat").value_or("");
  std::uint64_t cache =
      field(details, group.is_v2 ? "inactive_file " : "total_inactive_file ").value_or(0);
  std::uint64_t used = usage.value_or(0) - std::min(cache, usage.value_or(0));
  return MemoryLeft{.bytes = *limit - std::min(used, *limit),
                    .total_bytes = *limit,
                    .limited_by = "cgroup " + group.directory};
}

Result<MemoryLeft> MemoryGauge::left() const {
  constexpr std::uint64_t kKiB = 1024;
  std::string path = root_ + "/proc/meminfo";
  auto text = read_text(path);
  auto available = text ? field(*text, "MemAvailable:") : std::nullopt;
  if (!available) {
    return fail_system(ENOENT, fmt::format("reading the available memory from {}", path));
  }
  MemoryLeft least{.bytes = *available * kKiB,
                   .total_bytes = field(*text, "MemTotal:").value_or(*available) * kKiB,
                   .limited_by = "the machine"};
  for (const Group& group : groups_) {
    if (auto left = left_in(group); left && left->bytes < least.bytes) {
      least = *std::move(left);
    }
  }
  return least;
}

}  // namespace benchfs::chunk
