#include "rpc/testing/call_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <unordered_map>
#include <utility>

namespace benchfs::rpc::testing {
namespace {

class Checker {
 public:
  explicit Checker(std::span<const Event> events) {
    for (const Event& event : events) {
      add(event);
    }
  }

  std::vector<std::string> conclude(const Names& left) {
    for (const auto& [id, call] : calls_) {
      if (!call.has_ended) {
        complain(id, "never ended");
      }
    }
    if (names_ != left) {
      complaints_.emplace_back("what was executed does not leave behind what is there");
    }
    return std::move(complaints_);
  }

 private:
  struct Call {
    std::optional<Operation> operation;
    std::optional<Outcome> outcome;  // of its first execution
    bool is_answered = false;
    bool has_ended = false;
  };

  void complain(std::uint64_t id, std::string_view what) {
    complaints_.push_back(fmt::format("call {:#x} {}", id, what));
  }

  void add(const Event& event) {
    Call& call = calls_[event.call];
    if (event.kind == Event::Kind::kBegun) {
      if (call.operation) {
        complain(event.call, "was begun twice");
      }
      call.operation = event.operation;
      return;
    }
    if (!call.operation) {
      return complain(event.call, "was executed or ended before it was begun");
    }
    if (event.kind == Event::Kind::kExecuted) {
      execute(event, call);
    } else {
      end(event, call);
    }
  }

  void execute(const Event& event, Call& call) {
    if (call.outcome) {
      complain(event.call, "was executed twice");
    }
    if (call.is_answered) {
      complain(event.call, "was executed after its answer");
    }
    call.outcome = call.outcome.value_or(event.outcome);
    if (names_.apply(event.call, *call.operation) != event.outcome) {
      complain(event.call, "came out otherwise than the calls before it allow");
    }
  }

  void end(const Event& event, Call& call) {
    if (std::exchange(call.has_ended, true)) {
      complain(event.call, "ended twice");
    }
    if (event.kind == Event::Kind::kGivenUp) {
      return;
    }
    call.is_answered = true;
    if (!call.outcome) {
      complain(event.call, "was answered without having been executed");
    } else if (*call.outcome != event.outcome) {
      complain(event.call, "was given another answer than its first");
    }
  }

  std::unordered_map<std::uint64_t, Call> calls_;
  Names names_;
  std::vector<std::string> complaints_;
};

}  // namespace

Outcome Names::apply(std::uint64_t call, const Operation& operation) {
  if (operation.kind == Operation::Kind::kAppend) {
    log_.push_back(call);
    return {.error = 0, .value = log_.size() - 1};
  }
  if (operation.kind == Operation::Kind::kCreate) {
    bool is_new = names_.emplace(operation.name, call).second;
    return is_new ? Outcome{.error = 0, .value = ++created_} : Outcome{.error = EEXIST, .value = 0};
  }
  if (names_.contains(operation.to)) {
    return {.error = EEXIST, .value = 0};
  }
  auto entry = names_.extract(operation.name);
  if (entry.empty()) {
    return {.error = ENOENT, .value = 0};
  }
  entry.key() = operation.to;
  names_.insert(std::move(entry));
  return {};
}

void CallHistory::add(Event event) {
  std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
}

std::vector<Event> CallHistory::events() const {
  std::lock_guard lock(mutex_);
  return events_;
}

std::size_t CallHistory::count(Event::Kind kind) const {
  std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::ranges::count(events_, kind, &Event::kind));
}

std::vector<std::string> check_history(std::span<const Event> events, const Names& left) {
  return Checker(events).conclude(left);
}

}  // namespace benchfs::rpc::testing
