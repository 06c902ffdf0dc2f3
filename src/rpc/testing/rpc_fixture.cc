#include "rpc/testing/rpc_fixture.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>

#include "base/check.h"
#include "base/hash.h"
#include "base/random.h"
#include "net/closed_sockets.h"
#include "rt/sync.h"

namespace benchfs::rpc::testing {
namespace {

constexpr auto kPatience = std::chrono::seconds(10);

std::byte pattern_byte(std::uint64_t seed, std::size_t index) {
  return static_cast<std::byte>(mix64(seed + (index >> 3)) >> (8 * (index & 7)));
}

// Simulates a slow server; not a way to wait for an event.
rt::WaitQueue::Awaiter be_slow(std::uint64_t milliseconds) {
  return rt::sleep_for(std::chrono::milliseconds(milliseconds));  // lint: allow sleep (see above)
}

cluster::ServerList list_of(const std::vector<net::SocketAddress>& servers, std::uint64_t run_id) {
  cluster::ServerList list;
  list.run_id = run_id;
  for (const net::SocketAddress& address : servers) {
    std::string node = "node_" + std::to_string(list.servers.size());
    list.servers.push_back({node, address.ip(), address.port()});
  }
  return list;
}

// Of a shard that forwards.
std::unique_ptr<ConnectionPool> pool_to(net::Worker& worker, const ServerThread::Options& options) {
  std::uint64_t uid = random_id();
  ClientIdentity identity{.id = "shard:near_" + std::to_string(uid), .uid = uid};
  if (options.secret) {
    identity.secret = *options.secret;
  }
  ConnectionPool::Config config;
  config.read_list = options.read_list;
  if (!options.far_door_base.empty()) {
    config.transport = Transport::kNode;
    config.door_base = options.far_door_base;
    config.door_shape = options.far_door_shape;
  }
  auto pool = ConnectionPool::create(worker, std::move(identity), std::move(config)).value();
  BENCHFS_CHECK(pool->set_servers(list_of(options.forwards_to, options.config.run_id)).has_value());
  return pool;
}

}  // namespace

bool is_through_door() {
  const char* transport = std::getenv("BENCHFS_TRANSPORT");
  return transport != nullptr && std::string_view(transport) == "auto";
}

bool is_forwarded() {
  return std::getenv("BENCHFS_TEST_FORWARDED") != nullptr;
}

std::string door_base() {
  struct Directory {
    std::string path = "/tmp/benchfs-rpc-test-XXXXXX";
    Directory() { BENCHFS_CHECK(::mkdtemp(path.data()) != nullptr); }
    ~Directory() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  };
  static Directory directory;
  return directory.path;
}

ConnectionPool::ListReader reader_of(const net::SocketAddress& node_0) {
  return [&node_0](std::uint64_t run_id) -> Result<cluster::ServerList> {
    cluster::ServerList list;
    list.run_id = run_id;
    list.servers.push_back({"node_0", node_0.ip(), node_0.port()});
    return list;
  };
}

void fill_pattern(std::span<std::byte> bytes, std::uint64_t seed) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = pattern_byte(seed, i);
  }
}

bool has_pattern(std::span<const std::byte> bytes, std::uint64_t seed) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != pattern_byte(seed, i)) {
      return false;
    }
  }
  return true;
}

std::size_t open_descriptors() {
  std::error_code error;
  std::size_t count = 0;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end; entry != end;
       entry.increment(error)) {
    ++count;
  }
  return count - net::kept_numbers();
}

