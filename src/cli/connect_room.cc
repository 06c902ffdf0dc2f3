#include "cli/connect_room.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "bench/worker.h"

namespace benchfs::cli {
namespace {

constexpr const char* kUcxVariable = "UCX_ASYNC_MAX_EVENTS";
// The value that net/context.cc sets when the environment sets none.
constexpr std::uint64_t kUcxConnections = 16384;
// Connections and descriptors besides those of the clients: workers, listener, observer, files.
constexpr std::uint64_t kUcxReserve = 16;
constexpr std::uint64_t kDescriptorReserve = 64;

std::uint64_t ucx_connections() {
  const char* text = std::getenv(kUcxVariable);
  std::uint64_t value = kUcxConnections;
  if (text != nullptr) {
    std::string_view digits(text);
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
  }
  return value;
}

std::uint64_t descriptors_of(pid_t pid) {
  rlimit limit{};
  bool is_known = pid > 0 && ::prlimit(pid, RLIMIT_NOFILE, nullptr, &limit) == 0;
  return is_known ? limit.rlim_cur : std::numeric_limits<rlim_t>::max();
}

Status check_ucx(std::uint64_t clients) {
  std::uint64_t limit = ucx_connections();
  if (clients + kUcxReserve <= limit) {
    return {};
  }
  return fail(
      Errc::kLimit,
      fmt::format(
          "{} clients: UCX allows {} connections of a process, of which {} are left for clients; "
          "to raise the limit, export {}={} before both 'benchfs up' and this command",
          clients,
          limit,
          limit - std::min(limit, kUcxReserve),
          kUcxVariable,
          clients + kUcxReserve));
}

Status check_registry_room(std::uint64_t clients, const nlohmann::json& shard) {
  nlohmann::json registry = shard.value("registry", nlohmann::json::object());
  std::uint64_t room = registry.value("capacity", std::uint64_t{0});
  std::uint64_t taken = registry.value("clients", std::uint64_t{1});
  if (room == 0 || clients + taken <= room) {
    return {};
  }
  return fail(Errc::kLimit,
              fmt::format("{} clients: the server keeps at most {}, and has {} already, this "
                          "command being one; 'benchfs set max_clients={}' makes room",
                          clients,
                          room,
                          taken,
                          clients + taken));
}

// A client needs one descriptor over shared memory and two over tcp, so one is the minimum.
Status check_descriptors(std::uint64_t clients, pid_t pid, std::string_view whose) {
  std::uint64_t limit = descriptors_of(pid);
  if (clients + kDescriptorReserve <= limit) {
    return {};
  }
  return fail(Errc::kLimit,
              fmt::format("{} clients: {} may open {} files, and each client takes one or two; to "
                          "raise the limit, run 'ulimit -n {}' before it starts",
                          clients,
                          whose,
                          limit,
                          2 * clients + kDescriptorReserve));
}

}  // namespace

Status check_connect_room(std::uint32_t clients, client::Client& observer) {
  BENCHFS_TRY_VOID(check_ucx(clients));
  nlohmann::json shards = bench::describe_shards(observer);
  nlohmann::json first = shards.empty() ? nlohmann::json::object() : shards.front();
  BENCHFS_TRY_VOID(check_registry_room(clients, first));
  BENCHFS_TRY_VOID(check_descriptors(clients, getpid(), "this command"));
  return check_descriptors(clients, first.value("pid", pid_t{0}), "the server");
}

}  // namespace benchfs::cli
