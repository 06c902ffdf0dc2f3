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
  // Set if attributes were asked for and the entry still exists.
  std::optional<wire::Attr> attr;
  std::string target;  // symlinks, with attributes
};

enum class WithAttributes : std::uint8_t { kNo, kYes };

// All entries in byte order of their names. Attributes come with the names;
// what the servers do not send along is fetched, many at a time.
Result<std::vector<ListedEntry>> list_directory(Session& session,
                                                const std::string& path,
                                                WithAttributes with);

// Fetches attributes (without following symlinks) and link targets of those `entries` in
// `directory` that have none.
void fetch_attributes(Session& session,
                      const std::string& directory,
                      std::vector<ListedEntry>& entries);

// A server that was restarted has lost the names it held, so a listing may be short. Says so on
// standard error, and the command fails.
void report_losses(Session& session);

}  // namespace benchfs::cli
