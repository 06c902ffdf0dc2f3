#include "client/inodes/listing.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "client/inodes/check_reply.h"
#include "wire/messages.h"

namespace benchfs::client {
namespace {

rt::Task<void> list_shard(Backend& backend,
                          wire::ShardId shard,
                          wire::InodeId directory,
                          std::string_view cursor,
                          std::uint32_t max_bytes,
                          std::uint16_t flags,
                          Deadline by,
                          Result<std::vector<DirEntry>>* out,
                          bool* at_end) {
  wire::ReaddirRequest request;
  request.directory = directory.value;
  request.max_bytes = max_bytes;
  request.flags = flags;
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
    std::optional<wire::Attr> attr;
    if ((entry.flags & wire::kDirEntryAttr) != 0) {
      reader.read(attr.emplace());
    }
    if (!reader.ok()) {
      header = fail(Errc::kMalformed, "a listing is cut short");
      break;
    }
    wire::InodeId inode{entry.inode};
    Status checked = check_inode(inode, backend.pool.size());
    if (checked && attr) {
      checked = attr->id() == inode ? check_attr(*attr, backend.pool.size())
                                    : fail(Errc::kMalformed, "a listing mixes up two inodes");
    }
    if (!checked) {
      header = std::unexpected(std::move(checked.error()));
      break;
    }
    entries.push_back({std::string(name), inode, entry.type, entry.flags, attr});
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
                                              Deadline by,
                                              std::uint16_t flags) {
  std::uint32_t shards = backend.pool.size();
  // Entries are spread evenly; ask for a little more than the even share.
  std::size_t entry_bytes = sizeof(wire::DirEntryHeader) + 32;
  if ((flags & wire::kReaddirAttr) != 0) {
    entry_bytes += 2 * sizeof(wire::Attr);  // servers leave room for the shortest names
  }
  std::size_t share = (max_entries / shards + 8) * entry_bytes;
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
                         flags,
                         by,
                         &pages[shard],
                         &at_end[shard]));
  }
  if (!co_await group.wait()) {
    co_return fail(Errc::kCancelled, "the client is closing");
  }
  // Beyond the end of the shortest unfinished page other shards may know names that come earlier.
  std::optional<std::string> bound;
  std::vector<DirEntry> merged;
  for (std::uint32_t shard = 0; shard < shards; ++shard) {
    if (!pages[shard]) {
      co_return std::unexpected(std::move(pages[shard].error()));
    }
    if (!at_end[shard] && !pages[shard]->empty() &&
        (!bound || pages[shard]->back().name < *bound)) {
      bound = pages[shard]->back().name;
    }
  }
  for (auto& page : pages) {
    for (DirEntry& entry : *page) {
      if (!bound || entry.name <= *bound) {
        merged.push_back(std::move(entry));
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
