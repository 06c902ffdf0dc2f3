// The ranks of this MPI job, or a part of them: their identity, and waiting for each other with a
// deadline.
//
// This is the only class that calls MPI. All calls belong to the main thread. After the start
// nothing blocks inside MPI: operations are begun, then tested between short sleeps until their
// deadline. When a rank does not come in time or MPI reports an error, one line is logged and the
// whole job is aborted.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace benchfs::mpi {

class Ranks {
 public:
  // Initialises MPI; works without mpirun too (one rank). Call before other threads are made.
  // Errors: kSystem.
  static Result<Ranks> start(int* argc, char*** argv);
  Ranks(Ranks&&) noexcept;
  Ranks& operator=(Ranks&&) = delete;
  // Finalises MPI, which waits for all ranks: call barrier() first, because it has a deadline.
  // Destroy a part before the whole.
  ~Ranks();

  // The ranks of the same `part`, renumbered in the same order. All ranks call it before anything
  // that can fail on a single rank: like start(), it blocks until all have called it.
  [[nodiscard]] Ranks split(int part) const;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] const std::string& host() const { return host_; }

  // --- collective: all ranks call the same in the same order ---
  // Two numbers from each rank, in the order of ranks.
  using Pair = std::array<std::int64_t, 2>;
  std::vector<Pair> gather(Pair own, Deadline deadline);
  // One text from each rank, in rank order; empty on ranks other than `root`.
  std::vector<std::string> collect(const std::string& own, Deadline deadline, int root = 0);
  // The text of rank 0, on all ranks; the `own` of other ranks is ignored.
  std::string share(std::string own, Deadline deadline);
  // Returns when all ranks have called it.
  void barrier(Deadline deadline);
  // `look` is called repeatedly while one of these waits; it must not call them itself.
  void while_waiting(std::function<void()> look) { look_ = std::move(look); }

  // --- small messages between two ranks ---
  struct Note {
    std::int32_t kind = 0;
    std::int32_t value = 0;
    std::int32_t other = 0;
  };
  // Begins to send. Notes between two ranks arrive in order. Only for the whole job, not for a
  // part.
  void send(int rank, Note note);
  // Begins to listen for the next note from `rank`.
  void expect(int rank);
  struct Received {
    int rank = 0;
    Note note;
  };
  // A note that arrived. Call expect() to receive the next one of its sender.
  std::optional<Received> receive();
  // True when all notes have left.
  bool is_sent();
  // The ranks from which a note is expected.
  [[nodiscard]] std::vector<int> expected() const;

  // Aborts all ranks, as far as the launcher can, and this one in any case.
  [[noreturn]] void abort(int exit_code);

 private:
  struct Notes;
  struct Group;
  Ranks();
  void wait_for(void* request, Deadline deadline, const char* what);
  int rank_ = 0;
  int size_ = 1;
  std::string host_;
  std::unique_ptr<Group> group_;
  std::unique_ptr<Notes> notes_;  // unless this is a part
  std::function<void()> look_;
};

// A short sleep between two checks of something that cannot be waited on.
void pause_briefly();

}  // namespace benchfs::mpi
