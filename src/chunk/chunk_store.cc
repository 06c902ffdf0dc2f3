#include "chunk/chunk_store.h"

#include <cstring>

namespace benchfs::chunk {

ChunkStore::~ChunkStore() = default;

void ReadLease::detach() {
  if (slot_ == nullptr) {  // they are a copy
    return;
  }
  ReadLease detached;
  detached.copy_ = std::make_unique_for_overwrite<std::byte[]>(bytes_.size());
  std::memcpy(detached.copy_.get(), bytes_.data(), bytes_.size());
  detached.bytes_ = {detached.copy_.get(), bytes_.size()};
  swap(detached);
}

void ReadLease::swap(ReadLease& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(owner_, other.owner_);
  std::swap(slot_, other.slot_);
  std::swap(copy_, other.copy_);
  std::swap(buffer_, other.buffer_);
}

void WriteLease::swap(WriteLease& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(owner_, other.owner_);
  std::swap(key_, other.key_);
  std::swap(write_id_, other.write_id_);
  std::swap(existing_end_, other.existing_end_);
  std::swap(is_handed_out_, other.is_handed_out_);
  std::swap(slot_, other.slot_);
  std::swap(buffer_, other.buffer_);
}

}  // namespace benchfs::chunk
