// The slots of a chunk shard in a program of its node: read and filled by the program's own copies.
//
// Windows of the slot file are mapped where they are needed, and the least recently used one goes.
// Memory that nobody has used before is filled through the descriptor: the kernel copies into pages
// that it need not clear, and a machine without memory is an error instead of a signal.
//
// Thread: the client's reactor. What find() has found any thread copies, each as a copier of its
// own: the shard sees in the copier's memory which slot it overwrites, and no window of a copier
// goes.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/own_descriptor.h"
#include "door/layout.h"
#include "door/shared_memory.h"
#include "link/link.h"
#include "wire/slot_state.h"

namespace benchfs::door {

class ClientSession;

class ClientSlots final : public link::SharedSlots {
 public:
  static constexpr std::size_t kWindowBytes = std::size_t{64} << 20;
  static constexpr std::size_t kMostWindows = 16;  // of all sessions of a client

  // The session is borrowed. Errors: kMalformed, kSystem.
  static Result<std::unique_ptr<ClientSlots>> create(ClientSession& session,
                                                     Fd slots,
                                                     const Fd& states,
                                                     std::uint32_t slot_bytes);
  // In a child of fork, where nothing is mapped.
  void abandon();

  [[nodiscard]] std::uint64_t number() const override { return number_; }
  Status fill(std::uint32_t slot,
              std::uint32_t offset,
              std::uint32_t existing_end,
              std::span<const std::byte> from) override;
  link::SlotCopy find(const link::SlotRight& right,
                      std::uint32_t offset,
                      std::size_t size,
                      link::SlotRange& found) override;
  using link::SharedSlots::overwrite;
  using link::SharedSlots::read;
  link::SlotCopy read(const link::SlotRange& found, std::byte* into) override;
  link::SlotCopy overwrite(const link::SlotRange& found, const std::byte* from) override;
  void let_go(const link::SlotRange& found) override;
  [[nodiscard]] bool is_in_use(std::uint32_t place) const override;
  [[nodiscard]] bool is_copied() const {
    return is_any_copier([](const Copier&) { return true; });
  }
  // True: somebody copies, and ends the session when all have done so. Nothing more may be looked
  // for.
  [[nodiscard]] bool leave_to_copiers();

  [[nodiscard]] std::size_t windows() const { return windows_.size(); }
  // Of this session from now on, at least one; more are unmapped unless somebody copies in them.
  void limit_windows(std::size_t most);

 private:
  // Pages are brought into the page tables this many bytes at a time.
  static constexpr std::size_t kGranule = std::size_t{64} << 10;
  static constexpr Nanos kLifeCheck = std::chrono::milliseconds(1);

  struct Window {
    std::size_t index = 0;  // in the file
    Mapping mapping;
    std::uint64_t used_at = 0;  // by maps_
    std::bitset<kWindowBytes / kGranule> present;
  };

  ClientSlots(ClientSession& session, std::uint32_t slot_bytes);
  // Whether there are such bytes in a slot that is shared.
  [[nodiscard]] bool contains(std::uint32_t slot, std::uint32_t offset, std::size_t bytes) const;
  [[nodiscard]] std::uint64_t place_of(std::uint32_t slot, std::uint32_t offset) const {
    return std::uint64_t{slot} * slot_bytes_ + offset;
  }
  [[nodiscard]] wire::SlotState state_of(std::uint32_t slot) const {
    const auto& word = *reinterpret_cast<const wire::SlotWord*>(
        states_.data() + std::size_t{slot} * wire::kSlotStateBytes);
    return wire::SlotState::of(word.load(std::memory_order_acquire));
  }
  [[nodiscard]] bool is_shard_alive() {
    MonoTime now = mono_now_coarse();
    return now < alive_until_ || look_at_shard(now);
  }
  bool look_at_shard(MonoTime now);
  Window* window(std::size_t index) {
    Window* known = index < by_index_.size() ? by_index_[index] : nullptr;
    return known != nullptr ? known : map_window(index);
  }
  // Null when it cannot be mapped.
  Window* map_window(std::size_t index);
  Window* least_used_window();
  // Null when somebody copies in each of them.
  Window* unused_window();
  template <typename Matches>
  [[nodiscard]] bool is_any_copier(Matches matches) const {
    for (std::uint64_t copying = ~(copiers_state_.load(std::memory_order_acquire) | kOwned);
         copying != 0;
         copying &= copying - 1) {
      if (matches(copiers_[static_cast<std::size_t>(std::countr_zero(copying))])) {
        return true;
      }
    }
    return false;
  }
  // Of a window: what is copied, and up to where the memory of its slot is there.
  struct Part {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t existing_end = 0;
  };
  static void bring_in(Window& window, Part part);
  // Set by the reactor's thread when a copier begins.
  struct alignas(2 * kLine) Copier {
    const Window* window = nullptr;
    std::uint32_t place = 0;  // of a loan
  };
  // Bytes of a slot, which lies in one window. Null when they cannot be mapped.
  std::byte* map(std::uint32_t slot,
                 std::uint32_t offset,
                 std::size_t bytes,
                 std::uint32_t existing_end);
  [[nodiscard]] Status fill_new(std::uint64_t place, std::span<const std::byte> from) const;

  ClientSession& session_;
  std::size_t most_windows_ = kMostWindows;
  std::uint32_t slot_bytes_;
  std::uint64_t number_;
  OwnDescriptor file_;
  Mapping states_;
  std::vector<std::unique_ptr<Window>> windows_;
  std::vector<Window*> by_index_;
  std::uint64_t maps_ = 0;
  MonoTime alive_until_{};  // the shard was there not long before
  std::array<Copier, wire::kMaxCopiers> copiers_{};
  // A bit for each copier that is free, and one while the session has its owner.
  static constexpr std::uint64_t kOwned = std::uint64_t{1} << 63;
  std::atomic<std::uint64_t> copiers_state_{UINT64_MAX};
};

}  // namespace benchfs::door
