// The doors of BenchFS for the model of tests/model, besides those that it has: programs under the
// preload library, the commands, and two doors at once.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "doors/call.h"
#include "system/process.h"

namespace benchfs::test {

// The result of calls that a door cannot make.
inline constexpr std::int64_t kNotHere = std::numeric_limits<std::int64_t>::max();

// An agent in a process of its own.
class AgentDoor final : public CallDoor {
 public:
  // `command` starts the agent.
  explicit AgentDoor(std::vector<std::string> command);
  AgentDoor(const AgentDoor&) = delete;
  AgentDoor& operator=(const AgentDoor&) = delete;
  ~AgentDoor() override;
  Outcome call(const Call& call) override;

 private:
  pid_t pid_ = 0;
  int to_ = -1;
  int from_ = -1;
};

// The commands of `benchfs`, one process a call; what they have no command for, and what a command
// does in a way of its own (mv into a directory), is not here.
class CommandDoor final : public CallDoor {
 public:
  // Runs `benchfs` with arguments.
  using Runner = std::function<Ended(std::vector<std::string>)>;
  CommandDoor(Runner run, std::string root) : run_(std::move(run)), root_(std::move(root)) {}
  Outcome call(const Call& call) override;

 private:
  Outcome change(const Call& call);
  Outcome look(const Call& call);
  Outcome attributes_of(const Call& call);
  Outcome entries_of(const std::string& path);
  Outcome run(std::vector<std::string> arguments);
  [[nodiscard]] std::string argument(const std::string& path) const {
    return "bfs:" + root_ + path;
  }

  Runner run_;
  std::string root_;
};

// Two doors to one file system: a call goes to one of them, as choose() says; a file stays with the
// door that opened it. What reads by path goes to both, which must say the same.
class PairDoor final : public CallDoor {
 public:
  // The doors are borrowed. Of the calls that read, the second door is asked one in `every`.
  PairDoor(Door& first, Door& second, int every = 1) : doors_{&first, &second}, every_(every) {}
  // Of a hundred calls, `share` go to the second door.
  void choose(std::uint64_t number, std::uint64_t share) { current_ = number % 100 < share; }
  Outcome call(const Call& call) override;
  // How many calls each door has made.
  [[nodiscard]] const std::array<int, 2>& counts() const { return counts_; }

 private:
  struct OpenFile {
    int door = -1;  // -1: free
    std::int64_t number = 0;
  };
  Outcome ask(std::size_t door, const Call& call);
  Outcome open_file(const Call& call);
  Outcome of_open_file(const Call& call);
  Outcome read_both(const Call& call);

  std::array<Door*, 2> doors_;
  int every_;
  int reads_ = 0;
  bool current_ = false;
  std::array<int, 2> counts_{};
  std::vector<OpenFile> files_;
};

}  // namespace benchfs::test
