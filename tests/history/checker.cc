#include "history/checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "base/clock.h"
#include "history/contents.h"
#include "history/names.h"

namespace benchfs::history {
namespace {

using History = std::vector<Operation>;
using Check = std::function<Verdict(const History&, std::size_t budget)>;

constexpr std::size_t kBudget = 300'000;
constexpr std::size_t kBudgetOfWitness = 20'000;
constexpr Nanos kTimeOfWitness = std::chrono::seconds(5);
constexpr std::size_t kLinesOfWindow = 40;

Verdict check_names(const History& history, std::size_t budget) {
  return search(Names(history), budget);
}

Verdict check_contents(const History& history, Nanos grace, std::size_t budget) {
  Verdict worst = Verdict::kLinearizable;
  for (std::uint32_t which = 0; which < kSamplesOfBlock; ++which) {
    Verdict verdict = search(Contents(history, which, grace.count()), budget);
    if (verdict == Verdict::kImpossible) {
      return verdict;
    }
    worst = verdict == Verdict::kUndecided ? verdict : worst;
  }
  return worst;
}

// The history as it was at one moment: what was under way then has an outcome nobody knows.
History until(const History& history, std::int64_t moment) {
  History cut;
  for (const Operation& operation : history) {
    if (operation.begin > moment) {
      continue;
    }
    cut.push_back(operation);
    if (operation.end > moment) {
      cut.back().end = kNever;
    }
  }
  return cut;
}

// The shortest prefix that has no explanation.
History shortest_prefix(const History& history, const Check& check) {
  std::vector<std::int64_t> ends;
  for (const Operation& operation : history) {
    if (operation.has_ended()) {
      ends.push_back(operation.end);
    }
  }
  std::ranges::sort(ends);
  std::size_t good = 0;
  std::size_t bad = ends.size() - 1;
  while (good < bad) {
    std::size_t middle = (good + bad) / 2;
    if (check(until(history, ends[middle]), kBudget) == Verdict::kImpossible) {
      bad = middle;
    } else {
      good = middle + 1;
    }
  }
  return until(history, ends[bad]);
}

bool only_observes(const Operation& operation) {
  switch (operation.kind) {
    case Kind::kStat:
    case Kind::kList:
    case Kind::kRead:
    case Kind::kFileStat:
    case Kind::kSync:
    case Kind::kClose:
      return true;
    case Kind::kOpen:
    case Kind::kUnlink:
    case Kind::kRename:
    case Kind::kMakeDirectory:
    case Kind::kRemoveDirectory:
    case Kind::kTruncate:
    case Kind::kFileTruncate:
    case Kind::kWrite:
    case Kind::kAppend:
      return operation.was_refused();
  }
  return false;
}

// Drops as many observations as possible while there is still no explanation. Those that remain
// contradict the rest.
History without_idle_observations(History history, const Check& check) {
  Deadline deadline = Deadline::after(kTimeOfWitness);
  for (std::size_t i = history.size(); i-- > 0 && !deadline.passed();) {
    if (only_observes(history[i])) {
      Operation dropped = history[i];
      history.erase(history.begin() + static_cast<std::ptrdiff_t>(i));
      if (check(history, kBudgetOfWitness) != Verdict::kImpossible) {
        history.insert(history.begin() + static_cast<std::ptrdiff_t>(i), dropped);
      }
    }
  }
  return history;
}

double in_milliseconds(std::int64_t nanoseconds) {
  return static_cast<double>(nanoseconds) / 1e6;
}

std::string line(const Operation& operation, std::int64_t origin, bool is_needed) {
  std::string end = operation.has_ended()
                        ? fmt::format("{:10.3f}", in_milliseconds(operation.end - origin))
                        : "         …";
  return fmt::format("{} {:10.3f} {} client {:<3} {:x}: {}\n",
                     is_needed ? '>' : ' ',
                     in_milliseconds(operation.begin - origin),
                     end,
                     operation.id >> 16U,
                     operation.id,
                     operation.text());
}

// The operations of one object before a contradiction, and the faults of that time.
std::string window(const History& whole,
                   const std::vector<Fault>& faults,
                   const std::string& object,
                   const Check& check) {
  History history = without_idle_observations(shortest_prefix(whole, check), check);
  std::ranges::sort(history, {}, &Operation::begin);
  std::int64_t origin = history.front().begin;
  std::size_t skipped = history.size() > kLinesOfWindow ? history.size() - kLinesOfWindow : 0;
  std::string text = fmt::format(
      "{}: no order explains the answers marked with >\n"
      "    began (ms)      ended client, operation\n",
      object);
  auto fault = faults.begin();
  auto next_faults = [&](std::int64_t moment) {
    for (; fault != faults.end() && fault->begin <= moment; ++fault) {
      if (fault->end >= history[skipped].begin) {
        text += fmt::format("  {:10.3f} {:10.3f} FAULT {}\n",
                            in_milliseconds(fault->begin - origin),
                            in_milliseconds(fault->end - origin),
                            fault->text);
      }
    }
  };
  std::int64_t last = 0;
  for (std::size_t i = skipped; i < history.size(); ++i) {
    next_faults(history[i].begin);
    text += line(history[i], origin, only_observes(history[i]));
    last = std::max(last, history[i].has_ended() ? history[i].end : history[i].begin);
  }
  next_faults(last);
  return text;
}

class RoundCheck {
 public:
  RoundCheck(const History& history, const std::vector<Fault>& faults, const Rules& rules)
      : history_(history), faults_(faults), rules_(rules) {
    std::ranges::sort(faults_, {}, &Fault::begin);
  }

