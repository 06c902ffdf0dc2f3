// Several clients work on few names and files of a real cluster while processes stand still or die
// and connections are cut. Everything they were told must have one explanation: the history is
// linearizable, and every byte read is one that was written there.
//
// BENCHFS_HISTORY_SECONDS: how long all settings together take. BENCHFS_SEED repeats the choices.
// BENCHFS_HISTORY_ALL: what is switched off runs too.
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <ostream>
#include <string_view>

#include "history/board.h"
#include "history/checker.h"
#include "history/faults.h"
#include "history/operation.h"
#include "system/fault_fixture.h"

namespace benchfs::history {
namespace {

using enum FaultKind;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::size_t kDaemons = 3;
// A client that is stuck ends its calls by its own deadline before this.
constexpr Nanos kTaskPatience = std::chrono::seconds(60);

struct Setting {
  const char* name;
  const char* daemons;  // BENCHFS_TRANSPORT, or "nodes": each daemon has a node of its own
  std::vector<FaultKind> faults;
  std::chrono::milliseconds grace;
  bool may_lose = false;
  // At the end nothing is left: the grace is short enough to wait for what clients that died had
  // open, and no daemon lost the last name of a file that lives on another.
  bool gives_back = false;
  // The reason why this setting does not run yet; nullptr if it runs.
  const char* off_because = nullptr;
};

void PrintTo(const Setting& setting, std::ostream* out) {
  *out << setting.name;
}

// Kinds of faults that show what is known and not mended yet: what each shows.
struct Off {
  FaultKind kind;
  const char* because;
};
const std::vector<Off> kOff = {};

// How daemons reach each other. Every second client goes over the network, the others through the
// node door; where each daemon has a node of its own, all that these send to others is forwarded.
const std::vector<Setting> kSettings = {
    {"GraceOf100Milliseconds",
     "ucx",
     {kClientStops, kClientCutOff, kClientDies, kDaemonStops, kConnectionCut},
     milliseconds(100),
     false,
     true},
    {"GraceOfThirtySeconds",
     "ucx",
     {kClientCutOff, kClientDies, kDaemonStops, kConnectionCut},
     seconds(30)},
    {"GraceOfOneDay", "ucx", {kClientCutOff, kClientDies, kDaemonStops, kConnectionCut}, hours(24)},
    {"NodeDoor", "auto", {kClientStops, kClientDies, kDaemonStops}, milliseconds(100)},
    {"Forwarded",
     "nodes",
     {kClientStops, kClientDies, kDaemonStops, kConnectionCut},
     milliseconds(100)},
    {"ForwardedDaemonsThatDie",
     "nodes",
     {kClientStops, kDaemonStops, kDaemonDies, kConnectionCut},
     seconds(1),
     true},
    {"DaemonsThatDie",
     "ucx",
     {kClientStops, kDaemonStops, kDaemonDies, kConnectionCut},
     seconds(1),
     true},
};

std::uint64_t seconds_of_all() {
  const char* given = std::getenv("BENCHFS_HISTORY_SECONDS");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : HISTORY_SECONDS;
}

class Faulty : public test::FaultFixture, public testing::WithParamInterface<Setting> {
 protected:
  Faulty() : FaultFixture(GetParam().daemons) {}
  void SetUp() override {
    if (GetParam().off_because != nullptr && std::getenv("BENCHFS_HISTORY_ALL") == nullptr) {
      GTEST_SKIP() << GetParam().off_because;
    }
    seed_ = test::test_seed();
    board_ = map_board(path("board"));
    ASSERT_NE(board_, nullptr);
    board_->seed.store(seed_);
    ASSERT_NO_FATAL_FAILURE(start_daemons(
        kDaemons, {"--set", fmt::format("clients.grace_ms={}", GetParam().grace.count())}));
    held_at_start_ = held();
    clients_.resize(kSlots);
    for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
      start_client(slot);
    }
  }
  void TearDown() override {
    if (board_ == nullptr) {
      return;
    }
    give(Task::kQuit);
    clients_.clear();
  }

  void start_client(std::uint32_t slot) {
    std::uint32_t number = clients_started_++;
    // Of both kinds in each setting, also of those that a fault ends.
    ::setenv("BENCHFS_TRANSPORT", slot % 2 == 0 ? "ucx" : "auto", 1);
    stand_on_node(slot % kDaemons);
    clients_[slot] = std::make_unique<test::Process>(
        std::vector<std::string>{HISTORY_CLIENT_PROGRAM,
                                 registry(),
                                 path("board"),
                                 path(fmt::format("log_{}", number)),
                                 fmt::to_string(number),
                                 fmt::to_string(slot)},
        path(""));
  }

