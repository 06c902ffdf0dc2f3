// The fixture of the tests of kinds of faults: daemons and clients as processes, each of which can
// be stopped, killed and cut off, and checks of the resources that the daemons hold.
#pragma once

#include <gtest/gtest.h>

#include <csignal>
#include <functional>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "support/client_process.h"
#include "system/daemon_fixture.h"

namespace benchfs::test {

class FaultFixture : public DaemonFixture {
 public:
  // The resources that all daemons together hold.
  struct Held {
    std::int64_t inodes = 0;
    std::int64_t open = 0;
    std::int64_t orphans = 0;
    std::int64_t used_bytes = 0;
    friend bool operator==(const Held&, const Held&) = default;
    friend void PrintTo(const Held& held, std::ostream* out);
  };

 protected:
  static constexpr std::int64_t kChunk = std::int64_t{64} << 10;

  // The reason why the tests of this suite do not run yet; nullptr if they run, as all do with
  // BENCHFS_FAULTS_ALL in the environment.
  static const char* off_because();

  // Over tcp alone, so that every connection can be cut; with "auto" through the node door; with
  // "nodes" each daemon has a node of its own, as far as node doors tell.
  explicit FaultFixture(const char* transport = "ucx");
  ~FaultFixture() override;

  // `arguments` go to each daemon, for example {"--set", "clients.grace_ms=100"}.
  void start_daemons(std::size_t count, std::vector<std::string> arguments = {});
  void start_daemon_again(std::size_t index);
  // Programs that are started from now on are on the node of this daemon.
  void stand_on_node(std::size_t index);
  [[nodiscard]] Process& daemon(std::size_t index) { return *daemons_[index]; }
  std::unique_ptr<ClientProcess> client(Nanos timeout = kPatience);
  // It looks at no validity words.
  std::unique_ptr<ClientProcess> client_over_network();
  void stop_daemon(std::size_t index);
  void let_daemon_go_on(std::size_t index) { daemon(index).signal(SIGCONT); }

  // Cuts all connections of a process. False: this user or kernel may not.
  bool cut_connections(pid_t process);

  // All -1 while a daemon does not answer.
  Held held();
  // True when `condition` holds in time.
  static bool wait_until(const std::function<bool()>& condition, Deadline deadline = patience());

  static std::ptrdiff_t threads_of(pid_t process);

  // Numbered names in a directory, whose inodes are spread over the daemons.
  static std::vector<std::string> names(const std::string& stem, int count);

 private:
  // A variable of the environment, until the end of the test.
  class Variable {
   public:
    Variable(const char* name, const char* value);
    Variable(const Variable&) = delete;
    Variable& operator=(const Variable&) = delete;
    ~Variable();

   private:
    const char* name_;
    std::optional<std::string> before_;
  };
  Variable tls_{"UCX_TLS", "self,tcp"};
  Variable transport_;
  std::optional<Variable> doors_;  // there, when each daemon has a node of its own
  std::vector<std::string> arguments_;
  std::vector<std::unique_ptr<Process>> daemons_;
};

}  // namespace benchfs::test
