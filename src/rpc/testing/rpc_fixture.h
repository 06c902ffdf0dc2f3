// The fixture for tests of the RPC layer and above: a server shard on its own thread, a client on
// the calling thread, and a service that echoes. It uses real UCX over loopback; nothing is faked.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "door/door.h"
#include "net/context.h"
#include "net/worker.h"
#include "rpc/connection_pool.h"
#include "rpc/server.h"
#include "rt/reactor.h"
#include "wire/messages.h"

namespace benchfs::rpc::testing {

inline constexpr std::uint64_t kTestRun = 0x5eed;

inline bool contains(const Error& error, std::string_view part) {
  return error.message().find(part) != std::string::npos;
}

// Serves a few operations in ways a test can see. Counters may be read from any thread.
//   ping            returns the first reply_bytes of the request's data, zeros beyond
//   fsync chunks    sleeps for `inode` milliseconds, then replies
//   mkdir           counts (not idempotent); sleeps for `parent` milliseconds first
//   getattr         never replies
//   anything else   kUnknownOpcode
class EchoService : public Service {
 public:
  rt::Task<void> handle(Request& request) override;
  void on_client_registered(wire::SessionId, std::uint64_t) override { ++registered; }
  void on_client_gone(std::uint64_t, Departure departure, pid_t) override {
    ++gone;
    goodbyes += departure == Departure::kGoodbye ? 1 : 0;
  }
  void on_invalidate_ack(wire::SessionId, std::uint64_t sequence) override { last_ack = sequence; }

  std::atomic<std::uint64_t> handled{0};
  std::atomic<std::uint32_t> most_at_once{0};
  std::atomic<std::uint64_t> mkdirs{0};
  std::atomic<std::uint64_t> registered{0};
  std::atomic<std::uint64_t> gone{0};
  std::atomic<std::uint64_t> goodbyes{0};
  std::atomic<std::uint64_t> last_ack{0};

 private:
  rt::Task<void> serve(Request& request);
  rt::Task<void> ping(Request& request);
  std::uint32_t at_once_ = 0;
};

// A server shard: context, worker, reactor and server live on its thread.
class ServerThread {
 public:
  struct Options {
    Server::Config config{.run_id = kTestRun};
    bool ready = true;
    Nanos shutdown_patience = std::chrono::seconds(2);
    std::uint16_t port = 0;
    Service* service = nullptr;  // instead of the EchoService
    // A shard that forwards to these, the first of which is shard 0, for the programs that come to
    // its door.
    std::vector<net::SocketAddress> forwards_to = {};
    std::optional<cluster::Secret> secret = std::nullopt;  // known to it
    ConnectionPool::ListReader read_list = {};             // its, of these servers
    std::string door_base = {};                            // of its door; empty: as door_base()
    std::uint32_t door_shard = 0;
    std::string far_door_base = {};  // to the others through their doors, which are there
    door::SessionShape far_door_shape = door::kForwardShape;
    std::function<void()> at_end;  // on the server's thread, before its worker is destroyed
  };
  ServerThread() : ServerThread(Options()) {}
  explicit ServerThread(Options options);
  ServerThread(const ServerThread&) = delete;
  ServerThread& operator=(const ServerThread&) = delete;
  ~ServerThread() { stop(); }

  [[nodiscard]] const net::SocketAddress& address() const { return address_; }
  [[nodiscard]] EchoService& service() { return echo_; }

  // Runs `what` on the server's thread and waits for it.
  void run(std::function<void(Server&, net::Worker&)> what);
  Server::Stats stats();
  ClientRegistry::Stats registry_stats();
  std::uint32_t clients();
  // Waits until `condition` holds on the server's thread; false after ten seconds.
  bool eventually(const std::function<bool(Server&, net::Worker&)>& condition);

  // Stops driving the reactor: the server is alive but does nothing, as under SIGSTOP.
  void freeze();
  void thaw();
  // Shuts down, again and again until all requests have ended, and joins. Idempotent.
  void stop();
  // The results of each Server::shutdown(); call it after stop().
  [[nodiscard]] const std::vector<Status>& shutdowns() const { return shutdowns_; }

 private:
  void main();

