#include "preload/settings.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

#include "preload/entry.h"

namespace benchfs::preload {

namespace {

Settings current;

void copy(char* into, std::size_t room, const char* text) {
  if (text != nullptr && std::strlen(text) < room) {
    std::strcpy(into, text);
  }
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
  std::strcpy(current.prefix, prefix);
  current.prefix_bytes = std::strlen(current.prefix);
  current.prefix_name = std::strrchr(current.prefix, '/') + 1;
  copy(current.registry, sizeof current.registry, find_variable(environment, kRegistryVariable));
  Dl_info self{};
  if (dladdr(reinterpret_cast<const void*>(&read_settings), &self) != 0) {
    copy(current.library, sizeof current.library, self.dli_fname);
  }
  const char* report = find_variable(environment, kReportVariable);
  Counter::is_reporting = report != nullptr && *report != '\0' && std::strcmp(report, "0") != 0;
  current.is_active = true;
}

}  // namespace benchfs::preload
