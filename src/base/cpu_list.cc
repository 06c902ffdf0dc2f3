#include "base/cpu_list.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>

namespace benchfs {
namespace {

std::optional<unsigned> parse_cpu(std::string_view text) {
  unsigned cpu = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cpu);
  bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && cpu < CPU_SETSIZE ? std::optional(cpu) : std::nullopt;
}

}  // namespace

Result<CpuList> parse_cpu_list(std::string_view text) {
  CpuList cpus;
  while (!text.empty()) {
    std::size_t comma = std::min(text.find(','), text.size());
    std::string_view range = text.substr(0, comma);
    bool more = comma < text.size();
    text.remove_prefix(comma + (more ? 1 : 0));
    std::size_t dash = std::min(range.find('-'), range.size());
    std::optional<unsigned> first = parse_cpu(range.substr(0, dash));
    std::optional<unsigned> last = dash < range.size() ? parse_cpu(range.substr(dash + 1)) : first;
    if (!first || !last || *first > *last || (more && text.empty())) {
      return fail(Errc::kInvalidArgument,
                  fmt::format("processors are given as 0-3,8, below {}", CPU_SETSIZE));
    }
    for (unsigned cpu = *first; cpu <= *last; ++cpu) {
      cpus.push_back(cpu);
    }
  }
  std::ranges::sort(cpus);
  cpus.erase(std::ranges::unique(cpus).begin(), cpus.end());
  return cpus;
}

std::string to_string(const CpuList& cpus) {
  std::string text;
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t end = i + 1;
    while (end < cpus.size() && cpus[end] == cpus[end - 1] + 1) {
      ++end;
    }
    text += text.empty() ? "" : ",";
    text += end - i == 1 ? fmt::to_string(cpus[i]) : fmt::format("{}-{}", cpus[i], cpus[end - 1]);
    i = end;
  }
  return text;
}

CpuList allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  CpuList cpus;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) {
      cpus.push_back(cpu);
    }
  }
  return cpus;
}

Status run_on(const CpuList& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (unsigned cpu : cpus) {
    CPU_SET(cpu, &set);
  }
  if (sched_setaffinity(0, sizeof set, &set) != 0) {
    return fail_system(errno, fmt::format("running on processors {}", to_string(cpus)));
  }
  return {};
}

}  // namespace benchfs
