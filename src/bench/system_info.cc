#include "bench/system_info.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

#include "net/context.h"

namespace benchfs::bench {
namespace {

std::string cpu_model() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

// The first word of a one-line file of /proc; empty when it cannot be read.
std::string first_word(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

// The time in nanoseconds for which the threads of a process ran.
std::optional<std::uint64_t> run_time_ns(pid_t pid) {
  std::string tasks = fmt::format("/proc/{}/task", pid);
  std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(tasks.c_str()), &closedir);
  if (directory == nullptr) {
    return std::nullopt;
  }
  std::uint64_t total = 0;
  while (const dirent* entry = readdir(directory.get())) {
    if (entry->d_name[0] == '.') {  // ".." has the first thread's
      continue;
    }
    std::string time = first_word(fmt::format("{}/{}/schedstat", tasks, entry->d_name));
    total += std::strtoull(time.c_str(), nullptr, 10);
  }
  return total;
}

}  // namespace

nlohmann::ordered_json describe_system() {
  utsname names{};
  uname(&names);
  const char* transport = std::getenv("BENCHFS_TRANSPORT");
  const char* ucx = std::getenv("UCX_TLS");
  nlohmann::ordered_json system;
  system["host"] = names.nodename;
  system["cores"] = sysconf(_SC_NPROCESSORS_ONLN);
  system["cpu"] = cpu_model();
  system["kernel"] = names.release;
  system["ucx_version"] = net::ucx_version();
  system["transports"] = fmt::format(
      "{} (UCX: {})", transport != nullptr ? transport : "auto", ucx != nullptr ? ucx : "all");
  system["version"] = BENCHFS_VERSION;
  system["commit"] = BENCHFS_COMMIT;
  system["build_type"] = BENCHFS_BUILD_TYPE;
  return system;
}

std::optional<double> resident_bytes(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/statm", pid));
  double pages = 0;
  if (!(file >> pages >> pages)) {
    return std::nullopt;
  }
  return pages * static_cast<double>(sysconf(_SC_PAGESIZE));
}

std::string command_line() {
  std::ifstream file("/proc/self/cmdline");
  std::string line;
  for (std::string word; std::getline(file, word, '\0');) {
    if (line.empty()) {
      line = word.substr(word.rfind('/') + 1);
      continue;
    }
    bool is_plain = word.find_first_of(" \t\n\"'\\$&|;<>()*?[]#~`!{}") == std::string::npos;
    line += is_plain && !word.empty() ? ' ' + word : fmt::format(" '{}'", word);
  }
  return line;
}

ServerProcesses::ServerProcesses(const std::vector<pid_t>& pids) {
  for (pid_t pid : pids) {
    if (!first_word(fmt::format("/proc/{}/comm", pid)).starts_with("benchfsd")) {
      complete_ = false;
    } else if (std::ranges::find(pids_, pid) == pids_.end()) {
      pids_.push_back(pid);
    }
  }
}

std::optional<double> ServerProcesses::cpu_s() const {
  if (!is_complete()) {
    return std::nullopt;
  }
  std::uint64_t total = 0;
  for (pid_t pid : pids_) {
    std::optional<std::uint64_t> time = run_time_ns(pid);
    if (!time) {
      return std::nullopt;
    }
    total += *time;
  }
  return static_cast<double>(total) * 1e-9;
}

}  // namespace benchfs::bench
