// Faults at random from a seed: processes stand still or die, connections are cut.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "history/checker.h"

namespace benchfs::history {

enum class FaultKind : std::uint8_t {
  kClientStops,
  kClientDies,
  kDaemonStops,
  kDaemonDies,
  kConnectionCut,
  kClientCutOff,  // it stands still, and all its connections are cut
};

// The processes of one cluster and its clients, as the faults see them.
struct Targets {
  std::function<pid_t(std::size_t)> client;
  std::function<pid_t(std::size_t)> daemon;
  std::size_t clients = 0;
  std::size_t daemons = 0;
  // They start another process in the place of the one that was killed.
  std::function<void(std::size_t)> replace_client;
  std::function<void(std::size_t)> replace_daemon;
};

class Faults {
 public:
  Faults(std::vector<FaultKind> kinds, Targets targets, std::uint64_t seed, std::string directory)
      : kinds_(std::move(kinds)),
        targets_(std::move(targets)),
        random_(seed),
        directory_(std::move(directory)) {}

  // Lets faults happen until `end`; returns with all processes running.
  std::vector<Fault> run(Deadline end);

 private:
  // Local and remote port of each TCP connection of a process.
  std::vector<std::pair<std::string, std::string>> connections_of(pid_t process);
  // Nothing happens where this user or kernel may not.
  void cut(const std::vector<std::pair<std::string, std::string>>& connections);
  void cut_off(std::size_t client);
  void stop(pid_t process, const std::string& name, Nanos span);
  void one_fault();
  Nanos pick_span();
  Fault& begin(std::string text);

  std::vector<FaultKind> kinds_;
  Targets targets_;
  Random random_;
  std::string directory_;
  std::vector<Fault> faults_;
};

}  // namespace benchfs::history