std::size_t resident_bytes() {
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  BENCHFS_CHECK(file != nullptr);
  std::size_t all = 0;
  std::size_t resident = 0;
  BENCHFS_CHECK(std::fscanf(file, "%zu %zu", &all, &resident) == 2);
  std::fclose(file);
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// --- EchoService ---------------------------------------------------------------------------------

rt::Task<void> EchoService::handle(Request& request) {
  ++handled;
  most_at_once = std::max(most_at_once.load(), ++at_once_);
  co_await serve(request);
  --at_once_;
}

rt::Task<void> EchoService::serve(Request& request) {
  if (request.opcode() == wire::Opcode::kPing) {
    co_await ping(request);
  } else if (request.opcode() == wire::Opcode::kFsyncChunks) {
    wire::FsyncChunksRequest body;
    wire::Reader reader = request.reader();
    if (!reader.read(body)) {
      co_return co_await request.reply_error(Error{Errc::kMalformed, 0, {}});
    }
    (void)co_await be_slow(body.inode);
    co_await request.reply(wire::NoReply{});
  } else if (request.opcode() == wire::Opcode::kMkdir) {
    wire::MkdirRequest body;
    wire::Reader reader = request.reader();
    if (!reader.read(body)) {
      co_return co_await request.reply_error(Error{Errc::kMalformed, 0, {}});
    }
    ++mkdirs;
    (void)co_await be_slow(body.parent);
    co_await request.reply(wire::EntryReply{});
  } else if (request.opcode() != wire::Opcode::kGetAttr) {
    co_await request.reply_error(Error{Errc::kUnknownOpcode, 0, {}});
  }
}

rt::Task<void> EchoService::ping(Request& request) {
  wire::PingRequest body;
  wire::Reader reader = request.reader();
  if (reader.left() > 0 && !reader.read(body)) {
    co_return co_await request.reply_error(Error{Errc::kMalformed, 0, {}});
  }
  wire::NoReply reply;
  if (request.data_bytes() == 0 && body.reply_bytes == 0) {
    co_return co_await request.reply(reply);
  }
  std::vector<std::byte> data(std::max<std::size_t>(request.data_bytes(), body.reply_bytes));
  Status received = co_await request.receive(std::span(data).first(request.data_bytes()));
  if (!received) {
    co_return co_await request.reply_error(received.error());
  }
  co_await request.reply(reply, std::span(data).first(body.reply_bytes));
}

// --- NearShard -----------------------------------------------------------------------------------

NearShard::NearShard(std::vector<net::SocketAddress> servers,
                     std::uint64_t run_id,
                     std::optional<cluster::Secret> secret,
                     ConnectionPool::ListReader read_list)
    : NearShard({.config = {.run_id = run_id},
                 .forwards_to = std::move(servers),
                 .secret = std::move(secret),
                 .read_list = std::move(read_list)}) {}

NearShard::NearShard(std::vector<net::SocketAddress> servers,
                     std::string far_door_base,
                     door::SessionShape far_door_shape)
    : NearShard({.forwards_to = std::move(servers),
                 .far_door_base = std::move(far_door_base),
                 .far_door_shape = far_door_shape}) {}

NearShard::NearShard(ServerThread::Options options) : options_(std::move(options)) {
  options_.door_base = "/tmp/benchfs-near-XXXXXX";
  BENCHFS_CHECK(::mkdtemp(options_.door_base.data()) != nullptr);
  options_.door_shard = kShard;
  thread_ = std::make_unique<ServerThread>(options_);
}

NearShard::~NearShard() {
  thread_->stop();
  std::error_code ignored;
  std::filesystem::remove_all(options_.door_base, ignored);
}

void NearShard::use_in(ConnectionPool::Config& config) const {
  config.transport = Transport::kNode;
  config.forwarded = true;
  config.door_base = options_.door_base;
}

Forwarder::Stats NearShard::stats() {
  Forwarder::Stats stats;
  thread_->run([&](Server& server, net::Worker&) { stats = server.forwarder()->stats(); });
  return stats;
}

std::size_t NearShard::channels() {
  std::size_t channels = 0;
  thread_->run([&](Server& server, net::Worker&) { channels = server.forwarder()->channels(); });
  return channels;
}

void NearShard::restart() {
  thread_->stop();
  thread_ = std::make_unique<ServerThread>(options_);
}

// --- ServerThread --------------------------------------------------------------------------------

ServerThread::ServerThread(Options options) : options_(std::move(options)) {
  thread_ = std::thread([this] { main(); });
  std::unique_lock lock(mutex_);
  BENCHFS_CHECK(changed_.wait_for(lock, 3 * kPatience, [this] { return started_; }));
}

void ServerThread::main() {
  auto context = net::Context::create({}).value();
  auto reactor = rt::Reactor::create().value();
  auto worker = net::Worker::create(*context, *reactor, net::Worker::Threads::kSingle).value();
  Service& service = options_.service == nullptr ? echo_ : *options_.service;
  auto server = Server::create(*worker, service, options_.config).value();
  {
    rt::Reactor::Binding binding(*reactor);
    address_ = server->listen(net::make_address("127.0.0.1", options_.port).value()).value();
  }
  if (options_.ready) {
    server->set_ready(wire::ShardId{0}, 1, options_.config.run_id);
  }
  {
    std::lock_guard lock(mutex_);
    reactor_ = reactor.get();
    worker_ = worker.get();
    server_ = server.get();
  }
  std::unique_ptr<ConnectionPool> far;
  std::optional<Forwarder> forwarder;
  if (!options_.forwards_to.empty()) {
    far = pool_to(*worker, options_);
    server->set_forwarder(forwarder.emplace(*reactor, *far));
  }
  rt::BlockingPool pool(*reactor);
  std::unique_ptr<door::Door> door;
  if (is_through_door() || !options_.door_base.empty()) {
    rt::Reactor::Binding binding(*reactor);
    door = door::Door::open(*reactor,
                            pool,
                            server->node_links(),
                            {.run_id = options_.config.run_id,
                             .shard = options_.door_shard,
                             .base = options_.door_base.empty() ? door_base() : options_.door_base})
               .value();
  }
  {
    std::lock_guard lock(mutex_);
    started_ = true;
    changed_.notify_all();
  }
  reactor->run_until(stopping_);
  Deadline patience = Deadline::after(3 * kPatience);
  do {
    shutdowns_.push_back(
        reactor->block_on(server->shutdown(Deadline::after(options_.shutdown_patience))));
  } while (!shutdowns_.back() && !patience.passed());
  if (door != nullptr) {
    reactor->block_on(door->close());
  }
  if (far != nullptr) {
    far->close();
    reactor->block_on(forwarder->join());
  }
  BENCHFS_CHECK(worker->drain(Deadline::after(kPatience)));
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return released_; });
  if (options_.at_end) {
    options_.at_end();
  }
}

