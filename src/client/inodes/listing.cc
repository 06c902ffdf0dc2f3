#include "client/inodes/listing.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "wire/messages.h"

namespace benchfs::client {
namespace {

rt::Task<void> list_shard(Backend& backend,
                          wire::ShardId shard,
                          wire::InodeId directory,
                          std::string_view cursor,
                          std::uint32_t max_bytes,
                          Deadline by,
                          Result<std::vector<DirEntry>>* out,
                          bool* at_end) {
  wire::ReaddirRequest request;
  request.directory = directory.value;
  request.max_bytes = max_bytes;
  request.cursor_bytes = static_cast<std::uint16_t>(cursor.size());
  rpc::Call call = rpc::make_call(request, cursor);
  std::vector<std::byte> page(max_bytes);
  call.into = page;
  Result<rpc::Reply> reply = co_await backend.pool.call(shard, call, by);
  if (!reply) {
    *out = std::unexpected(std::move(reply.error()));
    co_return;
  }
  Result<wire::ReaddirReply> header = reply->as<wire::ReaddirReply>();
  std::vector<DirEntry> entries;
  wire::Reader reader(std::span<const std::byte>(page).first(reply->data_bytes));
  for (std::uint32_t i = 0; header && i < header->entry_count; ++i) {
    wire::DirEntryHeader entry;
    reader.read(entry);
    std::string_view name = reader.read_text(entry.name_bytes);
    if (!reader.ok()) {
      header = fail(Errc::kMalformed, "a listing is cut short");
      break;
    }
    entries.push_back({std::string(name), wire::InodeId{entry.inode}, entry.type});
  }
  if (!header) {
    *out = std::unexpected(std::move(header.error()));
    co_return;
  }
  *at_end = header->at_end != 0;
  *out = std::move(entries);
}

}  // namespace

rt::CoResult<std::vector<DirEntry>> list_page(Backend& backend,
                                              wire::InodeId directory,
                                              std::string cursor,
                                              std::size_t max_entries,
                                              Deadline by) {
  std::uint32_t shards = backend.pool.size();
  // Entries are spread evenly; ask for a little more than the even share.
  std::size_t share = (max_entries / shards + 8) * (sizeof(wire::DirEntryHeader) + 32);
  auto max_bytes =
      static_cast<std::uint32_t>(std::clamp<std::size_t>(share, 4096, wire::kMaxReaddirBytes));
  std::vector<Result<std::vector<DirEntry>>> pages(shards, std::vector<DirEntry>{});
  std::unique_ptr<bool[]> at_end(new bool[shards]());  // lint: allow new array of flags
  rt::Group group(backend.scope);
  for (std::uint32_t shard = 0; shard < shards; ++shard) {
    group.add(list_shard(backend,
                         wire::ShardId{shard},
                         directory,
                         cursor,
                         max_bytes,
                         by,
                         &pages[shard],
                         &at_end[shard]));
  }
  if (!co_await group.wait()) {
    co_return fail(Errc::kCancelled, "the client is closing");
  }
  // Beyond the end of the shortest unfinished page other shards may know names that come earlier.
  const std::string* bound = nullptr;
  std::vector<DirEntry> merged;
  for (std::uint32_t shard = 0; shard < shards; ++shard) {
    if (!pages[shard]) {
      co_return std::unexpected(std::move(pages[shard].error()));
    }
    if (!at_end[shard] && !pages[shard]->empty() &&
        (bound == nullptr || pages[shard]->back().name < *bound)) {
      bound = &pages[shard]->back().name;
    }
  }
  for (auto& page : pages) {
    for (DirEntry& entry : *page) {
      if (bound == nullptr || entry.name <= *bound) {
        merged.push_back(entry);
      }
    }
  }
  std::ranges::sort(merged, {}, &DirEntry::name);
  if (merged.size() > max_entries) {
    merged.resize(max_entries);
  }
  co_return merged;
}

}  // namespace benchfs::client
