#include "meta/entry_table.h"

#include <cstring>
#include <new>
#include <utility>

#include "base/check.h"
#include "base/hash.h"
#include "wire/messages.h"

namespace benchfs::meta {

EntryRecord::Ptr EntryRecord::make(wire::InodeId parent, std::string_view name, Entry entry) {
  BENCHFS_CHECK(name.size() <= wire::kMaxNameBytes);
  void* memory = ::operator new(std::max(sizeof(EntryRecord), kNameOffset + name.size()));
  Ptr record(::new (memory) EntryRecord(parent, name, entry));
  std::memcpy(static_cast<char*>(memory) + kNameOffset, name.data(), name.size());
  return record;
}

// The hash that picks the shard of an entry must not be used again here: on one shard its values
// agree modulo the number of shards. Hence a seed of our own.
std::uint64_t EntryTable::Key::hash() const {
  constexpr std::uint64_t kSeed = 0x656e747279746162ULL;
  return hash_text(name, mix64(parent.value ^ kSeed));
}

EntryTable::EntryTable() {
  for (Records& records : records_) {
    records.max_load_factor(0.75F);
  }
}

const EntryTable::Indexes& EntryTable::indexes_of(wire::InodeId directory) const {
  return indexes_[partition_of(std::hash<wire::InodeId>{}(directory))];
}
EntryTable::Indexes& EntryTable::indexes_of(wire::InodeId directory) {
  return indexes_[partition_of(std::hash<wire::InodeId>{}(directory))];
}

EntryRecord* EntryTable::find(wire::InodeId parent, std::string_view name) const {
  Key key{parent, name};
  std::uint64_t hash = key.hash();
  const Records& records = records_[partition_of(hash)];
  auto found = records.find(key, hash);
  return found == records.end() ? nullptr : found->get();
}

void EntryTable::insert(wire::InodeId parent, std::string_view name, Entry entry) {
  EntryRecord::Ptr record = EntryRecord::make(parent, name, entry);
  indexes_of(parent)[parent].insert(*record);
  auto [at, inserted] = records_[partition_of(Key{parent, name}.hash())].insert(std::move(record));
  BENCHFS_CHECK(inserted);
  ++size_;
}

bool EntryTable::erase(wire::InodeId parent, std::string_view name) {
  Key key{parent, name};
  std::uint64_t hash = key.hash();
  Records& records = records_[partition_of(hash)];
  auto found = records.find(key, hash);
  if (found == records.end()) {
    return false;
  }
  Indexes& indexes = indexes_of(parent);
  auto index = indexes.find(parent);
  BENCHFS_CHECK(index != indexes.end());
  index.value().erase(**found);
  if (index->second.empty()) {
    indexes.erase(index);
  }
  records.erase(found);
  --size_;
  return true;
}

EntryTable::Page EntryTable::list(wire::InodeId directory,
                                  std::string_view cursor,
                                  std::size_t max_bytes,
                                  std::vector<std::byte>& out) const {
  Page page{.entry_count = 0, .at_end = true};
  const Indexes& indexes = indexes_of(directory);
  auto index = indexes.find(directory);
  if (index == indexes.end()) {
    return page;
  }
  const std::size_t start = out.size();
  page.at_end = index->second.visit_after(cursor, [&](const EntryRecord& record) {
    std::string_view name = record.name();
    std::size_t end = out.size();
    if (end - start + sizeof(wire::DirEntryHeader) + name.size() > max_bytes) {
      return false;
    }
    wire::DirEntryHeader header{.inode = record.entry().inode.value,
                                .type = record.entry().type,
                                .name_bytes = static_cast<std::uint16_t>(name.size())};
    out.resize(end + sizeof(header) + name.size());
    std::memcpy(out.data() + end, &header, sizeof(header));
    std::memcpy(out.data() + end + sizeof(header), name.data(), name.size());
    ++page.entry_count;
    return true;
  });
  return page;
}

std::uint32_t EntryTable::directories_in(wire::InodeId directory) const {
  const Indexes& indexes = indexes_of(directory);
  auto index = indexes.find(directory);
  return index == indexes.end() ? 0 : index->second.directories();
}

void EntryTable::set_entry(EntryRecord& record, Entry entry) {
  indexes_of(record.parent()).find(record.parent()).value().set_entry(record, entry);
}

bool EntryTable::has_entries(wire::InodeId directory) const {
  return indexes_of(directory).contains(directory);
}

}  // namespace benchfs::meta
