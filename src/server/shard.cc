#include "server/shard.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/backoff.h"
#include "base/check.h"
#include "base/config.h"
#include "base/log.h"
#include "base/random.h"
#include "cluster/secret.h"
#include "cluster/server_list_file.h"
#include "door/door.h"
#include "meta/meta_store.h"
#include "net/interfaces.h"
#include "net/transport.h"
#include "rt/blocking_pool.h"
#include "server/shard_service.h"
#include "wire/ping.h"

namespace benchfs::server {
namespace {

constexpr std::size_t kLargePings = 4;   // served at a time
constexpr std::size_t kCopyBuffers = 8;  // copies between chunks that wait for bytes at a time
constexpr Nanos kShutdownGrace = std::chrono::seconds(2);
constexpr Nanos kDrain = std::chrono::seconds(1);
constexpr Nanos kListPoll = std::chrono::milliseconds(5);
// A look at the list may take this long, however soon the time for the list is over.
constexpr Nanos kOneLook = std::chrono::seconds(1);
constexpr Nanos kListLock = std::chrono::seconds(10);
constexpr Nanos kBackWait = std::chrono::seconds(2);
// What is repeated until another shard has answered: one call, and the pauses between them.
constexpr Nanos kOneCall = std::chrono::seconds(1);
constexpr Nanos kLongestListPause = std::chrono::seconds(1);

Status check(const ShardConfig& config) {
  if (config.chunk_bytes < wire::kMinChunkBytes || config.chunk_bytes > wire::kMaxChunkBytes ||
      (config.chunk_bytes & (config.chunk_bytes - 1)) != 0) {
    return fail(Errc::kConfig,
                fmt::format("chunk size {} is not a power of two between {} and {}",
                            config.chunk_bytes,
                            wire::kMinChunkBytes,
                            wire::kMaxChunkBytes));
  }
  if (config.expected_servers == 0 || config.expected_servers > wire::kMaxShards) {
    return fail(Errc::kConfig, fmt::format("a file system has 1 to {} shards", wire::kMaxShards));
  }
  if (config.engine == Engine::kFile && config.data_dir.empty()) {
    return fail(Errc::kConfig, "the file engine needs a data directory");
  }
  return {};
}

}  // namespace

std::vector<cluster::CommonSetting> common_settings(const ShardConfig& config) {
  return {{"version", fmt::format("{} (protocol {})", BENCHFS_VERSION, wire::kProtocolVersion)},
          {"storage.chunk_bytes", format_size(config.chunk_bytes)}};
}

// Everything a shard is made of, in the order of construction; destroyed in reverse.
struct Shard::Parts {
  ShardConfig config;
  std::atomic<int> stop_requests{0};
  net::SocketAddress address;
  std::uint64_t run_id = 0;
  bool is_back = false;       // it was in the complete list before
  std::uint32_t unaware = 0;  // shards that have not heard of this life yet

  std::unique_ptr<rt::Reactor> reactor;
  std::optional<rt::BlockingPool> blocking;  // for what must not stop the reactor
  rt::Scope scope;                           // work on behalf of requests
  rt::Scope background;                      // housekeeping, joining the list
  std::unique_ptr<rt::Uring> ring;
  std::unique_ptr<net::Context> context;
  std::unique_ptr<net::Worker> worker;
  std::unique_ptr<chunk::BufferPool> buffers;
  std::unique_ptr<chunk::BufferPool> large_pings;
  std::unique_ptr<chunk::BufferPool> copy_buffers;
  std::optional<net::MemoryRegion> region;
  std::unique_ptr<chunk::ChunkStore> chunks;
  std::unique_ptr<meta::MetaStore> metadata;
  std::unique_ptr<rpc::ConnectionPool> pool;
  std::optional<rpc::Forwarder> forwarder;  // for the programs of this node
  Peers peers;
  OlderFiles older{peers};
  std::optional<Files> files;
  std::optional<Names> names;
  std::optional<ChunkFiles> chunk_files;
  std::optional<ChunkService> chunk_service;
  std::optional<ShardService> service;
  std::unique_ptr<rpc::Server> server;
  std::unique_ptr<door::Door> door;  // for the programs of this node; null: it could not be opened
  Status outcome;
  bool done = false;
  bool has_stuck_requests = false;  // for ever: nothing may be closed or destroyed under them

