// The names below the directory of one round as a sequential object: a map of names to inodes and
// directories. A path of two components is looked up in two steps, as by any file system: a
// directory that is renamed in between is used under its new name.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "history/operation.h"
#include "history/search.h"

namespace benchfs::history {

class Names {
 public:
  // An entry holds nothing, an inode, a directory, or a file whose inode nobody was told.
  using Entry = std::int16_t;

  struct State {
    // entries[directory][name]; directory 0 is that of the round.
    std::vector<std::vector<Entry>> entries;
    std::vector<bool> is_directory_alive;
    std::vector<bool> was_created;  // by inode
    // Directories that a path was found to lead through, by the operation that uses them; empty
    // when it has.
    std::map<std::size_t, std::vector<std::int16_t>> resolved;
    // The old entry of each directory rename, by operation: clients may use the old name until the
    // rename is answered.
    std::map<std::size_t, std::int16_t> renamed;

    [[nodiscard]] std::uint64_t hash() const;
  };

  struct Step {
    std::int64_t begin;
    std::int64_t end;
    bool required;
    std::size_t operation;
    // -1: the operation itself; else: looks up the directory of its path (0) or target (1).
    int resolves;
    // It resolves to what this rename moved away; kCurrent: to what has the name now.
    std::size_t before_rename;
    // For kList: the one entry that this step looks at.
    std::size_t entry;
  };

  explicit Names(std::vector<Operation> operations);
  Effect apply(State& state, std::size_t step) const;

  std::vector<Step> steps;
  State initial;

 private:
  static constexpr std::size_t kCurrent = ~std::size_t{0};
  static constexpr Entry kNothing = 0;
  static constexpr std::int16_t kNoDirectory = -1;
  static constexpr std::int16_t kUnresolved = -2;

  // A path of an operation, looked up once.
  struct Place {
    std::size_t directory = 0;  // its name; unused at the top
    std::size_t name = 0;
    bool is_at_top = true;
    // Somebody may change what the directory's name stands for during the operation, so that the
    // lookup is a separate step.
    bool is_contested = false;
  };

  void add_steps(std::size_t operation);
  [[nodiscard]] Place place(const std::string& path, std::size_t operation) const;
  [[nodiscard]] bool is_contested(const std::string& directory, std::size_t operation) const;
  std::size_t name_index(const std::string& name);
  Entry inode_index(std::uint64_t inode);

  [[nodiscard]] std::int16_t directory_of(const State& state,
                                          const Step& step,
                                          std::size_t which) const;
  [[nodiscard]] std::int16_t look_up(const State& state, const Place& place) const;
  [[nodiscard]] Effect resolve(State& state, const Step& step) const;
  [[nodiscard]] Effect find(State& state, Entry& entry, std::size_t operation) const;
  [[nodiscard]] Effect open(State& state, Entry& entry, std::size_t operation) const;
  [[nodiscard]] Effect remove(const State& state, Entry& entry, const Operation& operation) const;
  [[nodiscard]] Effect rename(State& state, Entry& from, Entry& to, std::size_t operation) const;
  [[nodiscard]] Effect make_directory(State& state, Entry& entry, std::size_t operation) const;
  [[nodiscard]] Effect remove_directory(State& state,
                                        Entry& entry,
                                        const Operation& operation) const;
  [[nodiscard]] Effect list(State& state, std::int16_t directory, const Step& step) const;

  std::vector<Operation> operations_;
  std::vector<std::array<Place, 2>> places_;  // of path and target, by operation
  std::map<std::string, std::size_t> names_;
  std::map<std::uint64_t, Entry> inodes_;
  std::vector<std::int16_t> directory_of_operation_;  // what a mkdir makes
};

}  // namespace benchfs::history
