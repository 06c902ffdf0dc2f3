#include "chunk/present_pages.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "chunk/mapping.h"

namespace benchfs::chunk {
namespace {

constexpr std::uint32_t kBits = std::numeric_limits<std::uint64_t>::digits;

std::uint64_t bit_of(std::uint32_t page) {
  return std::uint64_t{1} << page % kBits;
}

std::uint32_t page_after(std::uint32_t end) {
  return static_cast<std::uint32_t>(round_up(end, kPageBytes) / kPageBytes);
}

}  // namespace

void PresentPages::add(Range written) {
  if (written.empty()) {
    return;
  }
  if (written.begin <= round_up(end_, kPageBytes)) {
    end_ = std::max(end_, written.end);
  } else {
    std::uint32_t last = page_after(written.end);
    beyond_.resize(std::max<std::size_t>(beyond_.size(), (last + kBits - 1) / kBits));
    for (auto page = static_cast<std::uint32_t>(written.begin / kPageBytes); page < last; ++page) {
      beyond_[page / kBits] |= bit_of(page);
    }
  }
  std::uint32_t first = page_after(end_);
  std::uint32_t page = first;
  while (page / kBits < beyond_.size() && (beyond_[page / kBits] & bit_of(page)) != 0) {
    page += static_cast<std::uint32_t>(std::countr_one(beyond_[page / kBits] >> page % kBits));
  }
  if (page > first) {
    end_ = static_cast<std::uint32_t>(page * kPageBytes);
  }
  if (page / kBits >= beyond_.size()) {
    beyond_ = {};
  }
}

void PresentPages::cut(std::uint32_t at) {
  end_ = std::min(end_, at);
  auto pages = static_cast<std::uint32_t>(at / kPageBytes);
  if (pages / kBits < beyond_.size()) {
    beyond_.resize(pages / kBits + 1);
    beyond_.back() &= bit_of(pages) - 1;
  }
}

}  // namespace benchfs::chunk
