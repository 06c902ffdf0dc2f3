// Marks, rounds of queries, settling.

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "cluster/placement.h"
#include "server/decode.h"
#include "server/files/files.h"

namespace benchfs::server {
namespace {

// A file that is written although nobody has it open (its client was given up) is settled so much
// later, not after each write.
constexpr Nanos kUnopenedDelay = std::chrono::seconds(1);

}  // namespace

Files::Shards Files::holders(const wire::Attr& attr) const {
  Shards shards;
  const wire::Layout& layout = attr.layout;
  if (layout.width > 0 && layout.chunk_bytes > 0) {
    std::uint64_t chunks = (attr.size + layout.chunk_bytes - 1) / layout.chunk_bytes;
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(chunks, layout.width); ++i) {
      shards.push_back(cluster::chunk_shard(layout, i));
    }
  }
  if (FileState* state = states_.find(attr.id())) {
    for (const Mark& mark : state->marks) {
      if (std::ranges::find(shards, mark.shard) == shards.end()) {
        shards.push_back(mark.shard);
      }
    }
  }
  return shards;
}

Error Files::waits_error(const FileState& state) const {
  return peers_.waits_error(state.phase == FileState::Phase::kCut
                                ? "a truncation of the file is under way"
                                : "the file is being removed",
                            state.left);
}

rt::CoStatus Files::wait_alive(wire::InodeId inode, Deadline deadline) {
  for (FileState* state = states_.find(inode); state != nullptr; state = states_.find(inode)) {
    if (state->phase == FileState::Phase::kAlive) {
      co_return Status{};
    }
    if (state->phase == FileState::Phase::kGone) {
      co_return fail_errno(ENOENT);
    }
    rt::Wake wake = co_await state->changed.wait(deadline, peers_.stopping);
    if (wake == rt::Wake::kDeadline) {
      state = states_.find(inode);
      co_return state == nullptr ? fail(Errc::kDeadline, {}) : std::unexpected(waits_error(*state));
    }
    BENCHFS_CO_TRY_VOID(rt::wake_status(wake, "waiting for a truncation"));
  }
  co_return Status{};
}

// --- Asking chunk shards -------------------------------------------------------------------------

rt::Task<void> Files::ask_one(wire::ShardId shard,
                              wire::QueryChunksRequest query,
                              Deadline deadline,
                              Result<wire::QueryChunksReply>* out,
                              Shards* waits_for) {
  if (peers_.is_self(shard)) {
    *out = co_await chunks_->query(query);
  } else {
    *out = co_await peers_.call(shard, query, deadline);
  }
  bool has_answered =
      *out || out->error().code == Errc::kPosix || out->error().code == Errc::kDataLost;
  if (waits_for != nullptr && has_answered) {
    std::erase(*waits_for, shard);
  }
}

Error Files::lost_data(wire::ShardId shard) const {
  return Error{Errc::kDataLost, 0, fmt::format("its part on {} is lost", peers_.name_of(shard))};
}

rt::CoResult<Files::Asked> Files::ask(
    wire::Attr attr, Shards shards, std::uint32_t flags, Deadline deadline, Shards* waits_for) {
  wire::QueryChunksRequest query;
  query.inode = attr.inode;
  query.chunk_bytes = attr.layout.chunk_bytes;
  query.flags = flags;
  std::vector<Result<wire::QueryChunksReply>> answers(shards.size(), wire::QueryChunksReply{});
  if (shards.size() == 1) {
    co_await ask_one(shards.front(), query, deadline, &answers.front(), waits_for);
  } else {
    rt::Group group(*peers_.scope);
    for (std::size_t i = 0; i < shards.size(); ++i) {
      group.add(ask_one(shards[i], query, deadline, &answers[i], waits_for));
    }
    if (!co_await group.wait()) {
      co_return fail(Errc::kNotReady, "the server is stopping");
    }
  }
  Asked asked;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    Result<wire::QueryChunksReply>& answer = answers[i];
    if (answer) {
      asked.sum.end = std::max(asked.sum.end, answer->end);
      asked.sum.mtime_ns = std::max(asked.sum.mtime_ns, answer->mtime_ns);
      asked.sum.chunk_count += answer->chunk_count;
    } else if (answer.error().code == Errc::kDataLost) {
      asked.lost_by = shards[i];
    } else {
      co_return std::unexpected(std::move(answer.error()));
    }
  }
  co_return asked;
}

Files::Shards Files::marked_shards(const FileState& state) {
  Shards shards;
  for (const Mark& mark : state.marks) {
    shards.push_back(mark.shard);
  }
  return shards;
}

