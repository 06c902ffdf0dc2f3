#include "server/names/owed_calls.h"

#include "base/log.h"

namespace benchfs::server {
namespace {

constexpr Nanos kWarningEvery = std::chrono::minutes(1);

}  // namespace

OwedCalls::Debt::Debt(OwedCalls& owner, Shard& shard, Kind kind)
    : owner_(owner), shard_(shard), kind_(kind), since_(shard.since.insert(mono_now())) {
  ++shard_.counts[static_cast<std::size_t>(kind_)];
  ++owner_.owed_;
}

OwedCalls::Debt::~Debt() {
  shard_.since.erase(since_);
  --shard_.counts[static_cast<std::size_t>(kind_)];
  --owner_.owed_;
}

bool OwedCalls::is_worth_repeating(Errc code) {
  return code == Errc::kDeadline || code == Errc::kUnreachable || code == Errc::kDisconnected ||
         code == Errc::kTransport || code == Errc::kUnknownSession || code == Errc::kNotReady ||
         code == Errc::kBusy || code == Errc::kCancelled || code == Errc::kRefused;
}

rt::Task<void> OwedCalls::wait_for_turn(Shard& shard, bool is_prober) {
  while (shard.is_probed && !is_prober && !peers_.stopping->is_cancelled()) {
    (void)co_await shard.answered.wait(Deadline::never(), peers_.stopping);
  }
}

rt::Task<void> OwedCalls::pause(wire::ShardId shard, bool& is_prober, Nanos pause) {
  Shard& state = shards_[shard.value];
  is_prober |= !state.is_probed;
  state.is_probed = true;
  if (pause == kLongestPause && mono_now() >= state.next_warning) {
    state.next_warning = mono_now() + kWarningEvery;
    BENCHFS_LOG(kWarn,
                "{} does not answer: {} calls about names are owed to it and repeated",
                peers_.name_of(shard),
                state.since.size());
  }
  if (is_prober) {
    (void)co_await rt::sleep_for(pause, peers_.stopping);
  }
}

void OwedCalls::note_answer(Shard& shard) {
  shard.is_probed = false;
  shard.answered.wake_all();
}

std::vector<wire::ShardId> OwedCalls::silent() const {
  std::vector<wire::ShardId> all;
  for (const auto& [index, shard] : shards_) {
    if (shard.is_probed) {
      all.push_back(wire::ShardId{index});
    }
  }
  return all;
}

std::vector<OwedCalls::Summary> OwedCalls::summary() const {
  std::vector<Summary> all;
  for (const auto& [index, shard] : shards_) {
    if (!shard.since.empty()) {
      all.push_back({.shard = wire::ShardId{index},
                     .counts = shard.counts,
                     .oldest = *shard.since.begin(),
                     .is_silent = shard.is_probed});
    }
  }
  return all;
}

}  // namespace benchfs::server
