#include "rpc/reply_history.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "rpc/request.h"

namespace benchfs::rpc {

ReplyHistory::Lookup ReplyHistory::find(wire::RequestId id) {
  BENCHFS_CHECK(id.slot() < wire::kMaxWindow);
  while (slots_.size() <= id.slot()) {
    slots_.push_back(nullptr);
  }
  std::unique_ptr<Slot>& slot = slots_[id.slot()];
  if (slot == nullptr) {
    slot = std::make_unique<Slot>();
  }
  if (id.sequence() < slot->sequence) {
    return {Verdict::kStale, nullptr};
  }
  if (id.sequence() == slot->sequence && slot->running != nullptr) {
    return {Verdict::kRunning, slot.get()};
  }
  if (id.sequence() == slot->sequence && slot->reply_bytes > 0) {
    return {Verdict::kAnswered, slot.get()};
  }
  if (slot->running != nullptr) {
    slot->running->detach_from_history();
  }
  slot->sequence = id.sequence();
  slot->reply_bytes = 0;
  slot->running = nullptr;
  return {Verdict::kNew, slot.get()};
}

void ReplyHistory::answer(Slot& slot, std::span<const std::byte> reply) {
  BENCHFS_CHECK(reply.size() <= slot.reply.size());
  std::memcpy(slot.reply.data(), reply.data(), reply.size());
  slot.reply_bytes = static_cast<std::uint32_t>(reply.size());
  slot.running = nullptr;
}

void ReplyHistory::forget(Slot& slot) {
  slot.reply_bytes = 0;
  slot.running = nullptr;
}

bool ReplyHistory::is_running() const {
  return std::ranges::any_of(
      slots_, [](const auto& slot) { return slot != nullptr && slot->running != nullptr; });
}

ReplyHistories::Joined ReplyHistories::join(std::uint64_t client_uid) {
  auto found = by_uid_.find(client_uid);
  bool is_known = found != by_uid_.end();
  if (!is_known) {
    if (by_uid_.size() >= limit_) {
      drop_oldest();
    }
    found = by_uid_.try_emplace(client_uid).first;
  }
  ++found->second.sessions;
  return {&found->second.history, is_known};
}

void ReplyHistories::leave(std::uint64_t client_uid, bool finally, MonoTime now) {
  auto found = by_uid_.find(client_uid);
  BENCHFS_CHECK(found != by_uid_.end() && found->second.sessions > 0);
  Kept& kept = found->second;
  --kept.sessions;
  kept.left_at = finally ? MonoTime::min() : now;
  if (finally && !kept.is_needed()) {
    by_uid_.erase(found);
  }
}

void ReplyHistories::expire(MonoTime since) {
  std::erase_if(by_uid_, [&](const auto& entry) {
    return !entry.second.is_needed() && entry.second.left_at < since;
  });
}

void ReplyHistories::drop_oldest() {
  auto oldest = by_uid_.end();
  for (auto it = by_uid_.begin(); it != by_uid_.end(); ++it) {
    if (!it->second.is_needed() &&
        (oldest == by_uid_.end() || it->second.left_at < oldest->second.left_at)) {
      oldest = it;
    }
  }
  if (oldest != by_uid_.end()) {
    by_uid_.erase(oldest);
  }
}

}  // namespace benchfs::rpc
