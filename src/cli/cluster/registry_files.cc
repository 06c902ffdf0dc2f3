#include "cli/cluster/registry_files.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <system_error>
#include <utility>

#include "cluster/secret.h"
#include "cluster/server_list.h"

namespace benchfs::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTailLines = 8;
constexpr std::size_t kTailLineBytes = 300;

// kUndecided: made by somebody who had not written it yet; says nothing about the directory.
enum class Origin : std::uint8_t { kOurs, kUndecided, kForeign };
using Judge = Origin (*)(const fs::path&);

std::string read_text(const fs::path& path, std::size_t at_most) {
  std::string text(at_most, '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  return text;
}

Origin judge_file(const fs::path& path, bool is_ours) {
  std::error_code error;
  if (!fs::is_regular_file(fs::symlink_status(path, error))) {
    return Origin::kForeign;
  }
  if (is_ours) {
    return Origin::kOurs;
  }
  return fs::file_size(path, error) == 0 && !error ? Origin::kUndecided : Origin::kForeign;
}

Origin judge_list(const fs::path& path) {
  std::string header = cluster::format_server_list_header(0, 0);
  header.resize(header.find('\n') + 1);
  return judge_file(path, read_text(path, header.size()) == header);
}

Origin judge_pid_file(const fs::path& path) {
  return judge_file(path, PidFile::read(path.native()).has_value());
}

// Any 32 random bytes would do: no sign of BenchFS.
Origin judge_secret(const fs::path& path) {
  return cluster::Secret::read(path.parent_path()) ? Origin::kUndecided : Origin::kForeign;
}

// "node_12.log" or "node_12.log.old": a log outlives the other files, so its name must do.
Origin judge_log(const fs::path& path) {
  std::string name = path.filename().native();
  std::string_view rest = name;
  constexpr std::string_view kBegin = "node_";
  bool is_ours = rest.starts_with(kBegin);
  rest.remove_prefix(std::min(kBegin.size(), rest.size()));
  std::size_t digits = std::min(rest.find_first_not_of("0123456789"), rest.size());
  rest.remove_prefix(digits);
  is_ours = is_ours && digits > 0 && (rest == ".log" || rest == ".log.old");
  return is_ours ? Origin::kUndecided : Origin::kForeign;
}

std::vector<fs::path> files_in(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (fs::directory_iterator it(directory, ignored), end; it != end; it.increment(ignored)) {
    files.push_back(it->path());
  }
  return files;
}

class Inventory {
 public:
  explicit Inventory(const fs::path& dir) {
    look_at(dir / "server_list.txt", judge_list);
    look_into(dir / "server_list.d", judge_list);
    look_into(pid_directory(dir.native()), judge_pid_file);
    look_at(dir / "secret", judge_secret);
    look_into(dir / "log", judge_log);
    constexpr std::string_view kNames[] = {
        "server_list.txt", "server_list.d", "pid", "secret", "log"};
    for (const fs::path& path : files_in(dir)) {
      if (std::ranges::find(kNames, path.filename().native()) == std::end(kNames)) {
        other_ = path;
      }
    }
    has_logs_ = !files_in(dir / "log").empty();
  }
  [[nodiscard]] bool is_ours() const { return is_ours_; }
  // A file that has one of our names, or is in a directory with one, and is not of BenchFS; empty:
  // there is none.
  [[nodiscard]] const fs::path& foreign() const { return foreign_; }
  // A file with another name, where nothing says that the directory is ours; logs outlive the rest.
  [[nodiscard]] fs::path stray() const { return is_ours_ || has_logs_ ? fs::path() : other_; }

 private:
  void look_at(const fs::path& path, Judge judge) {
    std::error_code error;
    if (!fs::exists(fs::symlink_status(path, error))) {
      return;
    }
    Origin origin = judge(path);
    is_ours_ = is_ours_ || origin == Origin::kOurs;
    if (origin == Origin::kForeign && foreign_.empty()) {
      foreign_ = path;
    }
  }
  void look_into(const fs::path& directory, Judge judge) {
    std::error_code error;
    if (fs::exists(fs::symlink_status(directory, error)) && !fs::is_directory(directory, error) &&
        foreign_.empty()) {
      foreign_ = directory;
    }
    for (const fs::path& path : files_in(directory)) {
      look_at(path, judge);
    }
  }

  bool is_ours_ = false;
  bool has_logs_ = false;
  fs::path foreign_;
  fs::path other_;
};

std::unexpected<Error> no_registry(const std::string& dir, const fs::path& because) {
  return fail(Errc::kConfig,
              fmt::format("{} is no registry directory of BenchFS: {} is not from it; nothing was "
                          "touched; choose a new or empty directory",
                          dir,
                          because.native()));
}

// Leaves what is foreign.
void remove_files(const fs::path& directory, Judge judge) {
  std::error_code ignored;
  for (const fs::path& path : files_in(directory)) {
    if (judge(path) != Origin::kForeign) {
      fs::remove(path, ignored);
    }
  }
  fs::remove(directory, ignored);  // if it is empty
}

// The shard "node_0.1" may be one of the daemon "node_0", or the only one of a daemon of that name.
std::vector<std::string> nodes_of_list(const std::string& dir) {
  std::vector<std::string> nodes;
  std::string text = read_text(dir + "/server_list.txt", cluster::kMaxServerListBytes);
  for (const cluster::Server& server : cluster::parse_server_list(text).list.servers) {
    nodes.push_back(server.node_id);
    nodes.push_back(server.node_id.substr(0, server.node_id.rfind('.')));
  }
  return nodes;
}

}  // namespace

