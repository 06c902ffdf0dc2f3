// benchfs stats: shows the counters and latencies of every server.
#include <cmath>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <utility>

#include "args/command.h"
#include "cli/cluster/prometheus.h"
#include "cli/cluster/stats_table.h"
#include "cli/cluster/survey.h"
#include "cli/command.h"

namespace benchfs::cli {
namespace {

constexpr std::string_view kName = "stats";

struct StatsOptions {
  bool as_json = false;
  bool as_prometheus = false;
  std::string server;
  double interval_s = 0;  // 0: since the servers started
};

void pause(double seconds) {
  timespec left{static_cast<std::time_t>(seconds),
                static_cast<long>((seconds - std::floor(seconds)) * 1e9)};
  nanosleep(&left, nullptr);
}

// Asks once, or with an interval twice and returns the differences. A server that restarted in
// between shows its counters since the restart.
Result<std::vector<ServerStatus>> ask(const Context& context,
                                      const cluster::ServerList& list,
                                      const StatsOptions& options) {
  Question question{.server = options.server};
  BENCHFS_TRY(std::vector<ServerStatus> servers, survey(context, list, question));
  if (options.interval_s <= 0) {
    return servers;
  }
  std::vector<ServerStatus> before = std::move(servers);
  pause(options.interval_s);
  BENCHFS_TRY(servers, survey(context, list, question));
  for (std::size_t i = 0; i < servers.size(); ++i) {
    bool is_same = before[i].is_alive() && servers[i].is_alive() &&
                   number(before[i].answer, "/uptime_s") <= number(servers[i].answer, "/uptime_s");
    if (is_same) {
      servers[i].answer = difference(before[i].answer, servers[i].answer);
    }
  }
  return servers;
}

int run_stats(const Context& context, const StatsOptions& options) {
  Result<cluster::ServerList> list = read_list(context, kName);
  if (!list) {
    return report(kName, "", list.error());
  }
  Result<std::vector<ServerStatus>> servers = ask(context, *list, options);
  if (!servers) {
    return report(kName, "", servers.error());
  }
  std::string text;
  if (options.as_prometheus) {
    text = prometheus_text(*servers);
  } else if (options.as_json) {
    text = survey_json(context, *list, *servers, "stats").dump(2) + "\n";
  } else {
    for (const ServerStatus& status : *servers) {
      text += text.empty() ? "" : "\n";
      text += stats_table(status, options.interval_s > 0);
    }
  }
  std::fputs(text.c_str(), stdout);  // the reader may stop early
  return exit_code_of(*servers);
}

}  // namespace

void add_stats_command(args::Command& app, Context& context) {
  auto options = std::make_shared<StatsOptions>();
  args::Command* stats = app.add_subcommand("stats", "Show counters and latencies of the servers");
  args::Option* as_json = stats->add_flag("--json", options->as_json, "Print one JSON object");
  args::Option* as_prometheus =
      stats
          ->add_flag("--prometheus",
                     options->as_prometheus,
                     "Print the text format of Prometheus, for a scraper or node_exporter's "
                     "textfile collector")
          ->excludes(as_json);
  stats->add_option("--server", options->server, "Show only this server, given by its node id")
      ->type_name("NODE");
  stats
      ->add_option("--interval",
                   options->interval_s,
                   "Watch for this long and show what happened in that time, with rates")
      ->type_name("SECONDS")
      ->range(0.1, 3600.0)
      ->excludes(as_prometheus);
  stats->footer(
      "Times are p50 / p99 of each stage of a request at the server: decoded (message seen to "
      "request made),\nqueued (to its handler's begin), served (to its reply), sent (until UCX has "
      "the reply); buffer wait is\nthe part of served spent waiting for an I/O buffer, for the "
      "requests that had to wait. Of frequent fast\noperations, one in 16 to 256 is timed. Errors "
      "come from the file system (ENOENT, …), failures from the RPC\nlayer (deadline, malformed, "
      "…). docs/operations.md explains the numbers. The exit codes are those of status.\n\n"
      "  benchfs stats --server node_2 --interval 5     # what this server does right now\n"
      "  benchfs stats --json | jq '.servers[].stats.rpc'");
  stats->callback([&context, options] {
    try {
      context.exit_code = run_stats(context, *options);
    } catch (const nlohmann::json::exception& error) {  // a server of another version
      context.exit_code = report(kName, "an answer that is not understood", error.what());
    }
  });
}

}  // namespace benchfs::cli
