// benchfs status: the state of every server of the list, and the requests that wait there.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "args/command.h"
#include "cli/cluster/in_flight.h"
#include "cli/cluster/survey.h"
#include "cli/command.h"
#include "cli/files/format.h"

namespace benchfs::cli {
namespace {

using nlohmann::json;

constexpr std::string_view kName = "status";
constexpr std::uint32_t kMaxLimit = 10'000;

struct StatusOptions {
  bool as_json = false;
  bool in_flight = false;
  std::uint32_t limit = 100;
};

std::string bytes_text(const json& stats, const char* pointer) {
  return format_bytes(static_cast<std::uint64_t>(number(stats, pointer)));
}

// How many of the clients came through the node door.
std::string door_text(const json& stats) {
  return stats.value(json::json_pointer("/door/open"), false)
             ? fmt::format("{}", number(stats, "/registry/by_door"))
             : "closed";
}

std::string status_table(std::span<const ServerStatus> servers) {
  constexpr std::string_view kRow =
      "{:<10} {:<21} {:>7} {:<6} {:>12} {:>10} {:>7} {:>7} {:>9} {:>10} {:>9} {}\n";
  std::string text;
  text += fmt::format(kRow,
                      "SERVER",
                      "ADDRESS",
                      "PROCESS",
                      "STATE",
                      "UPTIME",
                      "MEMORY",
                      "CLIENTS",
                      "BY DOOR",
                      "FORWARDED",
                      "REQUESTS",
                      "INODES",
                      "SPACE");
  for (const ServerStatus& status : servers) {
    const std::string pid = status.pid == 0 ? "-" : fmt::to_string(status.pid);
    if (!status.is_alive()) {
      text += fmt::format("{:<10} {:<21} {:>7} {:<6} {}\n",
                          status.server.node_id,
                          status.server.address(),
                          pid,
                          to_string(status.state),
                          status.problem);
      continue;
    }
    const json& stats = status.answer;
    text += fmt::format(kRow,
                        status.server.node_id,
                        status.server.address(),
                        pid,
                        "alive",
                        human_time(number(stats, "/uptime_s")),
                        bytes_text(stats, "/memory_bytes"),
                        number(stats, "/registry/clients"),
                        door_text(stats),
                        number(stats, "/registry/forwarded"),
                        number(stats, "/rpc/requests"),
                        number(stats, "/metadata/inodes"),
                        fmt::format("{} of {} free",
                                    bytes_text(stats, "/storage/free_bytes"),
                                    bytes_text(stats, "/storage/total_bytes")));
  }
  return text;
}

// Remarks for which the table has no column.
std::string status_remarks(std::span<const ServerStatus> servers) {
  std::string text;
  for (const ServerStatus& status : servers) {
    const std::string& node = status.server.node_id;
    if (was_restarted(status)) {
      text += fmt::format(
          "{} was restarted {} ago and lost its contents: its names are missing from listings, and "
          "reading files with data on it fails (Input/output error)\n",
          node,
          human_time(number(status.answer, "/uptime_s")));
    }
    if (std::string owed = status.is_alive() ? owed_text(status.answer) : ""; !owed.empty()) {
      text += fmt::format("{} owes: {}\n", node, owed);
    }
    if (std::string why = status.is_alive() ? no_door_text(status.answer) : ""; !why.empty()) {
      text += fmt::format("{} has clients over the network: {}\n", node, why);
    }
  }
  return text;
}

void print_in_flight(const Context& context,
                     const cluster::ServerList& list,
                     std::span<const ServerStatus> servers,
                     const StatusOptions& options) {
  InFlight in_flight = merge_requests(servers, options.limit);
  if (!options.as_json) {
    std::fputs(in_flight_table(in_flight).c_str(), stdout);
    for (const ServerStatus& status : servers) {
      if (!status.is_alive()) {
        report(kName,
               status.server.node_id,
               fmt::format("{}: {}", to_string(status.state), status.problem));
      }
    }
    return;
  }
  json out = survey_json(context, list, servers, "answer");
  for (json& server : out["servers"]) {
    server.erase("answer");
  }
  out["in_flight"] = in_flight.total;
  out["cut"] = in_flight.total - in_flight.requests.size();
  out["requests"] = std::move(in_flight.requests);
  std::puts(out.dump(2).c_str());
}

int run_status(const Context& context, const StatusOptions& options) {
  Result<cluster::ServerList> list = read_list(context, kName);
  if (!list) {
    return report(kName, "", list.error());
  }
  Question question{
      .subject = options.in_flight ? Question::Subject::kRequests : Question::Subject::kCounters,
      .number = options.limit};
  Result<std::vector<ServerStatus>> servers = survey(context, *list, question);
  if (!servers) {
    return report(kName, "", servers.error());
  }
  if (options.in_flight) {
    print_in_flight(context, *list, *servers, options);
  } else if (options.as_json) {
    std::puts(survey_json(context, *list, *servers, "stats").dump(2).c_str());
  } else {
    std::fputs(status_table(*servers).c_str(), stdout);
    std::fputs(status_remarks(*servers).c_str(), stdout);
  }
  int exit_code = exit_code_of(*servers);
  bool is_lossy = std::ranges::any_of(*servers, was_restarted);
  return exit_code == kExitOk && is_lossy ? kExitLost : exit_code;
}

}  // namespace

void add_status_command(args::Command& app, Context& context) {
  auto options = std::make_shared<StatusOptions>();
  args::Command* status =
      app.add_subcommand("status", "Show the state of the servers: alive, silent or dead");
  status->add_flag("--json", options->as_json, "Print one JSON object with everything known");
  args::Option* in_flight =
      status->add_flag("--in-flight",
                       options->in_flight,
                       "List the requests that a server has not answered yet, "
                       "oldest first, with client, age and phase");
  status->add_option("--limit", options->limit, "Requests to list")
      ->needs(in_flight)
      ->range(1U, kMaxLimit)
      ->capture_default_str();
  status->footer(
      "States: alive (answers), silent (does not answer within --timeout, 0.4 s, but its process "
      "exists or is on\nanother host: it is frozen or overloaded, or its network is down), dead "
      "(its process is gone). A server\n'owes' work that it has accepted and still retries, "
      "usually because another server is silent.\n"
      "Exit codes: 0 all are alive, 1 some are dead, or no server list could be read, 3 some are "
      "silent and\nnone is dead, 4 all are alive, but one was restarted and lost its contents.\n\n"
      "Phases: queued (the server has not begun), serving (waits for a disk, a lock or another "
      "server),\nwaiting for a buffer (too many transfers at once), receiving data and sending the "
      "reply (waits for\nthe client). 'benchfs stats' shows counters and latencies.");
  status->callback([&context, options] {
    try {
      context.exit_code = run_status(context, *options);
    } catch (const nlohmann::json::exception& error) {  // a server of another version
      context.exit_code = report(kName, "an answer that is not understood", error.what());
    }
  });
}

}  // namespace benchfs::cli