void ServerThread::run(std::function<void(Server&, net::Worker&)> what) {
  struct Job final : rt::Mail {
    std::function<void()> work;
    std::promise<void> done;
    void on_mail() override {
      work();
      done.set_value();
    }
  } job;
  job.work = [&] { what(*server_, *worker_); };
  std::future<void> done = job.done.get_future();
  reactor_->post(job);
  BENCHFS_CHECK(done.wait_for(3 * kPatience) == std::future_status::ready);
}

Server::Stats ServerThread::stats() {
  Server::Stats stats;
  run([&](Server& server, net::Worker&) { stats = server.stats(); });
  return stats;
}

ClientRegistry::Stats ServerThread::registry_stats() {
  ClientRegistry::Stats stats;
  run([&](Server& server, net::Worker&) { stats = server.registry().stats(); });
  return stats;
}

std::uint32_t ServerThread::clients() {
  std::uint32_t count = 0;
  run([&](Server& server, net::Worker&) { count = server.registry().size(); });
  return count;
}

bool ServerThread::eventually(const std::function<bool(Server&, net::Worker&)>& condition) {
  Deadline deadline = Deadline::after(kPatience);
  bool holds = false;
  while (!holds && !deadline.passed()) {
    run([&](Server& server, net::Worker& worker) { holds = condition(server, worker); });
    if (!holds) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));  // lint: allow sleep others run
    }
  }
  return holds;
}

void ServerThread::freeze() {
  struct Freeze final : rt::Mail {
    ServerThread* self = nullptr;
    void on_mail() override {
      std::unique_lock lock(self->mutex_);
      self->frozen_ = true;
      self->changed_.notify_all();
      self->changed_.wait(lock, [this] { return !self->frozen_; });
      self->changed_.notify_all();
      delete this;
    }
  };
  auto* mail = new Freeze;  // lint: allow new (outlives the caller of freeze)
  mail->self = this;
  reactor_->post(*mail);
  std::unique_lock lock(mutex_);
  BENCHFS_CHECK(changed_.wait_for(lock, kPatience, [this] { return frozen_; }));
}

