#include "rpc/reply_history.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "rpc/request.h"

namespace benchfs::rpc {
namespace {

// Clients that are looked at when one joins above the limit: more than one, so that a limit that
// was exceeded is reached again.
constexpr std::size_t kLooks = 4;

}  // namespace

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

ReplyHistories::Joined ReplyHistories::join(std::uint64_t client_uid, MonoTime now) {
  auto found = by_uid_.find(client_uid);
  bool is_known = found != by_uid_.end();
  if (!is_known) {
    shrink(limit_ - 1, kLooks, now);
    found = by_uid_.try_emplace(client_uid).first;
    found->second.uid = client_uid;
  } else if (found->second.sessions == 0) {
    away_.erase(AwayList::s_iterator_to(found->second));
  }
  ++found->second.sessions;
  return {&found->second.history, is_known};
}

void ReplyHistories::leave(std::uint64_t client_uid, bool finally, MonoTime now) {
  auto found = by_uid_.find(client_uid);
  BENCHFS_CHECK(found != by_uid_.end() && found->second.sessions > 0);
  Kept& kept = found->second;
  if (--kept.sessions > 0) {
    return;
  }
  kept.left_at = finally ? MonoTime::min() : now;
  away_.insert(finally ? away_.begin() : away_.end(), kept);
  if (finally && !kept.history.is_running()) {
    drop(kept);
  }
}

bool ReplyHistories::forget(std::uint64_t client_uid) {
  auto found = by_uid_.find(client_uid);
  if (found == by_uid_.end()) {
    return true;
  }
  if (found->second.sessions > 0 || found->second.history.is_running()) {
    return false;
  }
  drop(found->second);
  return true;
}

void ReplyHistories::expire(MonoTime since) {
  for (auto it = away_.begin(); it != away_.end() && it->left_at < since;) {
    Kept& kept = *it++;
    if (!kept.history.is_running()) {
      drop(kept);
    }
  }
}

void ReplyHistories::set_limit(std::size_t limit, MonoTime now) {
  BENCHFS_CHECK(limit > 0);
  limit_ = limit;
  shrink(limit_, away_.size(), now);
}

void ReplyHistories::drop(Kept& kept) {
  away_.erase(AwayList::s_iterator_to(kept));
  by_uid_.erase(kept.uid);
}

// Shrinks to `size`, examining at most `looks` clients. A client with running requests is re-dated
// to now.
void ReplyHistories::shrink(std::size_t size, std::size_t looks, MonoTime now) {
  for (; by_uid_.size() > size && !away_.empty() && looks > 0; --looks) {
    Kept& longest = away_.front();
    if (!longest.history.is_running()) {
      drop(longest);
    } else {
      longest.left_at = now;
      away_.splice(away_.end(), away_, AwayList::s_iterator_to(longest));
    }
  }
}

}  // namespace benchfs::rpc