  Report run() {
    if (!rules_.may_lose) {
      check("the names", on_names(), check_names);
      check_handles();
    }
    auto contents = [this](const History& history, std::size_t budget) {
      return check_contents(history, rules_.grace, budget);
    };
    for (std::uint64_t inode : inodes()) {
      check(fmt::format("inode {:#x}", inode), of_inode(inode), contents);
    }
    return std::move(report_);
  }

 private:
  void check(const std::string& object, const History& history, const Check& verdict_of) {
    ++report_.objects;
    switch (verdict_of(history, kBudget)) {
      case Verdict::kLinearizable:
        return;
      case Verdict::kUndecided:
        ++report_.undecided;
        return;
      case Verdict::kImpossible:
        report_.violations.push_back(window(history, faults_, object, verdict_of));
    }
  }

  [[nodiscard]] History on_names() const {
    History history;
    for (const Operation& operation : history_) {
      if (operation.kind <= Kind::kTruncate) {
        history.push_back(operation);
      }
    }
    return history;
  }

  // An open file that was given up must have lost its name.
  void check_handles() {
    for (const Operation& lost : history_) {
      bool is_lost = lost.kind > Kind::kTruncate && lost.has_ended() &&
                     (lost.result == -ESTALE || lost.result == -EBADF || lost.result == -ENOENT);
      if (!is_lost) {
        continue;
      }
      auto found = std::ranges::find_if(history_, [&](const Operation& later) {
        return (later.kind == Kind::kStat || later.kind == Kind::kOpen) && later.succeeded() &&
               later.inode == lost.inode && later.begin > lost.end;
      });
      if (found != history_.end()) {
        report_.violations.push_back(
            fmt::format("inode {:#x} was given up while it had a name\n{}{}",
                        lost.inode,
                        line(lost, lost.begin, true),
                        line(*found, lost.begin, true)));
        return;
      }
    }
  }

  [[nodiscard]] std::set<std::uint64_t> inodes() const {
    std::set<std::uint64_t> all;
    for (const Operation& operation : history_) {
      bool is_of_file = operation.kind == Kind::kOpen || operation.kind > Kind::kTruncate;
      if (is_of_file && operation.inode != 0) {
        all.insert(operation.inode);
      }
    }
    return all;
  }

  // The operations that touched the inode or may have, such as a truncation by a name that it may
  // have had then.
  [[nodiscard]] History of_inode(std::uint64_t inode) const {
    std::set<std::string> paths;
    bool is_stable = false;
    for (const Operation& operation : history_) {
      if (operation.inode == inode && operation.kind <= Kind::kTruncate) {
        paths.insert(operation.path);
        is_stable = is_stable || is_stable_path(operation.path);
      }
    }
    auto may_have_met = [&](const Operation& operation) {
      return is_stable_path(operation.path) ? paths.contains(operation.path) : !is_stable;
    };
    History history;
    for (const Operation& operation : history_) {
      bool cuts = operation.kind == Kind::kTruncate ||
                  (operation.kind == Kind::kOpen && (operation.flags & kCutToZero) != 0);
      bool names_it = operation.inode == inode;
      if (cuts && !operation.was_refused()) {
        bool is_known =
            operation.succeeded() && (operation.kind == Kind::kTruncate || operation.inode != 0);
        bool met = operation.inode != 0 ? names_it : may_have_met(operation);
        if (met) {
          history.push_back(operation);
          history.back().end = is_known ? operation.end : kNever;
        }
      } else if (names_it && (operation.kind > Kind::kTruncate || operation.kind == Kind::kStat)) {
        history.push_back(operation);
      }
    }
    return history;
  }

  // Clients only truncate by path what is never renamed or removed.
  static bool is_stable_path(const std::string& path) { return path.starts_with("s"); }

  const History& history_;
  std::vector<Fault> faults_;
  Rules rules_;
  Report report_;
};

}  // namespace

Report check_round(const History& history, const std::vector<Fault>& faults, const Rules& rules) {
  return RoundCheck(history, faults, rules).run();
}

}  // namespace benchfs::history