Status check_registry(const std::string& dir) {
  Inventory found{fs::path(dir)};
  if (!found.is_ours() && !found.foreign().empty()) {
    return no_registry(dir, found.foreign());
  }
  return {};
}

Status check_new_registry(const std::string& dir) {
  BENCHFS_TRY_VOID(check_registry(dir));
  fs::path stray = Inventory{fs::path(dir)}.stray();
  if (!stray.empty()) {
    return no_registry(dir, stray);
  }
  return {};
}

std::vector<DaemonInfo> clean_registry(const std::string& dir) {
  std::vector<DaemonInfo> left = find_daemons(dir);
  std::error_code ignored;
  fs::remove(dir + "/server_list.txt", ignored);
  fs::remove(dir + "/secret", ignored);
  remove_files(dir + "/server_list.d", judge_list);
  remove_files(pid_directory(dir), judge_pid_file);
  return left;
}

std::vector<DaemonInfo> clean_cluster(const std::string& dir, std::span<const std::string> more) {
  std::vector<std::string> nodes = nodes_of_list(dir);
  nodes.insert(nodes.end(), more.begin(), more.end());
  std::vector<DaemonInfo> left = clean_registry(dir);
  std::error_code ignored;
  for (const std::string& node_id : nodes) {
    if (std::ranges::find(left, node_id, &DaemonInfo::node_id) == left.end()) {
      fs::remove(log_path(dir, node_id), ignored);
    }
  }
  fs::remove(dir + "/log", ignored);  // if it is empty
  return left;
}

// --- Logs ----------------------------------------------------------------------------------------

std::string log_path(const std::string& dir, const std::string& node_id) {
  return fmt::format("{}/log/{}.log", dir, node_id);
}

Status begin_log(const std::string& dir, const std::string& node_id) {
  std::string directory = dir + "/log";
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return fail_system(errno, directory);
  }
  std::string path = log_path(dir, node_id);
  std::string old = path + ".old";
  if (std::rename(path.c_str(), old.c_str()) != 0 && errno != ENOENT) {
    return fail_system(errno, fmt::format("renaming {} to {}", path, old));
  }
  return {};
}

std::string log_tail(const std::string& dir, const std::string& node_id) {
  std::ifstream file(log_path(dir, node_id));
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    line.resize(std::min(line.size(), kTailLineBytes));
    lines.push_back(std::move(line));
    if (lines.size() > kTailLines) {
      lines.erase(lines.begin());
    }
  }
  std::string out;
  for (const std::string& line : lines) {
    out += fmt::format("  {}\n", line);
  }
  return out;
}

std::string describe_log(const std::string& dir, const std::string& node_id) {
  std::string path = log_path(dir, node_id);
  std::error_code error;
  if (!fs::exists(path, error)) {
    return fmt::format("it has no log in {}/log", dir);
  }
  std::string tail = log_tail(dir, node_id);
  if (tail.empty()) {
    return fmt::format("its log {} is empty", path);
  }
  tail.pop_back();  // the newline
  return fmt::format("its log is kept: {}\n{}", path, tail);
}

}  // namespace benchfs::cli
