// benchfs set: changes a setting of servers that run.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "cli/cluster/survey.h"
#include "cli/command.h"
#include "wire/limits.h"

namespace benchfs::cli {
namespace {

constexpr std::string_view kName = "set";

struct SetOptions {
  std::string setting;  // "max_clients=N"
  std::string server;
};

// The number of "max_clients=N", nothing when it is anything else.
std::optional<std::uint32_t> max_clients_of(std::string_view setting) {
  constexpr std::string_view kPrefix = "max_clients=";
  if (!setting.starts_with(kPrefix)) {
    return std::nullopt;
  }
  setting.remove_prefix(kPrefix.size());
  std::uint32_t value = 0;
  auto [end, error] = std::from_chars(setting.data(), setting.data() + setting.size(), value);
  bool is_right = error == std::errc() && end == setting.data() + setting.size() && value > 0 &&
                  value <= wire::kMaxClients;
  return is_right ? std::optional(value) : std::nullopt;
}

int run_set(const Context& context, const SetOptions& options, std::uint32_t max_clients) {
  Result<cluster::ServerList> list = read_list(context, kName);
  if (!list) {
    return report(kName, "", list.error());
  }
  Result<std::unique_ptr<client::Client>> client = context.connect();
  if (!client) {
    return report(kName, "", client.error());
  }
  int exit_code = kExitOk;
  bool is_known = false;
  for (std::uint32_t index = 0; index < list->servers.size(); ++index) {
    const std::string& node = list->servers[index].node_id;
    if (!options.server.empty() && node != options.server) {
      continue;
    }
    is_known = true;
    Status changed =
        (*client)->run((*client)->fs().set_capacity(wire::ShardId{index}, max_clients));
    if (changed) {
      fmt::print("{}: room for {} clients\n", node, max_clients);
    } else {
      exit_code = report(kName, node, changed.error());
    }
  }
  return is_known ? exit_code
                  : report(kName,
                           options.server,
                           fmt::format("no such server; the list has {} to {}",
                                       list->servers.front().node_id,
                                       list->servers.back().node_id));
}

}  // namespace

void add_set_command(CLI::App& app, Context& context) {
  auto options = std::make_shared<SetOptions>();
  CLI::App* set = app.add_subcommand("set", "Change a setting of servers that run");
  set->add_option("SETTING", options->setting, "max_clients=N: clients registered at a time")
      ->required()
      ->check([](const std::string& text) {
        return max_clients_of(text)
                   ? std::string()
                   : fmt::format(
                         "{}: must be max_clients=N, N from 1 to {}", text, wire::kMaxClients);
      });
  set->add_option("--server", options->server, "Only this server, by its node id")
      ->type_name("NODE");
  set->footer(
      "Lasts until the server stops; the configuration file says what it starts with. When there "
      "is "
      "less\nroom than clients, those that were quiet longest leave, busy ones once their requests "
      "are answered;\nthey come back by themselves, and then clients take turns.\n\n"
      "  benchfs set max_clients=4000\n"
      "  benchfs stats          # registry: clients, evictions, hit rate");
  set->callback([&context, options] {
    context.exit_code = run_set(context, *options, *max_clients_of(options->setting));
  });
}

}  // namespace benchfs::cli