  Status begin();
  Status open_storage();
  Status open_network();
  Status join_list();
  Result<std::string> advertised_ip(const net::SocketAddress& bound) const;
  Status set_up(const cluster::ServerList& list);
  void open_door();
  rt::Task<void> wait_for_list();
  rt::Task<void> get_ready();
  rt::Task<void> announce_life();
  rt::Task<void> announce_life_to(wire::ShardId shard);
  rt::Task<void> wind_down();
  void serve();
  void finish();
};

Shard::Shard() = default;
// A shard whose requests do not end is left to the end of the process: their frames use all of it.
Shard::~Shard() {
  if (parts_ != nullptr && parts_->has_stuck_requests) {
    (void)parts_.release();
  }
}
const net::SocketAddress& Shard::address() const {
  return parts_->address;
}
std::uint64_t Shard::run_id() const {
  return parts_->run_id;
}
const ShardConfig& Shard::config() const {
  return parts_->config;
}

void Shard::stop() {
  parts_->stop_requests.fetch_add(1);
  parts_->reactor->wake();
}

// --- Set-up --------------------------------------------------------------------------------------

Result<std::unique_ptr<Shard>> Shard::create(ShardConfig config) {
  BENCHFS_TRY_VOID(check(config));
  std::unique_ptr<Shard> shard(new Shard());  // lint: allow new private constructor
  shard->parts_ = std::make_unique<Parts>();
  Parts& parts = *shard->parts_;
  parts.config = std::move(config);
  parts.config.rpc.chunk_bytes = parts.config.chunk_bytes;
  parts.config.rpc.max_transfer_bytes = parts.config.buffer_bytes;
  parts.config.rpc.client_grace = parts.config.client_grace;
  parts.config.rpc.directory_lease = parts.config.directory_lease;
  parts.config.rpc.bulk_bytes =
      std::uint64_t{parts.config.buffer_bytes} * parts.config.buffer_count;
  BENCHFS_TRY(parts.reactor, rt::Reactor::create(parts.config.idle));
  parts.blocking.emplace(*parts.reactor);
  rt::Reactor::Binding binding(*parts.reactor);
  Status begun = parts.begin();
  if (!begun) {
    parts.finish();
    return std::unexpected(std::move(begun.error()));
  }
  return shard;
}

Status Shard::Parts::begin() {
  BENCHFS_TRY_VOID(open_storage());
  if (config.auth == Auth::kSecret) {
    BENCHFS_TRY(config.rpc.secret, cluster::Secret::read_or_make(config.registry_dir));
  }
  BENCHFS_TRY_VOID(open_network());
  if (!config.cpus.empty()) {
    // Not earlier: UCX's own thread would be on the same processors, and connecting to us take
    // three times as long.
    BENCHFS_TRY_VOID(run_on(config.cpus));
  }
  return join_list();
}

Status Shard::Parts::open_storage() {
  BENCHFS_TRY(buffers, chunk::BufferPool::create(config.buffer_bytes, config.buffer_count));
  // Memory that only a benchmark ever touches.
  BENCHFS_TRY(large_pings, chunk::BufferPool::create(wire::kMaxPingBytes, kLargePings));
  BENCHFS_TRY(copy_buffers, chunk::BufferPool::create(config.buffer_bytes, kCopyBuffers));
  if (config.engine == Engine::kMemory) {
    chunk::MemoryEngineConfig engine;
    engine.slot_bytes = config.chunk_bytes;
    engine.limit_bytes = config.memory_bytes;
    engine.shards = config.daemon_shards;
    BENCHFS_TRY(chunks, chunk::make_memory_store(engine));
    return {};
  }
  BENCHFS_TRY(
      ring,
      rt::Uring::create(*reactor, {.entries = config.ring_entries, .backend = config.disk_io}));
  chunk::FileEngineConfig engine;
  engine.directory = config.data_dir;
  engine.slot_bytes = config.chunk_bytes;
  engine.direct = config.direct_io;
  BENCHFS_TRY(chunks, chunk::open_file_store(*reactor, *ring, *buffers, engine));
  return {};
}

Status Shard::Parts::open_network() {
  BENCHFS_TRY(net::SocketAddress wanted, net::make_address(config.listen_ip, config.listen_port));
  if (config.network.devices.empty()) {
    BENCHFS_TRY(std::string ip, advertised_ip(wanted));
    config.network.devices = net::devices_at(ip);
  }
  BENCHFS_TRY(net::Transport transport,
              net::open_transport(config.network, *reactor, net::Worker::Threads::kSingle));
  context = std::move(transport.context);
  worker = std::move(transport.worker);
  BENCHFS_TRY(region, context->register_memory(buffers->region()));

  rpc::ClientIdentity identity{
      .id = "shard:" + config.node_id, .uid = random_id(), .is_server = true};
  if (config.rpc.secret) {
    identity.secret = *config.rpc.secret;
  }
  rpc::ConnectionPool::Config to_peers;
  to_peers.transport = config.to_peers;
  to_peers.door_shape = door::kForwardShape;
  to_peers.read_list = rpc::ConnectionPool::list_reader(config.registry_dir);
  BENCHFS_TRY(pool, rpc::ConnectionPool::create(*worker, identity, std::move(to_peers)));
  peers.pool = pool.get();
  peers.scope = &scope;
  peers.stopping = &background.cancel_source();
  service.emplace(ShardService::Parts{.config = config,
                                      .reactor = *reactor,
                                      .buffers = *buffers,
                                      .large_pings = *large_pings,
                                      .peers = peers,
                                      .background = background});
  BENCHFS_TRY(server, rpc::Server::create(*worker, *service, config.rpc));
  service->set_server(*server);
  server->set_forwarder(forwarder.emplace(*reactor, *pool));
  BENCHFS_TRY(address, server->listen(wanted));
  return {};
}

Result<std::string> Shard::Parts::advertised_ip(const net::SocketAddress& bound) const {
  if (!config.advertise_ip.empty()) {
    return config.advertise_ip;
  }
  if (!bound.is_any()) {
    return bound.ip();
  }
  return net::routable_ip(config.interface_name);
}

Status Shard::Parts::join_list() {
  BENCHFS_TRY(std::string ip, advertised_ip(address));
  if (address.is_any() && config.advertise_ip.empty() && config.interface_name.empty()) {
    for (const std::string& other : net::other_addresses(ip)) {
      BENCHFS_LOG(kInfo,
                  "{} advertises {}, and not {}: network.interface chooses",
                  config.node_id,
                  ip,
                  other);
    }
  }
  BENCHFS_TRY(address, net::make_address(ip, address.port()));
  cluster::Server self{config.node_id, ip, address.port()};
  auto before = cluster::read_server_list(config.registry_dir, config.run_id);
  BENCHFS_TRY(run_id,
              cluster::append_server(config.registry_dir,
                                     self,
                                     {.run_id = config.run_id,
                                      .expected = config.expected_servers,
                                      .common = common_settings(config)},
                                     Deadline::after(kListLock)));
  // While the list was not complete nobody could use the file system.
  is_back = before && before->run_id == run_id &&
            std::ranges::find(before->servers, config.node_id, &cluster::Server::node_id) !=
                before->servers.end();
  BENCHFS_LOG(kInfo,
              "{} listens on {}, run {:016x}, {} engine",
              config.node_id,
              address.to_string(),
              run_id,
              config.engine == Engine::kFile ? "file" : "memory");
  return {};
}

// The list is complete: the shard knows its index and its peers.
Status Shard::Parts::set_up(const cluster::ServerList& list) {
  if (!list.recovered.empty()) {
    BENCHFS_LOG(kWarn, "{}", list.recovered);
  }
  auto self = std::ranges::find(list.servers, config.node_id, &cluster::Server::node_id);
  if (self == list.servers.end() || self->port != address.port()) {
    return fail(Errc::kConfig,
                fmt::format("{} is no longer in the server list of {} with its address {}; another "
                            "daemon uses the node id",
                            config.node_id,
                            config.registry_dir,
                            address.to_string()));
  }
  peers.self = wire::ShardId{static_cast<std::uint32_t>(self - list.servers.begin())};
  peers.shard_count = static_cast<std::uint32_t>(list.servers.size());
  metadata = std::make_unique<meta::MetaStore>(
      peers.self,
      peers.shard_count,
      // 47 random bits: far from where another life of this shard began.
      meta::MetaStore::Config{.max_inodes = config.max_inodes, .first_counter = random_id() >> 17});
  if (peers.self == wire::ShardId{0}) {
    metadata->apply(meta::MakeRoot{getuid(), getgid(), wall_now_ns()});
  }
  files.emplace(*metadata, peers, Files::Config{.times = config.mark_times});
  chunk_files.emplace(*chunks, older, peers, *files, config.mark_times);
  files->attach(*chunk_files, *server);
  names.emplace(*metadata,
                *files,
                peers,
                Names::Config{.chunk_bytes = config.chunk_bytes,
                              .rename_lease = config.rename_lease,
                              .directory_lease = config.directory_lease,
                              .had_earlier_life = is_back});
  chunk_service.emplace(*chunks,
                        *chunk_files,
                        older,
                        peers,
                        *buffers,
                        *copy_buffers,
                        &*region,
                        config.chunk_bytes,
                        config.buffer_bytes);
  service->set_services(*metadata, *names, *files, *chunk_service);
  background.spawn(service->housekeeping());
  BENCHFS_TRY_VOID(pool->set_servers(list));
  if (is_back) {
    service->set_restarted();
    older.begin(metadata->inodes());
    files->close_gate();
  }
  open_door();
  server->set_ready(peers.self, peers.shard_count, run_id);
  background.spawn(get_ready());
  return {};
}

// Without it the programs of this node come over the network, as those of others do.
void Shard::Parts::open_door() {
  chunk::SlotFiles slots = chunks->slot_files();
  auto opened = door::Door::open(*reactor,
                                 *blocking,
                                 server->node_links(),
                                 {.run_id = run_id,
                                  .shard = peers.self.value,
                                  .slots = slots.data,
                                  .slot_states = slots.states,
                                  .slot_bytes = config.chunk_bytes});
  if (!opened) {
    BENCHFS_LOG(kWarn,
                "{} has no node door, programs of this node use the network: {}",
                config.node_id,
                opened.error().message());
    return;
  }
  door = *std::move(opened);
  service->set_door(*door);
}

// A shard that is back serves the chunks of a home as soon as that home has answered; those that do
// not answer soon, because they are gone or come back themselves, are not waited for.
rt::Task<void> Shard::Parts::get_ready() {
  if (is_back) {
    BENCHFS_LOG(kWarn,
                "{} was in this file system before: what it held is lost, and files that may miss "
                "it give an input/output error",
                config.node_id);
    background.spawn(older.ask_all(background.cancel_source()));
    background.spawn(announce_life());
    Deadline deadline = Deadline::after(kBackWait);
    while (older.unanswered() > 0 && !deadline.passed() && !background.is_closed()) {
      (void)co_await rt::sleep_for(kListPoll, &background.cancel_source());
    }
  }
  BENCHFS_LOG(
      kInfo, "{} is ready as shard {} of {}", config.node_id, peers.self.value, peers.shard_count);
}

// Other shards may still trust marks that an earlier life of this one took. Nobody is told that a
// file is gone before they have heard of the new life, or trust no mark of the old one any more.
rt::Task<void> Shard::Parts::announce_life() {
  Deadline forgotten = Deadline::after(config.mark_times.forgotten);
  unaware = peers.shard_count - 1;
  for (std::uint32_t shard = 0; shard < peers.shard_count; ++shard) {
    if (!peers.is_self(wire::ShardId{shard})) {
      background.spawn(announce_life_to(wire::ShardId{shard}));
    }
  }
  while (unaware > 0 && !forgotten.passed() && !background.is_closed()) {
    (void)co_await rt::sleep_for(kListPoll, &background.cancel_source());
  }
  files->open_gate();
}

// Until it has answered, however long that takes: what it stores for the earlier life would stay.
rt::Task<void> Shard::Parts::announce_life_to(wire::ShardId shard) {
  wire::NewLifeRequest body;
  body.life = peers.life;
  body.first_counter = metadata->inodes().first_counter();
  body.shard = peers.self.value;
  Backoff pause(kListPoll, kLongestListPause);
  while (!background.is_closed()) {
    if (co_await peers.call(shard, body, Deadline::after(kOneCall))) {
      --unaware;
      co_return;
    }
    (void)co_await rt::sleep_for(pause.next(), &background.cancel_source());
  }
}

// --- Running -------------------------------------------------------------------------------------

rt::Task<void> Shard::Parts::wait_for_list() {
  Deadline deadline = Deadline::after(config.list_timeout);
  for (;;) {
    using List = decltype(cluster::read_server_list(config.registry_dir, run_id));
    auto read = co_await blocking->run<List>(
        [dir = config.registry_dir, id = run_id]() -> Result<List> {
          return cluster::read_server_list(dir, id);
        },
        Deadline::after(std::max<Nanos>(deadline.remaining(), kOneLook)),
        &background.cancel_source());
    if (background.is_closed()) {
      co_return;
    }
    if (read && *read) {
      outcome = set_up(**read);
      done = !outcome.has_value();
      co_return;
    }
    if (!read) {  // a file system that hangs
      outcome = std::unexpected(std::move(read.error()).with_prefix("reading the server list"));
      done = true;
      co_return;
    }
    if (!read->error().is_transient() || deadline.passed()) {
      outcome = std::unexpected(read->error().to_error());
      done = true;
      co_return;
    }
    if (co_await rt::sleep_for(kListPoll, &background.cancel_source()) == rt::Wake::kCancelled) {
      co_return;
    }
  }
}

Status Shard::run() {
  Parts& parts = *parts_;
  parts.serve();
  return parts.outcome;
}

void Shard::Parts::serve() {
  rt::Reactor::Binding binding(*reactor);
  background.spawn(wait_for_list());
  // stop() only sets a flag and wakes the reactor: it may run in a signal handler.
  while (!done && stop_requests.load(std::memory_order_relaxed) == 0 &&
         !service->shutdown_requested()) {
    reactor->step();
  }
  finish();
  BENCHFS_LOG(kInfo, "{} stopped", config.node_id);
}

// Ends all that was begun, which is not everything when create() failed.
void Shard::Parts::finish() {
  bool wound_down = false;
  struct Flag {
    static rt::DetachedTask run(rt::Task<void> task, bool& flag) {
      co_await std::move(task);
      flag = true;
    }
  };
  reactor->schedule(Flag::run(wind_down(), wound_down).handle);
  reactor->run_until(wound_down);
  if (worker != nullptr) {
    worker->drain(Deadline::after(kDrain));
  }
}

rt::Task<void> Shard::Parts::wind_down() {
  background.close();
  Nanos grace = stop_requests.load() > 1 ? Nanos::zero() : kShutdownGrace;
  if (server != nullptr) {
    Status stopped = co_await server->shutdown(Deadline::after(grace));
    if (!stopped) {
      has_stuck_requests = true;
      outcome = outcome ? stopped : outcome;
      co_return;
    }
  }
  if (door != nullptr) {
    co_await door->close();
  }
  if (pool != nullptr) {
    pool->close();
  }
  if (forwarder) {
    co_await forwarder->join();
  }
  scope.close();
  co_await scope.join();
  co_await background.join();
  Status closed;
  if (chunks != nullptr) {
    closed = co_await chunks->close();
  }
  if (!closed) {
    BENCHFS_LOG(kWarn, "closing the chunk store: {}", closed.error().message());
  }
}

}  // namespace benchfs::server
