// Paths on the command line: "bfs:/a/b" is in BenchFS, everything else is local.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace benchfs::cli {

inline constexpr std::string_view kRemotePrefix = "bfs:";

bool is_remote(std::string_view argument);

// "bfs:/a/b" -> "/a/b". EINVAL with a hint for a local path or one that is not absolute.
Result<std::string> parse_remote(std::string_view argument);

// "/a" -> "bfs:/a", for messages.
std::string to_argument(std::string_view remote_path);

// The last component, trailing slashes ignored; "/" for the root.
std::string base_name(std::string_view path);

// Joins two parts with exactly one slash between them.
std::string join_path(std::string_view directory, std::string_view name);

}  // namespace benchfs::cli
