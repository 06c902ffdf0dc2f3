#include "door/client_slots.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "door/client_session.h"
#include "door/steps.h"

namespace benchfs::door {
namespace {

#ifndef MADV_POPULATE_READ  // glibc 2.35
constexpr int MADV_POPULATE_READ = 22;
#endif

std::atomic<std::uint64_t> last_number{0};

// Up to so many bytes are asked of memory all at once before they are copied: the processor sees
// where a copy leads when it is half over. 4 KiB at random go a sixth faster so, and a third faster
// when they are written (docs/performance.md).
constexpr std::size_t kPrefetched = std::size_t{16} << 10;
// Filled at a time.
constexpr std::size_t kPiece = std::size_t{256} << 10;
// Stacks of threads lie so far apart, or farther, where nobody asked for smaller ones.
constexpr std::size_t kStackBytes = std::size_t{8} << 20;

// Beyond the limit a write to a file is a signal.
bool may_write_up_to(std::uint64_t end) {
  rlimit limit{};
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur >= end;
}

// Of threads that overwrite the same chunk none takes the time back.
void set_to_now(std::atomic<std::int64_t>& time) {
  std::int64_t before = time.load(std::memory_order_relaxed);
  while (!time.compare_exchange_weak(before, wall_now_ns(), std::memory_order_relaxed)) {
  }
}

// One thread counts, others look.
void count(std::atomic<std::uint64_t>& counter, std::uint64_t more) {
  counter.store(counter.load(std::memory_order_relaxed) + more, std::memory_order_relaxed);
}

// Whether bytes of a slot up to `end` may be copied now.
link::SlotCopy check(wire::SlotState state, std::uint64_t generation, std::uint64_t end) {
  if (state.generation != generation) {
    return link::SlotCopy::kMoved;
  }
  return state.end < end ? link::SlotCopy::kShort : link::SlotCopy::kDone;
}

}  // namespace

ClientSlots::ClientSlots(ClientSession& session, std::uint32_t slot_bytes)
    : session_(session), slot_bytes_(slot_bytes), number_(++last_number) {}

Result<std::unique_ptr<ClientSlots>> ClientSlots::create(ClientSession& session,
                                                         Fd slots,
                                                         const Fd& states,
                                                         std::uint32_t slot_bytes) {
  std::unique_ptr<ClientSlots> own(
      new ClientSlots(session, slot_bytes));  // lint: allow new private constructor
  if (slot_bytes > kWindowBytes || kWindowBytes % slot_bytes != 0) {
    return fail(Errc::kMalformed, fmt::format("slots of {} bytes", slot_bytes));
  }
  BENCHFS_TRY(own->states_,
              map_received(states.get(), wire::kSlotStatesBytes, Mapping::Access::kRead));
  BENCHFS_TRY(own->file_, OwnDescriptor::create(std::move(slots)));
  return own;
}

void ClientSlots::abandon() {
  states_.abandon();
  for (std::unique_ptr<Window>& window : windows_) {
    window->mapping.abandon();
  }
}

bool ClientSlots::contains(std::uint32_t slot, std::uint32_t offset, std::size_t bytes) const {
  return slot < wire::kMaxPublishedSlots && offset <= slot_bytes_ && bytes > 0 &&
         bytes <= slot_bytes_ - offset;
}

// The memory of a daemon that was killed stays while it is mapped, and another daemon may already
// serve its files with other bytes.
bool ClientSlots::look_at_shard(MonoTime now) {
  if (session_.look_at_shard() != ClientSession::Life::kThere) {
    return false;
  }
  alive_until_ = now + kLifeCheck;
  return true;
}

ClientSlots::Window* ClientSlots::least_used_window() {
  if (windows_.size() < most_windows_) {
    windows_.push_back(std::make_unique<Window>());
    return windows_.back().get();
  }
  return unused_window();
}

void ClientSlots::limit_windows(std::size_t most) {
  most_windows_ = std::max<std::size_t>(most, 1);
  Window* unused = nullptr;
  while (windows_.size() > most_windows_ && (unused = unused_window()) != nullptr) {
    by_index_[unused->index] = nullptr;
    std::erase_if(windows_, [&](const auto& window) { return window.get() == unused; });
  }
}

ClientSlots::Window* ClientSlots::unused_window() {
  Window* least = nullptr;
  for (const std::unique_ptr<Window>& window : windows_) {
    bool is_used =
        is_any_copier([&](const Copier& copier) { return copier.window == window.get(); });
    if (!is_used && (least == nullptr || window->used_at < least->used_at)) {
      least = window.get();
    }
  }
  return least;
}

ClientSlots::Window* ClientSlots::map_window(std::size_t index) {
  if (!file_.is_ours()) {
    return nullptr;
  }
  Result<Mapping> mapping =
      Mapping::map(file_.get(), kWindowBytes, Mapping::Access::kReadWrite, index * kWindowBytes);
  if (!mapping) {
    return nullptr;
  }
  // It has bytes of all files; a core dump is of this program.
  (void)madvise(mapping->data(), mapping->bytes(), MADV_DONTDUMP);
  Window* free = least_used_window();
  if (free == nullptr) {
    return nullptr;
  }
  Window& window = *free;
  if (window.mapping.is_mapped()) {
    by_index_[window.index] = nullptr;
  }
  window.index = index;
  window.mapping = *std::move(mapping);
  window.present.reset();
  by_index_.resize(std::max(by_index_.size(), index + 1));
  by_index_[index] = &window;
  ++maps_;
  return &window;
}

// One call instead of a fault for each page. Whole granules where all of their pages are there,
// else what is copied: a hole that is touched becomes memory.
void ClientSlots::bring_in(Window& window, Part part) {
  std::size_t first = part.begin / kGranule;
  std::size_t last = (part.end - 1) / kGranule;
  while (window.present.test(first)) {
    if (first++ == last) {
      return;
    }
  }
  bool is_whole = (last + 1) * kGranule <= part.existing_end;
  std::size_t end = is_whole ? last + 1 : part.end / kGranule;
  if (first >= end) {
    return;
  }
  std::size_t from = first * kGranule;
  std::size_t to = std::max(part.end, end * kGranule);
  (void)madvise(window.mapping.data() + from, to - from, MADV_POPULATE_READ);
  for (; first < end; ++first) {
    window.present.set(first);
  }
}

std::byte* ClientSlots::map(std::uint32_t slot,
                            std::uint32_t offset,
                            std::size_t bytes,
                            std::uint32_t existing_end) {
  std::uint64_t place = place_of(slot, offset);
  Window* window = this->window(place / kWindowBytes);
  if (window == nullptr) {
    return nullptr;
  }
  if (window->used_at != maps_) {
    window->used_at = maps_;
  }
  std::size_t inside = place % kWindowBytes;
  std::size_t granule = inside / kGranule;
  bool is_one = granule == (inside + bytes - 1) / kGranule;
  if (!is_one || !window->present[granule]) {
    bring_in(
        *window,
        {.begin = inside, .end = inside + bytes, .existing_end = inside - offset + existing_end});
  }
  return window->mapping.data() + inside;
}

link::SlotCopy ClientSlots::find(const link::SlotRight& right,
                                 std::uint32_t offset,
                                 std::size_t size,
                                 link::SlotRange& found) {
  if (!contains(right.slot, offset, size) || !is_shard_alive()) {
    return link::SlotCopy::kMoved;
  }
  wire::SlotState state = state_of(right.slot);
  link::SlotCopy how = check(state, right.generation, offset + size);
  if (how != link::SlotCopy::kDone) {
    return how;
  }
  std::uint64_t free = copiers_state_.load(std::memory_order_acquire) & ~kOwned;
  std::byte* bytes = free != 0 ? map(right.slot, offset, size, state.end) : nullptr;
  if (bytes == nullptr) {
    return link::SlotCopy::kShort;
  }
  // A thread gets the copier that it had before, most often: where its stack lies is its own.
  int first = static_cast<int>(reinterpret_cast<std::uintptr_t>(&free) / kStackBytes % 64);
  auto copier = static_cast<std::uint32_t>(first + std::countr_zero(std::rotr(free, first))) % 64;
  static_assert(wire::kMaxCopiers < 64);
  copiers_[copier] = {.window = by_index_[place_of(right.slot, offset) / kWindowBytes],
                      .place = right.place};
  copiers_state_.fetch_and(~(std::uint64_t{1} << copier), std::memory_order_relaxed);
  found.slots = this;
  found.right = right;
  found.offset = offset;
  found.copier = copier;
  found.bytes = {bytes, size};
  at_step(Step::kSlotStateRead);
  return link::SlotCopy::kDone;
}

void ClientSlots::let_go(const link::SlotRange& found) {
  std::uint64_t bit = std::uint64_t{1} << found.copier;
  bool is_last = (copiers_state_.fetch_or(bit, std::memory_order_acq_rel) | bit) == ~kOwned;
  if (is_last) [[unlikely]] {
    int state = 0;
    ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);  // close() would be a place for that
    std::unique_ptr<ClientSession>(&session_).reset();
    ::pthread_setcancelstate(state, nullptr);
  }
}

