#include "server/files/reclaimer.h"

#include <algorithm>
#include <ranges>
#include <utility>

#include "base/log.h"

namespace benchfs::server {
namespace {

constexpr std::size_t kAtATime = 64;
constexpr Nanos kFirstPause = std::chrono::milliseconds(20);
constexpr Nanos kLongestPause = std::chrono::seconds(1);
constexpr Nanos kOneAttempt = std::chrono::seconds(10);
constexpr Nanos kWarnEvery = std::chrono::seconds(60);

}  // namespace

Reclaimer::Lane& Reclaimer::lane(wire::ShardId shard) {
  if (lanes_.size() <= shard.value) {
    lanes_.resize(shard.value + 1);
  }
  std::unique_ptr<Lane>& lane = lanes_[shard.value];
  if (!lane) {
    lane = std::make_unique<Lane>();
    lane->shard = shard;
  }
  return *lane;
}

void Reclaimer::owe(Work work, Nanos delay) {
  MonoTime now = mono_now();
  if (work.since == MonoTime{}) {
    work.since = now;
    ++counts_[static_cast<std::size_t>(work.kind)];
  }
  Lane& to = lane(work.shard);
  if (delay > Nanos::zero()) {
    to.later.emplace(now + delay, work);
  } else {
    to.due.push_back(work);
  }
  to.changed.wake_all();
  if (!to.is_running) {
    to.is_running = peers_.scope->spawn(run(to));
  }
}

// Ends when nothing is left, or the shard stops.
rt::Task<void> Reclaimer::run(Lane& lane) {
  Backoff backoff(kFirstPause, kLongestPause);
  while (!lane.due.empty() || !lane.later.empty() || lane.under_way > 0) {
    if (peers_.stopping->is_cancelled()) {
      break;
    }
    std::size_t limit = lane.silent_since ? 1 : kAtATime;
    MonoTime now = mono_now();
    if (lane.under_way >= limit) {
      (void)co_await lane.changed.wait(Deadline::at(now + kLongestPause), peers_.stopping);
      continue;
    }
    while (!lane.later.empty() && lane.later.begin()->first <= now) {
      lane.due.push_back(lane.later.extract(lane.later.begin()).mapped());
    }
    if (lane.due.empty()) {
      MonoTime until = now + kLongestPause;
      if (!lane.later.empty()) {
        until = std::min(until, lane.later.begin()->first);
      }
      (void)co_await lane.changed.wait(Deadline::at(until), peers_.stopping);
      continue;
    }
    Work work = lane.due.front();
    lane.due.pop_front();
    bool was_silent = lane.silent_since.has_value();
    ++lane.under_way;
    if (!was_silent) {
      if (!peers_.scope->spawn(perform(lane, work))) {
        --lane.under_way;
        break;
      }
      continue;
    }
    co_await perform(lane, work);
    if (lane.silent_since) {
      (void)co_await rt::sleep_for(backoff.next(), peers_.stopping);
    } else {
      backoff.reset();
    }
  }
  // Works that are still under way find nobody who waits for them.
  lane.is_running = false;
}

rt::Task<void> Reclaimer::perform(Lane& lane, Work work) {
  Result<Outcome> outcome = co_await owner_.perform(work, Deadline::after(kOneAttempt));
  --lane.under_way;
  if (outcome) {
    if (lane.silent_since) {
      BENCHFS_LOG(kInfo, "shard {} answers again", lane.shard.value);
      lane.silent_since.reset();
    }
    if (*outcome == Outcome::kDone) {
      --counts_[static_cast<std::size_t>(work.kind)];
      lane.changed.wake_all();
    } else {
      owe(work, kLongestPause);
    }
    co_return;
  }
  note_silence(lane, outcome.error());
  owe(work);
}

void Reclaimer::note_silence(Lane& lane, const Error& error) {
  MonoTime now = mono_now();
  if (!lane.silent_since) {
    lane.silent_since = now;
  }
  if (now >= lane.next_warning && !peers_.stopping->is_cancelled()) {
    lane.next_warning = now + kWarnEvery;
    BENCHFS_LOG(kWarn,
                "shard {} does not do what this shard owes ({} works wait for it, and are tried "
                "again until they are done): {}",
                lane.shard.value,
                lane.due.size() + lane.later.size() + 1,
                error.message());
  }
}

std::optional<MonoTime> Reclaimer::silent_since(wire::ShardId shard) const {
  return shard.value < lanes_.size() && lanes_[shard.value] ? lanes_[shard.value]->silent_since
                                                            : std::nullopt;
}

Reclaimer::Stats Reclaimer::stats() const {
  Stats stats{.works = counts_, .oldest = Nanos::zero(), .silent = {}};
  MonoTime now = mono_now();
  for (const std::unique_ptr<Lane>& lane : lanes_) {
    if (!lane) {
      continue;
    }
    constexpr std::size_t kLookedAt = 1000;
    for (const Work& work : lane->due | std::views::take(kLookedAt)) {
      stats.oldest = std::max(stats.oldest, now - work.since);
    }
    for (const Work& work : lane->later | std::views::values | std::views::take(kLookedAt)) {
      stats.oldest = std::max(stats.oldest, now - work.since);
    }
    if (lane->silent_since) {
      stats.silent.push_back({lane->shard, now - *lane->silent_since});
    }
  }
  return stats;
}

}  // namespace benchfs::server
