#include "cli/rpc_options.h"

#include <algorithm>

#include "args/command.h"
#include "base/random.h"
#include "wire/ping.h"

namespace benchfs::cli {
namespace {

std::vector<std::string> all_paths(bool has_node_path) {
  std::vector<std::string> paths;
  for (bench::ReplyPath path : bench::kAllPaths) {
    if (has_node_path || path != bench::ReplyPath::kNode) {
      paths.emplace_back(name_of(path));
    }
  }
  return paths;
}

// "all" is every path; every path once, in the order given.
std::vector<std::string> chosen_paths(const std::vector<std::string>& names,
                                      const std::vector<std::string>& all) {
  std::vector<std::string> paths;
  for (const std::string& name : names) {
    for (const std::string& candidate : all) {
      if ((name == "all" || name == candidate) && std::ranges::count(paths, candidate) == 0) {
        paths.push_back(candidate);
      }
    }
  }
  return paths;
}

}  // namespace

std::string RpcOptions::about_paths(const std::string& where) const {
  std::string node =
      has_node_path
          ? "  node          BenchFS through the node door: shared memory of the servers' node. "
            "Beside it,\n                persistent goes over UCX unless --transport says "
            "otherwise\n"
          : "";
  return "Paths by which a reply reaches its client\n"
         "  persistent    BenchFS: the endpoint that was accepted when the client registered\n" +
         node +
         "  reply-ep      UCX's reply endpoint: connected by worker address, flag REPLY\n"
         "  new-endpoint  the server creates an endpoint for each reply and closes it afterwards\n"
         "  ucx-floor     a bare UCX echo on an accepted endpoint: what the network can do\n"
         "The last three are UCX alone, " +
         where +
         ".\n"
         "Paths take turns, --rounds times; values are medians, and the JSON also has the ranges. "
         "Paths\nwhose ranges overlap count as equal. new-endpoint leaks inside UCX, so it is "
         "stopped after few\noperations.\n\n"
         "Columns: latency of one ping; cpu/op in us is also CPU seconds per million pings.\n\n";
}

// Options that say what to measure.
void RpcOptions::define_load(args::Command& app) {
  auto* path = app.add_option("--path", config_.paths, "Reply paths, comma-separated, or all")
                   ->delimiter(',');
  if (has_node_path) {
    path->one_of({"persistent", "node", "reply-ep", "new-endpoint", "ucx-floor", "all"});
  } else {
    path->one_of({"persistent", "reply-ep", "new-endpoint", "ucx-floor", "all"});
  }
  path->capture_default_str();
  app.add_option(
         "-p,--payload", config_.payload_bytes, "Payload sizes, comma-separated, at most 4M")
      ->delimiter(',')
      ->as_size()
      ->range(std::uint64_t{0}, std::uint64_t{wire::kMaxPingBytes})
      ->type_name("BYTES")
      ->capture_default_str();
  app.add_option("--direction",
                 config_.directions,
                 "Direction of the payload: send (with the request), receive, echo (both)")
      ->delimiter(',')
      ->one_of({"send", "receive", "echo"})
      ->capture_default_str();
  app.add_option("-d,--depth", config_.depths, "Pings outstanding per client, comma-separated")
      ->delimiter(',')
      ->range(1, 1024)
      ->capture_default_str();
}

// Options that say how long to measure, and against which baselines.
void RpcOptions::define_conduct(args::Command& app) {
  app.add_option("--servers", servers_, "all: ping every shard in turn; one: ping only the first")
      ->one_of({"all", "one"})
      ->capture_default_str();
  auto* seconds = app.add_option("-s,--seconds", config_.seconds, "Length of each phase and round")
                      ->range(0.01, 3600.0)
                      ->capture_default_str();
  app.add_option("-n,--operations", config_.operations, "Pings per client, phase and round instead")
      ->excludes(seconds);
  config_.rounds = 0;
  app.add_option("--rounds", config_.rounds, "Rounds of each path (5; with one path 1)")
      ->range(1, 1000);
  app.add_option("--warmup", config_.warmup, "Pings before each phase, for at most 0.5 s")
      ->capture_default_str();
}

void RpcOptions::define(args::Command& app, const std::string& clients_help) {
  define_load(app);
  auto* clients =
      app.add_option("-c,--clients", client_counts, clients_help)->delimiter(',')->range(1, 4096);
  if (!client_counts.empty()) {
    clients->capture_default_str();
  }
  define_conduct(app);
}

bench::RpcConfig RpcOptions::settle() {
  config_.paths = chosen_paths(config_.paths, all_paths(has_node_path));
  if (config_.rounds == 0) {
    config_.rounds = config_.paths.size() > 1 ? 5 : 1;
  }
  config_.client_counts = client_counts;
  config_.all_servers = servers_ == "all";
  config_.seed = random_id();
  return config_;
}

}  // namespace benchfs::cli
