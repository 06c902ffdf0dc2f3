#include "history/contents.h"

#include <algorithm>
#include <set>

namespace benchfs::history {
namespace {

bool cuts(const Operation& operation) {
  return operation.kind == Kind::kFileTruncate || operation.kind == Kind::kTruncate ||
         operation.kind == Kind::kOpen;
}

// Of a range, by chunk.
std::int64_t parts_of(std::int64_t at, std::int64_t length) {
  return (at + length - 1) / kChunk - at / kChunk + 1;
}

bool is_written(const Contents::State& state, const Contents::Step& step) {
  return std::ranges::find(state.written, step.write) != state.written.end();
}

}  // namespace

std::uint64_t Contents::State::hash() const {
  std::uint64_t hash = mix64(static_cast<std::uint64_t>(size));
  for (std::uint32_t tag : tags) {
    hash = mix64(hash ^ tag) + 1;
  }
  for (const Reserved& range : reserved) {
    hash = mix64(hash ^ range.append) + static_cast<std::uint64_t>(range.at);
    hash = mix64(hash ^ range.written) + static_cast<std::uint64_t>(range.end);
  }
  for (std::size_t write : written) {
    hash ^= mix64(~write);
  }
  return hash;
}

Contents::Contents(const std::vector<Operation>& operations,
                   std::uint32_t which,
                   std::int64_t grace)
    : which_(which), grace_(grace) {
  for (std::size_t i = 0; i < operations.size(); ++i) {
    add_steps(operations, i);
  }
  std::ranges::sort(steps, {}, &Step::begin);
}

std::int64_t Contents::position(std::size_t sample) const {
  return sample_offset(static_cast<std::uint32_t>(sample) * kSamplesOfBlock + which_);
}

void Contents::add_steps(const std::vector<Operation>& operations, std::size_t index) {
  const Operation& operation = operations[index];
  bool required = operation.succeeded();
  std::int64_t end = required ? operation.end : kNever;
  if (cuts(operation)) {
    std::int64_t size = operation.kind == Kind::kOpen ? 0 : operation.length;
    steps.push_back({operation.begin, end, required, Part::kTruncate, 0, size, 0, 0});
  } else if (operation.kind == Kind::kWrite) {
    add_write(operations, operation);
  } else if (operation.kind == Kind::kAppend) {
    add_append(operations, index);
  } else if (required) {
    add_read(operation);
  }
}

std::set<std::size_t> Contents::seen_early(const std::vector<Operation>& operations,
                                           const Operation& operation) const {
  std::int64_t end = operation.succeeded() ? operation.end : kNever;
  std::set<std::size_t> seen;
  for (const Operation& read : operations) {
    for (auto [sample, tag] : read.tags) {
      bool is_early = tag == operation.id && read.begin < end && read.end > operation.begin;
      if (is_early && sample % kSamplesOfBlock == which_) {
        seen.insert(sample / kSamplesOfBlock);
      }
    }
  }
  return seen;
}

void Contents::add_write(const std::vector<Operation>& operations, const Operation& operation) {
  std::int64_t begin = operation.begin;
  bool required = operation.succeeded();
  std::int64_t end = required ? operation.end : kNever;
  std::set<std::size_t> seen = seen_early(operations, operation);
  bool may_be_forgotten = operation.has_ended() && operation.end - begin > grace_;
  for (std::int64_t at = operation.offset; at < operation.offset + operation.length;) {
    std::int64_t next = std::min((at / kChunk + 1) * kChunk, operation.offset + operation.length);
    std::size_t write = 0;
    auto of_write = [&](Part part, std::int64_t where) {
      write = write == 0 ? ++writes_ : write;
      steps.push_back({begin, kNever, false, part, where, next - at, operation.id, 0, write});
    };
    for (std::size_t sample : seen) {
      if (position(sample) >= at && position(sample) < next) {
        of_write(Part::kTagBefore, static_cast<std::int64_t>(sample));
      }
    }
    if (may_be_forgotten) {
      of_write(Part::kWriteBefore, at);
    }
    steps.push_back({begin, end, required, Part::kWrite, at, next - at, operation.id, 0, write});
    at = next;
  }
}

void Contents::add_append(const std::vector<Operation>& operations, std::size_t index) {
  const Operation& operation = operations[index];
  bool required = operation.succeeded();
  std::int64_t begin = operation.begin;
  std::int64_t end = required ? operation.end : kNever;
  std::int64_t at = required ? operation.size - operation.length : -1;
  auto add = [&](Part part, std::int64_t where) {
    bool is_needed = required && part != Part::kAppendedBefore;
    std::int64_t until = is_needed ? end : kNever;
    steps.push_back(
        {begin, until, is_needed, part, where, operation.length, operation.id, index + 1});
  };
  add(Part::kReserve, at);
  // Where the range begins in its first chunk is not known of all: it may reach into one more.
  std::int64_t parts =
      required ? parts_of(at, operation.length) : parts_of(kChunk - 1, operation.length);
  for (std::int64_t part = 0; part < parts; ++part) {
    add(Part::kAppended, part);
  }
  for (std::size_t sample : seen_early(operations, operation)) {
    add(Part::kAppendedBefore, static_cast<std::int64_t>(sample));
  }
}

void Contents::add_read(const Operation& operation) {
  auto size_between = [&](std::int64_t least, std::int64_t most) {
    steps.push_back({operation.begin, operation.end, true, Part::kSize, least, most, 0, 0});
  };
  if (operation.kind == Kind::kFileStat || operation.kind == Kind::kStat) {
    if (operation.size >= 0) {
      size_between(operation.size, operation.size);
    }
    return;
  }
  if (operation.kind != Kind::kRead) {
    return;
  }
  std::int64_t end = operation.offset + operation.result;
  if (operation.result == operation.length) {
    size_between(end, kNever);
  } else if (operation.result > 0) {
    size_between(end, end);
  } else {
    size_between(0, operation.offset);
  }
  for (auto [sample, tag] : operation.tags) {
    if (sample % kSamplesOfBlock == which_) {
      steps.push_back(
          {operation.begin, operation.end, true, Part::kTag, sample / kSamplesOfBlock, 0, tag, 0});
    }
  }
}

void Contents::write(State& state, std::int64_t at, std::int64_t length, std::uint32_t tag) const {
  for (std::size_t i = 0; i < state.tags.size(); ++i) {
    if (position(i) >= at && position(i) < at + length) {
      state.tags[i] = tag;
    }
  }
  state.size = std::max(state.size, at + length);
}

Effect Contents::apply_appended(State& state, const Step& step) const {
  auto range = std::ranges::find(state.reserved, step.append, &State::Reserved::append);
  if (range == state.reserved.end()) {
    return Effect::kRefused;
  }
  std::int64_t parts = parts_of(range->at, step.length);
  if (step.at >= parts) {
    return Effect::kRefused;
  }
  std::int64_t from = std::max(range->at, (range->at / kChunk + step.at) * kChunk);
  std::int64_t end = std::min(range->end, (range->at / kChunk + step.at + 1) * kChunk);
  if (from < end) {
    write(state, from, end - from, step.tag);
  }
  range->written |= 1U << static_cast<std::uint32_t>(step.at);
  if (range->written + 1 == 1U << static_cast<std::uint32_t>(parts)) {
    state.reserved.erase(range);
  }
  return Effect::kChanged;
}

Effect Contents::apply_appended_before(State& state, const Step& step) const {
  auto range = std::ranges::find(state.reserved, step.append, &State::Reserved::append);
  auto sample = static_cast<std::size_t>(step.at);
  if (range == state.reserved.end() || position(sample) < range->at ||
      position(sample) >= range->end || state.tags[sample] == step.tag) {
    return Effect::kRefused;
  }
  std::int64_t part = position(sample) / kChunk - range->at / kChunk;
  if ((range->written >> static_cast<std::uint32_t>(part) & 1U) != 0) {
    return Effect::kRefused;
  }
  state.tags[sample] = step.tag;
  return Effect::kChanged;
}

Effect Contents::apply(State& state, std::size_t index) const {
  const Step& step = steps[index];
  switch (step.part) {
    case Part::kWrite:
      if (step.write != 0) {
        state.written.push_back(step.write);
      }
      write(state, step.at, step.length, step.tag);
      return Effect::kChanged;
    case Part::kWriteBefore:
      if (is_written(state, step)) {
        return Effect::kRefused;
      }
      write(state, step.at, step.length, step.tag);
      return Effect::kChanged;
    case Part::kTagBefore: {
      auto sample = static_cast<std::size_t>(step.at);
      if (position(sample) >= state.size || state.tags[sample] == step.tag ||
          is_written(state, step)) {
        return Effect::kRefused;
      }
      state.tags[sample] = step.tag;
      return Effect::kChanged;
    }
    case Part::kTruncate:
      for (std::size_t i = 0; i < state.tags.size(); ++i) {
        if (position(i) >= step.length) {
          state.tags[i] = kHole;
        }
      }
      for (State::Reserved& range : state.reserved) {
        range.end = std::min(range.end, step.length);
      }
      state.size = step.length;
      return Effect::kChanged;
    case Part::kReserve:
      if (step.at >= 0 && step.at != state.size) {
        return Effect::kRefused;
      }
      state.reserved.push_back({step.append, state.size, state.size + step.length, 0});
      state.size += step.length;
      return Effect::kChanged;
    case Part::kAppended:
      return apply_appended(state, step);
    case Part::kAppendedBefore:
      return apply_appended_before(state, step);
    case Part::kSize:
      return state.size >= step.at && state.size <= step.length ? Effect::kSeen : Effect::kRefused;
    case Part::kTag:
      return state.tags[static_cast<std::size_t>(step.at)] == step.tag ? Effect::kSeen
                                                                       : Effect::kRefused;
  }
  return Effect::kRefused;
}

}  // namespace benchfs::history