std::shared_ptr<QueryRound> Files::join_round(wire::InodeId inode,
                                              FileState& state,
                                              Deadline deadline) {
  if (!state.next_round) {
    state.next_round = std::make_shared<QueryRound>();
    state.next_round->deadline = deadline;
    state.next_round->waits_for = marked_shards(state);
  } else if (state.next_round->deadline.when() < deadline.when()) {
    state.next_round->deadline = deadline;
  }
  std::shared_ptr<QueryRound> round = state.next_round;
  if (!state.has_round) {
    state.has_round = peers_.scope->spawn(run_rounds(inode));
    if (!state.has_round) {
      state.next_round.reset();
      round->sum = fail(Errc::kNotReady, "the server is stopping");
      round->is_over = true;
    }
  }
  return round;
}

rt::Task<void> Files::run_rounds(wire::InodeId inode) {
  for (FileState* state = states_.find(inode); state != nullptr; state = states_.find(inode)) {
    std::shared_ptr<QueryRound> round = std::exchange(state->next_round, nullptr);
    if (!round) {
      state->has_round = false;
      states_.erase_if_unneeded(inode);
      co_return;
    }
    Shards shards = marked_shards(*state);
    round->waits_for = shards;
    state->round = round;
    Result<wire::Attr> attr = store_.attr(inode);
    if (!attr) {
      round->sum = std::unexpected(attr.error());
    } else {
      Result<Asked> asked =
          co_await ask(*attr, std::move(shards), 0, round->deadline, &round->waits_for);
      if (!asked) {
        round->sum = std::unexpected(std::move(asked.error()));
      } else if (asked->lost_by) {
        round->sum = std::unexpected(lost_data(*asked->lost_by));
      } else {
        round->sum = asked->sum;
      }
    }
    round->is_over = true;
    round->ended.wake_all();
  }
}

// --- Marks ---------------------------------------------------------------------------------------

Result<wire::MarkReply> Files::take_mark(wire::InodeId inode,
                                         wire::ShardId shard,
                                         std::uint64_t stamp,
                                         bool is_append) {
  if (!is_serving_) {
    return fail(Errc::kNotReady, "the server has just started");
  }
  Result<wire::Attr> attr = store_.attr(inode);
  if (!attr || !attr->is_regular()) {
    return fail_errno(ESTALE);
  }
  if (is_leased(inode)) {
    return fail(Errc::kBusy, "clients have the attributes cached");
  }
  FileState* state = states_.find(inode);
  if (state != nullptr &&
      (state->phase == FileState::Phase::kDying || state->phase == FileState::Phase::kGone)) {
    return fail_errno(ESTALE);
  }
  Mark* mark = state == nullptr ? nullptr : state->find_mark(shard);
  bool is_new = mark == nullptr;
  if (is_new) {
    (void)store_.apply(meta::BeginWrites{inode});
    mark = &states_.add_mark(inode, shard);
    state = states_.find(inode);
  }
  mark->stamp = std::max(mark->stamp, stamp);
  mark->is_plain = mark->is_plain || !is_append;
  wire::MarkReply reply;
  reply.life = peers_.life;
  reply.truncation = attr->truncation;
  reply.chunk_bytes = attr->layout.chunk_bytes;
  if (state->phase == FileState::Phase::kCut) {
    reply.truncation = state->truncation;
    reply.cut_size = state->cut_size;
  }
  if (is_new) {
    bound_marks();
  }
  if (!store_.has_writers(inode)) {
    settle(inode, kUnopenedDelay);
  }
  return reply;
}

rt::Task<void> Files::mark(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::MarkRequest>(request));
  if (body.shard >= peers_.shard_count) {
    co_await request.reply_error(malformed());
    co_return;
  }
  BENCHFS_SERVE_TRY_VOID(request, co_await prepare(wire::InodeId{body.inode}, request.deadline()));
  BENCHFS_SERVE_TRY(wire::MarkReply reply,
                    request,
                    take_mark(wire::InodeId{body.inode},
                              wire::ShardId{body.shard},
                              body.stamp,
                              (body.flags & wire::kMarkAppend) != 0));
  co_await request.reply(reply);
}

void Files::bound_marks() {
  states_.trim();
  if (states_.mark_count() <= config_.max_marks) {
    return;
  }
  auto [inode, shard] = states_.take_oldest_mark();
  Mark* mark = states_.find(inode)->find_mark(shard);
  if (!std::exchange(mark->is_settling, true)) {
    reclaimer_.owe(
        {.kind = Reclaimer::Kind::kSettle, .inode = inode, .shard = shard, .is_forced = true});
  }
}

