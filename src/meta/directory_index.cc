#include "meta/directory_index.h"

#include <cstdint>
#include <utility>

#include "base/check.h"

namespace benchfs::meta {
namespace {

bool by_name(const EntryRecord* a, const EntryRecord* b) {
  return a->name() < b->name();
}

// The shortest text above `low` and not above `high`.
std::string separator(std::string_view low, std::string_view high) {
  std::size_t common = static_cast<std::size_t>(
      std::mismatch(low.begin(), low.end(), high.begin(), high.end()).first - low.begin());
  return std::string(high.substr(0, common + 1));
}

}  // namespace

void DirectoryIndex::Leaf::sort() {
  if (!sorted) {
    std::sort(records.begin(), records.end(), by_name);
    sorted = true;
  }
}

std::size_t DirectoryIndex::leaf_of(std::string_view name) const {
  auto next = std::upper_bound(
      leaves_.begin() + 1, leaves_.end(), name, [](std::string_view wanted, const auto& leaf) {
        return wanted < leaf->lower;
      });
  return static_cast<std::size_t>(next - leaves_.begin()) - 1;
}

void DirectoryIndex::insert(const EntryRecord& record) {
  if (leaves_.empty()) {
    leaves_.push_back(std::make_unique<Leaf>());
  }
  std::size_t at = leaf_of(record.name());
  if (leaves_[at]->records.size() == kMaxLeafEntries) {
    split(at);
    at = leaf_of(record.name());
  }
  Leaf& leaf = *leaves_[at];
  // Names often arrive in order; then no sort is ever needed.
  leaf.sorted = leaf.records.empty() || (leaf.sorted && by_name(leaf.records.back(), &record));
  leaf.records.push_back(&record);
  directories_ += S_ISDIR(record.entry().type) ? 1 : 0;
}

void DirectoryIndex::split(std::size_t at) {
  Leaf& low = *leaves_[at];
  auto middle = low.records.begin() + static_cast<std::ptrdiff_t>(low.records.size() / 2);
  if (!low.sorted) {
    std::nth_element(low.records.begin(), middle, low.records.end(), by_name);
  }
  const EntryRecord* below = *std::max_element(low.records.begin(), middle, by_name);
  auto high = std::make_unique<Leaf>();
  high->lower = separator(below->name(), (*middle)->name());
  high->sorted = low.sorted;
  high->records.reserve(kMaxLeafEntries);
  high->records.assign(middle, low.records.end());
  low.records.erase(middle, low.records.end());
  leaves_.insert(leaves_.begin() + static_cast<std::ptrdiff_t>(at) + 1, std::move(high));
}

void DirectoryIndex::erase(const EntryRecord& record) {
  BENCHFS_DCHECK(!leaves_.empty());
  std::size_t at = leaf_of(record.name());
  Leaf& leaf = *leaves_[at];
  auto found = std::find(leaf.records.begin(), leaf.records.end(), &record);
  BENCHFS_CHECK(found != leaf.records.end());
  directories_ -= S_ISDIR(record.entry().type) ? 1 : 0;
  if (leaf.sorted) {
    leaf.records.erase(found);
  } else {
    *found = leaf.records.back();
    leaf.records.pop_back();
  }
  merge_if_small(at);
}

// Keeps the number of leaves, and with it the cost of listing, in proportion to the entries.
void DirectoryIndex::merge_if_small(std::size_t at) {
  if (leaves_[at]->records.size() > kMaxLeafEntries / 8) {
    return;
  }
  std::size_t low = at > 0 ? at - 1 : at;
  if (low + 1 < leaves_.size()) {
    Leaf& into = *leaves_[low];
    Leaf& from = *leaves_[low + 1];
    if (into.records.size() + from.records.size() <= kMaxLeafEntries / 2) {
      into.sorted = into.sorted && from.sorted;
      into.records.insert(into.records.end(), from.records.begin(), from.records.end());
      leaves_.erase(leaves_.begin() + static_cast<std::ptrdiff_t>(low) + 1);
      at = low;
    }
  }
  if (leaves_[at]->records.empty()) {
    leaves_.erase(leaves_.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

}  // namespace benchfs::meta