bool ClientSlots::leave_to_copiers() {
  return copiers_state_.fetch_and(~kOwned, std::memory_order_acq_rel) != UINT64_MAX;
}

bool ClientSlots::is_in_use(std::uint32_t place) const {
  return is_any_copier([&](const Copier& copier) { return copier.place == place; });
}

link::SlotCopy ClientSlots::read(const link::SlotRange& found, std::byte* into) {
  const std::byte* bytes = found.bytes.data();
  std::size_t size = found.bytes.size();
  if (size <= kPrefetched) {
    for (std::size_t at = 0; at < size; at += kLine) {
      __builtin_prefetch(bytes + at, 0);
    }
  }
  std::memcpy(into, bytes, size);
  at_step(Step::kSlotCopied);
  std::atomic_thread_fence(std::memory_order_acquire);
  if (state_of(found.right.slot).generation != found.right.generation) {
    return link::SlotCopy::kMoved;
  }
  CopyCounts& counts = session_.copier(found.copier).counts;
  count(counts.reads, 1);
  count(counts.bytes_read, size);
  return link::SlotCopy::kDone;
}

// The shard takes the right away by a new generation, and looks afterwards which slots are named
// here. So either it sees that this copy is under way, or this sees the new generation. A write
// that has returned was over before the generation changed.
link::SlotCopy ClientSlots::overwrite(const link::SlotRange& found, const std::byte* from) {
  const link::SlotRight& right = found.right;
  std::byte* bytes = found.bytes.data();
  std::size_t size = found.bytes.size();
  bool is_for_ever = right.until == BootTime::max();
  if (!is_for_ever && boot_now() >= right.until) {
    return link::SlotCopy::kMoved;
  }
  if (size <= kPrefetched) {  // also before the fences, which wait for what is written
    for (std::size_t at = 0; at < size; at += kLine) {
      __builtin_prefetch(bytes + at, 1);
    }
  }
  CopierMemory& copier = session_.copier(found.copier);
  copier.busy.store(std::uint64_t{right.slot} + 1, std::memory_order_relaxed);
  at_step(Step::kSlotNamed);
  full_fence();
  link::SlotCopy how = check(state_of(right.slot), right.generation, found.offset + size);
  if (how == link::SlotCopy::kDone) {
    set_to_now(session_.loan(right.place).written_at);
    at_step(Step::kSlotOverwriting);
    std::memcpy(bytes, from, size);
    at_step(Step::kSlotOverwritten);
    full_fence();
    how = check(state_of(right.slot), right.generation, 0);
    if (!is_for_ever && boot_now() >= right.until) {
      how = link::SlotCopy::kMoved;  // it stood still meanwhile
    }
  }
  copier.busy.store(0, std::memory_order_release);
  if (how == link::SlotCopy::kDone) {
    count(copier.counts.overwrites, 1);
    count(copier.counts.bytes_overwritten, size);
  }
  return how;
}

