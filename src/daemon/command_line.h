// The options that benchfsd and benchfsd_mpi share, and the configuration they make.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "daemon/daemon_config.h"

namespace benchfs::args {
class Command;
}

namespace benchfs::daemon {

class CommandLine {
 public:
  enum class Launch : std::uint8_t {
    kAlone,     // one daemon, which is told its node id
    kTogether,  // the launcher supplies the node id; directory and file may come without options
  };
  // Adds the options. `app` borrows this.
  void define(args::Command& app, Launch launch);

  // Defaults, then the file, then the options. Errors: those of DaemonConfig::load.
  Status load(DaemonConfig& config) const;

  [[nodiscard]] bool print_config() const { return print_config_; }
  [[nodiscard]] int ready_fd() const { return ready_fd_; }

 private:
  static constexpr std::size_t kShorthandCount = 8;
  [[nodiscard]] Result<std::vector<ConfigEntry>> overrides() const;

  std::string config_path_;
  std::array<std::optional<std::string>, kShorthandCount> values_;
  std::optional<std::string> listen_;
  std::vector<std::string> sets_;
  int ready_fd_ = -1;
  bool print_config_ = false;
};

// kConfig when there is no registry directory; otherwise directories are absolute from now on:
// daemons outlive the directory they were started in.
Status settle_directories(DaemonConfig& config);

}  // namespace benchfs::daemon
