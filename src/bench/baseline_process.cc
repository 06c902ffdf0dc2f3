#include "bench/baseline_process.h"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "bench/baseline_server.h"
#include "bench/channel.h"
#include "cluster/server_list_file.h"
#include "net/address.h"
#include "net/interfaces.h"

namespace benchfs::bench {
namespace {

using nlohmann::json;

bool is_on_loopback(const std::string& registry_dir) {
  auto list = cluster::read_server_list(registry_dir, 0);
  return list && std::ranges::all_of(list->servers, [](const cluster::Server& server) {
           auto address = net::make_address(server.ip, server.port);
           return address && address->is_loopback();
         });
}

Status serve(Channel& channel) {
  BENCHFS_TRY(json order, channel.receive(Deadline::after(kInstructionTimeout)));
  BENCHFS_TRY(std::unique_ptr<BaselineServer> server,
              BaselineServer::start(order.at("ip"), order.at("devices")));
  BENCHFS_TRY_VOID(channel.send(to_message(server->address())));
  return server->serve(channel.fd());
}

}  // namespace

Result<BaselineProcess> BaselineProcess::start(const std::string& registry_dir, Deadline deadline) {
  json order = {{"ip", "127.0.0.1"}, {"devices", "lo"}};
  if (!is_on_loopback(registry_dir)) {
    BENCHFS_TRY(order["ip"], net::routable_ip(""));
    order["devices"] = "";
  }
  BENCHFS_TRY(ClientProcesses process,
              ClientProcesses::launch({.clients = 1,
                                       .arguments = {},
                                       .command = "bench-baseline",
                                       .what = "baseline server",
                                       .deadline = deadline}));
  BENCHFS_TRY_VOID(process.send_to(0, order));
  BENCHFS_TRY(std::vector<json> answers, process.gather([] {}));
  BENCHFS_TRY(BaselineAddress address, baseline_address_from(answers.front()));
  return BaselineProcess(std::move(process), std::move(address));
}

Status BaselineProcess::stop() {
  BENCHFS_TRY_VOID(process_.send_to(0, {{"stop", true}}));
  return process_.join();
}

int run_baseline_process() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Channel channel(dup(STDIN_FILENO));
  Status done;
  try {
    done = serve(channel);
  } catch (const json::exception& error) {
    done = fail(Errc::kMalformed, error.what());
  }
  if (!done) {
    (void)channel.send({{"error", done.error().message()}});
    return EXIT_FAILURE;
  }
  return EXIT_SUCCESS;
}

}  // namespace benchfs::bench
