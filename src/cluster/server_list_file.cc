#include "cluster/server_list_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/backoff.h"
#include "base/file_lock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/safe_dir.h"
#include "wire/limits.h"

namespace benchfs::cluster {
namespace {

constexpr Nanos kFirstPause = std::chrono::milliseconds(2);
constexpr Nanos kLongestPause = std::chrono::milliseconds(50);

constexpr const char* kListName = "server_list.txt";
constexpr const char* kCopiesName = "server_list.d";

// --- Appending -----------------------------------------------------------------------------------

std::string format_header(std::uint64_t run_id, const RunIdentity& run) {
  return format_server_list_header(run_id, run.expected) + format_common_settings(run.common);
}

Result<FileLock> lock_list(const SafeDir& dir, Deadline deadline) {
  Result<FileLock> lock = FileLock::acquire(dir, kListName, 0644, deadline);
  if (!lock) {
    return std::unexpected(std::move(lock.error()).with_prefix("server list"));
  }
  return lock;
}

Status check_expected(const RunIdentity& run) {
  if (run.expected == 0 || run.expected > wire::kMaxShards) {
    return fail(
        Errc::kConfig,
        fmt::format("expected servers must be 1 to {}, not {}", wire::kMaxShards, run.expected));
  }
  return {};
}

struct AppendPlan {
  std::size_t keep_bytes = 0;  // of the present text
  std::string text;            // to write behind them
  std::uint64_t run_id = 0;
};

std::unexpected<Error> fail_stale(const std::string& path,
                                  const ServerList& found,
                                  const RunIdentity& run) {
  return fail(
      Errc::kStaleRun,
      fmt::format("server list {} holds {} servers of run {:016x} ({} expected), this server "
                  "is of run {:016x} ({} expected); stop the other run and remove {}, or "
                  "use another registry directory",
                  path,
                  found.servers.size(),
                  found.run_id,
                  found.expected,
                  run.run_id,
                  run.expected,
                  path.substr(0, path.rfind('/'))));
}

Result<AppendPlan> plan_append(const std::string& path,
                               std::string_view present,
                               const Server& server,
                               const RunIdentity& run) {
  AppendPlan plan;
  plan.keep_bytes = present.rfind('\n') + 1;  // without an unfinished line; npos + 1 is 0
  ParsedServerList parsed = parse_server_list(present.substr(0, plan.keep_bytes));
  const ServerList& list = parsed.list;
  if (list.servers.empty() && !parsed.damage) {
    plan.run_id = run.run_id != 0 ? run.run_id : list.run_id != 0 ? list.run_id : random_id();
    plan.keep_bytes = 0;
    plan.text = format_header(plan.run_id, run) + format_server_line(server);
    return plan;
  }
  // A damaged line does not keep a server out while the header names the run: readers rebuild the
  // list from the copies, and this server's copy may be the last one missing.
  if (parsed.damage && list.run_id == 0) {
    parsed.damage->path = path;
    return std::unexpected(parsed.damage->to_error());
  }
  plan.run_id = run.run_id != 0 ? run.run_id : list.run_id;
  if (list.run_id == 0 || list.run_id != plan.run_id || list.expected != run.expected) {
    return fail_stale(path, list, {.run_id = plan.run_id, .expected = run.expected});
  }
  BENCHFS_TRY_VOID(
      check_common_settings(run.common, parse_common_settings(present), server.node_id, path));
  bool is_known = std::ranges::any_of(
      list.servers, [&](const Server& other) { return other.node_id == server.node_id; });
  if (!is_known && list.servers.size() >= run.expected) {
    return fail(Errc::kConfig,
                fmt::format("server list {} already holds {} of {} servers, none of them is {}",
                            path,
                            list.servers.size(),
                            run.expected,
                            server.node_id));
  }
  plan.text = format_server_line(server);
  return plan;
}

Status write_plan(int fd, const std::string& path, const AppendPlan& plan) {
  auto keep = static_cast<off_t>(plan.keep_bytes);
  Status written =
      ::ftruncate(fd, keep) == 0 ? write_all(fd, plan.text, path) : fail_system(errno, path);
  if (written) {
    return {};
  }
  // Best effort: the next writer cuts off what is left of our line if we cannot.
  if (::ftruncate(fd, keep) != 0) {
    BENCHFS_LOG(kWarn, "server list {} may end in an unfinished line", path);
  }
  return std::unexpected(std::move(written.error()).with_prefix("writing server list"));
}

Status write_copy(const SafeDir& dir, const Server& server, const RunIdentity& run) {
  BENCHFS_TRY(SafeDir copies, dir.create_subdirectory(kCopiesName, 0755));
  std::string temporary = fmt::format(".{}.{:016x}", server.node_id, random_id());
  BENCHFS_TRY(Fd fd, copies.open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0644));
  Status written = write_all(fd.get(),
                             format_header(run.run_id, run) + format_server_line(server),
                             copies.path_of(temporary));
  if (written &&
      (::fsync(fd.get()) != 0 ||
       ::renameat(copies.fd(), temporary.c_str(), copies.fd(), server.node_id.c_str()) != 0)) {
    written = fail_system(errno, copies.path_of(server.node_id));
  }
  if (!written) {
    copies.remove_file(temporary);
  }
  return written;
}

// --- Reading -------------------------------------------------------------------------------------

// The server in the copy `name` and the identity of its run; nothing if it is no intact copy.
std::optional<ServerList> read_copy(const SafeDir& copies, const std::string& name) {
  if (name.starts_with('.')) {
    return std::nullopt;
  }
  Result<std::string> text = copies.read_file(name, kMaxServerListBytes);
  if (!text) {
    return std::nullopt;
  }
  ParsedServerList parsed = parse_server_list(*text);
  if (parsed.damage || parsed.list.servers.size() != 1 || parsed.list.expected == 0 ||
      parsed.list.servers.front().node_id != name) {
    return std::nullopt;
  }
  return std::move(parsed.list);
}

// Rebuilds the list of run `run_id` (0: the only one there) from the servers' own copies. Nothing
// unless they agree and all are there: copies of earlier runs may lie beside them.
std::optional<ServerList> recover_list(const SafeDir& dir, std::uint64_t run_id) {
  Result<SafeDir> copies = dir.subdirectory(kCopiesName);
  if (!copies) {
    return std::nullopt;
  }
  std::optional<ServerList> list;
  for (const std::string& name : copies->names()) {
    std::optional<ServerList> copy = read_copy(*copies, name);
    if (!copy || (run_id != 0 && copy->run_id != run_id)) {
      continue;
    }
    if (!list) {
      list = std::move(copy);
    } else if (copy->run_id != list->run_id || copy->expected != list->expected) {
      return std::nullopt;
    } else {
      list->servers.push_back(std::move(copy->servers.front()));
    }
  }
  if (!list || list->servers.size() != list->expected) {
    return std::nullopt;
  }
  std::ranges::sort(list->servers, natural_less, &Server::node_id);
  return list;
}

std::expected<ServerList, ServerListError> repair(const SafeDir& dir,
                                                  ParsedServerList parsed,
                                                  std::uint64_t wanted_run_id) {
  ServerList& list = parsed.list;
  ServerListError& damage = *parsed.damage;
  std::string note = damage.to_error().context;
  bool is_wanted = wanted_run_id == 0 || list.run_id == wanted_run_id;
  if (damage.unfinished && is_wanted && list.expected != 0 &&
      list.servers.size() == list.expected) {
    list.recovered = fmt::format("{}; ignored, the list is complete without it", note);
    return std::move(list);
  }
  auto rebuilt = recover_list(dir, wanted_run_id != 0 ? wanted_run_id : list.run_id);
  if (!rebuilt) {
    return std::unexpected(std::move(damage));
  }
  rebuilt->recovered = fmt::format("{}; rebuilt from {}", note, dir.path_of(kCopiesName));
  return *std::move(rebuilt);
}

}  // namespace

