// benchfs_rpc_bench: the RPC benchmark as an MPI job. The first half of the ranks serves, each as
// benchfsd_mpi does, the second half calls. Exit codes are those of sysexits.h.
#include <fmt/format.h>
#include <sysexits.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "args/command.h"
#include "base/log.h"
#include "cli/rpc_options.h"
#include "daemon/command_line.h"
#include "daemon/daemon.h"
#include "daemon/daemon_config.h"
#include "mpi/baseline_thread.h"
#include "mpi/caller.h"
#include "mpi/cluster.h"
#include "mpi/program.h"
#include "mpi/rank_group.h"
#include "mpi/ranks.h"
#include "server/config.h"

namespace benchfs::mpi {
namespace {

using nlohmann::json;

constexpr const char* kFooter =
    R"(The number of ranks is even. Each rank of the first half is a daemon with its shards, each
rank of the second half a client. The first calling rank prints the table. The launcher places the
ranks: mapped by node, every node gets servers and clients; mapped by slot, clients and servers get
separate nodes.

  mpirun -np 4 --map-by node --bind-to none --mca pml ob1 --mca btl tcp,vader,self \
         --mca odls_base_sigkill_timeout 4 benchfs_rpc_bench /shared/registry
  … benchfs_rpc_bench /shared/registry --path all --html report.html      compare the paths
  … benchfs_rpc_bench /shared/registry -p 0,64,4K,64K,1M --direction send,receive --json result.json
  … benchfs_rpc_bench /shared/registry --clients 1,2,4,8 --depth 1,16     how the rate grows
  srun -N 4 --ntasks-per-node 2 --mpi=pmix --kill-on-bad-exit benchfs_rpc_bench /shared/registry

As root add --allow-run-as-root; for more ranks than cores add --oversubscribe.
On one machine add --listen 127.0.0.1 --set network.devices=lo.
docs/operations.md explains the flags of mpirun.)";

struct Options {
  daemon::CommandLine cluster;
  cli::RpcOptions load;
  CallerOrder order;
};

void define(args::Command& app, Options& options) {
  options.cluster.define(app, daemon::CommandLine::Launch::kTogether);
  options.load.has_node_path = false;
  options.load.define(app, "Calling ranks that ping, comma-separated (default: all)");
  app.add_option("--limit", options.order.limit_s, "End the job after this long")
      ->type_name("SECONDS")
      ->range(1.0, 86400.0)
      ->capture_default_str();
  app.add_option(
         "--json", options.order.files.json, "Write the results to FILE; - is standard output")
      ->type_name("FILE");
  app.add_option("--html", options.order.files.html, "Write the report as one page to FILE")
      ->type_name("FILE");
  app.footer(options.load.about_paths("in a thread of rank 0: compare\n"
                                      "them with --servers one where several ranks serve") +
             kFooter);
}

// Returns what is wrong with the number of ranks; empty if nothing is.
std::string complaint_about(int ranks, const std::vector<std::uint32_t>& client_counts) {
  if (ranks < 2 || ranks % 2 != 0) {
    return fmt::format(
        "started with {} rank{}; half of them serve and half call, so start an even number, such "
        "as mpirun -np 2",
        ranks,
        ranks == 1 ? "" : "s");
  }
  for (std::uint32_t clients : client_counts) {
    if (clients > static_cast<std::uint32_t>(ranks / 2)) {
      return fmt::format("--clients {}: of {} ranks only {} call", clients, ranks, ranks / 2);
    }
  }
  return "";
}

// One rank's part in the job.
class Job {
 public:
  Job(Ranks& ranks, Options& options)
      : ranks_(ranks),
        options_(options),
        half_(ranks.size() / 2),
        serves_(ranks.rank() < half_),
        part_(ranks.split(serves_ ? 0 : 1)) {}

  int run();

 private:
  int run_cluster(Deadline start_by);
  Outcome<std::int64_t> prepare();
  Status share_order(Deadline start_by);

