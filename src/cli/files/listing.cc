#include "cli/files/listing.h"

#include <utility>

#include "cli/files/fan_out.h"
#include "cli/files/remote_path.h"

namespace benchfs::cli {
namespace {

constexpr std::size_t kPageEntries = 4096;
constexpr std::size_t kParallelLookups = 32;

rt::Task<void> fetch_one(client::FileSystem* fs, std::string path, ListedEntry* entry) {
  Result<wire::Attr> attr = co_await fs->lstat(path);
  if (!attr) {
    co_return;
  }
  entry->attr = *attr;
  entry->type = attr->mode & S_IFMT;
  if (attr->is_symlink()) {
    Result<std::string> target = co_await fs->readlink(std::move(path));
    if (target) {
      entry->target = std::move(*target);
    }
  }
}

}  // namespace

void fetch_attributes(Session& session,
                      const std::string& directory,
                      std::vector<ListedEntry>& entries) {
  client::FileSystem* fs = &session.fs();
  auto fetch = [fs, &directory, &entries](std::size_t index) {
    return fetch_one(fs, join_path(directory, entries[index].name), &entries[index]);
  };
  (void)session.run(fan_out(entries.size(), kParallelLookups, fetch));
}

Result<std::vector<ListedEntry>> list_directory(Session& session,
                                                const std::string& path,
                                                WithAttributes with) {
  std::vector<ListedEntry> entries;
  while (true) {
    std::string cursor = entries.empty() ? std::string() : entries.back().name;
    BENCHFS_TRY(std::vector<client::DirEntry> page,
                session.run(session.fs().list(path, std::move(cursor), kPageEntries)));
    if (page.empty()) {
      break;
    }
    for (client::DirEntry& entry : page) {
      entries.push_back(ListedEntry{std::move(entry.name), entry.type, std::nullopt, {}});
    }
  }
  if (with == WithAttributes::kYes) {
    fetch_attributes(session, path, entries);
  }
  return entries;
}

}  // namespace benchfs::cli
