// Settings that must be the same on all servers of a run. The first server writes them into the
// header of the server list, "# common NAME: VALUE" each; the others compare.
//
// Pure functions, any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace benchfs::cluster {

struct CommonSetting {
  std::string name;
  std::string value;
  friend bool operator==(const CommonSetting&, const CommonSetting&) = default;
};

// The comment lines, each with its newline.
std::string format_common_settings(std::span<const CommonSetting> settings);
// The settings that the text of a server list states. If several have the same name, the first
// counts; lines that do not parse are ignored.
std::vector<CommonSetting> parse_common_settings(std::string_view text);

// kConfig when one of `own` is missing from `listed` or has another value there; names both values,
// `node_id` and `path`, the list's.
Status check_common_settings(std::span<const CommonSetting> own,
                             std::span<const CommonSetting> listed,
                             std::string_view node_id,
                             std::string_view path);

}  // namespace benchfs::cluster
