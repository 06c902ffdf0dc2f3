// Records what happened to calls, as their callers and the server saw it, and proves that each took
// effect as often as it may.
//
// A caller records the begin of a call and its result; the server records each execution and its
// outcome. check_history() says what is wrong with the history.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace benchfs::rpc::testing {

// Operations on names and one log, none of which may be executed twice.
struct Operation {
  enum class Kind : std::uint8_t {
    kCreate,  // of `name`: EEXIST if it is there, else the how-manieth creation it was
    kRename,  // `name` to `to`: ENOENT, EEXIST, else 0
    kAppend,  // to the log: the position
  };
  Kind kind = Kind::kAppend;
  std::string name;
  std::string to;
};

// The outcome of an operation: an errno, or 0 and a value.
struct Outcome {
  int error = 0;
  std::uint64_t value = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// The state that operations leave behind, and the outcome of each. Call ids are arbitrary numbers.
class Names {
 public:
  Outcome apply(std::uint64_t call, const Operation& operation);
  friend bool operator==(const Names&, const Names&) = default;

 private:
  std::map<std::string, std::uint64_t> names_;  // made by which call
  std::vector<std::uint64_t> log_;              // appended by which calls
  std::uint64_t created_ = 0;
};

struct Event {
  enum class Kind : std::uint8_t {
    kBegun,     // by the caller, before anything is sent; has the operation
    kExecuted,  // by the server; has the outcome
    kAnswered,  // the caller was told the outcome
    kGivenUp,   // the caller was told that nobody knows
  };
  Kind kind = Kind::kBegun;
  std::uint64_t call = 0;
  Operation operation;
  Outcome outcome;
};

// Records events in the order in which they are added. Threads: any.
class CallHistory {
 public:
  void begun(std::uint64_t call, const Operation& operation) {
    add({Event::Kind::kBegun, call, operation, {}});
  }
  void executed(std::uint64_t call, Outcome outcome) {
    add({Event::Kind::kExecuted, call, {}, outcome});
  }
  void answered(std::uint64_t call, Outcome outcome) {
    add({Event::Kind::kAnswered, call, {}, outcome});
  }
  void given_up(std::uint64_t call) { add({Event::Kind::kGivenUp, call, {}, {}}); }
  [[nodiscard]] std::vector<Event> events() const;
  [[nodiscard]] std::size_t count(Event::Kind kind) const;

 private:
  void add(Event event);
  mutable std::mutex mutex_;
  std::vector<Event> events_;
};

// The complaints about a history whose calls have all ended; none when
// - every call was executed at most once, after it was begun, and never after its answer;
// - every answered call was executed exactly once, and the answer is what came of it then;
// - every call ended once;
// - the outcomes are those of the operations in the order in which they were executed, and leave
//   `left` behind: no success is lost.
std::vector<std::string> check_history(std::span<const Event> events, const Names& left);

}  // namespace benchfs::rpc::testing
