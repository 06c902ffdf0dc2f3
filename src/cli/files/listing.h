// Reading whole directories, with attributes, for ls, tree and rm.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/files/session.h"

namespace benchfs::cli {

struct ListedEntry {
  std::string name;
  std::uint32_t type = 0;  // S_IFMT bits
  // With attributes asked for; an entry that vanished meanwhile has none.
  std::optional<wire::Attr> attr;
  std::string target;  // symlinks, with attributes
};

enum class WithAttributes : std::uint8_t { kNo, kYes };

// All entries in byte order of their names. Attributes are fetched many at a time.
Result<std::vector<ListedEntry>> list_directory(Session& session,
                                                const std::string& path,
                                                WithAttributes with);

// Attributes (of symlinks themselves) and targets of what `entries` name below `directory`.
void fetch_attributes(Session& session,
                      const std::string& directory,
                      std::vector<ListedEntry>& entries);

}  // namespace benchfs::cli
