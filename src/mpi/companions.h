// The daemons of one MPI job: they begin to serve together, and end together.
//
// Rank 0 collects and decides. Every other rank tells it two things, and hears two:
//
//   rank -> 0   kListening             my shards listen and are in the server list
//               kStopping, exit code   I stop: by a signal (0), or because of a failure
//   0 -> rank   kServing               all have said kListening
//               kStop, code, blamed    stop; this was the first code, and the rank it came from
//
// MPI_Barrier instead could not be left when a rank fails before it gets there. Each side sends its
// stop exactly once, also when the other one was first, so that at the end nothing is on its way.
//
// Of several failures the blamed rank's is the one that people see; the others are for debugging.
#pragma once

#include <optional>

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

  // After the daemon has ended: waits until the others have said that they stop, too. Returns the
  // exit code of the job; ends the job at the deadline.
  int wait_for_verdict(Deadline deadline);

 private:
  enum Kind : std::int32_t { kListening, kStopping, kServing, kStop };
  struct Verdict {
    int code = 0;
    int blamed = 0;
  };
  void hear(const Ranks::Received& received);
  void tell_all(Ranks::Note note);
  void on_rank_listening();
  void decide(Verdict verdict);

  Ranks& ranks_;
  int listening_ = 0;  // rank 0: ranks that are
  bool stopping_ = false;
  std::optional<Verdict> verdict_;
  std::optional<daemon::Failure> failure_;  // of this rank
};

}  // namespace benchfs::mpi
