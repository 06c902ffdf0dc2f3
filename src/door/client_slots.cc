#include "door/client_slots.h"

#include <fmt/format.h>
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

// Filled at a time.
constexpr std::size_t kPiece = std::size_t{256} << 10;

// Beyond the limit a write to a file is a signal.
bool may_write_up_to(std::uint64_t end) {
  rlimit limit{};
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur >= end;
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
  return slot < wire::kMaxPublishedSlots && offset <= slot_bytes_ && bytes <= slot_bytes_ - offset;
}

// The memory of a daemon that was killed stays while it is mapped, and another daemon may already
// serve its files with other bytes.
bool ClientSlots::is_shard_alive() {
  MonoTime now = mono_now();
  if (now >= alive_until_) {
    if (session_.look_at_shard() != ClientSession::Life::kThere) {
      return false;
    }
    alive_until_ = now + kLifeCheck;
  }
  return true;
}

Result<ClientSlots::Window*> ClientSlots::window(std::size_t index) {
  ++uses_;
  for (std::unique_ptr<Window>& window : windows_) {
    if (window->index == index) {
      window->used_at = uses_;
      return window.get();
    }
  }
  if (!file_.is_ours()) {
    return fail(Errc::kSystem, "the program has closed the descriptor of the node's memory");
  }
  BENCHFS_TRY(
      Mapping mapping,
      Mapping::map(file_.get(), kWindowBytes, Mapping::Access::kReadWrite, index * kWindowBytes));
  // It has bytes of all files; a core dump is of this program.
  (void)madvise(mapping.data(), mapping.bytes(), MADV_DONTDUMP);
  if (windows_.size() < kMostWindows) {
    windows_.push_back(std::make_unique<Window>());
  }
  Window& oldest = **std::ranges::min_element(windows_, {}, &Window::used_at);
  oldest.index = index;
  oldest.mapping = std::move(mapping);
  oldest.used_at = uses_;
  oldest.present.reset();
  return &oldest;
}

// One call instead of a fault for each page. Only pages that are there: a hole that is touched
// becomes memory.
void ClientSlots::bring_in(Window& window, std::size_t offset, std::size_t bytes) {
  std::size_t first = offset / kGranule;
  std::size_t end = (offset + bytes) / kGranule;
  while (first < end && window.present.test(first)) {
    ++first;
  }
  if (first >= end) {
    return;
  }
  std::size_t begin = std::max(offset, first * kGranule) / kPage * kPage;
  (void)madvise(window.mapping.data() + begin, offset + bytes - begin, MADV_POPULATE_READ);
  for (; first < end; ++first) {
    window.present.set(first);
  }
}

Result<std::span<std::byte>> ClientSlots::map(std::uint64_t place, std::size_t bytes) {
  BENCHFS_TRY(Window * window, this->window(place / kWindowBytes));
  std::size_t inside = place % kWindowBytes;
  bring_in(*window, inside, bytes);
  return std::span(window->mapping.data() + inside, bytes);
}

link::SlotRead ClientSlots::read(std::uint32_t slot,
                                 std::uint64_t generation,
                                 std::uint32_t offset,
                                 std::span<std::byte> into) {
  if (!contains(slot, offset, into.size()) || !is_shard_alive()) {
    return link::SlotRead::kMoved;
  }
  const auto& word = *reinterpret_cast<const wire::SlotWord*>(
      states_.data() + std::size_t{slot} * wire::kSlotStateBytes);
  auto before = wire::SlotState::of(word.load(std::memory_order_acquire));
  if (before.generation != generation) {
    return link::SlotRead::kMoved;
  }
  if (before.end < offset + into.size()) {
    return link::SlotRead::kShort;
  }
  at_step(Step::kSlotStateRead);
  Result<std::span<std::byte>> bytes = map(place_of(slot, offset), into.size());
  if (!bytes) {
    return link::SlotRead::kShort;
  }
  std::memcpy(into.data(), bytes->data(), into.size());
  at_step(Step::kSlotCopied);
  std::atomic_thread_fence(std::memory_order_acquire);
  auto after = wire::SlotState::of(word.load(std::memory_order_relaxed));
  return after.generation == generation ? link::SlotRead::kDone : link::SlotRead::kMoved;
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
    BENCHFS_TRY(std::span<std::byte> bytes, map(place_of(slot, offset), existing));
    at_step(Step::kSlotFilling);
    std::memcpy(bytes.data(), from.data(), existing);
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
