#include "chunk/write_set.h"

#include <algorithm>

#include "base/check.h"

namespace benchfs::chunk {
namespace {

// Removes `range` from every range of the list; order is not kept.
void subtract(std::vector<Range>& list, Range range) {
  if (range.empty()) {
    return;
  }
  for (std::size_t i = 0; i < list.size();) {
    Range old = list[i];
    if (!old.overlaps(range)) {
      ++i;
      continue;
    }
    Range before{old.begin, std::max(old.begin, range.begin)};
    Range after{std::min(old.end, range.end), old.end};
    if (before.empty() && after.empty()) {
      list[i] = list.back();
      list.pop_back();
      continue;
    }
    list[i] = before.empty() ? after : before;
    if (!before.empty() && !after.empty()) {
      list.push_back(after);
    }
    ++i;
  }
}

}  // namespace

std::uint32_t WriteSet::open(Range range, std::uint32_t fresh_from) {
  writes_.push_back({next_id_, range, range.end});
  Range fresh{std::max(range.begin, fresh_from), range.end};
  if (!fresh.empty()) {
    subtract(unsettled_, fresh);
    unsettled_.push_back(fresh);
  }
  return next_id_++;
}

WriteSet::Write WriteSet::take(std::uint32_t id) {
  auto at = std::ranges::find(writes_, id, &Write::id);
  BENCHFS_CHECK(at != writes_.end());
  Write write = *at;
  *at = writes_.back();
  writes_.pop_back();
  return write;
}

Range WriteSet::commit(std::uint32_t id) {
  Write write = take(id);
  subtract(unsettled_, write.kept);
  return write.kept;
}

const std::vector<Range>& WriteSet::abandon(std::uint32_t id) {
  Write write = take(id);
  zeroed_.clear();
  for (Range range : unsettled_) {
    Range common{std::max(range.begin, write.kept.begin), std::min(range.end, write.kept.end)};
    if (!common.empty()) {
      zeroed_.push_back(common);
    }
  }
  for (const Write& other : writes_) {
    subtract(zeroed_, other.kept);
  }
  for (Range range : zeroed_) {
    subtract(unsettled_, range);
  }
  return zeroed_;
}

void WriteSet::cut(std::uint32_t at) {
  for (Write& write : writes_) {
    write.kept.end = std::min(write.kept.end, at);
  }
  subtract(unsettled_, {at, UINT32_MAX});
}

bool WriteSet::is_blocked(Range range) const {
  return std::ranges::any_of(writes_, [range](const Write& write) {
    Range lost{std::max(write.kept.begin, write.kept.end), write.end};
    return !lost.empty() && lost.overlaps(range);
  });
}

bool WriteSet::is_unsettled(Range range) const {
  return std::ranges::any_of(unsettled_, [range](Range r) { return r.overlaps(range); });
}

}  // namespace benchfs::chunk
