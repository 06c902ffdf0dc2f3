#include "mpi/caller.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <thread>
#include <utility>

#include "base/log.h"
#include "bench/system_info.h"
#include "mpi/cluster.h"

namespace benchfs::mpi {
namespace {

using bench::Measurement;
using bench::Phase;
using nlohmann::json;

constexpr int kTickMs = 20;
// The longest lag between callers that do the same: connecting, warming up, an RPC that meets its
// deadline.
constexpr Nanos kBehind = std::chrono::seconds(60);
// All callers end early after the limit; one that has not ended by then is lost.
constexpr Nanos kAfterLimit = std::chrono::seconds(35);
constexpr Nanos kAnswer = std::chrono::seconds(5);
constexpr Nanos kFollow = std::chrono::seconds(10);

enum Choice : std::int64_t { kGoOn, kLeave };

Nanos nanos_of(double seconds) {
  return std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(seconds));
}

// Any moment will do except MonoTime{}, which means that the caller took no part.
Measurement relative_to(MonoTime began, const Measurement& measurement) {
  constexpr MonoTime kOrigin{std::chrono::seconds(1)};
  Measurement moved = measurement;
  if (measurement.start != MonoTime{}) {
    moved.start = kOrigin + (measurement.start - began);
    moved.end = kOrigin + (measurement.end - began);
  }
  return moved;
}

bool is_baseline(const Phase& phase) {
  return bench::path_of(phase.path).value_or(bench::ReplyPath::kPersistent) !=
         bench::ReplyPath::kPersistent;
}

}  // namespace

Caller::Caller(Ranks& ranks,
               Ranks& callers,
               RankGroup& rank_group,
               const daemon::DaemonConfig& cluster,
               const CallerOrder& order)
    : ranks_(ranks),
      callers_(callers),
      rank_group_(rank_group),
      cluster_(cluster),
      order_(order),
      limit_(Deadline::after(nanos_of(order.limit_s))),
      collector_(report_, static_cast<std::uint32_t>(callers.size())) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

Caller::~Caller() {
  ::close(signal_fd_);
}

// --- Main thread ---------------------------------------------------------------------------------

int Caller::run() {
  rank_group_.on_listening();
  Deadline start_by = Deadline::after(cluster_.list_timeout + kBehind);
  while (!rank_group_.are_serving() && !rank_group_.poll() && !start_by.passed()) {
    look();
    pause_briefly();
  }
  if (rank_group_.are_serving()) {
    run_benchmark();
  } else if (start_by.passed()) {
    fail_with({EX_UNAVAILABLE, "the serving ranks do not start"});
  }
  if (failure_) {
    stop_group(&*failure_);
  } else if (done_ && reports()) {
    stop_group(nullptr);
  } else {
    follow_the_others();
  }
  int code = wait_for_verdict(rank_group_);
  if (code == EX_OK && !done_) {
    if (reports()) {
      BENCHFS_LOG(kWarn, "stopped before the benchmark was done; there are no results");
    }
    code = EX_TEMPFAIL;
  }
  return code;
}

