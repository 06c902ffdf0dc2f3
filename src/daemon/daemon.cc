#include "daemon/daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/descriptors.h"
#include "base/log.h"
#include "base/safe_dir.h"
#include "rt/rseq.h"

namespace benchfs::daemon {
namespace {

namespace fs = std::filesystem;

// The process ends this long after the second signal, whatever its shards do.
constexpr Nanos kPatience = std::chrono::seconds(1);

// A client takes two over tcp, one over shared memory.
constexpr std::size_t kDescriptorsPerClient = 2;
// A client takes at most this many, whatever it uses, with the devices of a usual node. A shard
// keeps at least kLeastDescriptors where the limit is so low that it bounds the number of clients.
constexpr std::size_t kMostDescriptorsPerClient = 3;
constexpr std::size_t kLeastDescriptors = 112;
// Descriptors of each shard for segment files, UCX, and connections that have not registered.
constexpr std::size_t kOtherDescriptors = 2048;
// The limit for each shard, unless the limit in force is higher. UCX crashes when a worker has more
// connections than net::Context makes room for, and each connection takes at least one descriptor.
constexpr std::size_t kMostDescriptors = 16384;
// With much less, UCX accepts clients and cannot map the memory through which they would be
// answered (seen with 300 MB; a gigabyte and a half is enough).
constexpr rlim_t kLeastAddressSpace = rlim_t{1} << 30;

// How often the other daemons of a group are polled.
constexpr int kGroupTickMs = 20;

// Creates the directory and its parents. Others may not be able to change what is in it.
std::expected<SafeDir, Failure> make_directory(const std::string& path,
                                               std::string_view what,
                                               Owner owner = Owner::kSelf) {
  Result<SafeDir> dir = SafeDir::open_or_create(path, owner);
  if (dir && ::faccessat(dir->fd(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
    dir = fail_system(errno, path);
  }
  if (dir) {
    return *std::move(dir);
  }
  const Error& error = dir.error();
  return std::unexpected(Failure{EX_CANTCREAT,
                                 error.code == Errc::kConfig
                                     ? fmt::format("cannot use {} {}", what, error.context)
                                     : fmt::format("cannot use {} {}: {}; choose another one",
                                                   what,
                                                   path,
                                                   std::generic_category().message(error.posix))});
}

// Creates the directory of a shard and its parent; anybody who could replace the first could read
// and change files.
std::expected<void, Failure> make_data_directory(const std::string& path) {
  BENCHFS_TRY_VOID(make_directory(
      fs::path(path).parent_path().native(), "data directory", Owner::kSelfOrSticky));
  BENCHFS_TRY_VOID(make_directory(path, "data directory"));
  return {};
}

// Says why a shard failed, with its name and what to do about it.
Failure judge(const Error& error, const server::ShardConfig& config) {
  auto is = [&error](auto... codes) { return ((error.code == codes) || ...); };
  int exit_code = is(Errc::kSystem) ? EX_OSERR : EX_SOFTWARE;
  std::string next_step;
  if (is(Errc::kConfig, Errc::kInvalidArgument)) {
    exit_code = EX_CONFIG;
  } else if (is(Errc::kStaleRun)) {
    exit_code = EX_UNAVAILABLE;
    next_step = fmt::format(
        "; if no daemon of that run is alive, 'benchfs down --registry-dir {}' removes the list",
        config.registry_dir);
  } else if (is(Errc::kNotReady)) {
    exit_code = EX_UNAVAILABLE;
    next_step = "; start the missing servers, or correct registry.expected_servers";
  } else if (is(Errc::kUnreachable, Errc::kTransport, Errc::kBusy)) {
    exit_code = EX_UNAVAILABLE;
    next_step = config.listen_port == 0
                    ? "; check network.listen and network.devices"
                    : fmt::format("; is port {} free? network.port = 0 takes any free port",
                                  config.listen_port);
  }
  return {exit_code, fmt::format("{}: {}{}", config.node_id, error.message(), next_step)};
}

sigset_t stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

}  // namespace

Daemon::~Daemon() {
  for (int fd : {ready_fd_, signal_fd_, event_fd_}) {
    if (fd >= 0) {
      ::close(fd);
    }
  }
}

void block_stop_signals() {
  sigset_t signals = stop_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

int Daemon::run() {
  if (auto prepared = prepare(); !prepared) {
    BENCHFS_LOG(kError, "{}", prepared.error().text);
    return prepared.error().exit_code;
  }
  return serve();
}

std::expected<void, Failure> Daemon::prepare() {
  rlimit space{};
  if (::getrlimit(RLIMIT_AS, &space) == 0 && space.rlim_cur < kLeastAddressSpace) {
    return std::unexpected(Failure{
        EX_CONFIG,
        fmt::format("this process may map {} MiB, too little to serve clients; allow {} MiB "
                    "and what the memory engine may store (ulimit -v)",
                    space.rlim_cur >> 20,
                    kLeastAddressSpace >> 20)});
  }
  // Threads created from now on, including UCX's, inherit the mask, so only the descriptor sees
  // these signals.
  block_stop_signals();
  make_room_for_descriptors(
      config_.shards * (kDescriptorsPerClient * config_.max_clients + kOtherDescriptors),
      config_.shards * kMostDescriptors);
  sigset_t signals = stop_signals();
  signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  event_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (signal_fd_ < 0 || event_fd_ < 0) {
    return std::unexpected(Failure{
        EX_OSERR, fmt::format("no descriptors: {}", std::generic_category().message(errno))});
  }
  BENCHFS_TRY_VOID(make_directory(config_.registry_dir, "registry directory"));
  BENCHFS_TRY(SafeDir pid_dir, make_directory(config_.registry_dir + "/pid", "registry directory"));
  std::uint32_t places = places_for_clients();
  for (std::uint64_t i = 0; i < config_.shards; ++i) {
    auto slot = std::make_unique<Slot>();
    slot->config = config_.shard_config(i);
    slot->config.rpc.max_clients = places;
    if (Status applied = rpc::apply_environment(slot->config.to_peers); !applied) {
      return std::unexpected(Failure{EX_CONFIG, applied.error().message()});
    }
    if (slot->config.to_peers ==
        rpc::Transport::kNode) {  // said to programs: no door leads to other nodes
      slot->config.to_peers = rpc::Transport::kAuto;
    }
    slots_.push_back(std::move(slot));
  }
  BENCHFS_TRY_VOID(take_node_id(pid_dir));
  if (config_.data_dir.empty() && slots_.front()->config.engine == server::Engine::kFile) {
    BENCHFS_TRY_VOID(make_data_directory(config_.effective_data_dir()));
  }
  for (auto& slot : slots_) {
    if (slot->config.engine == server::Engine::kFile) {
      BENCHFS_TRY_VOID(make_data_directory(slot->config.data_dir));
    }
  }
  return {};
}

// The places of each shard. Without descriptors for them clients would be rejected; with fewer
// places they take turns.
std::uint32_t Daemon::places_for_clients() const {
  std::size_t own = descriptor_limit() / config_.shards;
  std::size_t most =
      own > kLeastDescriptors ? (own - kLeastDescriptors) / kMostDescriptorsPerClient : 0;
  most = std::max<std::size_t>(most, 1);
  if (most < config_.max_clients) {
    BENCHFS_LOG(kWarn,
                "this process may open {} descriptors, enough for {} clients per shard instead of "
                "{}; further clients take turns. Raise its limit (ulimit -n)",
                descriptor_limit(),
                most,
                config_.max_clients);
  }
  return static_cast<std::uint32_t>(std::min<std::size_t>(most, config_.max_clients));
}

std::expected<void, Failure> Daemon::take_node_id(const SafeDir& pid_dir) {
  std::vector<std::string> data_dirs;
  for (const auto& slot : slots_) {
    if (slot->config.engine == server::Engine::kFile) {
      data_dirs.push_back(slot->config.data_dir);
    }
  }
  Result<PidFile> pid_file = PidFile::acquire(pid_dir, config_.node_id, data_dirs);
  if (!pid_file) {
    bool taken = pid_file.error().code == Errc::kBusy;
    return std::unexpected(
        Failure{taken ? EX_UNAVAILABLE : EX_CANTCREAT,
                fmt::format("node id {}: {}{}",
                            config_.node_id,
                            taken ? pid_file.error().context : pid_file.error().message(),
                            taken ? "; stop it, or choose another node id" : "")});
  }
  pid_file_.emplace(*std::move(pid_file));
  return {};
}

int Daemon::serve() {
  for (auto& slot : slots_) {
    slot->thread = std::thread([this, own = slot.get()] { run_shard(*own); });
  }
  int code = watch();
  for (auto& slot : slots_) {
    slot->thread.join();
  }
  remove_directories();
  if (code != EX_OK && listening_) {
    pid_file_->leave_behind();
  }
  return code;
}

void Daemon::run_shard(Slot& slot) {
  rt::leave_rseq();
  Result<std::unique_ptr<server::Shard>> shard = server::Shard::create(slot.config);
  if (!shard) {
    change(slot, State::kEnded, nullptr, std::move(shard.error()));
    return;
  }
  change(slot, State::kServing, shard->get(), std::nullopt);
  Status outcome = (*shard)->run();
  {
    std::lock_guard lock(mutex_);
    slot.shard = nullptr;
  }
  shard->reset();  // on its own thread
  change(slot,
         State::kEnded,
         nullptr,
         outcome ? std::nullopt : std::optional(std::move(outcome.error())));
}

void Daemon::change(Slot& slot, State state, server::Shard* shard, std::optional<Error> error) {
  std::lock_guard lock(mutex_);
  slot.state = state;
  slot.shard = shard;
  slot.error = std::move(error);
  for (int i = 0; shard != nullptr && i < stops_; ++i) {
    shard->stop();  // a signal came while it was being created
  }
  eventfd_write(event_fd_, 1);
}

void Daemon::stop_all() {
  if (group_ != nullptr) {
    group_->on_stopping(nullptr);
  }
  std::lock_guard lock(mutex_);
  ++stops_;
  for (auto& slot : slots_) {
    if (slot->shard != nullptr) {
      slot->shard->stop();
    }
  }
}

// Sleeps until every shard has ended. Returns the exit code of the first one that failed.
int Daemon::watch() {
  std::optional<Deadline> patience;
  for (;;) {
    std::array<pollfd, 2> fds{{{signal_fd_, POLLIN, 0}, {event_fd_, POLLIN, 0}}};
    int timeout_ms = group_ != nullptr ? kGroupTickMs : -1;
    if (patience) {
      timeout_ms = static_cast<int>(patience->remaining() / std::chrono::milliseconds(1)) + 1;
    }
    ::poll(fds.data(), fds.size(), timeout_ms);
    if (patience && patience->passed()) {
      BENCHFS_LOG(kError, "did not stop in time; still running: {}", names_of_running());
      std::_Exit(EX_SOFTWARE);
    }
    if ((fds[0].revents & POLLIN) != 0 && read_signals() > 1) {
      patience = Deadline::after(kPatience);
    }
    eventfd_t count = 0;
    eventfd_read(event_fd_, &count);
    bool ended = look_at_shards();
    if (group_ != nullptr && group_->poll() && stops_ == 0) {
      stop_all();
    }
    if (ended) {
      return exit_code_;
    }
  }
}

void Daemon::report(const Failure& failure) {
  if (group_ != nullptr) {
    group_->on_stopping(&failure);
  } else {
    BENCHFS_LOG(kError, "{}", failure.text);
  }
  exit_code_ = exit_code_ == EX_OK ? failure.exit_code : exit_code_;
}

// True when all shards have ended.
bool Daemon::look_at_shards() {
  std::size_t serving = 0;
  std::size_t ended = 0;
  std::vector<Failure> failures;
  {
    std::lock_guard lock(mutex_);
    for (auto& slot : slots_) {
      serving += slot->state == State::kServing ? 1 : 0;
      ended += slot->state == State::kEnded ? 1 : 0;
      if (slot->error) {
        failures.push_back(judge(*slot->error, slot->config));
        slot->error.reset();
      }
    }
  }
  for (const Failure& failure : failures) {
    report(failure);
  }
  if (ended > 0 && stops_ == 0) {
    stop_all();  // a file system is useless without one of its shards
  } else if (serving == slots_.size() && !listening_) {
    listening_ = true;
    announce_ready();
  }
  return ended == slots_.size();
}

std::string Daemon::names_of_running() {
  std::string names;
  std::lock_guard lock(mutex_);
  for (auto& slot : slots_) {
    if (slot->state != State::kEnded) {
      names += (names.empty() ? "" : ", ") + slot->config.node_id;
    }
  }
  return names;
}

// Passes the signals on to the shards. Returns how many there have been.
int Daemon::read_signals() {
  signalfd_siginfo info{};
  while (::read(signal_fd_, &info, sizeof info) == sizeof info) {
    BENCHFS_LOG(kInfo,
                "{} from process {}: {}",
                info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT",
                info.ssi_pid,
                signals_ == 0 ? "stopping" : "stopping at once");
    ++signals_;
    stop_all();
  }
  return signals_;
}

void Daemon::announce_ready() {
  if (group_ != nullptr) {
    group_->on_listening();
  }
  if (ready_fd_ < 0) {
    return;
  }
  constexpr std::string_view kReady = "ready\n";
  if (::write(ready_fd_, kReady.data(), kReady.size()) < 0) {
    BENCHFS_LOG(
        kWarn, "cannot report readiness on --ready-fd: {}", std::generic_category().message(errno));
  }
  ::close(std::exchange(ready_fd_, -1));
}

// Removes the directories that are empty now; directories with kept data stay, and so does the one
// that the user named.
void Daemon::remove_directories() {
  if (slots_.front()->config.engine != server::Engine::kFile) {
    return;
  }
  std::error_code ignored;
  for (auto& slot : slots_) {
    fs::remove(slot->config.data_dir, ignored);
  }
  if (config_.data_dir.empty()) {
    fs::path data_dir = config_.effective_data_dir();
    fs::remove(data_dir, ignored);
    fs::remove(data_dir.parent_path(), ignored);
  }
}

}  // namespace benchfs::daemon
