#include "cli/cluster/registry_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <iterator>
#include <sstream>
#include <string_view>
#include <utility>

#include "base/pid_file.h"
#include "cli/cluster/launch_record.h"
#include "cluster/secret.h"
#include "cluster/server_list.h"

namespace benchfs::cli {
namespace {

constexpr std::ptrdiff_t kTailLines = 8;
constexpr std::size_t kTailLineBytes = 300;
constexpr std::size_t kTailBytes = 16384;

// kUndecided: it is empty or could be anybody's, so it says nothing about the directory.
enum class Origin : std::uint8_t { kOurs, kUndecided, kForeign };
using Judge = Origin (*)(const SafeDir&, const std::string&);

// kForeign unless it is a regular file of this user's that only this user may write.
Origin judge_file(const SafeDir& dir, const std::string& name, bool is_ours) {
  Result<Fd> file = dir.open_file(name, O_RDONLY);
  struct stat info{};
  if (!file || ::fstat(file->get(), &info) != 0) {
    return Origin::kForeign;
  }
  return is_ours ? Origin::kOurs : info.st_size == 0 ? Origin::kUndecided : Origin::kForeign;
}

Origin judge_list(const SafeDir& dir, const std::string& name) {
  std::string header = cluster::format_server_list_header(0, 0);
  header.resize(header.find('\n') + 1);
  Result<std::string> text = dir.read_file(name, cluster::kMaxServerListBytes);
  return judge_file(dir, name, text && text->starts_with(header));
}

Origin judge_pid_file(const SafeDir& dir, const std::string& name) {
  return judge_file(dir, name, PidFile::read(dir, name).has_value());
}

// Any 32 bytes look like a secret, so it does not prove that the directory is ours.
Origin judge_secret(const SafeDir& dir, const std::string&) {
  return cluster::Secret::read(dir.path()) ? Origin::kUndecided : Origin::kForeign;
}

Origin judge_launch(const SafeDir& dir, const std::string& name) {
  return read_launch_record(dir) ? Origin::kUndecided : judge_file(dir, name, false);
}

// "node_12.log" or "node_12.log.old": a log outlives the other files, so only its name is checked.
Origin judge_log(const SafeDir&, const std::string& name) {
  std::string_view rest = name;
  constexpr std::string_view kBegin = "node_";
  bool is_ours = rest.starts_with(kBegin);
  rest.remove_prefix(std::min(kBegin.size(), rest.size()));
  std::size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  rest.remove_prefix(digits);
  is_ours = is_ours && digits > 0 && (rest == ".log" || rest == ".log.old");
  return is_ours ? Origin::kUndecided : Origin::kForeign;
}

class Inventory {
 public:
  explicit Inventory(const SafeDir& dir) {
    look_at(dir, kServerListName, judge_list);
    look_into(dir, kCopiesName, judge_list);
    look_into(dir, kPidName, judge_pid_file);
    look_at(dir, kSecretName, judge_secret);
    look_at(dir, kLaunchName, judge_launch);
    look_into(dir, kLogName, judge_log);
    constexpr std::string_view kNames[] = {
        kServerListName, kCopiesName, kPidName, kSecretName, kLaunchName, kLogName};
    for (const std::string& name : dir.names()) {
      if (std::ranges::find(kNames, name) == std::end(kNames) && !name.starts_with('.')) {
        other_ = dir.path_of(name);
      }
    }
    Result<SafeDir> logs = dir.subdirectory(kLogName);
    has_logs_ = logs && !logs->names().empty();
  }
  [[nodiscard]] bool is_ours() const { return is_ours_; }
  // Returns a file that has one of our names, or is in a directory with one, but is not from
  // BenchFS; empty if there is none.
  [[nodiscard]] const std::string& foreign() const { return foreign_; }
  // Returns a file with another name, unless the directory is known to be ours; logs count as ours,
  // too.
  [[nodiscard]] std::string stray() const { return is_ours_ || has_logs_ ? std::string() : other_; }

 private:
  void look_at(const SafeDir& dir, const std::string& name, Judge judge) {
    if (!dir.exists(name)) {
      return;
    }
    Origin origin = judge(dir, name);
    is_ours_ = is_ours_ || origin == Origin::kOurs;
    if (origin == Origin::kForeign && foreign_.empty()) {
      foreign_ = dir.path_of(name);
    }
  }
  void look_into(const SafeDir& dir, const std::string& name, Judge judge) {
    Result<SafeDir> inner = dir.subdirectory(name);
    if (!inner) {
      if (dir.exists(name) && foreign_.empty()) {
        foreign_ = dir.path_of(name);
      }
      return;
    }
    for (const std::string& file : inner->names()) {
      look_at(*inner, file, judge);
    }
  }

