#include "history/contents.h"

#include <algorithm>
#include <set>

namespace benchfs::history {
namespace {

bool cuts(const Operation& operation) {
  return operation.kind == Kind::kFileTruncate || operation.kind == Kind::kTruncate ||
         operation.kind == Kind::kOpen;
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
  for (auto [append, at] : reserved) {
    hash = mix64(hash ^ append) + static_cast<std::uint64_t>(at);
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

void Contents::add_write(const std::vector<Operation>& operations, const Operation& operation) {
  std::int64_t begin = operation.begin;
  bool required = operation.succeeded();
  std::int64_t end = required ? operation.end : kNever;
  // Cells that were read before the write was answered.
  std::set<std::size_t> seen;
  for (const Operation& read : operations) {
    for (auto [sample, tag] : read.tags) {
      bool is_early = tag == operation.id && read.begin < end && read.end > begin;
      if (is_early && sample % kSamplesOfBlock == which_) {
        seen.insert(sample / kSamplesOfBlock);
      }
    }
  }
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
  if (required) {
    std::int64_t at = operation.size - operation.length;
    steps.push_back({begin, end, true, Part::kReserve, at, operation.length, 0, 0});
    steps.push_back({begin, end, true, Part::kWrite, at, operation.length, operation.id, 0});
    // A truncation that comes between the range and its bytes makes the append begin anew.
    bool is_cut = std::ranges::any_of(operations, [&](const Operation& other) {
      return cuts(other) && other.begin <= operation.end &&
             (!other.succeeded() || other.end >= operation.begin);
    });
    if (is_cut) {
      steps.push_back({begin, kNever, false, Part::kReserve, -1, operation.length, 0, 0});
    }
    return;
  }
  steps.push_back({begin, kNever, false, Part::kReserve, -1, operation.length, 0, index + 1});
  steps.push_back(
      {begin, kNever, false, Part::kReservedWrite, 0, operation.length, operation.id, index + 1});
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
      state.size = step.length;
      return Effect::kChanged;
    case Part::kReserve:
      if (step.at >= 0 && step.at != state.size) {
        return Effect::kRefused;
      }
      if (step.append != 0) {
        state.reserved.emplace_back(step.append, state.size);
      }
      state.size += step.length;
      return Effect::kChanged;
    case Part::kReservedWrite: {
      auto found = std::ranges::find(
          state.reserved, step.append, &std::pair<std::size_t, std::int64_t>::first);
      if (found == state.reserved.end()) {
        return Effect::kRefused;
      }
      std::int64_t at = found->second;
      state.reserved.erase(found);
      write(state, at, step.length, step.tag);
      return Effect::kChanged;
    }
    case Part::kSize:
      return state.size >= step.at && state.size <= step.length ? Effect::kSeen : Effect::kRefused;
    case Part::kTag:
      return state.tags[static_cast<std::size_t>(step.at)] == step.tag ? Effect::kSeen
                                                                       : Effect::kRefused;
  }
  return Effect::kRefused;
}

}  // namespace benchfs::history
