// benchfs set: changes a setting of running servers.
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "args/command.h"
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

// The number in "max_clients=N", or nothing for any other text.
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
  Question question{
      .subject = Question::Subject::kMaxClients, .number = max_clients, .server = options.server};
  Result<std::vector<ServerStatus>> servers = survey(context, *list, question);
  if (!servers) {
    return report(kName, "", servers.error().context);
  }
  for (const ServerStatus& status : *servers) {
    const std::string& node = status.server.node_id;
    if (status.is_alive()) {
      fmt::print(
          "{}: room for {} {}\n", node, max_clients, max_clients == 1 ? "client" : "clients");
    } else {
      report(kName, node, fmt::format("not set: {}: {}", to_string(status.state), status.problem));
    }
  }
  return exit_code_of(*servers);
}

}  // namespace

void add_set_command(args::Command& app, Context& context) {
  auto options = std::make_shared<SetOptions>();
  args::Command* set = app.add_subcommand("set", "Change a setting of running servers");
  set->add_option("SETTING", options->setting, "max_clients=N: clients registered at once")
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
      "The value lasts until the server stops; the configuration file has the initial value.\n"
      "When there are more clients than places, those idle longest are evicted, busy ones once "
      "their\n"
      "requests are answered. Evicted clients come back when they need the server, and take "
      "turns.\n"
      "Servers that do not answer within --timeout (0.4 s) are named; the exit codes are those of "
      "status.\n\n"
      "  benchfs set max_clients=4000\n"
      "  benchfs stats          # registry: clients, evictions, hit rate");
  set->callback([&context, options] {
    context.exit_code = run_set(context, *options, *max_clients_of(options->setting));
  });
}

}  // namespace benchfs::cli