void Caller::run_benchmark() {
  callers_.while_waiting([this] { look(); });
  std::thread benchmark([this] {
    Status worked = work();
    if (!worked && !parted_) {
      leave(worked.error());
    }
    main_thread_.close();
  });
  do {
    std::array<pollfd, 2> fds{{{signal_fd_, POLLIN, 0}, {main_thread_.fd(), POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), kTickMs);
    look();
  } while (main_thread_.serve());
  benchmark.join();
  callers_.while_waiting(nullptr);
}

void Caller::look() {
  signalfd_siginfo info{};
  while (::read(signal_fd_, &info, sizeof info) == sizeof info) {
    on_signal();
  }
  if (reports() && limit_.passed() && !leaves()) {
    daemon::Failure failure{
        EX_TEMPFAIL,
        fmt::format("not done after {} s; raise --limit to give it more time", order_.limit_s)};
    stop_group(&failure);
  }
  if (rank_group_.poll()) {
    ends_early_ = true;
  }
}

void Caller::on_signal() {
  if (++signals_ > 1) {
    ranks_.abort(EX_TEMPFAIL);
  }
  stop_group(nullptr);
}

void Caller::stop_group(const daemon::Failure* failure) {
  rank_group_.on_stopping(failure);
  ends_early_ = true;
}

// A caller that has a reason to stop reports it first.
void Caller::follow_the_others() {
  Deadline deadline = Deadline::after(kFollow);
  while (!rank_group_.poll() && !deadline.passed()) {
    look();
    pause_briefly();
  }
}

std::optional<Nanos> Caller::ask_rank_0() {
  Deadline deadline = Deadline::after(kAnswer);
  rank_group_.ask();
  std::optional<Nanos> answer;
  while (!(answer = rank_group_.take_answer()) && !leaves() && !deadline.passed()) {
    look();
    pause_briefly();
  }
  return answer;
}

// --- The benchmark's thread ----------------------------------------------------------------------

Status Caller::work() {
  json hello;
  BENCHFS_TRY(std::unique_ptr<client::Client> client,
              bench::connect_timed([this](auto) { return connect(); }, hello));
  client_ = client.get();
  json shards = reports() ? bench::describe_shards(*client) : json();
  BENCHFS_TRY(std::vector<std::string> hellos, meet(hello.dump(), soon()));
  if (reports()) {
    BENCHFS_TRY_VOID(describe(hellos, shards));
  }
  BENCHFS_TRY_VOID(measure(*client));
  if (reports()) {
    report_.registry = bench::registry_between(
        report_.registry, bench::registry_totals(bench::describe_shards(*client)));
  }
  client.reset();
  BENCHFS_TRY_VOID(meet("", soon()));
  conclude();
  return {};
}

Status Caller::measure(client::Client& client) {
  bench::Worker worker(*this,
                       client,
                       static_cast<std::uint32_t>(callers_.rank()),
                       static_cast<std::uint32_t>(callers_.size()));
  return bench::run_rpc(order_.config, worker, order_.baseline);
}

Result<std::unique_ptr<client::Client>> Caller::connect() const {
  client::Options options;
  options.registry_dir = cluster_.registry_dir;
  options.run_id = cluster_.run_id;
  options.network.devices = cluster_.devices;
  BENCHFS_TRY_VOID(rpc::apply_environment(options.pool.transport));
  return client::Client::connect(std::move(options));
}

Result<std::vector<std::string>> Caller::meet(const std::string& text, Deadline deadline) {
  std::vector<std::string> texts;
  main_thread_.call([&] {
    std::int64_t choice = leaves() ? kLeave : kGoOn;
    std::int64_t size = static_cast<std::int64_t>(text.size());
    std::vector<Ranks::Pair> all = callers_.gather({choice, size}, deadline);
    parted_ = std::ranges::any_of(all, [](const Ranks::Pair& said) { return said[0] != kGoOn; });
    if (!parted_ && all.front()[1] > 0) {
      texts = callers_.collect(text, deadline);
    }
  });
  if (parted_) {
    return fail(Errc::kCancelled, "the benchmark ends early");
  }
  return texts;
}

void Caller::leave(const Error& error) {
  if (!leaves()) {
    fail_with({EX_UNAVAILABLE, error.message()});
  }
  main_thread_.call([this] {
    if (failure_) {
      stop_group(&*failure_);
    }
    callers_.gather({kLeave, 0}, end_of_phase());
  });
  parted_ = true;
}

void Caller::conclude() {
  done_ = true;
  if (!reports()) {
    return;
  }
  collector_.finish();
  Status published = bench::publish(report_, order_.files);
  if (!published) {
    fail_with({EX_CANTCREAT, published.error().message()});
  } else if (!collector_.mismatch().empty()) {
    fail_with({EX_DATAERR, collector_.mismatch()});
  }
}

void Caller::fail_with(daemon::Failure failure) {
  failure_ = std::move(failure);
}

Deadline Caller::soon() const {
  return Deadline::after(std::min(kBehind, limit_.remaining() + kAfterLimit));
}

Deadline Caller::end_of_phase() const {
  Nanos rest = limit_.remaining() + kAfterLimit;
  bool is_timed = order_.config.operations == 0;
  return Deadline::after(is_timed ? std::min(nanos_of(order_.config.seconds) + kBehind, rest)
                                  : rest);
}

Status Caller::begin(const Phase& phase) {
  if (reports()) {
    cpu_before_ = server_cpu_s(phase);
  }
  BENCHFS_TRY_VOID(meet("", soon()));
  // All callers have arrived; the barrier lets them begin at the same moment.
  main_thread_.call([this] { callers_.barrier(soon()); });
  phase_began_ = mono_now();
  return {};
}

Status Caller::finish(const Phase& phase, const Measurement& measurement) {
  std::string own = bench::to_message(relative_to(phase_began_, measurement)).dump();
  BENCHFS_TRY(std::vector<std::string> texts, meet(own, end_of_phase()));
  if (!reports()) {
    return {};
  }
  std::optional<double> cpu_after = server_cpu_s(phase);
  Measurement total;
  for (const std::string& text : texts) {
    BENCHFS_TRY(Measurement part, bench::measurement_from(json::parse(text, nullptr, false)));
    total.merge(part);
  }
  bool known = cpu_before_ && cpu_after;
  collector_.add(
      phase, std::move(total), known ? std::optional(*cpu_after - *cpu_before_) : std::nullopt);
  return {};
}

// The CPU time of the threads that serve `phase`, without MPI and the rest of their processes.
std::optional<double> Caller::server_cpu_s(const Phase& phase) {
  if (!phase.reported) {
    return std::nullopt;
  }
  if (is_baseline(phase)) {
    std::optional<Nanos> time;
    main_thread_.call([&] { time = ask_rank_0(); });
    return time ? std::optional(std::chrono::duration<double>(*time).count()) : std::nullopt;
  }
  double total = 0;
  for (const json& shard : bench::describe_shards(*client_)) {
    if (!shard.contains("cpu_s")) {
      return std::nullopt;
    }
    total += shard.at("cpu_s").get<double>();
  }
  return total;
}

Status Caller::describe(const std::vector<std::string>& hellos, const json& shards) {
  report_.benchmark = "rpc";
  report_.command = fmt::format("mpirun -np {} {}", ranks_.size(), bench::command_line());
  report_.system = bench::describe_system();
  report_.system.update(order_.placement);
  report_.config = nlohmann::ordered_json(json(order_.config));
  report_.config["clients"] = callers_.size();
  std::vector<json> parsed;
  for (const std::string& hello : hellos) {
    parsed.push_back(json::parse(hello, nullptr, false));
  }
  bench::describe_cluster(report_.system, shards);
  bench::describe_clients(report_.system, parsed);
  report_.registry = bench::registry_totals(shards);
  return {};
}

}  // namespace benchfs::mpi
