#include "system/daemon_fixture.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <filesystem>

#include "base/process_record.h"

namespace benchfs::test {

namespace fs = std::filesystem;

DaemonFixture::DaemonFixture() {
  // Daemons that `benchfs up` left behind become children of the test, which takes their zombies.
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

DaemonFixture::~DaemonFixture() {
  std::error_code ignored;
  for (fs::directory_iterator it(registry() + "/pid", ignored), end; it != end;
       it.increment(ignored)) {
    Result<ProcessRecord> process = parse_process_line(read_file(it->path()), it->path().native());
    if (process && is_running(*process)) {
      ::kill(process->pid, SIGKILL);
      wait_for_end(process->pid, patience());
    }
  }
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

Ended DaemonFixture::benchfs(std::vector<std::string> arguments) {
  std::vector<std::string> all = {BENCHFS_PROGRAM, "--registry-dir", registry()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return Process(all, dir_.path()).wait(patience());
}

Process DaemonFixture::start_daemon(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), BENCHFSD_PROGRAM);
  return {std::move(arguments), dir_.path()};
}

Ended DaemonFixture::benchfsd(std::vector<std::string> arguments) {
  return start_daemon(std::move(arguments)).wait(patience());
}

Process DaemonFixture::start_node(const std::string& node_id,
                                  int servers,
                                  std::vector<std::string> arguments) {
  std::vector<std::string> all = {"--node-id",
                                  node_id,
                                  "--registry-dir",
                                  registry(),
                                  "--expected-servers",
                                  fmt::to_string(servers),
                                  "--listen",
                                  "127.0.0.1",
                                  "--set",
                                  "network.devices=lo",
                                  "--engine",
                                  "memory"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return start_daemon(std::move(all));
}

}  // namespace benchfs::test
