#include "cluster/server_list_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "wire/limits.h"

namespace benchfs::cluster {
namespace {

namespace fs = std::filesystem;

constexpr Nanos kFirstPause = std::chrono::milliseconds(2);
constexpr Nanos kLongestPause = std::chrono::milliseconds(50);

fs::path list_path(const fs::path& dir) {
  return dir / "server_list.txt";
}
fs::path copies_path(const fs::path& dir) {
  return dir / "server_list.d";
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  ~Fd() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool is_open() const { return fd_ >= 0; }

 private:
  int fd_;
};

// Pauses that grow, for polling what cannot be waited on (a lock with a deadline, a file on NFS).
class Backoff {
 public:
  // False once the deadline has passed.
  bool pause(Deadline deadline) {
    if (deadline.passed()) {
      return false;
    }
    Nanos span = std::min(next_, deadline.remaining());
    timespec time{.tv_sec = 0, .tv_nsec = span.count()};
    nanosleep(&time, nullptr);
    next_ = std::min(next_ * 3 / 2, kLongestPause);
    return true;
  }

 private:
  Nanos next_ = kFirstPause;
};

// Reads to the end; `out` stops growing above kMaxServerListBytes. Returns 0 or an errno.
int read_all(int fd, std::string& out) {
  std::array<char, 16384> buffer{};
  while (out.size() <= kMaxServerListBytes) {
    ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got == 0) {
      return 0;
    }
    if (got > 0) {
      out.append(buffer.data(), static_cast<std::size_t>(got));
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return EFBIG;
}

int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t put = ::write(fd, text.data(), text.size());
    if (put >= 0) {
      text.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

// Returns 0 or an errno. O_NONBLOCK: a pipe in place of the file must not hang the reader.
int read_file(const fs::path& path, std::string& out) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat info{};
  if (!fd.is_open() || ::fstat(fd.get(), &info) != 0) {
    return errno;
  }
  if (!S_ISREG(info.st_mode)) {
    return S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
  }
  return read_all(fd.get(), out);
}

// --- Appending -----------------------------------------------------------------------------------

// True when `path` still names the open file: somebody may have removed it before we got the lock.
bool is_same_file(int fd, const fs::path& path) {
  struct stat opened{};
  struct stat named{};
  return ::fstat(fd, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

Result<Fd> open_locked(const fs::path& path, Deadline deadline) {
  Backoff backoff;
  do {
    Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0666));
    if (!fd.is_open()) {
      return fail_system(errno, fmt::format("server list {}", path.native()));
    }
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) {
      if (is_same_file(fd.get(), path)) {
        return fd;
      }
    } else if (errno != EWOULDBLOCK && errno != EINTR) {
      return fail_system(errno, fmt::format("lock of server list {}", path.native()));
    }
  } while (backoff.pause(deadline));
  return fail(Errc::kDeadline,
              fmt::format("server list {} stayed locked by another process", path.native()));
}

Status check_expected(RunIdentity run) {
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

std::unexpected<Error> fail_stale(const fs::path& path, const ServerList& found, RunIdentity run) {
  return fail(
      Errc::kStaleRun,
      fmt::format("server list {} holds {} servers of run {:016x} ({} expected), this server "
                  "is of run {:016x} ({} expected); stop the other run and remove {}, or "
                  "use another registry directory",
                  path.native(),
                  found.servers.size(),
                  found.run_id,
                  found.expected,
                  run.run_id,
                  run.expected,
                  path.parent_path().native()));
}

Result<AppendPlan> plan_append(const fs::path& path,
                               std::string_view present,
                               const Server& server,
                               RunIdentity run) {
  AppendPlan plan;
  plan.keep_bytes = present.rfind('\n') + 1;  // without an unfinished line; npos + 1 is 0
  ParsedServerList parsed = parse_server_list(present.substr(0, plan.keep_bytes));
  const ServerList& list = parsed.list;
  if (list.servers.empty() && !parsed.damage) {
    plan.run_id = run.run_id != 0 ? run.run_id : list.run_id != 0 ? list.run_id : random_id();
    plan.keep_bytes = 0;
    plan.text = format_server_list_header(plan.run_id, run.expected) + format_server_line(server);
    return plan;
  }
  // A damaged line is no reason to stay away while the header tells whose list it is: readers
  // rebuild the list from the copies, for which this server's one may be the last that is missing.
  if (parsed.damage && list.run_id == 0) {
    parsed.damage->path = path.native();
    return std::unexpected(parsed.damage->to_error());
  }
  plan.run_id = run.run_id != 0 ? run.run_id : list.run_id;
  if (list.run_id == 0 || list.run_id != plan.run_id || list.expected != run.expected) {
    return fail_stale(path, list, {plan.run_id, run.expected});
  }
  bool is_known = std::ranges::any_of(
      list.servers, [&](const Server& other) { return other.node_id == server.node_id; });
  if (!is_known && list.servers.size() >= run.expected) {
    return fail(Errc::kConfig,
                fmt::format("server list {} already holds {} of {} servers, none of them is {}",
                            path.native(),
                            list.servers.size(),
                            run.expected,
                            server.node_id));
  }
  plan.text = format_server_line(server);
  return plan;
}

Status write_plan(int fd, const fs::path& path, const AppendPlan& plan) {
  auto keep = static_cast<off_t>(plan.keep_bytes);
  int error = ::ftruncate(fd, keep) == 0 ? write_all(fd, plan.text) : errno;
  if (error == 0) {
    return {};
  }
  // Best effort: what is left of our line is cut off by the next writer if not by us.
  if (::ftruncate(fd, keep) != 0) {
    BENCHFS_LOG(kWarn, "server list {} may end in an unfinished line", path.native());
  }
  return fail_system(error, fmt::format("writing server list {}", path.native()));
}

Status write_copy(const fs::path& dir, const Server& server, RunIdentity run) {
  fs::path copies = copies_path(dir);
  if (::mkdir(copies.c_str(), 0777) != 0 && errno != EEXIST) {
    return fail_system(errno, copies.native());
  }
  fs::path path = copies / server.node_id;
  fs::path temporary = copies / fmt::format(".{}.{}", server.node_id, ::getpid());
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd.is_open()) {
    return fail_system(errno, temporary.native());
  }
  int error = write_all(
      fd.get(), format_server_list_header(run.run_id, run.expected) + format_server_line(server));
  if (error == 0 && (::fsync(fd.get()) != 0 || ::rename(temporary.c_str(), path.c_str()) != 0)) {
    error = errno;
  }
  if (error != 0) {
    ::unlink(temporary.c_str());
    return fail_system(error, path.native());
  }
  return {};
}

// --- Reading -------------------------------------------------------------------------------------

// The server in the copy at `path` and the identity of its run; nothing if it is no intact copy.
std::optional<ServerList> read_copy(const fs::path& path) {
  std::string text;
  if (path.filename().native().starts_with('.') || read_file(path, text) != 0) {
    return std::nullopt;
  }
  ParsedServerList parsed = parse_server_list(text);
  if (parsed.damage || parsed.list.servers.size() != 1 || parsed.list.expected == 0 ||
      parsed.list.servers.front().node_id != path.filename().native()) {
    return std::nullopt;
  }
  return std::move(parsed.list);
}

// Rebuilds the list of run `run_id` (0: the only one there) from the servers' own copies. Nothing
// unless they agree and all are there: copies of earlier runs may lie beside them.
std::optional<ServerList> recover_list(const fs::path& dir, std::uint64_t run_id) {
  std::optional<ServerList> list;
  std::error_code error;
  for (fs::directory_iterator it(copies_path(dir), error), end; !error && it != end;
       it.increment(error)) {
    std::optional<ServerList> copy = read_copy(it->path());
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
  if (error || !list || list->servers.size() != list->expected) {
    return std::nullopt;
  }
  std::ranges::sort(list->servers, natural_less, &Server::node_id);
  return list;
}

std::expected<ServerList, ServerListError> repair(const fs::path& dir,
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
  rebuilt->recovered = fmt::format("{}; rebuilt from {}", note, copies_path(dir).native());
  return *std::move(rebuilt);
}

}  // namespace

Status begin_server_list(const fs::path& dir, RunIdentity run, Deadline deadline) {
  BENCHFS_TRY_VOID(check_expected(run));
  fs::path path = list_path(dir);
  BENCHFS_TRY(Fd fd, open_locked(path, deadline));
  return write_plan(fd.get(), path, {.text = format_server_list_header(run.run_id, run.expected)});
}

Result<std::uint64_t> append_server(const fs::path& dir,
                                    const Server& server,
                                    RunIdentity run,
                                    Deadline deadline) {
  BENCHFS_TRY_VOID(check_server(server));
  BENCHFS_TRY_VOID(check_expected(run));
  fs::path path = list_path(dir);
  {
    BENCHFS_TRY(Fd fd, open_locked(path, deadline));
    std::string present;
    if (int error = read_all(fd.get(), present); error != 0) {
      return fail_system(error, fmt::format("server list {}", path.native()));
    }
    BENCHFS_TRY(AppendPlan plan, plan_append(path, present, server, run));
    BENCHFS_TRY_VOID(write_plan(fd.get(), path, plan));
    run.run_id = plan.run_id;
  }
  // After the lock is free: this waits for the disk. Without its copy the server is still listed.
  if (Status copied = write_copy(dir, server, run); !copied) {
    BENCHFS_LOG(kWarn, "no copy of the server list line: {}", copied.error().message());
  }
  return run.run_id;
}

std::expected<ServerList, ServerListError> read_server_list(const fs::path& dir,
                                                            std::uint64_t wanted_run_id) {
  ServerListError error;
  error.path = list_path(dir).native();
  std::string text;
  if (int code = read_file(error.path, text); code != 0) {
    error.problem = code == ENOENT ? ServerListProblem::kMissing : ServerListProblem::kUnreadable;
    error.system_errno = code;
    return std::unexpected(std::move(error));
  }
  ParsedServerList parsed = parse_server_list(text);
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
    return repair(dir, std::move(parsed), wanted_run_id);
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
    const fs::path& dir, std::uint64_t wanted_run_id, Deadline deadline) {
  Backoff backoff;
  while (true) {
    auto list = read_server_list(dir, wanted_run_id);
    if (list || !list.error().is_transient() || !backoff.pause(deadline)) {
      return list;
    }
  }
}

}  // namespace benchfs::cluster
