// What the environment tells the library. Set by `benchfs run`, handed on to every program that is
// started from here.
#pragma once

#include <climits>
#include <cstddef>

namespace benchfs::preload {

// The library is inactive without it. An absolute path without "." and "..".
inline constexpr char kMountVariable[] = "BENCHFS_MOUNT";
inline constexpr char kRegistryVariable[] = "BENCHFS_REGISTRY_DIR";
inline constexpr char kReportVariable[] = "BENCHFS_REPORT";
// The working directory below the prefix, when it is there.
inline constexpr char kDirectoryVariable[] = "BENCHFS_CWD";
inline constexpr char kPreloadVariable[] = "LD_PRELOAD";

inline constexpr std::size_t kPrefixRoom = 256;

struct Settings {
  bool is_active = false;
  const char* prefix = "";
  std::size_t prefix_bytes = 0;
  const char* prefix_name = "";  // its last component
  const char* registry = "";
  const char* library = "";  // this one
};

const Settings& settings();
// Whether a directory can be the prefix.
bool is_usable_prefix(const char* prefix);
// Reads the environment. Called once, before anything else of the library is used, and before libc
// knows the environment: this library is initialised first.
void read_settings(char* const* environment);
// nullptr when it is not set.
const char* find_variable(char* const* environment, const char* name);

}  // namespace benchfs::preload
