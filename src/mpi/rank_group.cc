#include "mpi/rank_group.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sysexits.h>

#include "base/log.h"

namespace benchfs::mpi {

RankGroup::RankGroup(Ranks& ranks) : ranks_(ranks) {
  if (ranks_.rank() != 0) {
    ranks_.expect(0);
    return;
  }
  for (int rank = 1; rank < ranks_.size(); ++rank) {
    ranks_.expect(rank);
  }
}

void RankGroup::tell_all(Ranks::Note note) {
  for (int rank = 1; rank < ranks_.size(); ++rank) {
    ranks_.send(rank, note);
  }
}

void RankGroup::on_listening() {
  if (ranks_.rank() == 0) {
    on_rank_listening();
  } else {
    ranks_.send(0, {.kind = kListening});
  }
}

void RankGroup::on_rank_listening() {
  if (++listening_ == ranks_.size() && !verdict_) {
    BENCHFS_LOG(kInfo, "all {} ranks are ready", ranks_.size());
    serving_ = true;
    tell_all({.kind = kServing});
  }
}

void RankGroup::on_stopping(const daemon::Failure* failure) {
  if (failure != nullptr && !failure_) {
    failure_ = *failure;
  }
  int code = failure == nullptr ? EX_OK : failure->exit_code;
  if (ranks_.rank() == 0) {
    decide({.code = code, .blamed = 0});
  } else if (!stopping_) {
    ranks_.send(0, {.kind = kStopping, .value = code});
  }
  stopping_ = true;
}

// Called on rank 0. The first verdict counts; ranks that stop later only follow it.
void RankGroup::decide(Verdict verdict) {
  if (!verdict_) {
    verdict_ = verdict;
    tell_all({.kind = kStop, .value = verdict.code, .other = verdict.blamed});
  }
}

void RankGroup::hear(const Ranks::Received& received) {
  const Ranks::Note& note = received.note;
  switch (Kind{note.kind}) {
    case kListening:
      ranks_.expect(received.rank);
      on_rank_listening();
      break;
    case kStopping:
      decide({.code = note.value, .blamed = received.rank});
      break;
    case kServing:
      ranks_.expect(received.rank);
      BENCHFS_LOG(kDebug, "all ranks are ready");
      serving_ = true;
      break;
    case kStop:
      verdict_ = {.code = note.value, .blamed = note.other};
      break;
    case kAsk:
      ranks_.expect(received.rank);
      answer(received.rank);
      break;
    case kAnswer:
      ranks_.expect(received.rank);
      answer_ = std::chrono::seconds(note.value) + Nanos(note.other);
      break;
  }
}

void RankGroup::ask() {
  ranks_.send(0, {.kind = kAsk});
}

// After the verdict no rank waits for an answer.
void RankGroup::answer(int rank) {
  if (!verdict_) {
    Nanos time = knowledge_ ? knowledge_() : Nanos(0);
    auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
    ranks_.send(rank,
                {.kind = kAnswer,
                 .value = static_cast<std::int32_t>(seconds.count()),
                 .other = static_cast<std::int32_t>((time - seconds).count())});
  }
}

bool RankGroup::poll() {
  while (std::optional<Ranks::Received> received = ranks_.receive()) {
    hear(*received);
  }
  return verdict_.has_value();
}

int RankGroup::wait_for_verdict(Deadline deadline) {
  on_stopping(nullptr);
  while (poll(), !ranks_.is_sent() || !ranks_.expected().empty()) {
    if (deadline.passed()) {
      if (failure_) {
        BENCHFS_LOG(kError, "{}", failure_->text);
      }
      BENCHFS_LOG(kError,
                  "no answer from rank {} while stopping; ending the job",
                  fmt::join(ranks_.expected(), ", "));
      ranks_.abort(failure_ ? failure_->exit_code : EX_UNAVAILABLE);
    }
    pause_briefly();
  }
  if (failure_) {
    if (verdict_->blamed == ranks_.rank()) {
      BENCHFS_LOG(kError, "{}", failure_->text);
    } else {
      BENCHFS_LOG(kDebug, "{}", failure_->text);
    }
  }
  return verdict_->code;
}

}  // namespace benchfs::mpi
