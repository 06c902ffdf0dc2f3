#include "cli/files/listing.h"

#include <memory>
#include <nlohmann/json.hpp>
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

rt::Task<void> ask_restarted(client::FileSystem* fs, std::uint32_t shard, bool* restarted) {
  Result<std::string> text = co_await fs->shard_stats(wire::ShardId{shard});
  nlohmann::json answer = nlohmann::json::parse(text.value_or("{}"), nullptr, false);
  *restarted = answer.is_object() && answer.value("restarted", false);
}

}  // namespace

void report_losses(Session& session) {
  client::FileSystem* fs = &session.fs();
  std::size_t count = fs->shard_count();
  std::unique_ptr<bool[]> restarted = std::make_unique<bool[]>(count);
  auto ask = [fs, &restarted](std::size_t index) {
    return ask_restarted(fs, static_cast<std::uint32_t>(index), &restarted[index]);
  };
  (void)session.run(fan_out(count, kParallelLookups, ask));
  for (std::size_t i = 0; i < count; ++i) {
    if (restarted[i]) {
      session.fail(session.client().servers().servers[i].node_id,
                   "was restarted and lost the names it held; the listing may be incomplete");
    }
  }
}

void fetch_attributes(Session& session,
                      const std::string& directory,
                      std::vector<ListedEntry>& entries) {
  client::FileSystem* fs = &session.fs();
  std::vector<ListedEntry*> missing;
  for (ListedEntry& entry : entries) {
    if (!entry.attr) {
      missing.push_back(&entry);
    }
  }
  auto fetch = [fs, &directory, &missing](std::size_t index) {
    return fetch_one(fs, join_path(directory, missing[index]->name), missing[index]);
  };
  (void)session.run(fan_out(missing.size(), kParallelLookups, fetch));
}

Result<std::vector<ListedEntry>> list_directory(Session& session,
                                                const std::string& path,
                                                WithAttributes with) {
  std::uint16_t flags = with == WithAttributes::kYes ? wire::kReaddirAttr : 0;
  std::vector<ListedEntry> entries;
  while (true) {
    std::string cursor = entries.empty() ? std::string() : entries.back().name;
    BENCHFS_TRY(std::vector<client::DirEntry> page,
                session.run(session.fs().list(path, std::move(cursor), kPageEntries, flags)));
    if (page.empty()) {
      break;
    }
    for (client::DirEntry& entry : page) {
      entries.push_back(ListedEntry{std::move(entry.name), entry.type, entry.attr, {}});
    }
  }
  if (with == WithAttributes::kYes) {
    fetch_attributes(session, path, entries);
  }
  return entries;
}

}  // namespace benchfs::cli
