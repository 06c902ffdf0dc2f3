#include "mpi/ranks.h"

#include <mpi.h>
#include <sched.h>
#include <sysexits.h>

#include <cstdlib>
#include <ctime>
#include <iterator>
#include <list>
#include <utility>

#include "base/log.h"

namespace benchfs::mpi {
namespace {

constexpr int kNoteTag = 1;

bool is_done(MPI_Request& request) {
  int done = 0;
  MPI_Test(&request, &done, MPI_STATUS_IGNORE);
  return done != 0;
}

}  // namespace

void pause_briefly() {
  constexpr timespec kPause{.tv_sec = 0, .tv_nsec = 1'000'000};
  nanosleep(&kPause, nullptr);
}

// MPI holds the addresses of the notes, so they are in a std::list.
struct Ranks::Notes {
  struct Operation {
    int rank = 0;
    Note note;
    MPI_Request request = MPI_REQUEST_NULL;
  };
  std::list<Operation> sends;
  std::list<Operation> receives;
};

struct Ranks::Group {
  MPI_Comm all = MPI_COMM_WORLD;
};

Ranks::Ranks() : group_(std::make_unique<Group>()) {}
Ranks::Ranks(Ranks&&) noexcept = default;

Ranks::~Ranks() {
  if (notes_ != nullptr) {
    MPI_Finalize();
  } else if (group_ != nullptr && group_->all != MPI_COMM_WORLD) {
    MPI_Comm_free(&group_->all);
  }
}

Result<Ranks> Ranks::start(int* argc, char*** argv) {
  int provided = 0;
  // Errors of MPI end the job with MPI's own message; that is its default.
  if (MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
    return fail(Errc::kSystem, "MPI cannot be started");
  }
  Ranks ranks;
  ranks.notes_ = std::make_unique<Notes>();
  MPI_Comm_rank(MPI_COMM_WORLD, &ranks.rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks.size_);
  std::array<char, MPI_MAX_PROCESSOR_NAME> name{};
  int length = 0;
  MPI_Get_processor_name(name.data(), &length);
  ranks.host_ = name.data();
  if (provided < MPI_THREAD_FUNNELED) {
    return fail(Errc::kSystem, "this MPI library does not allow threads");
  }
  return ranks;
}

Ranks Ranks::split(int part) const {
  Ranks ranks;
  MPI_Comm_split(group_->all, part, rank_, &ranks.group_->all);
  MPI_Comm_rank(ranks.group_->all, &ranks.rank_);
  MPI_Comm_size(ranks.group_->all, &ranks.size_);
  ranks.host_ = host_;
  return ranks;
}

// Waits for a collective operation, whose buffers are the caller's: it only returns when they are
// free again. Ranks that come at about the same time leave at about the same time: it sleeps only
// when the others take longer.
void Ranks::wait_for(void* request, Deadline deadline, const char* what) {
  constexpr Nanos kAwake = std::chrono::milliseconds(3);
  MonoTime sleep_from = mono_now() + kAwake;
  while (!is_done(*static_cast<MPI_Request*>(request))) {
    if (deadline.passed()) {
      BENCHFS_LOG(kError, "{}: not all other ranks arrived in time; ending the job", what);
      abort(EX_UNAVAILABLE);
    }
    if (look_) {
      look_();
    }
    if (mono_now() < sleep_from) {
      sched_yield();
    } else {
      pause_briefly();
    }
  }
}

std::vector<Ranks::Pair> Ranks::gather(Pair own, Deadline deadline) {
  std::vector<Pair> all(static_cast<std::size_t>(size_));
  MPI_Request request = MPI_REQUEST_NULL;
  constexpr int kCount = static_cast<int>(std::tuple_size_v<Pair>);
  MPI_Iallgather(
      own.data(), kCount, MPI_INT64_T, all.data(), kCount, MPI_INT64_T, group_->all, &request);
  wait_for(&request, deadline, "agreement");
  return all;
}

std::vector<std::string> Ranks::collect(const std::string& own, Deadline deadline, int root) {
  std::vector<int> lengths;
  std::vector<int> offsets;
  int total = 0;
  for (const Pair& length : gather({static_cast<std::int64_t>(own.size()), 0}, deadline)) {
    lengths.push_back(static_cast<int>(length[0]));
    offsets.push_back(std::exchange(total, total + lengths.back()));
  }
  std::string text(rank_ == root ? static_cast<std::size_t>(total) : 0, '\0');
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Igatherv(own.data(),
               static_cast<int>(own.size()),
               MPI_CHAR,
               text.data(),
               lengths.data(),
               offsets.data(),
               MPI_CHAR,
               root,
               group_->all,
               &request);
  wait_for(&request, deadline, "results");
  std::vector<std::string> all;
  for (std::size_t i = 0; rank_ == root && i < lengths.size(); ++i) {
    all.push_back(
        text.substr(static_cast<std::size_t>(offsets[i]), static_cast<std::size_t>(lengths[i])));
  }
  return all;
}

std::string Ranks::share(std::string own, Deadline deadline) {
  own.resize(static_cast<std::size_t>(
      gather({static_cast<std::int64_t>(own.size()), 0}, deadline).front()[0]));
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Ibcast(own.data(), static_cast<int>(own.size()), MPI_CHAR, 0, group_->all, &request);
  wait_for(&request, deadline, "agreement");
  return own;
}

void Ranks::barrier(Deadline deadline) {
  MPI_Request request = MPI_REQUEST_NULL;
  MPI_Ibarrier(group_->all, &request);
  wait_for(&request, deadline, "barrier");
}

void Ranks::abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

void Ranks::send(int rank, Note note) {
  Notes::Operation& sent = notes_->sends.emplace_back(rank, note);
  MPI_Isend(&sent.note, sizeof sent.note, MPI_BYTE, rank, kNoteTag, MPI_COMM_WORLD, &sent.request);
}

void Ranks::expect(int rank) {
  Notes::Operation& awaited = notes_->receives.emplace_back(rank);
  MPI_Irecv(&awaited.note,
            sizeof awaited.note,
            MPI_BYTE,
            rank,
            kNoteTag,
            MPI_COMM_WORLD,
            &awaited.request);
}

std::optional<Ranks::Received> Ranks::receive() {
  for (auto it = notes_->receives.begin(); it != notes_->receives.end(); ++it) {
    if (is_done(it->request)) {
      Received received{it->rank, it->note};
      notes_->receives.erase(it);
      return received;
    }
  }
  return std::nullopt;
}

bool Ranks::is_sent() {
  std::erase_if(notes_->sends, [](Notes::Operation& sent) { return is_done(sent.request); });
  return notes_->sends.empty();
}

std::vector<int> Ranks::expected() const {
  std::vector<int> ranks;
  for (const Notes::Operation& awaited : notes_->receives) {
    ranks.push_back(awaited.rank);
  }
  return ranks;
}

}  // namespace benchfs::mpi
