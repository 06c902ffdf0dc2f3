#include "meta/inode_table.h"

#include <algorithm>

#include "base/check.h"

namespace benchfs::meta {

InodeTable::InodeTable(wire::ShardId self, std::uint64_t first_counter)
    : self_(self),
      first_counter_(
          std::max<std::uint64_t>(first_counter, self == wire::kRootInode.home() ? 2 : 1)),
      next_counter_(first_counter_) {}

Inode* InodeTable::find(wire::InodeId id) const {
  if (id.home() != self_) {
    return nullptr;
  }
  std::uint64_t number = id.counter() / kPageInodes;
  const Recent& recent = recent_[number % kRecent];
  Page* page = recent.page != nullptr && recent.number == number ? recent.page : find_page(number);
  return page == nullptr ? nullptr : page->inodes[id.counter() % kPageInodes].get();
}

InodeTable::Page* InodeTable::find_page(std::uint64_t number) const {
  auto page = pages_.find(number);
  if (page == pages_.end()) {
    return nullptr;
  }
  recent_[number % kRecent] = {number, page->second.get()};
  return page->second.get();
}

Inode& InodeTable::place(std::uint64_t counter) {
  BENCHFS_CHECK(counter < std::uint64_t{1} << wire::InodeId::kCounterBits);
  std::unique_ptr<Page>& page = pages_[counter / kPageInodes];
  if (!page) {
    page = std::make_unique<Page>();
  }
  std::unique_ptr<Inode>& slot = page->inodes[counter % kPageInodes];
  BENCHFS_CHECK(!slot);
  slot = std::make_unique<Inode>();
  slot->attr.inode = wire::InodeId::make(self_, counter).value;
  ++page->used;
  ++size_;
  return *slot;
}

Inode& InodeTable::make() {
  return place(next_counter_++);
}

Inode& InodeTable::make_root() {
  BENCHFS_CHECK(self_ == wire::kRootInode.home());
  return place(wire::kRootInode.counter());
}

void InodeTable::erase(wire::InodeId id) {
  auto page = pages_.find(id.counter() / kPageInodes);
  BENCHFS_CHECK(id.home() == self_ && page != pages_.end());
  std::unique_ptr<Inode>& slot = page->second->inodes[id.counter() % kPageInodes];
  BENCHFS_CHECK(slot != nullptr);
  slot.reset();
  --size_;
  if (--page.value()->used == 0) {
    if (Recent& recent = recent_[page->first % kRecent]; recent.page == page->second.get()) {
      recent = {};
    }
    pages_.erase(page);
  }
}

}  // namespace benchfs::meta
