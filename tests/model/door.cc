#include "model/door.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <set>

#include "base/hash.h"

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

std::string Door::describe_names(std::string_view list) {
  std::set<std::string_view> names;
  while (!list.empty()) {
    std::string_view name = list.substr(0, list.find('\0'));
    list.remove_prefix(std::min(list.size(), name.size() + 1));
    if (name.starts_with("user.")) {
      names.insert(name);
    }
  }
  std::string lines;
  for (std::string_view name : names) {
    lines += fmt::format("{}\n", name);
  }
  return lines;
}

Outcome Door::peek(const std::string& path) {
  constexpr std::size_t kWholeFile = 1 << 20;
  Outcome opened = open(path, O_RDONLY | O_NONBLOCK, 0);
  if (opened.result < 0) {
    return opened;
  }
  auto file = static_cast<int>(opened.result);
  Outcome attributes = fstat(file);
  Outcome bytes = pread(file, kWholeFile, 0);
  close(file);
  bytes.data = attributes.data + "\n" + bytes.data;
  return bytes;
}

}  // namespace benchfs::test