  Ranks& ranks_;
  Options& options_;
  int half_;
  bool serves_;
  Ranks part_;
  daemon::DaemonConfig cluster_;
  // These exist while all ranks run.
  std::optional<daemon::Daemon> daemon_;
  std::unique_ptr<BaselineThread> baseline_;  // on rank 0
};

int Job::run() {
  // Pings need no files, and log lines should not interrupt the table.
  cluster_.engine = static_cast<std::size_t>(server::Engine::kMemory);
  cluster_.log_level = static_cast<std::size_t>(LogLevel::kWarn);
  if (options_.cluster.print_config()) {
    return print_config(ranks_, options_.cluster, cluster_);
  }
  auto start_by = begin_cluster(ranks_, options_.cluster, serves_, cluster_);
  if (!start_by) {
    return start_by.error();
  }
  int code = run_cluster(*start_by);
  end_cluster(ranks_, cluster_);
  return code;
}

int Job::run_cluster(Deadline start_by) {
  RankGroup rank_group(ranks_);
  if (serves_) {
    daemon_.emplace(cluster_, -1, &rank_group);
  }
  auto prepared = agree(ranks_, prepare(), start_by);
  int code = prepared ? EX_OK : prepared.error();
  if (prepared) {
    Status shared = share_order(start_by);
    if (!shared) {
      BENCHFS_LOG(kError, "{}", shared.error().message());
      ranks_.abort(EX_SOFTWARE);
    }
    if (baseline_ != nullptr) {
      rank_group.answer_with([this] { return baseline_->cpu_time(); });
    }
    code = serves_ ? serve_until_verdict(ranks_, *daemon_, rank_group)
                   : Caller(ranks_, part_, rank_group, cluster_, options_.order).run();
  }
  baseline_.reset();
  daemon_.reset();
  return code;
}

Outcome<std::int64_t> Job::prepare() {
  if (!serves_) {
    Outcome<void> seen = see_registry(cluster_);
    return seen ? Outcome<std::int64_t>{0} : std::unexpected(std::move(seen.error()));
  }
  if (ranks_.rank() == 0 && options_.order.config.needs_baseline()) {
    Result<std::unique_ptr<BaselineThread>> started = BaselineThread::start(cluster_);
    if (!started) {
      return give_up(EX_UNAVAILABLE, started.error().message());
    }
    baseline_ = *std::move(started);
  }
  return prepare_daemon(ranks_, cluster_, *daemon_);
}

// Sends everything that only rank 0 knows to all ranks, and the placement to the reporting caller.
Status Job::share_order(Deadline start_by) {
  json own = {{"seed", options_.order.config.seed}};
  if (baseline_ != nullptr) {
    own["baseline"] = to_message(baseline_->address());
  }
  json order = json::parse(ranks_.share(own.dump(), start_by));
  options_.order.config.seed = order.at("seed");
  if (order.contains("baseline")) {
    BENCHFS_TRY(options_.order.baseline, bench::baseline_address_from(order.at("baseline")));
  }
  std::vector<std::string> hosts = ranks_.collect(ranks_.host(), start_by, half_);
  if (!hosts.empty()) {
    options_.order.placement = {
        {"ranks", ranks_.size()},
        {"serving_hosts", std::vector<std::string>(hosts.begin(), hosts.begin() + half_)},
        {"calling_hosts", std::vector<std::string>(hosts.begin() + half_, hosts.end())}};
  }
  return {};
}

int run_ranks(args::Command& app, Ranks& ranks, Options& options) {
  options.order.config = options.load.settle();
  std::vector<std::uint32_t>& counts = options.order.config.client_counts;
  std::string complaint = complaint_about(ranks.size(), counts);
  if (!complaint.empty()) {
    return complain(app, ranks, complaint);
  }
  if (counts.empty()) {
    counts = {static_cast<std::uint32_t>(ranks.size() / 2)};
  }
  return Job(ranks, options).run();
}

int run(int argc, char** argv) {
  args::Command app(
      "The RPC benchmark as an MPI job: round trips between its ranks, payload checked.",
      "benchfs_rpc_bench");
  app.set_version_flag("--version", "benchfs_rpc_bench " BENCHFS_VERSION);
  Options options;
  define(app, options);
  return run_program(app, argc, argv, [&](Ranks& ranks) { return run_ranks(app, ranks, options); });
}

}  // namespace
}  // namespace benchfs::mpi

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // under ulimit -f writes fail with EFBIG instead
  return benchfs::mpi::run(argc, argv);
}
