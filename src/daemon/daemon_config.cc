#include "daemon/daemon_config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <bit>
#include <cstdlib>
#include <utility>

#include "base/cpu_list.h"
#include "base/hash.h"
#include "cluster/server_list.h"
#include "net/address.h"
#include "wire/limits.h"

namespace benchfs::daemon {
namespace {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kTiB = kMiB * kMiB;
// Keeps the number of data directories, threads and ports reasonable.
constexpr std::uint64_t kMaxShardsPerDaemon = 256;

const TimeUnit& milliseconds() {
  static const TimeUnit unit{std::chrono::milliseconds(1), "ms"};
  return unit;
}
const TimeUnit& microseconds() {
  static const TimeUnit unit{std::chrono::microseconds(1), "us"};
  return unit;
}

// The setting with one more condition on its value; `check` looks at the stored one.
template <typename Check>
Setting checked(Setting setting, Check check) {
  setting.set = [store = std::move(setting.set), check](const ConfigValue& value) -> Status {
    BENCHFS_TRY_VOID(store(value));
    return check();
  };
  return setting;
}

// The setting, a number, with "auto" in place of 0.
Setting or_auto(Setting setting, std::uint64_t& target) {
  setting.type = "\"auto\" or " + setting.type;
  setting.standard = "\"auto\"";
  setting.set = [store = std::move(setting.set), &target](const ConfigValue& value) -> Status {
    if (value.text == "auto") {
      target = 0;
      return {};
    }
    return store(value);
  };
  setting.get = [print = std::move(setting.get), &target] {
    return target == 0 ? std::string("\"auto\"") : print();
  };
  return setting;
}

Status check_node_id(const std::string& id) {
  Status status = cluster::check_server({.node_id = id, .ip = "127.0.0.1", .port = 1});
  return status ? Status{} : fail(Errc::kConfig, status.error().context);
}

Status check_ip(const std::string& ip) {
  if (!ip.empty() && !net::make_address(ip, 0)) {
    return fail(Errc::kConfig, fmt::format("must be a numeric IPv4 or IPv6 address, not {}", ip));
  }
  return {};
}

Status check_power_of_two(std::uint64_t value) {
  return std::has_single_bit(value) ? Status{} : fail(Errc::kConfig, "must be a power of two");
}

Status check_cpus(const std::string& text) {
  Result<CpuList> cpus = parse_cpu_list(text);
  return cpus ? Status{} : fail(Errc::kConfig, cpus.error().context);
}

void add_places(DaemonConfig& c, std::vector<Setting>& out) {
  out.push_back(checked(
      text_setting({"node", "id", "Name of this daemon, unique in the file system. Required."},
                   c.node_id),
      [&c] { return check_node_id(c.node_id); }));
  out.push_back(number_setting({"node",
                                "shards",
                                "Threads that each serve a part of the file system, as ID.0, ID.1, "
                                "…; use more if one core cannot keep up with the network."},
                               c.shards,
                               1,
                               kMaxShardsPerDaemon,
                               ""));
  out.push_back(checked(text_setting({"node",
                                      "cpus",
                                      "Processors for the shards, which leaves the others to the "
                                      "application; empty: all that the daemon may use."},
                                     c.cpus,
                                     "text, such as \"0-3,8\""),
                        [&c] { return check_cpus(c.cpus); }));

  out.push_back(text_setting(
      {"registry", "dir", "Directory of the server list, the same for all daemons. Required."},
      c.registry_dir));
  out.push_back(number_setting({"registry",
                                "expected_servers",
                                "Shards of the whole file system; 0: only those of this daemon. "
                                "Set it if there are several daemons."},
                               c.expected_servers,
                               0,
                               wire::kMaxShards,
                               ""));
  out.push_back(hex_setting({"registry",
                             "run_id",
                             "Run that this daemon belongs to; empty: the run of the list, or a "
                             "new one. Meant for launchers that start all daemons."},
                            c.run_id,
                            "text of up to 16 hexadecimal digits"));
  out.push_back(time_setting({"registry",
                              "list_timeout_ms",
                              "How long to wait for the other servers to appear in the list; raise "
                              "it if the launcher needs minutes to start them all."},
                             c.list_timeout,
                             1,
                             86'400'000,
                             milliseconds()));
}

void add_network(DaemonConfig& c, std::vector<Setting>& out) {
  out.push_back(checked(
      text_setting(
          {"network",
           "listen",
           "Address to listen on; the node's address in a network that you trust, or :: for IPv6."},
          c.listen_ip,
          "numeric IP address"),
      [&c] {
        return c.listen_ip.empty() ? fail(Errc::kConfig, "must not be empty")
                                   : check_ip(c.listen_ip);
      }));
  out.push_back(number_setting({"network",
                                "port",
                                "Port of the first shard; the others follow. 0: any free ports. "
                                "Set it if a firewall opens only some ports."},
                               c.listen_port,
                               0,
                               65535,
                               ""));
  out.push_back(checked(
      text_setting({"network",
                    "advertise",
                    "Address written to the server list; empty: the listening address, or one that "
                    "is detected. Set it if others reach this node by another address."},
                   c.advertise_ip,
                   "numeric IP address"),
      [&c] { return check_ip(c.advertise_ip); }));
  out.push_back(
      text_setting({"network",
                    "interface",
                    "Interface whose address to advertise when listening on 0.0.0.0; "
                    "empty: that of the default route. Set it on nodes with several networks."},
                   c.interface_name,
                   "text, such as \"eth0\""));
  out.push_back(
      text_setting({"network",
                    "devices",
                    "Network devices that UCX may use; empty: the interface of the "
                    "address, and InfiniBand. Set it to measure one device or to avoid one."},
                   c.devices,
                   "text, such as \"eth0\" or \"mlx5_0:1\""));
  out.push_back(flag_setting({"network",
                              "shared_memory",
                              "Whether UCX may use its shared memory on this node. Turn it on to "
                              "compare it with the node door; a program that is killed while it "
                              "sends over it may stop the daemon."},
                             c.shared_memory));
}

void add_storage(DaemonConfig& c, std::vector<Setting>& out) {
  out.push_back(
      choice_setting({"storage", "engine", "Where file data lives: on a local disk, or in memory."},
                     c.engine,
                     {"file", "memory"}));
  out.push_back(text_setting(
      {"storage",
       "data_dir",
       "File engine: directory on a local disk; empty: one below /tmp/benchfs-UID, or TMPDIR."},
      c.data_dir));
  out.push_back(flag_setting({"storage",
                              "direct_io",
                              "File engine: bypass the page cache if the disk allows it; set false "
                              "for a slow disk and files that fit into memory."},
                             c.direct_io));
  out.push_back(choice_setting({"storage",
                                "disk_io",
                                "File engine: method of disk I/O; auto: io_uring, or threads if "
                                "io_uring is forbidden. Set it to compare both."},
                               c.disk_io,
                               {"auto", "io_uring", "threads"}));
  out.push_back(
      or_auto(size_setting({"storage",
                            "memory_bytes",
                            "Memory engine: limit for the file data of one shard; auto: its share "
                            "of half the memory that machine and cgroup have free at the start. "
                            "Set it to what the application leaves free."},
                           c.memory_bytes,
                           kMiB,
                           kTiB),
              c.memory_bytes));
  out.push_back(checked(
      size_setting(
          {"storage",
           "chunk_bytes",
           "Unit in which files are spread over the shards; a power of two, the same on all "
           "servers. Lower it for many readers of one small file, raise it for long streams."},
          c.chunk_bytes,
          wire::kMinChunkBytes,
          wire::kMaxChunkBytes),
      [&c] { return check_power_of_two(c.chunk_bytes); }));
  out.push_back(checked(
      size_setting({"storage",
                    "buffer_bytes",
                    "Largest single transfer, and size of a transfer buffer; a power of two. "
                    "Lower it to save memory on small nodes."},
                   c.buffer_bytes,
                   64 * kKiB,
                   16 * kMiB),
      [&c] { return check_power_of_two(c.buffer_bytes); }));
  out.push_back(number_setting({"storage",
                                "buffer_count",
                                "Transfer buffers of one shard; raise it when benchfs stats shows "
                                "that transfers wait for them."},
                               c.buffer_count,
                               2,
                               4096,
                               ""));
}

void add_service(DaemonConfig& c, std::vector<Setting>& out) {
  out.push_back(number_setting(
      {"metadata",
       "max_inodes",
       "Limit of files and directories per shard; lower it to protect a small node."},
      c.max_inodes,
      1024,
      std::uint64_t{1} << 32,
      ""));

  out.push_back(
      number_setting({"clients",
                      "max_clients",
                      "Limit of clients per shard; the least recently used is evicted. Raise it "
                      "when benchfs stats shows steady evictions."},
                     c.max_clients,
                     1,
                     1'000'000,
                     ""));
  out.push_back(time_setting({"clients",
                              "turn_ms",
                              "When all places are taken, a busy client keeps its own this long; "
                              "raise it for throughput, lower it for waiting clients."},
                             c.client_turn,
                             0,
                             600'000,
                             milliseconds()));
  out.push_back(size_setting(
      {"clients",
       "window_bytes",
       "Bytes that one client may have in flight at one shard; raise it for long, fast networks."},
      c.window_bytes,
      kMiB,
      16 * 1024 * kMiB));
  out.push_back(
      choice_setting({"clients",
                      "auth",
                      "Proof required to register: secret: the client can read the file secret in "
                      "the registry directory; none: clients of other users can connect, too."},
                     c.auth,
                     {"secret", "none"}));
  out.push_back(number_setting({"clients",
                                "max_unregistered",
                                "Limit of connections per shard that have not registered; raise it "
                                "if thousands of clients start at once."},
                               c.max_unregistered,
                               16,
                               1'000'000,
                               ""));
  out.push_back(time_setting({"clients",
                              "register_timeout_ms",
                              "A connection that does not register is closed after this long; "
                              "raise it if clients are short of processors."},
                             c.register_timeout,
                             100,
                             600'000,
                             milliseconds()));
  out.push_back(time_setting({"clients",
                              "grace_ms",
                              "How long the open files of a lost client are kept for its return; "
                              "raise it if networks fail for minutes."},
                             c.client_grace,
                             0,
                             86'400'000,
                             milliseconds()));
  out.push_back(time_setting({"clients",
                              "directory_lease_ms",
                              "How long a client may use a cached directory name. A client that "
                              "stopped responding delays a rename of the directory by up to this."},
                             c.directory_lease,
                             100,
                             86'400'000,
                             milliseconds()));

  out.push_back(time_setting({"idle",
                              "spin_us",
                              "Without work, poll this long before offering the core to others; "
                              "set 0 on cores that the application needs."},
                             c.idle_spin,
                             0,
                             1'000'000,
                             microseconds()));
  out.push_back(time_setting({"idle",
                              "yield_us",
                              "Then poll and yield the core until this long without work, and "
                              "sleep; raise it for latency, lower it for idle cores."},
                             c.idle_yield,
                             0,
                             1'000'000,
                             microseconds()));

  out.push_back(
      choice_setting({"log", "level", "What to log; BENCHFS_LOG in the environment overrides it."},
                     c.log_level,
                     {"error", "warn", "info", "debug", "trace"}));
}

}  // namespace

std::vector<Setting> DaemonConfig::settings() {
  std::vector<Setting> out;
  add_places(*this, out);
  add_network(*this, out);
  add_storage(*this, out);
  add_service(*this, out);
  return out;
}

Status DaemonConfig::load(const std::string& path, std::span<const ConfigEntry> overrides) {
  std::vector<Setting> table = settings();
  if (!path.empty()) {
    BENCHFS_TRY(std::vector<ConfigEntry> entries, read_config_file(path));
    BENCHFS_TRY_VOID(apply_config(table, entries));
  }
  BENCHFS_TRY_VOID(apply_config(table, overrides));
  if (listen_port != 0 && listen_port + shards - 1 > 65535) {
    return fail(
        Errc::kConfig,
        fmt::format(
            "network.port: {} leaves no room for the ports of {} shards", listen_port, shards));
  }
  if (buffer_bytes > chunk_bytes) {
    return fail(Errc::kConfig,
                fmt::format("storage.buffer_bytes: {} is more than a chunk of {}",
                            format_size(buffer_bytes),
                            format_size(chunk_bytes)));
  }
  if (expected_servers != 0 && shards > expected_servers) {
    return fail(
        Errc::kConfig,
        fmt::format("registry.expected_servers: {} is less than the {} shards of this daemon",
                    expected_servers,
                    shards));
  }
  return {};
}

std::string DaemonConfig::shard_id(std::uint64_t index) const {
  return shards == 1 ? node_id : fmt::format("{}.{}", node_id, index);
}

std::string DaemonConfig::effective_data_dir() const {
  if (!data_dir.empty()) {
    return data_dir;
  }
  const char* tmp = std::getenv("TMPDIR");
  return fmt::format("{}/benchfs-{}/data-{:016x}",
                     tmp != nullptr && *tmp == '/' ? tmp : "/tmp",
                     getuid(),
                     hash_text(registry_dir));
}

server::ShardConfig DaemonConfig::shard_config(std::uint64_t index) const {
  auto u32 = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
  server::ShardConfig shard;
  shard.node_id = shard_id(index);
  shard.registry_dir = registry_dir;
  shard.expected_servers = u32(expected_servers == 0 ? shards : expected_servers);
  shard.run_id = run_id;
  shard.cpus = parse_cpu_list(cpus).value_or(CpuList{});
  shard.listen_ip = listen_ip;
  shard.listen_port = static_cast<std::uint16_t>(listen_port == 0 ? 0 : listen_port + index);
  shard.advertise_ip = advertise_ip;
  shard.interface_name = interface_name;
  shard.network.devices = devices;
  shard.network.sharing = shared_memory ? net::Sharing::kMemory : net::Sharing::kNothing;

  shard.engine = engine == 0 ? server::Engine::kFile : server::Engine::kMemory;
  if (shard.engine == server::Engine::kFile) {
    shard.data_dir = fmt::format("{}/{}", effective_data_dir(), shard.node_id);
  }
  shard.direct_io = direct_io;
  shard.disk_io = static_cast<rt::Uring::Backend>(disk_io);
  shard.memory_bytes = memory_bytes;
  shard.daemon_shards = u32(shards);
  shard.chunk_bytes = u32(chunk_bytes);
  shard.buffer_bytes = u32(buffer_bytes);
  shard.buffer_count = u32(buffer_count);

  shard.max_inodes = max_inodes;
  shard.client_grace = client_grace;
  shard.directory_lease = directory_lease;
  shard.list_timeout = list_timeout;
  shard.rpc.max_clients = u32(max_clients);
  shard.rpc.client_turn = client_turn;
  shard.rpc.window_bytes = window_bytes;
  shard.auth = auth == 0 ? server::Auth::kSecret : server::Auth::kNone;
  shard.rpc.max_unregistered = u32(max_unregistered);
  shard.rpc.register_timeout = register_timeout;
  shard.idle = {.spin = idle_spin, .yield = idle_yield};
  return shard;
}

}  // namespace benchfs::daemon
