#include "server/files/directory_times.h"

#include <algorithm>
#include <utility>

#include "rt/scope.h"

namespace benchfs::server {

Status DirectoryTimes::take_mark(const wire::MarkDirectoryRequest& mark) {
  wire::InodeId directory{mark.directory};
  Result<wire::Attr> attr = store_.attr(directory);
  if (!attr || !attr->is_directory()) {
    return fail_errno(ENOENT);
  }
  wire::ShardId shard{mark.shard};
  State& state = states_[directory];
  auto known = std::ranges::find(state.marks, shard, &Mark::shard);
  if (known == state.marks.end()) {
    if (mark_count_ >= kMaxMarks) {
      erase_if_unneeded(directory);
      return fail(Errc::kBusy, "too many directories are being changed");
    }
    ++mark_count_;
    state.marks.push_back({.shard = shard, .stamp = mark.stamp});
  } else if (mark.stamp > known->stamp) {
    *known = {.shard = shard, .stamp = mark.stamp};
  }
  return {};
}

// --- Asking --------------------------------------------------------------------------------------

rt::CoStatus DirectoryTimes::ask(wire::InodeId directory, Deadline deadline) {
  State* state = find(directory);
  if (state == nullptr || state->marks.empty()) {
    co_return Status{};
  }
  if (!state->next) {
    state->next = std::make_shared<Round>();
  }
  std::shared_ptr<Round> round = state->next;
  if (!state->has_round) {
    state->has_round = peers_.scope->spawn(run_rounds(directory));
    if (!state->has_round) {
      state->next.reset();
      co_return fail(Errc::kNotReady, "the server is stopping");
    }
  }
  if (!round->is_over) {
    rt::Wake wake = co_await round->ended.wait(deadline, peers_.stopping);
    BENCHFS_CO_TRY_VOID(rt::wake_status(wake, "asking for changes of a directory"));
  }
  co_return Status{};
}

rt::Task<void> DirectoryTimes::run_rounds(wire::InodeId directory) {
  for (State* state = find(directory); state != nullptr; state = find(directory)) {
    std::shared_ptr<Round> round = std::exchange(state->next, nullptr);
    if (!round) {
      state->has_round = false;
      erase_if_unneeded(directory);
      co_return;
    }
    std::vector<Answer> answers;
    answers.reserve(state->marks.size());
    rt::Group group(*peers_.scope);
    for (const Mark& mark : state->marks) {
      wire::QueryDirectoryRequest body;
      body.directory = directory.value;
      body.stamp = mark.stamp;
      body.changes = mark.changes;
      Answer& answer = answers.emplace_back(Answer{.shard = mark.shard, .asked = mark.stamp});
      group.add(ask_one(body, &answer));
    }
    (void)co_await group.wait();
    take_up(directory, answers);
    round->is_over = true;
    round->ended.wake_all();
  }
}

rt::Task<void> DirectoryTimes::ask_one(wire::QueryDirectoryRequest body, Answer* out) {
  Nanos patience = silent_.contains(out->shard) ? kSilentPatience : kPatience;
  out->reply = co_await peers_.call(out->shard, body, Deadline::after(patience));
  if (out->reply) {
    silent_.erase(out->shard);
  } else {
    silent_.insert(out->shard);
  }
}

void DirectoryTimes::take_up(wire::InodeId directory, const std::vector<Answer>& answers) {
  State* state = find(directory);
  if (state == nullptr) {
    return;
  }
  std::int64_t changed_ns = 0;
  for (const Answer& answer : answers) {
    auto mark = std::ranges::find(state->marks, answer.shard, &Mark::shard);
    if (!answer.reply || mark == state->marks.end()) {
      continue;
    }
    const wire::QueryDirectoryReply& reply = *answer.reply;
    set_subdirectories(*state, answer.shard, reply.directories);
    if ((reply.flags & wire::kDirectoryUnmarked) != 0) {
      if (mark->stamp == answer.asked) {
        state->marks.erase(mark);
        --mark_count_;
      }
      continue;
    }
    if (reply.stamp > mark->stamp) {
      *mark = {.shard = answer.shard, .stamp = reply.stamp};
    }
    if (reply.stamp == mark->stamp && reply.changes > mark->changes) {
      mark->changes = reply.changes;
      changed_ns = std::max(changed_ns, reply.changed_ns);
    }
  }
  store(directory, *state, changed_ns);
}

// --- What is known -------------------------------------------------------------------------------

void DirectoryTimes::set_subdirectories(State& state, wire::ShardId shard, std::uint32_t count) {
  auto known = std::ranges::find(state.subdirectories, shard, &Subdirectories::shard);
  if (known != state.subdirectories.end()) {
    known->count = count;
    if (count == 0) {
      state.subdirectories.erase(known);
    }
  } else if (count > 0) {
    state.subdirectories.push_back({shard, count});
  }
}

void DirectoryTimes::store(wire::InodeId directory, const State& state, std::int64_t changed_ns) {
  std::uint32_t remote = 0;
  for (const Subdirectories& some : state.subdirectories) {
    remote += some.count;
  }
  (void)store_.apply(meta::ChangeElsewhere{
      .directory = directory, .changed_ns = changed_ns, .subdirectories = remote});
}

void DirectoryTimes::forget_shard(wire::ShardId shard, std::uint64_t life) {
  silent_.erase(shard);
  for (auto at = states_.begin(); at != states_.end();) {
    State& state = at->second;
    auto mark = std::ranges::find(state.marks, shard, &Mark::shard);
    if (mark != state.marks.end() && mark->stamp >= life) {
      ++at;  // it will be asked what it has now
      continue;
    }
    if (mark != state.marks.end()) {
      state.marks.erase(mark);
      --mark_count_;
    }
    set_subdirectories(state, shard, 0);
    store(at->first, state, 0);
    bool is_unneeded = state.marks.empty() && state.subdirectories.empty() && !state.has_round;
    at = is_unneeded ? states_.erase(at) : std::next(at);
  }
}

void DirectoryTimes::forget(wire::InodeId directory) {
  if (State* state = find(directory)) {
    mark_count_ -= state->marks.size();
    if (state->next) {
      state->next->is_over = true;
      state->next->ended.wake_all();
    }
    states_.erase(directory);
  }
}

void DirectoryTimes::erase_if_unneeded(wire::InodeId directory) {
  State* state = find(directory);
  if (state != nullptr && state->marks.empty() && state->subdirectories.empty() &&
      !state->has_round) {
    states_.erase(directory);
  }
}

}  // namespace benchfs::server