Status begin_server_list(const std::string& path, const RunIdentity& run, Deadline deadline) {
  BENCHFS_TRY_VOID(check_expected(run));
  BENCHFS_TRY(SafeDir dir, SafeDir::open(path));
  BENCHFS_TRY(FileLock lock, lock_list(dir, deadline));
  return write_plan(lock.fd(), dir.path_of(kListName), {.text = format_header(run.run_id, run)});
}

Result<std::uint64_t> append_server(const std::string& path,
                                    const Server& server,
                                    RunIdentity run,
                                    Deadline deadline) {
  BENCHFS_TRY_VOID(check_server(server));
  BENCHFS_TRY_VOID(check_expected(run));
  BENCHFS_TRY(SafeDir dir, SafeDir::open(path));
  {
    BENCHFS_TRY(FileLock lock, lock_list(dir, deadline));
    std::string list = dir.path_of(kListName);
    BENCHFS_TRY(std::string present, read_all(lock.fd(), kMaxServerListBytes, list));
    BENCHFS_TRY(AppendPlan plan, plan_append(list, present, server, run));
    BENCHFS_TRY_VOID(write_plan(lock.fd(), list, plan));
    run.run_id = plan.run_id;
  }
  // Written after the lock is released, because this waits for the disk. The server is listed even
  // without its copy.
  if (Status copied = write_copy(dir, server, run); !copied) {
    BENCHFS_LOG(kWarn, "no copy of the server list line: {}", copied.error().message());
  }
  return run.run_id;
}

