// Linearizability of one object (Wing and Gong's search, with the memory of Lowe): is there an
// order of the steps that a sequential object explains, in which each step takes effect at one
// moment between its begin and its end?
//
// A step that must be in the order is required. Others may be left out: they are operations of
// which nobody knows whether they happened.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/hash.h"
#include "history/operation.h"

namespace benchfs::history {

enum class Effect : std::uint8_t {
  kRefused,  // this step cannot come next
  kSeen,     // it can, changes nothing, and loses nothing by coming now rather than later
  kChanged,  // it can, and the state is another one now
};

enum class Verdict : std::uint8_t { kLinearizable, kImpossible, kUndecided };

// A model has:
//   struct State, copyable, with std::uint64_t hash() const
//   struct Step with std::int64_t begin, end; bool required
//   Effect apply(State&, std::size_t step) const      the state is unspecified when refused
//   std::vector<Step> steps, ordered by begin
//   State initial
template <typename Model>
class Search {
 public:
  // Gives up after looking at `budget` states.
  Search(const Model& model, std::size_t budget) : model_(model), budget_(budget) {
    for (std::size_t i = 0; i < model.steps.size(); ++i) {
      if (model.steps[i].required) {
        by_end_.push_back(i);
      }
    }
    std::ranges::sort(by_end_, {}, [&](std::size_t i) { return model.steps[i].end; });
  }

  Verdict run() {
    Node root{model_.initial, std::vector<bool>(model_.steps.size()), 0, 0, 0, {}, 0};
    if (enter(std::move(root))) {
      return Verdict::kLinearizable;
    }
    while (!stack_.empty()) {
      Node& top = stack_.back();
      if (top.next == top.choices.size()) {
        stack_.pop_back();
        continue;
      }
      if (++looked_ > budget_) {
        return Verdict::kUndecided;
      }
      std::size_t step = top.choices[top.next++];
      typename Model::State state = top.state;
      if (model_.apply(state, step) == Effect::kRefused) {
        continue;
      }
      Node child{std::move(state), top.done, top.done_hash, top.first, top.first_end, {}, 0};
      take(child, step);
      if (enter(std::move(child))) {
        return Verdict::kLinearizable;
      }
    }
    return Verdict::kImpossible;
  }

 private:
  struct Node {
    typename Model::State state;
    std::vector<bool> done;
    std::uint64_t done_hash;
    std::size_t first;      // all steps before this one are done
    std::size_t first_end;  // the same in by_end_
    std::vector<std::size_t> choices;
    std::size_t next;
  };
  struct Key {
    std::uint64_t done;
    std::uint64_t state;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const { return key.done ^ mix64(key.state); }
  };

  static void take(Node& node, std::size_t step) {
    node.done[step] = true;
    node.done_hash ^= mix64(step + 1);
  }

  // Takes every observation that fits, then lists what else may come next. True: all is explained.
  bool enter(Node node) {
    for (bool again = true; again;) {
      again = false;
      while (node.first < node.done.size() && node.done[node.first]) {
        ++node.first;
      }
      while (node.first_end < by_end_.size() && node.done[by_end_[node.first_end]]) {
        ++node.first_end;
      }
      if (node.first_end == by_end_.size()) {
        return true;
      }
      std::int64_t horizon = model_.steps[by_end_[node.first_end]].end;
      node.choices.clear();
      for (std::size_t i = node.first; i < model_.steps.size() && model_.steps[i].begin <= horizon;
           ++i) {
        if (node.done[i]) {
          continue;
        }
        typename Model::State state = node.state;
        Effect effect = model_.apply(state, i);
        if (effect == Effect::kSeen && model_.steps[i].required) {
          take(node, i);
          again = true;
        } else if (effect == Effect::kChanged) {
          node.choices.push_back(i);
        }
      }
    }
    // The right choice is usually the operation that ended first; operations that may be left out
    // come last.
    std::ranges::sort(node.choices, {}, [&](std::size_t i) { return model_.steps[i].end; });
    if (known_.insert({node.done_hash, node.state.hash()}).second) {
      stack_.push_back(std::move(node));
    }
    return false;
  }

  const Model& model_;
  std::size_t budget_;
  std::size_t looked_ = 0;
  std::vector<std::size_t> by_end_;
  std::vector<Node> stack_;
  std::unordered_set<Key, KeyHash> known_;
};

template <typename Model>
Verdict search(const Model& model, std::size_t budget) {
  return Search<Model>(model, budget).run();
}

}  // namespace benchfs::history