// --- Settling ------------------------------------------------------------------------------------

// Nobody has the file open for writing.
void Files::settle(wire::InodeId inode, Nanos delay) {
  FileState* state = states_.find(inode);
  if (state == nullptr || state->phase != FileState::Phase::kAlive) {
    return;  // the end of a truncation comes here again
  }
  if (!store_.has_writers(inode)) {
    state->cuts.clear();
  }
  if (delay == Nanos::zero() && settle_here(inode)) {
    state = states_.find(inode);
    if (state == nullptr) {
      return;
    }
  }
  for (Mark& mark : state->marks) {
    if (!std::exchange(mark.is_settling, true)) {
      reclaimer_.owe({.kind = Reclaimer::Kind::kSettle, .inode = inode, .shard = mark.shard},
                     delay);
    }
  }
  states_.erase_if_unneeded(inode);
}

// The mark of this shard itself, without a message. False while a write is under way.
bool Files::settle_here(wire::InodeId inode) {
  FileState* state = states_.find(inode);
  Mark* mark = state->find_mark(peers_.self);
  Result<wire::Attr> attr = store_.attr(inode);
  if (mark == nullptr || mark->is_settling || !attr) {
    return false;
  }
  wire::QueryChunksRequest query;
  query.inode = inode.value;
  query.chunk_bytes = attr->layout.chunk_bytes;
  query.flags = wire::kQueryClear;
  Result<wire::QueryChunksReply> known = chunks_->query_now(query);
  if (!known || known->stamp < mark->stamp) {
    return false;
  }
  (void)store_.apply(meta::Settle{inode, known->end, known->mtime_ns});
  states_.erase_mark(inode, peers_.self);
  return true;
}

void Files::bring_to_rest(wire::InodeId inode) {
  FileState* state = states_.find(inode);
  if (state == nullptr || state->phase != FileState::Phase::kAlive) {
    return;
  }
  if (state->find_mark(peers_.self) != nullptr && settle_here(inode)) {
    state = states_.find(inode);
  }
  if (state == nullptr) {
    return;
  }
  for (Mark& mark : state->marks) {
    if (!std::exchange(mark.is_settling, true)) {
      reclaimer_.owe({.kind = Reclaimer::Kind::kSettle,
                      .inode = inode,
                      .shard = mark.shard,
                      .is_forced = true});
    }
  }
}

rt::CoResult<Reclaimer::Outcome> Files::perform_settle(Reclaimer::Work work, Deadline deadline) {
  FileState* state = states_.find(work.inode);
  Mark* mark = state == nullptr ? nullptr : state->find_mark(work.shard);
  Result<wire::Attr> attr = store_.attr(work.inode);
  if (mark == nullptr || !attr) {
    co_return Reclaimer::Outcome::kDone;
  }
  if (state->phase != FileState::Phase::kAlive) {
    co_return Reclaimer::Outcome::kLater;
  }
  if (store_.has_writers(work.inode) && !work.is_forced) {
    mark->is_settling = false;  // the last close settles
    co_return Reclaimer::Outcome::kDone;
  }
  wire::QueryChunksRequest query;
  query.inode = work.inode.value;
  query.chunk_bytes = attr->layout.chunk_bytes;
  query.flags = wire::kQueryClear;
  Result<wire::QueryChunksReply> known = wire::QueryChunksReply{};
  co_await ask_one(work.shard, query, deadline, &known);
  state = states_.find(work.inode);
  mark = state == nullptr ? nullptr : state->find_mark(work.shard);
  if (mark == nullptr) {
    co_return Reclaimer::Outcome::kDone;
  }
  if (!known && known.error().code == Errc::kDataLost) {
    mark->is_settling = false;  // the mark stays: the file misses bytes until it is cut or removed
    co_return Reclaimer::Outcome::kDone;
  }
  if (!known) {
    co_return std::unexpected(std::move(known.error()));
  }
  std::uint64_t truncation = attr->truncation;
  attr = store_.attr(work.inode);
  if (!attr || state->phase != FileState::Phase::kAlive || attr->truncation != truncation) {
    co_return Reclaimer::Outcome::kLater;  // the answer may be from before a truncation
  }
  (void)store_.apply(meta::Settle{work.inode, known->end, known->mtime_ns});
  // A mark that came after the answer stays.
  if (mark->stamp > known->stamp) {
    co_return Reclaimer::Outcome::kLater;
  }
  states_.erase_mark(work.inode, work.shard);
  co_return Reclaimer::Outcome::kDone;
}

}  // namespace benchfs::server
