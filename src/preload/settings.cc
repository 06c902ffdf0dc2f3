#include "preload/settings.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

#include "preload/entry.h"
#include "preload/together.h"

namespace benchfs::preload {

namespace {

BENCHFS_TOGETHER Settings current;

// The texts, which the program may overwrite where they are. Only long ones need the second room.
constexpr std::size_t kRoom = 512;
BENCHFS_TOGETHER char texts[kRoom];
BENCHFS_TOGETHER std::size_t used = 0;
char long_texts[2 * PATH_MAX];
std::size_t long_used = 0;

void keep(const char*& into, const char* text) {
  std::size_t bytes = text != nullptr ? std::strlen(text) + 1 : 0;
  if (bytes == 0 || bytes > PATH_MAX) {
    return;
  }
  bool is_short = bytes <= kRoom - used;
  char* copy = is_short ? texts + used : long_texts + long_used;
  (is_short ? used : long_used) += bytes;
  into = static_cast<const char*>(std::memcpy(copy, text, bytes));
}

}  // namespace

const Settings& settings() {
  return current;
}

const char* find_variable(char* const* environment, const char* name) {
  std::size_t bytes = std::strlen(name);
  for (char* const* entry = environment; entry != nullptr && *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, name, bytes) == 0 && (*entry)[bytes] == '=') {
      return *entry + bytes + 1;
    }
  }
  return nullptr;
}

void read_settings(char* const* environment) {
  const char* prefix = find_variable(environment, kMountVariable);
  if (prefix == nullptr || !is_usable_prefix(prefix)) {
    return;
  }
  keep(current.prefix, prefix);
  current.prefix_bytes = std::strlen(current.prefix);
  current.prefix_name = std::strrchr(current.prefix, '/') + 1;
  keep(current.registry, find_variable(environment, kRegistryVariable));
  Dl_info self{};
  if (dladdr(reinterpret_cast<const void*>(&read_settings), &self) != 0) {
    keep(current.library, self.dli_fname);
  }
  const char* report = find_variable(environment, kReportVariable);
  Counter::is_reporting = report != nullptr && *report != '\0' && std::strcmp(report, "0") != 0;
  current.is_active = true;
}

}  // namespace benchfs::preload
