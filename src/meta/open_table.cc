#include "meta/open_table.h"

#include <algorithm>

#include "base/check.h"
#include "wire/messages.h"

namespace benchfs::meta {
namespace {

std::uint32_t& counter(OpenCounts& counts, std::uint32_t open_flags) {
  if ((open_flags & wire::kOpenWrite) == 0) {
    return counts.readers;
  }
  return (open_flags & wire::kOpenAppend) == 0 ? counts.plain_writers : counts.appenders;
}

template <typename Map, typename Iterator>
void erase_if_unused(Map& map, Iterator at) {
  if (!at->second.any()) {
    map.erase(at);
  }
}

}  // namespace

void OpenTable::open(wire::InodeId inode, std::uint64_t client_uid, std::uint32_t open_flags) {
  ++counter(totals_[inode], open_flags);
  ++counter(clients_[client_uid][inode], open_flags);
  ++size_;
}

bool OpenTable::close(wire::InodeId inode, std::uint64_t client_uid, std::uint32_t open_flags) {
  auto client = clients_.find(client_uid);
  if (client == clients_.end()) {
    return false;
  }
  Counts& files = client.value();
  auto mine = files.find(inode);
  if (mine == files.end() || counter(mine.value(), open_flags) == 0) {
    return false;
  }
  --counter(mine.value(), open_flags);
  erase_if_unused(files, mine);
  if (files.empty()) {
    clients_.erase(client);
  }
  auto total = totals_.find(inode);
  BENCHFS_CHECK(total != totals_.end() && counter(total.value(), open_flags) > 0);
  --counter(total.value(), open_flags);
  erase_if_unused(totals_, total);
  --size_;
  return true;
}

std::vector<std::pair<wire::InodeId, OpenCounts>> OpenTable::close_all(std::uint64_t client_uid) {
  std::vector<std::pair<wire::InodeId, OpenCounts>> closed;
  auto client = clients_.find(client_uid);
  if (client == clients_.end()) {
    return closed;
  }
  closed.assign(client->second.begin(), client->second.end());
  clients_.erase(client);
  std::sort(
      closed.begin(), closed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [inode, counts] : closed) {
    auto total = totals_.find(inode);
    BENCHFS_CHECK(total != totals_.end());
    total.value().readers -= counts.readers;
    total.value().plain_writers -= counts.plain_writers;
    total.value().appenders -= counts.appenders;
    erase_if_unused(totals_, total);
    size_ -= counts.readers + counts.writers();
  }
  return closed;
}

OpenCounts OpenTable::counts(wire::InodeId inode) const {
  auto total = totals_.find(inode);
  return total == totals_.end() ? OpenCounts{} : total->second;
}

}  // namespace benchfs::meta
