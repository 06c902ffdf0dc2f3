#include "meta/open_table.h"

#include <algorithm>

#include "base/check.h"
#include "wire/messages.h"

namespace benchfs::meta {
namespace {

// Buckets that a client keeps while it has nothing open: it opens again before long. They go with
// remove_all().
constexpr std::size_t kSmallTable = 64;

std::uint32_t& counter(OpenCounts& counts, std::uint32_t open_flags) {
  if ((open_flags & wire::kOpenWrite) == 0) {
    return counts.readers;
  }
  return (open_flags & wire::kOpenAppend) == 0 ? counts.plain_writers : counts.appenders;
}

}  // namespace

void OpenTable::add(OpenId id, Open open) {
  bool is_new = clients_[id.client_uid].emplace(id.number, open).second;
  BENCHFS_CHECK(is_new);
  ++counter(totals_[open.inode], open.flags);
  ++size_;
}

std::optional<Open> OpenTable::find(OpenId id) const {
  auto client = clients_.find(id.client_uid);
  if (client == clients_.end()) {
    return std::nullopt;
  }
  auto open = client->second.find(id.number);
  return open == client->second.end() ? std::nullopt : std::optional(open->second);
}

void OpenTable::uncount(const Open& open) {
  auto total = totals_.find(open.inode);
  BENCHFS_CHECK(total != totals_.end() && counter(total.value(), open.flags) > 0);
  --counter(total.value(), open.flags);
  if (!total->second.any()) {
    totals_.erase(total);
  }
  --size_;
}

std::optional<Open> OpenTable::remove(OpenId id) {
  auto client = clients_.find(id.client_uid);
  if (client == clients_.end()) {
    return std::nullopt;
  }
  Opens& opens = client.value();
  auto found = opens.find(id.number);
  if (found == opens.end()) {
    return std::nullopt;
  }
  Open open = found->second;
  opens.erase(found);
  if (opens.empty() && opens.bucket_count() > kSmallTable) {
    clients_.erase(client);
  }
  uncount(open);
  return open;
}

std::vector<Open> OpenTable::remove_all(std::uint64_t client_uid) {
  return keep_only(client_uid, 0, UINT64_MAX, {});
}

std::vector<Open> OpenTable::keep_only(std::uint64_t client_uid,
                                       std::uint64_t from,
                                       std::uint64_t to,
                                       std::span<const std::uint64_t> kept) {
  std::vector<Open> removed;
  auto client = clients_.find(client_uid);
  if (client == clients_.end()) {
    return removed;
  }
  Opens& opens = client.value();
  std::vector<std::uint64_t> numbers;
  auto drop_unless_kept = [&](std::uint64_t number, const Open& open) {
    if (!std::ranges::binary_search(kept, number)) {
      numbers.push_back(number);
      removed.push_back(open);
    }
  };
  // A client with many opens states them in many notices, each about a short range.
  if (to - from < opens.size()) {
    for (std::uint64_t number = from; number < to; ++number) {
      if (auto found = opens.find(number); found != opens.end()) {
        drop_unless_kept(number, found->second);
      }
    }
  } else {
    for (const auto& [number, open] : opens) {
      if (number >= from && number < to) {
        drop_unless_kept(number, open);
      }
    }
  }
  for (std::uint64_t number : numbers) {
    opens.erase(number);
  }
  if (opens.empty()) {
    clients_.erase(client);
  }
  for (const Open& open : removed) {
    uncount(open);
  }
  std::ranges::sort(removed, {}, &Open::inode);
  return removed;
}

OpenCounts OpenTable::counts(wire::InodeId inode) const {
  auto total = totals_.find(inode);
  return total == totals_.end() ? OpenCounts{} : total->second;
}

}  // namespace benchfs::meta
