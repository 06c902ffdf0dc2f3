// Tests with daemons and commands as processes: a directory of their own, the programs, and an end
// without leftovers. Knows nothing of the inside of either.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/spawn.h"
#include "support/temp_dir.h"
#include "system/process.h"

namespace benchfs::test {

// No operation of these tests takes longer unless something is wrong.
inline constexpr Nanos kPatience = std::chrono::seconds(30);
inline Deadline patience() {
  return Deadline::after(kPatience);
}

class DaemonFixture : public testing::Test {
 protected:
  DaemonFixture();
  // Kills the daemons that are still known to the registry.
  ~DaemonFixture() override;

  [[nodiscard]] std::string path(const std::string& name) const { return dir_.path() + "/" + name; }
  [[nodiscard]] std::string registry() const { return path("registry"); }

  // benchfs --registry-dir registry() ARGUMENTS…, to its end.
  Ended benchfs(std::vector<std::string> arguments);
  // benchfsd ARGUMENTS…
  Process start_daemon(std::vector<std::string> arguments);
  Ended benchfsd(std::vector<std::string> arguments);
  // One daemon of a cluster of `servers`, listening on loopback, memory engine.
  Process start_node(const std::string& node_id,
                     int servers,
                     std::vector<std::string> arguments = {});

 private:
  TempDir dir_;
  DeathGuard guard_{dir_.path()};
};

}  // namespace benchfs::test
