#include <fmt/format.h>

#include <algorithm>

#include "doors/doors.h"

namespace benchfs::test {

Outcome PairDoor::ask(std::size_t door, const Call& call) {
  Outcome outcome = apply(*doors_[door], call);
  counts_[door] += outcome.result != kNotHere;
  return outcome;
}

Outcome PairDoor::call(const Call& call) {
  if (call.operation == Operation::kOpen) {
    return open_file(call);
  }
  if (call.is_of_open_file()) {
    return of_open_file(call);
  }
  if (call.reads_by_path()) {
    Outcome outcome = read_both(call);
    if (call.operation == Operation::kLstat && outcome.result == 0) {
      Call exact = call;
      exact.operation = Operation::kExact;
      Outcome exactly = read_both(exact);
      return exactly.result == 0 ? outcome : exactly;
    }
    return outcome;
  }
  Outcome outcome = ask(current_, call);
  return outcome.result == kNotHere ? ask(!current_, call) : outcome;
}

Outcome PairDoor::open_file(const Call& call) {
  std::size_t door = current_;
  Outcome outcome = ask(door, call);
  if (outcome.result == kNotHere) {
    door = !current_;
    outcome = ask(door, call);
  }
  if (outcome.result < 0) {
    return outcome;
  }
  auto free = std::ranges::find(files_, -1, &OpenFile::door);
  auto number = free - files_.begin();
  if (free == files_.end()) {
    free = files_.insert(free, OpenFile{});
  }
  *free = {static_cast<int>(door), outcome.result};
  return {number, {}};
}

Outcome PairDoor::of_open_file(const Call& call) {
  OpenFile& file = files_[static_cast<std::size_t>(call.numbers[0])];
  Call its = call;
  its.numbers[0] = file.number;
  Outcome outcome = ask(static_cast<std::size_t>(file.door), its);
  if (call.operation == Operation::kClose) {
    file.door = -1;
  }
  return outcome;
}

Outcome PairDoor::read_both(const Call& call) {
  bool both = ++reads_ % every_ == 0;
  Outcome first = ask(0, call);
  Outcome second = both || first.result == kNotHere ? ask(1, call) : Outcome{kNotHere, {}};
  if (first.result == kNotHere) {
    return second;
  }
  if (second.result == kNotHere || first == second) {
    return first;
  }
  return {
      std::numeric_limits<std::int64_t>::min(),
      fmt::format("the first door says {}, the second {}", to_string(first), to_string(second))};
}

}  // namespace benchfs::test