  bool is_ours_ = false;
  bool has_logs_ = false;
  std::string foreign_;
  std::string other_;
};

std::unexpected<Error> no_registry(const SafeDir& dir, const std::string& because) {
  return fail(Errc::kConfig,
              fmt::format("{} is not a registry directory of BenchFS: {} was not written by it; "
                          "nothing was changed; choose a new or empty directory",
                          dir.path(),
                          because));
}

// Leaves foreign files alone.
void remove_file(const SafeDir& dir, const std::string& name, Judge judge) {
  if (dir.exists(name) && judge(dir, name) != Origin::kForeign) {
    dir.remove_file(name);
  }
}

void remove_files(const SafeDir& dir, const std::string& name, Judge judge) {
  Result<SafeDir> inner = dir.subdirectory(name);
  if (!inner) {
    return;
  }
  for (const std::string& file : inner->names()) {
    remove_file(*inner, file, judge);
  }
  dir.remove_subdirectory(name);  // if it is empty
}

// The shard "node_0.1" may be one of the daemon "node_0", or the only one of a daemon of that name.
std::vector<std::string> nodes_of_list(const SafeDir& dir) {
  std::vector<std::string> nodes;
  Result<std::string> text = dir.read_file(kServerListName, cluster::kMaxServerListBytes);
  if (!text) {
    return nodes;
  }
  for (const cluster::Server& server : cluster::parse_server_list(*text).list.servers) {
    nodes.push_back(server.node_id);
    nodes.push_back(server.node_id.substr(0, server.node_id.rfind('.')));
  }
  return nodes;
}

}  // namespace

Status check_registry(const SafeDir& dir) {
  Inventory found(dir);
  if (!found.is_ours() && !found.foreign().empty()) {
    return no_registry(dir, found.foreign());
  }
  return {};
}

Status check_new_registry(const SafeDir& dir) {
  BENCHFS_TRY_VOID(check_registry(dir));
  std::string stray = Inventory(dir).stray();
  if (!stray.empty()) {
    return no_registry(dir, stray);
  }
  return {};
}

std::vector<DaemonInfo> clean_registry(const SafeDir& dir) {
  std::vector<DaemonInfo> left = find_daemons(dir);
  remove_file(dir, kServerListName, judge_list);
  remove_file(dir, kSecretName, judge_secret);
  remove_file(dir, kLaunchName, judge_launch);
  remove_files(dir, kCopiesName, judge_list);
  remove_files(dir, kPidName, judge_pid_file);
  return left;
}

std::vector<DaemonInfo> clean_cluster(const SafeDir& dir, std::span<const std::string> more) {
  std::vector<std::string> nodes = nodes_of_list(dir);
  nodes.insert(nodes.end(), more.begin(), more.end());
  std::vector<DaemonInfo> left = clean_registry(dir);
  Result<SafeDir> logs = dir.subdirectory(kLogName);
  if (!logs) {
    return left;
  }
  for (const std::string& node_id : nodes) {
    if (std::ranges::find(left, node_id, &DaemonInfo::node_id) == left.end()) {
      logs->remove_file(node_id + ".log");
    }
  }
  dir.remove_subdirectory(kLogName);  // if it is empty
  return left;
}

// --- Logs ----------------------------------------------------------------------------------------

std::string log_path(const std::string& dir, const std::string& node_id) {
  return fmt::format("{}/log/{}.log", dir, node_id);
}

Result<Fd> begin_log(const SafeDir& dir, const std::string& node_id) {
  BENCHFS_TRY(SafeDir logs, dir.create_subdirectory(kLogName, 0700));
  std::string name = node_id + ".log";
  std::string old = name + ".old";
  if (::renameat(logs.fd(), name.c_str(), logs.fd(), old.c_str()) != 0 && errno != ENOENT) {
    return fail_system(errno, fmt::format("renaming {} to {}", logs.path_of(name), old));
  }
  return logs.open_file(name, O_WRONLY | O_CREAT | O_APPEND, 0644);
}

std::string log_tail(const SafeDir& dir, const std::string& node_id) {
  Result<SafeDir> logs = dir.subdirectory(kLogName);
  Result<Fd> log = logs ? logs->open_file(node_id + ".log", O_RDONLY)
                        : Result<Fd>(std::unexpected(std::move(logs.error())));
  if (!log) {
    return {};
  }
  std::array<char, kTailBytes> end{};
  off_t size = ::lseek(log->get(), 0, SEEK_END);
  off_t from = std::max<off_t>(0, size - static_cast<off_t>(end.size()));
  ssize_t got = ::pread(log->get(), end.data(), end.size(), from);
  std::istringstream text(
      std::string(end.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    line.resize(std::min(line.size(), kTailLineBytes));
    lines.push_back(std::move(line));
  }
  if (lines.size() > kTailLines) {
    lines.erase(lines.begin(), lines.end() - kTailLines);
  }
  std::string out;
  for (const std::string& line : lines) {
    out += fmt::format("  {}\n", line);
  }
  return out;
}

std::string describe_log(const SafeDir& dir, const std::string& node_id) {
  Result<SafeDir> logs = dir.subdirectory(kLogName);
  if (!logs || !logs->exists(node_id + ".log")) {
    return fmt::format("it has no log in {}/log", dir.path());
  }
  std::string path = log_path(dir.path(), node_id);
  std::string tail = log_tail(dir, node_id);
  if (tail.empty()) {
    return fmt::format("its log {} is empty", path);
  }
  tail.pop_back();  // the newline
  return fmt::format("its log is kept: {}\n{}", path, tail);
}

}  // namespace benchfs::cli
