#include "server/chunks/older_files.h"

#include <algorithm>

#include "base/backoff.h"

namespace benchfs::server {
namespace {

constexpr Nanos kOneQuestion = std::chrono::seconds(1);
constexpr Nanos kFirstAskPause = std::chrono::milliseconds(5);
constexpr Nanos kLongestAskPause = std::chrono::seconds(1);
constexpr std::size_t kMaxExcused = std::size_t{1} << 20;  // later ones stay refused

}  // namespace

void OlderFiles::begin(const meta::InodeTable& own) {
  own_ = &own;
  homes_.assign(peers_.shard_count, Home{.has_answered = false});
  // Its inodes went with the chunks.
  homes_[peers_.self.value] = {
      .begin = own.first_counter(), .end = own.first_counter(), .span = span_};
  unanswered_ = peers_.shard_count - 1;
}

rt::Task<void> OlderFiles::ask_all(rt::CancelSource& cancel) {
  rt::Group group(*peers_.scope);
  for (std::uint32_t shard = 0; shard < homes_.size(); ++shard) {
    if (!homes_[shard].has_answered) {
      group.add(ask(wire::ShardId{shard}, &cancel));
    }
  }
  (void)co_await group.wait();
}

rt::Task<void> OlderFiles::ask(wire::ShardId shard, rt::CancelSource* cancel) {
  Backoff pause(kFirstAskPause, kLongestAskPause);
  while (!cancel->is_cancelled()) {
    Result<wire::InodeRangeReply> range =
        co_await peers_.call(shard, wire::InodeRangeRequest{}, Deadline::after(kOneQuestion));
    if (range) {
      learn(shard, *range);
      co_return;
    }
    (void)co_await rt::sleep_for(pause.next(), cancel);
  }
}

rt::CoStatus OlderFiles::check_or_ask(wire::InodeId inode) {
  if (is_unknown(inode)) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await ask_again(inode.home()));
  }
  co_return check(inode);
}

rt::CoStatus OlderFiles::ask_again(wire::ShardId shard) {
  std::uint64_t begin = homes_[shard.value].begin;
  if (peers_.is_self(shard)) {
    learn(shard, {own_->first_counter(), own_->next_counter()});
    co_return Status{};
  }
  Result<wire::InodeRangeReply> range =
      co_await peers_.call(shard, wire::InodeRangeRequest{}, Deadline::after(kOneQuestion));
  if (!range) {
    co_return fail(Errc::kNotReady, {});
  }
  // Otherwise another life has been heard of meanwhile.
  if (homes_[shard.value].has_answered && homes_[shard.value].begin == begin) {
    learn(shard, *range);
  }
  co_return Status{};
}

void OlderFiles::learn(wire::ShardId shard, const wire::InodeRangeReply& range) {
  Home& home = homes_[shard.value];
  if (!home.has_answered) {
    home.has_answered = true;
    home.begin = range.begin;
    home.end = home.came_back ? range.begin : range.end;
    home.span = span_;
    --unanswered_;
    std::erase_if(excused_, [&](wire::InodeId inode) {
      return inode.home() == shard && !is_older(home, inode);
    });
  } else if (home.begin == range.begin) {
    home.span = std::max(home.span, range.end - home.end + span_);
  } else {
    on_new_life(shard, range.begin);
  }
}

void OlderFiles::on_new_life(wire::ShardId shard, std::optional<std::uint64_t> first_counter) {
  if (shard.value >= peers_.shard_count || peers_.is_self(shard)) {
    return;
  }
  if (homes_.empty()) {
    homes_.resize(peers_.shard_count);
  }
  Home& home = homes_[shard.value];
  // While it is asked, its answer counts: this shard may have lost some of what it says.
  if (!home.has_answered || home.begin == first_counter) {
    return;
  }
  std::erase_if(excused_, [&](wire::InodeId inode) { return inode.home() == shard; });
  if (first_counter) {
    home = {.begin = *first_counter, .end = *first_counter, .span = span_};
    return;
  }
  home = {.has_answered = false, .came_back = true};
  ++unanswered_;
  (void)peers_.scope->spawn(ask(shard, peers_.stopping));
}

const OlderFiles::Home* OlderFiles::home_of(wire::InodeId inode) const {
  return inode.home().value < homes_.size() ? &homes_[inode.home().value] : nullptr;
}

Status OlderFiles::check_home(wire::InodeId inode) const {
  const Home* home = home_of(inode);
  if (home == nullptr) {
    return {};
  }
  if (!home->has_answered) {
    return fail(Errc::kNotReady, {});
  }
  bool is_known = is_taken(*home, inode) || excused_.contains(inode);
  return is_known ? Status{} : fail(Errc::kDataLost, {});
}

Status OlderFiles::check_home_write(wire::InodeId inode) const {
  return is_unknown_to_home(inode) ? Status{} : check_home(inode);
}

bool OlderFiles::is_unknown_to_home(wire::InodeId inode) const {
  const Home* home = home_of(inode);
  return home != nullptr && home->has_answered && !is_taken(*home, inode) &&
         !is_older(*home, inode);
}

void OlderFiles::excuse(wire::InodeId inode) {
  const Home* home = homes_.empty() ? nullptr : home_of(inode);
  bool is_refused = home != nullptr && (!home->has_answered || is_older(*home, inode));
  if (is_refused && excused_.size() < kMaxExcused) {
    excused_.insert(inode);
  }
}

}  // namespace benchfs::server
