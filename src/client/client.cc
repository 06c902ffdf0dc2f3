#include "client/client.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "cluster/secret.h"
#include "cluster/server_list_file.h"
#include "net/interfaces.h"
#include "net/transport.h"
#include "rpc/sharing.h"

namespace benchfs::client {
namespace {

// Time for what is left to leave when the client closes.
constexpr Nanos kDrain = std::chrono::seconds(1);

std::string make_client_id() {
  char host[256] = "?";
  gethostname(host, sizeof host - 1);
  return fmt::format("{:.200}:{}:{:08x}", host, getpid(), random_id() & 0xffffffffU);
}

std::string devices_towards(const cluster::ServerList& list) {
  std::vector<net::SocketAddress> addresses;
  for (const cluster::Server& server : list.servers) {
    if (auto address = net::make_address(server.ip, server.port)) {
      addresses.push_back(*address);
    }
  }
  return net::devices_towards(addresses);
}

Result<cluster::ServerList> find_servers(const Options& options) {
  auto list = cluster::read_server_list_until_complete(
      options.registry_dir, options.run_id, Deadline::after(options.list_timeout));
  if (!list) {
    return std::unexpected(list.error().to_error());
  }
  if (!list->recovered.empty()) {
    BENCHFS_LOG(kWarn, "{}", list->recovered);
  }
  return std::move(*list);
}

// Whether the network is needed: a server is on another node, or in another container, and no shard
// of this node forwards. Neither its door nor its address is here. Daemons that are just starting
// have their addresses here, and doors a little later.
bool needs_network(const cluster::ServerList& list, const rpc::ConnectionPool& pool) {
  if (pool.is_forwarded_here()) {
    return false;
  }
  std::set<std::string> here = net::local_ips();
  for (std::uint32_t shard = 0; shard < list.servers.size(); ++shard) {
    const std::string& ip = list.servers[shard].ip;
    auto address = net::make_address(ip, list.servers[shard].port);
    bool has_local_address = here.contains(ip) || (address && address->is_loopback());
    if (!has_local_address && !pool.has_door(wire::ShardId{shard})) {
      return true;
    }
  }
  return false;
}

struct Root {
  dev_t device = 0;
  ino_t inode = 0;
  friend bool operator==(const Root&, const Root&) = default;
};
Root current_root() {
  struct stat info{};
  return ::stat("/", &info) == 0 ? Root{info.st_dev, info.st_ino} : Root{};
}

}  // namespace

Result<std::unique_ptr<Client>> Client::connect(Options options) {
  std::unique_ptr<Client> client(new Client());  // lint: allow new private constructor
  client->id_ = options.client_id.empty() ? make_client_id() : options.client_id;
  BENCHFS_TRY(client->servers_, find_servers(options));
  const cluster::ServerList& list = client->servers_;
  BENCHFS_TRY(
      auto own_reactor,
      rt::Reactor::create(
          {.spin = options.idle.spin, .yield = options.idle.yield, .begins_contended = true},
          true));
  client->driver_ = std::make_unique<Driver>(std::move(own_reactor));
  rt::Reactor& reactor = client->driver_->reactor();
  // Programs that reach all their servers through the node door do not need UCX. It does not start
  // in another root directory: others have it from the beginning.
  auto open_network = [client = client.get(),
                       config = options.network,
                       directory = options.registry_dir,
                       root = current_root()]() -> Result<net::Worker*> {
    if (client->worker_ == nullptr && current_root() != root) {
      return std::unexpected(Error{
          Errc::kTransport,
          ENOTSUP,
          "the network was not used before the program changed its root directory, and cannot "
          "be used any more"});
    }
    return client->open_network(config, directory);
  };
  if (!options.pool.read_list) {
    options.pool.read_list = rpc::ConnectionPool::list_reader(options.registry_dir);
  }
  rpc::ClientIdentity identity{.id = client->id_,
                               .uid = random_id(),
                               .run_id = list.run_id,
                               .secret = cluster::Secret::read(options.registry_dir)};
  options.pool.wants_slots = options.file_system.direct_bytes > 0;
  BENCHFS_TRY(client->pool_,
              rpc::ConnectionPool::create(reactor, open_network, identity, options.pool));
  BENCHFS_TRY_VOID(client->pool_->set_servers(list));
  if (options.pool.transport != rpc::Transport::kNode && needs_network(list, *client->pool_)) {
    BENCHFS_TRY_VOID(open_network());
  }
  client->file_system_ = std::make_unique<FileSystem>(*client->pool_, options.file_system);
  if (options.helper_thread) {
    BENCHFS_TRY_VOID(client->driver_->allow_helper());
    client->file_system_->on_kept_driven([client = client.get()] { return client->keep_driven(); });
    if (client->worker_ != nullptr) {
      (void)client->keep_driven();
    }
  }

  wire::ShardId first = cluster::select_server_by_hash(client->id_, list);
  auto connected =
      client->run(client->pool_->connect_any(first, Deadline::after(options.connect_timeout)));
  if (!connected) {
    return std::unexpected(
        std::move(connected.error()).with_prefix("connecting to the file system"));
  }
  return client;
}

// What comes over the network, and what goes on by itself, waits for the next call otherwise.
Status Client::keep_driven() {
  Status started = driver_->start_helper();
  if (!started && !std::exchange(has_warned_, true)) {
    BENCHFS_LOG(
        kWarn, "between its calls the program hears nothing: {}", started.error().message());
  }
  return started;
}

Result<net::Worker*> Client::open_network(net::ContextConfig config,
                                          const std::string& registry_dir) {
  if (worker_ != nullptr) {
    return worker_.get();
  }
  if (config.devices.empty()) {
    config.devices = devices_towards(servers_);
  }
  config.sharing = std::min(config.sharing, rpc::sharing_with_servers(registry_dir, servers_));
  BENCHFS_TRY(net::Transport transport,
              net::open_transport(config, driver_->reactor(), net::Worker::Threads::kSerialized));
  context_ = std::move(transport.context);
  worker_ = std::move(transport.worker);
  (void)keep_driven();
  return worker_.get();
}

namespace {
rt::CoStatus say_goodbye(FileSystem* fs) {
  co_await fs->leave();
  co_return Status{};
}
}  // namespace

Client::~Client() {
  if (driver_ == nullptr) {  // connect() failed before anything was made
    return;
  }
  if (is_forked()) {
    // Everything belongs to the parent, also the thread that waits on the driver's condition.
    (void)driver_.release();
    (void)file_system_.release();
    (void)pool_.release();
    (void)worker_.release();
    (void)context_.release();
    return;
  }
  if (file_system_ != nullptr) {
    (void)driver_->run(say_goodbye(file_system_.get()));
  }
  driver_->stop_helper();
  file_system_.reset();
  pool_.reset();
  if (worker_ != nullptr) {
    worker_->drain(Deadline::after(kDrain));
  }
  worker_.reset();
  context_.reset();
}

}  // namespace benchfs::client