namespace {

void sleep_for(Nanos span) {
  timespec time{.tv_sec = span / std::chrono::seconds(1),
                .tv_nsec = (span % std::chrono::seconds(1)).count()};
  nanosleep(&time, nullptr);
}

ServerListError unreadable(std::string path, const Error& error) {
  ServerListError out;
  out.path = std::move(path);
  out.problem =
      error.posix == ENOENT ? ServerListProblem::kMissing : ServerListProblem::kUnreadable;
  out.system_errno = error.posix;
  out.reason = error.code == Errc::kConfig ? error.context : "";
  return out;
}

}  // namespace

std::expected<ServerList, ServerListError> read_server_list(const std::string& path,
                                                            std::uint64_t wanted_run_id) {
  ServerListError error;
  error.path = fmt::format("{}/{}", path, kListName);
  Result<SafeDir> dir = SafeDir::open(path, Owner::kTrusted);
  if (!dir) {
    return std::unexpected(unreadable(std::move(error.path), dir.error()));
  }
  Result<std::string> text = dir->read_file(kListName, kMaxServerListBytes);
  if (!text) {
    return std::unexpected(unreadable(std::move(error.path), text.error()));
  }
  ParsedServerList parsed = parse_server_list(*text);
  ServerList& list = parsed.list;
  // Without servers the next writer replaces the header; without a run id its line may be damaged.
  bool has_run = !list.servers.empty() && (list.run_id != 0 || !parsed.damage);
  if (wanted_run_id != 0 && has_run && list.run_id != wanted_run_id) {
    error.problem = ServerListProblem::kStale;
    error.found_run = list.run_id;
    error.wanted_run = wanted_run_id;
    return std::unexpected(std::move(error));
  }
  if (parsed.damage) {
    parsed.damage->path = error.path;
    return repair(*dir, std::move(parsed), wanted_run_id);
  }
  if (list.servers.empty() || list.servers.size() < list.expected) {
    error.problem =
        list.servers.empty() ? ServerListProblem::kEmpty : ServerListProblem::kIncomplete;
    error.have = static_cast<std::uint32_t>(list.servers.size());
    error.expected = list.expected;
    return std::unexpected(std::move(error));
  }
  return std::move(list);
}

std::expected<ServerList, ServerListError> read_server_list_until_complete(
    const std::string& dir, std::uint64_t wanted_run_id, Deadline deadline) {
  Backoff backoff(kFirstPause, kLongestPause);
  while (true) {
    auto list = read_server_list(dir, wanted_run_id);
    if (list || !list.error().is_transient() || deadline.passed()) {
      return list;
    }
    sleep_for(std::min(backoff.next(), deadline.remaining()));
  }
}

}  // namespace benchfs::cluster
