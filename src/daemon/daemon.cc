#include "daemon/daemon.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/log.h"

namespace benchfs::daemon {
namespace {

namespace fs = std::filesystem;

// After the second signal the process ends after this long, whatever its shards do.
constexpr Nanos kPatience = std::chrono::seconds(1);

// Creates `path` and its parents; only the owner may enter those that are new.
int make_directory(const fs::path& path, std::string_view what) {
  fs::path made;
  int error = 0;
  for (const fs::path& part : path) {
    made /= part;
    error = ::mkdir(made.c_str(), 0700) == 0 ? 0 : errno;
  }
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) {
    error = access(path.c_str(), W_OK | X_OK) == 0 ? 0 : errno;
  }
  if (error != 0) {
    BENCHFS_LOG(kError,
                "cannot use {} {}: {}; choose another one",
                what,
                path.native(),
                std::generic_category().message(error));
    return EX_CANTCREAT;
  }
  return EX_OK;
}

struct Verdict {
  int exit_code;
  std::string next_step;
};

Verdict judge(const Error& error, const server::ShardConfig& config) {
  auto is = [&error](auto... codes) { return ((error.code == codes) || ...); };
  if (is(Errc::kConfig, Errc::kInvalidArgument)) {
    return {EX_CONFIG, ""};
  }
  if (is(Errc::kStaleRun)) {
    return {EX_UNAVAILABLE,
            fmt::format("; if no daemon of that run is alive, 'benchfs down --registry-dir {}' "
                        "removes the list",
                        config.registry_dir)};
  }
  if (is(Errc::kNotReady)) {
    return {EX_UNAVAILABLE, "; start the missing servers, or correct registry.expected_servers"};
  }
  if (is(Errc::kUnreachable, Errc::kTransport, Errc::kBusy)) {
    return {EX_UNAVAILABLE,
            config.listen_port == 0
                ? "; check network.listen and network.devices"
                : fmt::format("; is port {} free? network.port = 0 takes any free port",
                              config.listen_port)};
  }
  return {is(Errc::kSystem) ? EX_OSERR : EX_SOFTWARE, ""};
}

}  // namespace

Daemon::~Daemon() {
  for (int fd : {ready_fd_, signal_fd_, event_fd_}) {
    if (fd >= 0) {
      ::close(fd);
    }
  }
}

int Daemon::run() {
  if (int code = prepare(); code != EX_OK) {
    return code;
  }
  for (std::uint64_t i = 0; i < config_.shards; ++i) {
    auto slot = std::make_unique<Slot>();
    slot->config = config_.shard_config(i);
    slots_.push_back(std::move(slot));
  }
  for (auto& slot : slots_) {
    if (slot->config.engine == server::Engine::kFile) {
      if (int code = make_directory(slot->config.data_dir, "data directory"); code != EX_OK) {
        return code;
      }
    }
  }
  for (auto& slot : slots_) {
    slot->thread = std::thread([this, own = slot.get()] { run_shard(*own); });
  }
  int code = watch();
  for (auto& slot : slots_) {
    slot->thread.join();
  }
  remove_directories();
  return code;
}

// Signals, the registry directory, the node id.
int Daemon::prepare() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  // Threads made from now on, UCX's too, inherit the mask: only the descriptor sees these signals.
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  event_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (signal_fd_ < 0 || event_fd_ < 0) {
    BENCHFS_LOG(kError, "no descriptors: {}", std::generic_category().message(errno));
    return EX_OSERR;
  }
  std::string pid_dir = config_.registry_dir + "/pid";
  if (int code = make_directory(config_.registry_dir, "registry directory"); code != EX_OK) {
    return code;
  }
  if (int code = make_directory(pid_dir, "registry directory"); code != EX_OK) {
    return code;
  }
  Result<PidFile> pid_file = PidFile::acquire(pid_dir + "/" + config_.node_id);
  if (!pid_file) {
    bool taken = pid_file.error().code == Errc::kBusy;
    BENCHFS_LOG(kError,
                "node id {}: {}{}",
                config_.node_id,
                taken ? pid_file.error().context : pid_file.error().message(),
                taken ? "; stop it, or choose another node id" : "");
    return taken ? EX_UNAVAILABLE : EX_CANTCREAT;
  }
  pid_file_.emplace(*std::move(pid_file));
  return EX_OK;
}

void Daemon::run_shard(Slot& slot) {
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
    shard->stop();  // asked for while it was being created
  }
  eventfd_write(event_fd_, 1);
}

void Daemon::stop_all() {
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
    int timeout_ms = -1;
    if (patience) {
      timeout_ms = static_cast<int>(patience->remaining() / std::chrono::milliseconds(1)) + 1;
    }
    ::poll(fds.data(), fds.size(), timeout_ms);
    if (patience && patience->passed()) {
      BENCHFS_LOG(kError, "shards did not stop in time; leaving them");
      pid_file_.reset();
      std::_Exit(EX_SOFTWARE);
    }
    if ((fds[0].revents & POLLIN) != 0 && read_signals() > 1) {
      patience = Deadline::after(kPatience);
    }
    eventfd_t count = 0;
    eventfd_read(event_fd_, &count);
    if (look_at_shards()) {
      return exit_code_;
    }
  }
}

// True when all shards have ended.
bool Daemon::look_at_shards() {
  std::size_t serving = 0;
  std::size_t ended = 0;
  {
    std::lock_guard lock(mutex_);
    for (auto& slot : slots_) {
      serving += slot->state == State::kServing ? 1 : 0;
      ended += slot->state == State::kEnded ? 1 : 0;
      if (slot->error) {
        Verdict verdict = judge(*slot->error, slot->config);
        std::string text = slot->error->message();
        BENCHFS_LOG(kError, "{}: {}{}", slot->config.node_id, text, verdict.next_step);
        exit_code_ = exit_code_ == EX_OK ? verdict.exit_code : exit_code_;
        slot->error.reset();
      }
    }
  }
  if (ended > 0 && stops_ == 0) {
    stop_all();  // a file system without one of its shards is none
  } else if (serving == slots_.size() && ready_fd_ >= 0) {
    announce_ready();
  }
  return ended == slots_.size();
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
  constexpr std::string_view kReady = "ready\n";
  if (::write(ready_fd_, kReady.data(), kReady.size()) < 0) {
    BENCHFS_LOG(
        kWarn, "nobody hears that the daemon is ready: {}", std::generic_category().message(errno));
  }
  ::close(std::exchange(ready_fd_, -1));
}

// Takes away what is empty now; directories with kept data stay, and one the user named does too.
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