void ServerThread::thaw() {
  std::lock_guard lock(mutex_);
  frozen_ = false;
  changed_.notify_all();
}

void ServerThread::stop() {
  if (!thread_.joinable()) {
    return;
  }
  thaw();
  run([this](Server&, net::Worker&) { stopping_ = true; });
  {
    std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

// --- Client --------------------------------------------------------------------------------------

Client::Client(std::string id,
               const std::vector<net::SocketAddress>& servers,
               ConnectionPool::Config config,
               std::uint64_t run_id,
               std::optional<cluster::Secret> secret)
    : context_(net::Context::create({}).value()),
      reactor_(rt::Reactor::create().value()),
      worker_(
          net::Worker::create(*context_, *reactor_, net::Worker::Threads::kSerialized).value()) {
  ClientIdentity identity{.id = std::move(id), .uid = random_id(), .run_id = run_id};
  if (secret) {
    identity.secret = *secret;
  }
  if (is_through_door()) {
    config.transport = Transport::kNode;
    config.door_base = door_base();
  }
  if (is_forwarded()) {
    near_ = std::make_unique<NearShard>(servers, run_id, secret, config.read_list);
    near_->use_in(config);
  }
  pool_ = ConnectionPool::create(*worker_, std::move(identity), std::move(config)).value();
  BENCHFS_CHECK(pool_->set_servers(list_of(servers, run_id)).has_value());
}

Client::~Client() {
  rt::Reactor::Binding binding(*reactor_);
  pool_->close();
  reactor_->block_on(scope_.join());
  BENCHFS_CHECK(worker_->drain(Deadline::after(kPatience)));
}

Result<Reply> Client::call(const Call& call, Deadline deadline, wire::ShardId shard) {
  auto wait = [&]() -> rt::CoResult<Reply> {
    co_return co_await pool_->call(shard, call, deadline);
  };
  return reactor_->block_on(wait());
}

Client::Pending Client::start(const Call& call, Deadline deadline, wire::ShardId shard) {
  struct Starter {
    static rt::Task<void> run(
        ConnectionPool* pool, wire::ShardId shard, Call call, Deadline deadline, Pending out) {
      *out = co_await pool->call(shard, call, deadline);
    }
  };
  rt::Reactor::Binding binding(*reactor_);
  auto pending = std::make_shared<std::optional<Result<Reply>>>();
  scope_.spawn(Starter::run(pool_.get(), shard, call, deadline, pending));
  return pending;
}

Status Client::sleep_there(std::uint64_t milliseconds, Deadline deadline) {
  wire::FsyncChunksRequest request{.inode = milliseconds};
  Result<Reply> reply = call(make_call(request), deadline);
  return reply ? Status{} : std::unexpected(reply.error());
}

Status Client::mkdir_there(std::uint64_t milliseconds, Deadline deadline) {
  wire::MkdirRequest request{.parent = milliseconds};
  Result<Reply> reply = call(make_call(request), deadline);
  return reply ? Status{} : std::unexpected(reply.error());
}

Status Client::ping(Deadline deadline) {
  wire::PingRequest request;
  Result<Reply> reply = call(make_call(request), deadline);
  return reply ? Status{} : std::unexpected(reply.error());
}

Result<Reply> Client::echo(std::span<const std::byte> data,
                           std::span<std::byte> into,
                           bool rendezvous) {
  wire::PingRequest request{.reply_bytes = static_cast<std::uint32_t>(into.size())};
  Call call = make_call(request);
  call.data = data;
  call.into = into;
  call.rendezvous = rendezvous;
  return this->call(call);
}

bool Client::eventually(const std::function<bool()>& condition) {
  rt::Reactor::Binding binding(*reactor_);
  Deadline deadline = Deadline::after(kPatience);
  while (!condition() && !deadline.passed()) {
    reactor_->step(Deadline::after(std::chrono::milliseconds(1)));
  }
  return condition();
}

}  // namespace benchfs::rpc::testing
