// benchfs bench rpc|io|md|connect, and the hidden commands that its processes run.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "args/command.h"
#include "base/random.h"
#include "bench/baseline_process.h"
#include "bench/connect_bench.h"
#include "bench/io_bench.h"
#include "bench/md_bench.h"
#include "bench/publish.h"
#include "bench/run.h"
#include "bench/worker.h"
#include "cli/bench_interrupt.h"
#include "cli/command.h"
#include "cli/connect_room.h"
#include "cli/files/session.h"
#include "cli/rpc_options.h"

namespace benchfs::cli {
namespace {

constexpr std::uint64_t kHardRequestBytes = 47008;  // as in ior-hard
constexpr std::uint32_t kHardFileBytes = 3901;      // as in mdtest-hard
constexpr std::uint32_t kMaxSmallFileBytes = 16U << 20;
// The default of bench connect, which fits into a cluster with default settings.
constexpr std::uint32_t kIdleClients = 900;

template <typename Config>
struct Arguments {
  bench::RunOptions run;
  Config config;
};

void add_clients(args::Command& command, std::uint32_t& clients) {
  command.add_option("-c,--clients", clients, "Client processes, which start together")
      ->range(1, 4096)
      ->capture_default_str();
}

void add_run_options(args::Command& command, bench::RunOptions& run) {
  command.add_option("--json", run.json_path, "Write the results to FILE; - is standard output")
      ->type_name("FILE");
  command.add_option("--limit", run.limit_s, "Kill the clients after this long")
      ->type_name("SECONDS")
      ->range(1.0, 86400.0)
      ->capture_default_str();
  command
      .add_option_function(
          "--transport",
          [](const std::string& way) { ::setenv("BENCHFS_TRANSPORT", way.c_str(), 1); },
          "How the clients reach servers of this node: through the node door, over UCX, or auto")
      ->type_name("WAY")
      ->one_of({"auto", "node", "ucx"});
}

void add_depth(args::Command& command, std::uint32_t& depth) {
  command.add_option("-d,--depth", depth, "Operations outstanding per client")
      ->range(1, 1024)
      ->capture_default_str();
}

// A fresh name, so that a benchmark can be repeated while an earlier run's files still exist.
std::string fresh_directory(const char* benchmark) {
  return fmt::format("/bench-{}-{:016x}", benchmark, random_id());
}

template <typename Config>
std::string directory_of(const Config& config) {
  if constexpr (requires { config.directory; }) {
    return config.directory;
  }
  return {};
}

template <typename Config>
void run(Arguments<Config>& arguments, Context& context) {
  bench::RunOptions& run = arguments.run;
  run.config = nlohmann::ordered_json(nlohmann::json(arguments.config));
  run.registry_dir = context.registry_dir;
  run.arguments = {"--registry-dir", context.registry_dir};
  if (context.timeout_s) {
    run.arguments.insert(run.arguments.end(), {"--timeout", fmt::format("{}", *context.timeout_s)});
  }
  BenchInterrupt interrupt;
  Status done = bench::run_and_report(run);
  if (std::string directory = directory_of(arguments.config); !done && !directory.empty()) {
    remove_bench_files(context, "bench " + run.benchmark, directory);
  }
  if (interrupt.came()) {
    report("bench " + run.benchmark, "", "interrupted");
    context.exit_code = kExitInterrupted;
  } else if (!done) {
    // Other errors than those of our own system calls are whole sentences from the clients.
    const Error& error = done.error();
    context.exit_code = report("bench " + run.benchmark,
                               "",
                               error.code == Errc::kSystem ? error.message() : error.context);
  }
}

constexpr const char* kRpcFooter =
    "Examples\n"
    "  benchfs bench rpc                                        8 bytes, one client, one at a "
    "time\n"
    "  benchfs bench rpc --path all --html report.html          the paths side by side, as a page\n"
    "  benchfs bench rpc --path all -p 0,64,4K,64K,1M,4M --direction send,receive --seconds 0.3\n"
    "  benchfs bench rpc --path persistent,ucx-floor --depth 1,4,16,64 --clients 1,4\n"
    "  benchfs bench rpc --path node,persistent -p 8,4K,1M      the node door beside UCX\n"
    "  benchfs bench rpc --clients 4 --depth 16 --servers one   message rate of one shard\n"
    "  benchfs bench rpc --json result.json";

void add_rpc(args::Command& bench, Context& context) {
  auto arguments = std::make_shared<Arguments<bench::RpcConfig>>();
  auto options = std::make_shared<RpcOptions>();
  arguments->run.benchmark = "rpc";
  args::Command* rpc = bench.add_subcommand("rpc", "Round trips: pings whose payload is checked");
  options->client_counts = {1};
  options->define(*rpc, "Client processes that ping, comma-separated");
  add_run_options(*rpc, arguments->run);
  rpc->add_option("--html", arguments->run.html_path, "Write the report as one page to FILE")
      ->type_name("FILE");
  rpc->footer(options->about_paths("in a server process that the benchmark starts on this host") +
              kRpcFooter);
  rpc->callback([arguments, options, &context] {
    arguments->config = options->settle();
    if (std::ranges::count(arguments->config.paths, "node") > 0) {
      ::setenv("BENCHFS_TRANSPORT", "ucx", 0);  // beside it, persistent is over the network
    }
    arguments->run.clients = std::ranges::max(arguments->config.client_counts);
    run(*arguments, context);
  });
}

void add_io(args::Command& bench, Context& context) {
  auto arguments = std::make_shared<Arguments<bench::IoConfig>>();
  arguments->run.benchmark = "io";
  bench::IoConfig& config = arguments->config;
  config.seed = 0;
  args::Command* io =
      bench.add_subcommand("io", "Large files: write, read, then compare every byte");
  add_clients(*io, arguments->run.clients);
  add_run_options(*io, arguments->run);
  add_depth(*io, config.depth);
  io->add_option("-s,--size", config.size_bytes, "Bytes per client (256M)")
      ->as_size()
      ->type_name("BYTES")
      ->capture_default_str();
  io->add_option("--rewrites",
                 config.rewrites,
                 "Rewrite the data this many times, with other data: the speed without the\ncost "
                 "of memory or disk space that was never used before")
      ->range(0, 1000000)
      ->capture_default_str();
  auto* request = io->add_option("-r,--request", config.request_bytes, "Bytes per request (4M)")
                      ->as_size()
                      ->type_name("BYTES")
                      ->capture_default_str();
  auto* shared = io->add_flag("--shared", config.shared, "One file, a segment per client");
  io->add_flag_callback(
        "--file-per-process", [&config] { config.shared = false; }, "One file per client (default)")
      ->excludes(shared);
  io->add_flag("--random", config.random, "Requests in random order");
  io->add_flag("--fsync", config.fsync, "End the write phase with fsync");
  io->add_flag_callback(
        "--hard",
        [&config] {
          config.request_bytes = kHardRequestBytes;
          config.shared = true;
          config.interleaved = true;
        },
        "As ior-hard: 47008-byte requests of all clients interleaved in one file")
      ->excludes(request)
      ->excludes(shared);
  io->add_option("--seed", config.seed, "Seed of data and order; default: a random one");
  io->footer(
      "Each client reads the data of its neighbour. The timed read checks one word of every "
      "page;\nafterwards every byte is compared.\n\n"
      "Examples\n"
      "  benchfs bench io --size 1G                     sequential, 4 MiB requests, one client\n"
      "  benchfs bench io --clients 4 --size 256M --shared --depth 4\n"
      "  benchfs bench io --clients 4 --hard --size 64M --fsync\n"
      "  benchfs bench io --request 4K --size 64M --random --depth 16");
  io->callback([arguments, &context] {
    bench::IoConfig& chosen = arguments->config;
    if (chosen.request_bytes == 0 || chosen.request_bytes > (1U << 30)) {
      args::refuse("--request", "must be from 1 byte to 1 GiB");
    }
    chosen.seed = chosen.seed == 0 ? random_id() : chosen.seed;
    chosen.directory = fresh_directory("io");
    run(*arguments, context);
  });
}

void add_md(args::Command& bench, Context& context) {
  auto arguments = std::make_shared<Arguments<bench::MdConfig>>();
  arguments->run.benchmark = "md";
  bench::MdConfig& config = arguments->config;
  args::Command* md =
      bench.add_subcommand("md", "Names and small files: create, stat, open, read, list, unlink");
  add_clients(*md, arguments->run.clients);
  add_run_options(*md, arguments->run);
  add_depth(*md, config.depth);
  md->add_option("-n,--files", config.files, "Files per client, and as many directories")
      ->range(std::uint64_t{1}, std::uint64_t{1} << 32)
      ->capture_default_str();
  auto* shared = md->add_flag("--shared-dir", config.shared_dir, "All clients in one directory");
  auto* bytes =
      md->add_option("-b,--bytes", config.bytes, "Bytes written to each file, and read back")
          ->as_size()
          ->range(std::uint32_t{0}, kMaxSmallFileBytes)
          ->capture_default_str();
  md->add_flag_callback(
        "--hard",
        [&config] {
          config.bytes = kHardFileBytes;
          config.shared_dir = true;
        },
        "As mdtest-hard: files of 3901 bytes from all clients in one directory")
      ->excludes(shared)
      ->excludes(bytes);
  md->footer(
      "create is exclusive. Each client looks up, opens and reads the files of its neighbour. "
      "readdir\ncounts entries; its latency is that of a page of 1000. Everything is verified: the "
      "result of\nstat, every byte, that exactly the created names are listed, and that nothing is "
      "left. With one\nclient, requests/op counts the requests that all servers received, "
      "including those from servers.\n\n"
      "Examples\n"
      "  benchfs bench md\n"
      "  benchfs bench md --clients 4 --files 20000 --shared-dir --depth 8\n"
      "  benchfs bench md --clients 2 --files 5000 --hard");
  md->callback([arguments, &context] {
    arguments->config.directory = fresh_directory("md");
    arguments->config.seed = random_id();
    run(*arguments, context);
  });
}

void add_connect(args::Command& bench, Context& context) {
  struct Chosen {
    bench::ConnectConfig config;
    bench::ReportFiles files;
  };
  auto chosen = std::make_shared<Chosen>();
  bench::ConnectConfig& config = chosen->config;
  config.clients = kIdleClients;
  args::Command* connect = bench.add_subcommand("connect", "Clients that register and stay idle");
  connect->add_option("-c,--clients", config.clients, "Clients, all in this process")
      ->range(1, 100000)
      ->capture_default_str();
  connect->add_option("--at-once", config.at_once, "Clients that connect at the same time")
      ->range(1, 1024)
      ->capture_default_str();
  connect->add_option("--hold", config.hold_s, "How long the clients stay idle")
      ->type_name("SECONDS")
      ->range(0.0, 86400.0)
      ->capture_default_str();
  connect->add_option("--limit", config.limit_s, "Give up after this long")
      ->type_name("SECONDS")
      ->range(1.0, 86400.0)
      ->capture_default_str();
  connect->add_flag(
      "!--no-compare", config.compare, "Skip the reference measurement with a bare UCX listener");
  connect->add_option("--json", chosen->files.json, "Write the results to FILE; - is stdout")
      ->type_name("FILE");
  connect->footer(
      "Shows what a registered client costs the first shard: time, memory, and processor time "
      "while\nidle. Each client takes one or two descriptors on both sides (ulimit -n), a place in "
      "the\nregistry (1000 by default: benchfs set max_clients=N), and one of UCX's "
      "connections\n(16384: UCX_ASYNC_MAX_EVENTS). The command checks these limits before it "
      "starts.\n\n"
      "Examples\n"
      "  benchfs bench connect\n"
      "  benchfs set max_clients=2000 && benchfs bench connect --clients 1500 --hold 60");
  connect->callback([chosen, &context] {
    chosen->config.registry_dir = context.registry_dir;
    auto observer = context.connect();
    if (!observer) {
      context.exit_code = report("bench connect", "", observer.error());
      return;
    }
    if (Status room = check_connect_room(chosen->config.clients, **observer); !room) {
      context.exit_code = report("bench connect", "", room.error().context);
      return;
    }
    Result<bench::Report> result = bench::run_connect(chosen->config, **observer);
    Status done =
        result ? bench::publish(*result, chosen->files) : Status(std::unexpected(result.error()));
    if (!done) {
      context.exit_code = report("bench connect", "", done.error());
    }
  });
}

}  // namespace

void add_bench_command(args::Command& app, Context& context) {
  args::Command* bench =
      app.add_subcommand("bench", "Measure round trips, file data, metadata or idle clients");
  bench->require_subcommand(1);
  bench->fallthrough();
  add_rpc(*bench, context);
  add_io(*bench, context);
  add_md(*bench, context);
  add_connect(*bench, context);
  args::Command* worker = app.add_subcommand("bench-worker", "A client process of bench");
  worker->group("");  // hidden
  worker->callback([&context] {
    context.exit_code = bench::run_worker(
        [&context](std::optional<rpc::Transport> only) { return context.connect(only); });
  });
  args::Command* baseline =
      app.add_subcommand("bench-baseline", "The server of the baselines of bench");
  baseline->group("");
  baseline->callback([&context] { context.exit_code = bench::run_baseline_process(); });
}

}  // namespace benchfs::cli