  Options options_;
  EchoService echo_;
  net::SocketAddress address_;
  rt::Reactor* reactor_ = nullptr;
  net::Worker* worker_ = nullptr;
  Server* server_ = nullptr;
  bool stopping_ = false;  // server's thread only
  std::vector<Status> shutdowns_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool started_ = false;
  bool frozen_ = false;
  bool released_ = false;  // nobody uses the reactor any more
  std::thread thread_;
};

// A shard that forwards, with a door directory of its own. It is none of the servers that it
// forwards to.
class NearShard {
 public:
  static constexpr std::uint32_t kShard = 4000;
  explicit NearShard(std::vector<net::SocketAddress> servers,
                     std::uint64_t run_id = kTestRun,
                     std::optional<cluster::Secret> secret = std::nullopt,
                     ConnectionPool::ListReader read_list = {});
  NearShard(const NearShard&) = delete;
  NearShard& operator=(const NearShard&) = delete;
  ~NearShard();

  // To servers with their doors there.
  NearShard(std::vector<net::SocketAddress> servers,
            std::string far_door_base,
            door::SessionShape far_door_shape = door::kForwardShape);
  // For a pool that reaches the servers through this shard, and in no other way.
  void use_in(ConnectionPool::Config& config) const;
  [[nodiscard]] ServerThread& thread() { return *thread_; }
  Forwarder::Stats stats();
  [[nodiscard]] std::size_t channels();
  // Ends, and starts again.
  void restart();

 private:
  explicit NearShard(ServerThread::Options options);

  ServerThread::Options options_;
  std::unique_ptr<ServerThread> thread_;
};

// A client: one pool on a reactor that the calling thread drives inside the calls.
class Client {
 public:
  explicit Client(std::string id,
                  const std::vector<net::SocketAddress>& servers,
                  ConnectionPool::Config config = {},
                  std::uint64_t run_id = kTestRun,
                  std::optional<cluster::Secret> secret = std::nullopt);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();

  Result<Reply> call(const Call& call,
                     Deadline deadline = Deadline::after(std::chrono::seconds(10)),
                     wire::ShardId shard = {});
  // Starts a call; the result appears while the client is driven. Body, data and into must live
  // until then.
  using Pending = std::shared_ptr<std::optional<Result<Reply>>>;
  Pending start(const Call& call,
                Deadline deadline = Deadline::after(std::chrono::seconds(10)),
                wire::ShardId shard = {});
  // One ping without data.
  Status ping(Deadline deadline = Deadline::after(std::chrono::seconds(10)));
  // A ping that carries `data` and wants `reply_bytes` of it back into `into`.
  Result<Reply> echo(std::span<const std::byte> data,
                     std::span<std::byte> into,
                     bool rendezvous = false);
  // Calls of EchoService's other operations.
  Status sleep_there(std::uint64_t milliseconds,
                     Deadline deadline = Deadline::after(std::chrono::seconds(10)));
  Status mkdir_there(std::uint64_t milliseconds,
                     Deadline deadline = Deadline::after(std::chrono::seconds(10)));
  // Drives the reactor until `condition` holds; false after ten seconds.
  bool eventually(const std::function<bool()>& condition);

  [[nodiscard]] ConnectionPool& pool() { return *pool_; }
  [[nodiscard]] Connection& connection() { return pool_->at({}); }
  [[nodiscard]] rt::Reactor& reactor() { return *reactor_; }
  [[nodiscard]] net::Worker& worker() { return *worker_; }
  // Links of all kinds that are not closed yet.
  [[nodiscard]] std::size_t link_count() const {
    return worker_->endpoint_count() + pool_->node_link_count();
  }
  [[nodiscard]] net::Context& context() { return *context_; }

 private:
  std::unique_ptr<NearShard> near_;  // that its calls go through, if they do
  std::unique_ptr<net::Context> context_;
  std::unique_ptr<rt::Reactor> reactor_;
  std::unique_ptr<net::Worker> worker_;
  std::unique_ptr<ConnectionPool> pool_;
  rt::Scope scope_;
};

// Whether clients of this run reach their servers through a NearShard each (test_env.sh).
bool is_forwarded();
// Whether servers and clients of this run meet at the node door (test_env.sh), and where that is.
bool is_through_door();
std::string door_base();

// A server list of one server, whose address is looked up when the list is read.
ConnectionPool::ListReader reader_of(const net::SocketAddress& node_0);

// The bytes of message `seed`, and whether `bytes` are them.
void fill_pattern(std::span<std::byte> bytes, std::uint64_t seed);
bool has_pattern(std::span<const std::byte> bytes, std::uint64_t seed);

// Open descriptors of this process.
std::size_t open_descriptors();
// Resident memory of this process.
std::size_t resident_bytes();

}  // namespace benchfs::rpc::testing
