// The right of a program of the node to overwrite what is stored of a chunk, by itself, while the
// slot has the generation under which it was lent (docs/wire.md, "Slots").
//
// The store takes it back whenever it likes and waits for nobody. Of a program that is not in the
// middle of a copy it is over at once; one that may be is late: it keeps its slot, in which nothing
// else is stored, until it is seen outside.
//
// Thread: the store's.
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>

#include "base/check.h"
#include "wire/ids.h"

namespace benchfs::chunk {

struct MemorySlot;

class SlotLoan {
 public:
  SlotLoan() = default;
  SlotLoan(const SlotLoan&) = delete;
  SlotLoan& operator=(const SlotLoan&) = delete;
  virtual ~SlotLoan() { BENCHFS_CHECK(is_over()); }

  // Nothing is written under it any more, or it was never lent.
  [[nodiscard]] bool is_over() const { return slot_ == nullptr; }
  // Whether the program may be in the middle of a copy into the slot. Once the slot has another
  // generation and a full fence has passed, one that is not will not be.
  [[nodiscard]] virtual bool is_writing(std::uint32_t slot) const = 0;
  // When something was last written under it, in ns since the epoch; 0: not yet.
  [[nodiscard]] virtual std::int64_t written_at() const = 0;

 private:
  friend class MemoryStore;
  friend struct MemorySlot;
  using Hook = boost::intrusive::list_member_hook<
      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

  [[nodiscard]] bool is_late() const { return late_.is_linked(); }

  Hook of_slot_;
  Hook late_;
  MemorySlot* slot_ = nullptr;
  wire::ChunkKey key_;
  std::uint32_t write_id_ = 0;  // while it is late: that of the slot's WriteSet
};

}  // namespace benchfs::chunk
