#include "cluster/common_settings.h"

#include <fmt/format.h>

#include <algorithm>

namespace benchfs::cluster {
namespace {

constexpr std::string_view kPrefix = "# common ";
constexpr std::size_t kMaxSettings = 64;

}  // namespace

std::string format_common_settings(std::span<const CommonSetting> settings) {
  std::string text;
  for (const CommonSetting& setting : settings) {
    text += fmt::format("{}{}: {}\n", kPrefix, setting.name, setting.value);
  }
  return text;
}

std::vector<CommonSetting> parse_common_settings(std::string_view text) {
  std::vector<CommonSetting> settings;
  while (!text.empty() && settings.size() < kMaxSettings) {
    std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::size_t colon = line.find(": ");
    if (!line.starts_with(kPrefix) || colon == std::string_view::npos || colon <= kPrefix.size()) {
      continue;
    }
    std::string name(line.substr(kPrefix.size(), colon - kPrefix.size()));
    if (std::ranges::find(settings, name, &CommonSetting::name) == settings.end()) {
      settings.push_back({std::move(name), std::string(line.substr(colon + 2))});
    }
  }
  return settings;
}

Status check_common_settings(std::span<const CommonSetting> own,
                             std::span<const CommonSetting> listed,
                             std::string_view node_id,
                             std::string_view path) {
  for (const CommonSetting& setting : own) {
    auto found = std::ranges::find(listed, setting.name, &CommonSetting::name);
    std::string theirs = found == listed.end() ? "not stated" : found->value;
    if (theirs != setting.value) {
      return fail(Errc::kConfig,
                  fmt::format("{} differs: it is {} here and {} on the servers listed in {}; give "
                              "{} the same as the others",
                              setting.name,
                              setting.value,
                              theirs,
                              path,
                              node_id));
    }
  }
  return {};
}

}  // namespace benchfs::cluster
