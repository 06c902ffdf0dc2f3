#include "cli/files/remote_path.h"

#include <fmt/format.h>

#include <cerrno>

namespace benchfs::cli {

namespace {

std::string_view without_trailing_slashes(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) {
    path.remove_suffix(1);
  }
  return path;
}

}  // namespace

bool is_remote(std::string_view argument) {
  return argument.starts_with(kRemotePrefix);
}

Result<std::string> parse_remote(std::string_view argument) {
  if (!is_remote(argument)) {
    std::string_view slash = argument.starts_with('/') ? "" : "/";
    return fail(Errc::kInvalidArgument,
                fmt::format("a local path; in BenchFS it would be bfs:{}{}", slash, argument));
  }
  std::string_view path = argument.substr(kRemotePrefix.size());
  if (!path.starts_with('/')) {
    return fail(Errc::kInvalidArgument, fmt::format("not absolute; write bfs:/{}", path));
  }
  return std::string(path);
}

std::string to_argument(std::string_view remote_path) {
  return fmt::format("{}{}", kRemotePrefix, remote_path);
}

std::string base_name(std::string_view path) {
  path = without_trailing_slashes(path);
  std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || path.size() == 1) {
    return std::string(path);
  }
  return std::string(path.substr(slash + 1));
}

std::string join_path(std::string_view directory, std::string_view name) {
  while (name.starts_with('/')) {
    name.remove_prefix(1);
  }
  std::string_view slash = directory.empty() || directory.ends_with('/') ? "" : "/";
  return fmt::format("{}{}{}", directory, slash, name);
}

}  // namespace benchfs::cli