Status ClientSlots::fill(std::uint32_t slot,
                         std::uint32_t offset,
                         std::uint32_t existing_end,
                         std::span<const std::byte> from) {
  if (!contains(slot, offset, from.size())) {
    return fail(Errc::kMalformed, "a slot beyond the node's memory");
  }
  std::size_t existing =
      std::min<std::size_t>(from.size(), existing_end - std::min(existing_end, offset));
  if (existing > 0) {
    std::byte* bytes = map(slot, offset, existing, existing_end);
    if (bytes == nullptr) {
      return fail(Errc::kSystem, "the program cannot map the node's memory");
    }
    at_step(Step::kSlotFilling);
    std::memcpy(bytes, from.data(), existing);
  }
  return fill_new(place_of(slot, offset) + existing, from.subspan(existing));
}

// The kernel holds a lock of the whole file while it copies, which the shard needs as well: the
// bytes must be there before it begins, however long their own file system takes to bring them.
Status ClientSlots::fill_new(std::uint64_t place, std::span<const std::byte> from) const {
  while (!from.empty()) {
    std::span<const std::byte> piece = from.first(std::min(from.size(), kPiece));
    for (std::size_t at = 0; at < piece.size(); at += kPage) {
      (void)*static_cast<const volatile std::byte*>(&piece[at]);
    }
    (void)*static_cast<const volatile std::byte*>(&piece.back());
    if (!session_.is_attached() || !file_.is_ours() || !may_write_up_to(place + piece.size())) {
      return fail(Errc::kSystem, "the program cannot write to the node's memory");
    }
    at_step(Step::kSlotFilling);
    ssize_t written = ::pwrite(file_.get(), piece.data(), piece.size(), static_cast<off_t>(place));
    if (written < 0 && errno != EINTR) {
      return fail_system(errno, "filling a chunk in the node's memory");
    }
    std::size_t done = written < 0 ? 0 : static_cast<std::size_t>(written);
    place += done;
    from = from.subspan(done);
  }
  return {};
}

}  // namespace benchfs::door
