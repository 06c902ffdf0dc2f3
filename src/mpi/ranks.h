// The ranks of this MPI job, or a part of them: who they are, and how they wait for each other
// without waiting for ever.
//
// The only place that knows MPI. All calls belong to the main thread. Nothing blocks inside MPI
// once it has started: operations are begun, and tested between short sleeps until their deadline.
// What cannot go on without the others (a rank does not come in time, MPI reports an error) ends
// the whole job, after one line in the log.
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
  // Finalises MPI, which waits for all ranks: call barrier() before, which has a deadline. A part
  // ends before what it is a part of.
  ~Ranks();

  // The ranks of the same `part`, numbered anew in the same order. All ranks call it, before
  // anything that can fail on one of them alone: as start(), it blocks until all have come.
  [[nodiscard]] Ranks split(int part) const;

  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] const std::string& host() const { return host_; }

  // --- collective: all ranks call the same in the same order ---
  // Two numbers from each rank, in the order of ranks.
  using Pair = std::array<std::int64_t, 2>;
  std::vector<Pair> gather(Pair own, Deadline deadline);
  // One text from each rank, in the order of ranks; nothing except on rank `root`.
  std::vector<std::string> collect(const std::string& own, Deadline deadline, int root = 0);
  // What rank 0 says, on all ranks; the others' `own` is not looked at.
  std::string share(std::string own, Deadline deadline);
  // Returns when all ranks have called it.
  void barrier(Deadline deadline);
  // Called again and again while one of these waits for the others; must not call them itself.
  void while_waiting(std::function<void()> look) { look_ = std::move(look); }

  // --- small messages between two ranks ---
  struct Note {
    std::int32_t kind = 0;
    std::int32_t value = 0;
    std::int32_t other = 0;
  };
  // Begins to send; the notes of one pair of ranks arrive in order. Between all ranks only, not in
  // a part of them.
  void send(int rank, Note note);
  // Begins to listen for the next note from `rank`.
  void expect(int rank);
  struct Received {
    int rank = 0;
    Note note;
  };
  // A note that arrived. Its sender is not listened to any more until expect().
  std::optional<Received> receive();
  // True when all notes have left.
  bool is_sent();
  // Ranks that are listened to.
  [[nodiscard]] std::vector<int> expected() const;

  // Ends all ranks, as far as the launcher can, and this one in any case.
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

// Between two looks at something that cannot be waited on.
void pause_briefly();

}  // namespace benchfs::mpi
