// The ranks of one MPI job: they begin together when all daemons serve, and end together.
//
// Rank 0 collects and decides. Every other rank tells it two things, and hears two:
//
//   rank -> 0   kListening             my shards listen and are in the server list
//               kStopping, exit code   I stop: by a signal (0), or because of a failure
//   0 -> rank   kServing               all have said kListening
//               kStop, code, blamed    stop; this was the first code, and the rank it came from
//
// In between a rank may send kAsk, and gets kAnswer (seconds, nanoseconds) unless the job stops.
//
// MPI_Barrier instead could not be left when a rank fails before it gets there. Each side sends its
// stop exactly once, also when the other one was first, so that at the end nothing is on its way.
//
// Of several failures the blamed rank's is the one that people see; the others are for debugging.
#pragma once

#include <functional>
#include <optional>
#include <utility>

#include "daemon/daemon.h"
#include "mpi/ranks.h"

namespace benchfs::mpi {

class Companions final : public daemon::Companions {
 public:
  // Borrows `ranks`.
  explicit Companions(Ranks& ranks);
  Companions(const Companions&) = delete;
  Companions& operator=(const Companions&) = delete;

  void on_listening() override;
  void on_stopping(const daemon::Failure* failure) override;
  bool poll() override;

  // All have said that they listen. A rank without a daemon says so when it is ready itself.
  [[nodiscard]] bool are_serving() const { return serving_; }

  // A time that rank 0 knows and another rank asks for, one question at a time.
  void answer_with(std::function<Nanos()> knowledge) { knowledge_ = std::move(knowledge); }
  void ask();
  // Came with poll(); given away once.
  std::optional<Nanos> take_answer() { return std::exchange(answer_, std::nullopt); }

  // After the daemon has ended: waits until the others have said that they stop, too. Returns the
  // exit code of the job; ends the job at the deadline.
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
  int listening_ = 0;  // rank 0: ranks that are
  bool serving_ = false;
  bool stopping_ = false;
  std::function<Nanos()> knowledge_;
  std::optional<Nanos> answer_;
  std::optional<Verdict> verdict_;
  std::optional<daemon::Failure> failure_;  // of this rank
};

}  // namespace benchfs::mpi
