// What this shard owes others about names: calls that are repeated until they are answered.
//
// A thaw, a new parent, the question what became of an installation, the mark of a directory: they
// end what has been begun on several shards, so they end with an answer, not with the deadline of
// the client that began it. They are kept in memory; a shard that stops or dies forgets them with
// its names.
//
// A shard that does not answer is tried by one call at a time, after pauses of 20 ms to 1 s; the
// others wait until that one is answered.
//
// Thread: the shard's.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "base/backoff.h"
#include "server/peers.h"

namespace benchfs::server {

class OwedCalls {
 public:
  // Operations that would owe more are refused before they begin.
  static constexpr std::size_t kMaxOwed = 32 * 1024;

  enum class Kind : std::uint8_t { kThaw, kParent, kRename, kMark };
  static constexpr std::size_t kKinds = 4;

  explicit OwedCalls(Peers& peers) : peers_(peers) {}
  OwedCalls(const OwedCalls&) = delete;
  OwedCalls& operator=(const OwedCalls&) = delete;

  // Returns the answer, which may be an error of the operation; fails otherwise only when this
  // shard stops. The operation is idempotent.
  template <typename Request>
  rt::CoResult<typename Request::Reply> call(wire::ShardId shard, Request request, Kind kind);
  // The same beside the caller, for calls whose answer says nothing.
  template <typename Request>
  void call_later(wire::ShardId shard, Request request, Kind kind) {
    (void)peers_.scope->spawn(call_and_ignore(shard, request, kind));
  }

  // It did not answer when it was tried last.
  [[nodiscard]] bool is_silent(wire::ShardId shard) const {
    auto found = shards_.find(shard.value);
    return found != shards_.end() && found->second.is_probed;
  }
  [[nodiscard]] bool is_full() const { return owed_ >= kMaxOwed; }
  // The shards that did not answer when they were tried last.
  [[nodiscard]] std::vector<wire::ShardId> silent() const;

  struct Summary {
    wire::ShardId shard;
    std::array<std::uint32_t, kKinds> counts{};  // by Kind
    MonoTime oldest;
    bool is_silent = false;  // did not answer when it was tried last
  };
  // The shards to which something is owed.
  [[nodiscard]] std::vector<Summary> summary() const;

 private:
  static constexpr Nanos kFirstPause = std::chrono::milliseconds(20);
  static constexpr Nanos kLongestPause = std::chrono::seconds(1);

  struct Shard {
    std::array<std::uint32_t, kKinds> counts{};
    std::multiset<MonoTime> since;
    bool is_probed = false;
    MonoTime next_warning;
    rt::WaitQueue answered;
  };
  // Counts while it lives.
  class Debt {
   public:
    Debt(OwedCalls& owner, Shard& shard, Kind kind);
    Debt(const Debt&) = delete;
    Debt& operator=(const Debt&) = delete;
    ~Debt();

   private:
    OwedCalls& owner_;
    Shard& shard_;
    Kind kind_;
    std::multiset<MonoTime>::iterator since_;
  };

  template <typename Request>
  rt::Task<void> call_and_ignore(wire::ShardId shard, Request request, Kind kind) {
    (void)co_await call(shard, request, kind);
  }
  // A later attempt may be answered.
  [[nodiscard]] static bool is_worth_repeating(Errc code);
  // Returns when the caller may try the shard: it is the only one to do so, or the shard answers.
  rt::Task<void> wait_for_turn(Shard& shard, bool is_prober);
  rt::Task<void> pause(wire::ShardId shard, bool& is_prober, Nanos pause);
  static void note_answer(Shard& shard);

  Peers& peers_;
  std::map<std::uint32_t, Shard> shards_;
  std::size_t owed_ = 0;
};

template <typename Request>
rt::CoResult<typename Request::Reply> OwedCalls::call(wire::ShardId shard,
                                                      Request request,
                                                      Kind kind) {
  static_assert(wire::is_idempotent(Request::kOpcode));
  // One attempt; a shard that is dead is noticed earlier.
  constexpr Nanos kOneCall = std::chrono::seconds(2);
  Shard& state = shards_[shard.value];
  Debt debt(*this, state, kind);
  Backoff backoff(kFirstPause, kLongestPause);
  bool is_prober = false;
  for (;;) {
    co_await wait_for_turn(state, is_prober);
    auto reply = co_await peers_.call(shard, request, Deadline::after(kOneCall));
    if (reply || !is_worth_repeating(reply.error().code) || peers_.stopping->is_cancelled()) {
      note_answer(state);
      co_return reply;
    }
    co_await pause(shard, is_prober, backoff.next());
  }
}

}  // namespace benchfs::server