  void give(Task task) {
    board_->task.store(task);
    board_->step.fetch_add(1);
  }
  // True when all clients have finished the task.
  bool await_clients() {
    Deadline deadline = Deadline::after(kTaskPatience);
    std::uint32_t step = board_->step.load();
    for (std::uint32_t slot = 0; slot < kSlots; ++slot) {
      while (board_->done[slot].load() != step) {
        if (deadline.passed() || !test::runs(clients_[slot]->pid())) {
          ADD_FAILURE() << "client process " << slot
                        << " is stuck or has ended: " << clients_[slot]->err();
          return false;
        }
        ::usleep(1000);  // lint: allow sleep another process's progress
      }
    }
    return true;
  }
  bool carry_out(Task task) {
    give(task);
    return await_clients();
  }

  Targets targets() {
    return {.client = [this](std::size_t i) { return clients_[i + 1]->pid(); },
            .daemon = [this](std::size_t i) { return daemon(i).pid(); },
            .clients = kSlots - 1,
            .daemons = kDaemons,
            .replace_client =
                [this](std::size_t i) { start_client(static_cast<std::uint32_t>(i) + 1); },
            .replace_daemon = [this](std::size_t i) { start_daemon_again(i); }};
  }

  // The operations that the clients recorded in this round.
  std::vector<Operation> history_of(std::uint32_t round) {
    std::vector<Operation> all;
    for (std::uint32_t number = 0; number < clients_started_; ++number) {
      parse(test::read_file(path(fmt::format("log_{}", number))), all);
    }
    std::erase_if(all, [&](const Operation& operation) { return operation.round != round; });
    return all;
  }

  // False: a violation was found, or the test cannot go on.
  bool run_round(std::uint32_t round, Faults& faults) {
    board_->round.store(round);
    board_->moves_directories.store(round % 3 == 2);
    board_->enough.store(false);
    if (!carry_out(Task::kSetUp)) {
      return false;
    }
    give(Task::kRun);
    std::vector<Fault> happened = faults.run(Deadline::after(std::chrono::milliseconds(1500)));
    board_->enough.store(true);
    if (!await_clients() || !carry_out(Task::kLook) || !carry_out(Task::kClose) ||
        !carry_out(Task::kLookAgain) || !carry_out(Task::kClear)) {
      return false;
    }
    std::vector<Operation> history = history_of(round);
    Report report = check_round(
        history, happened, {.may_lose = GetParam().may_lose, .grace = GetParam().grace});
    operations_ += history.size();
    faults_ += happened.size();
    objects_ += report.objects;
    undecided_ += report.undecided;
    for (const Operation& operation : history) {
      if (operation.has_ended() && operation.result < 0 && !operation.was_refused()) {
        ++errors_[strerrorname_np(static_cast<int>(-operation.result))];
      }
    }
    for (const std::string& violation : report.violations) {
      ADD_FAILURE() << "seed " << fmt::format("{:#x}", seed_) << ", round " << round << ", "
                    << violation;
    }
    return report.violations.empty();
  }

  std::uint64_t seed_ = 0;
  Board* board_ = nullptr;
  Held held_at_start_;
  std::vector<std::unique_ptr<test::Process>> clients_;
  std::uint32_t clients_started_ = 0;
  std::size_t operations_ = 0;
  std::size_t faults_ = 0;
  std::size_t objects_ = 0;
  std::size_t undecided_ = 0;
  std::map<std::string, std::size_t> errors_;
};

TEST_P(Faulty, HistoryHasOneExplanation) {
  if (::geteuid() != 0) {
    fmt::print("connections are not cut: that takes root\n");
  }
  std::vector<FaultKind> kinds = GetParam().faults;
  for (const Off& off : kOff) {
    if (std::getenv("BENCHFS_HISTORY_ALL") == nullptr && std::erase(kinds, off.kind) > 0) {
      fmt::print("switched off: {}\n", off.because);
    }
  }
  Faults faults(kinds, targets(), seed_, path(""));
  Deadline end = Deadline::after(std::chrono::seconds(seconds_of_all()) / kSettings.size());
  std::uint32_t round = 0;
  do {
    ++round;
  } while (run_round(round, faults) && !end.passed());
  fmt::print("{} rounds, {} operations, {} faults, {} objects checked, {} undecided\n",
             round,
             operations_,
             faults_,
             objects_,
             undecided_);
  for (const auto& [name, count] : errors_) {
    fmt::print("  {} ended with {}\n", count, name);
  }
  EXPECT_LE(undecided_ * 10, objects_);
  give(Task::kQuit);
  if (GetParam().gives_back) {
    Held now = held();
    wait_until([&] { return (now = held()) == held_at_start_; });
    EXPECT_EQ(now, held_at_start_) << "all files have been closed and removed";
  }
}

INSTANTIATE_TEST_SUITE_P(History, Faulty, testing::ValuesIn(kSettings), [](const auto& setting) {
  return setting.param.name;
});

}  // namespace
}  // namespace benchfs::history
