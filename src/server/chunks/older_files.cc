#include "server/chunks/older_files.h"

namespace benchfs::server {
namespace {

constexpr Nanos kOneCall = std::chrono::seconds(1);
constexpr Nanos kPause = std::chrono::milliseconds(20);

}  // namespace

void OlderFiles::begin() {
  homes_.assign(peers_.shard_count, Home{});
  homes_[peers_.self.value].has_answered = true;  // its inodes went with the chunks
  unanswered_ = peers_.shard_count - 1;
}

rt::Task<void> OlderFiles::ask_all(rt::CancelSource& cancel) {
  rt::Group group(*peers_.scope);
  for (std::uint32_t shard = 0; shard < homes_.size(); ++shard) {
    if (!homes_[shard].has_answered) {
      group.add(ask(wire::ShardId{shard}, cancel));
    }
  }
  (void)co_await group.wait();
}

rt::Task<void> OlderFiles::ask(wire::ShardId shard, rt::CancelSource& cancel) {
  while (!cancel.is_cancelled()) {
    Result<wire::InodeRangeReply> range =
        co_await peers_.call(shard, wire::InodeRangeRequest{}, Deadline::after(kOneCall));
    if (range) {
      homes_[shard.value] = {.has_answered = true, .begin = range->begin, .end = range->end};
      --unanswered_;
      co_return;
    }
    (void)co_await rt::sleep_for(kPause, &cancel);
  }
}

Status OlderFiles::check_home(wire::InodeId inode) const {
  if (inode.home().value >= homes_.size()) {
    return {};
  }
  const Home& home = homes_[inode.home().value];
  if (!home.has_answered) {
    return fail(Errc::kNotReady, {});
  }
  bool is_older = inode.counter() >= home.begin && inode.counter() < home.end;
  return is_older && !excused_.contains(inode) ? fail(Errc::kDataLost, {}) : Status{};
}

}  // namespace benchfs::server
