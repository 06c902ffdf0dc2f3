// The ranks of one MPI job: they start together once all daemons serve, and stop together.
//
// Rank 0 collects and decides. Every other rank exchanges two messages with it in each direction:
//
//   rank -> 0   kListening             my shards listen and are in the server list
//               kStopping, exit code   I stop: after a signal (0), or because of a failure
//   0 -> rank   kServing               all have sent kListening
//               kStop, code, blamed    stop; this was the first code, and the rank it came from
//
// In between a rank may send kAsk, and receives kAnswer (seconds, nanoseconds) unless the job
// stops.
//
// MPI_Barrier could not be left when a rank fails before it gets there. Each side sends its stop
// exactly once, even if the other side was first, so that no message is under way at the end.
//
// When several ranks fail, people see the failure of the blamed one; the others are for debugging.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "daemon/daemon.h"
#include "mpi/ranks.h"

namespace benchfs::mpi {

class RankGroup final : public daemon::DaemonGroup {
 public:
  // Borrows `ranks`.
  explicit RankGroup(Ranks& ranks);
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;

  void on_listening() override;
  void on_stopping(const daemon::Failure* failure) override;
  bool poll() override;

  // All ranks have sent kListening. A rank without a daemon sends it when it is ready itself.
  [[nodiscard]] bool are_serving() const { return serving_; }

  // A time that rank 0 knows; other ranks ask for it, one question at a time.
  void answer_with(std::function<Nanos()> knowledge) { knowledge_ = std::move(knowledge); }
  void ask();
  // The answer that poll() received; returned once.
  std::optional<Nanos> take_answer() { return std::exchange(answer_, std::nullopt); }

  // Waits until the other ranks stop, too; call it after the daemon has ended. Returns the exit
  // code of the job; aborts the job at the deadline.
  int wait_for_verdict(Deadline deadline);

 private:
  enum Kind : std::int32_t { kListening, kStopping, kServing, kStop, kAsk, kAnswer };
  struct Verdict {
    int code = 0;
    int blamed = 0;
  };
  void hear(const Ranks::Received& received);
  void tell_all(Ranks::Note note);
  void on_rank_listening();
  void answer(int rank);
  void decide(Verdict verdict);

  Ranks& ranks_;
  int listening_ = 0;  // rank 0: number of ranks that listen
  bool serving_ = false;
  bool stopping_ = false;
  std::function<Nanos()> knowledge_;
  std::optional<Nanos> answer_;
  std::optional<Verdict> verdict_;
  std::optional<daemon::Failure> failure_;  // this rank's
};

}  // namespace benchfs::mpi
