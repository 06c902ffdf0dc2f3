// Many registered clients in one process: each has its own identity, connection and session at one
// shard, and all share one UCX worker.
//
// Thread: the caller's; the reactor runs only inside the calls.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "bench/phase.h"
#include "cluster/server_list.h"
#include "net/context.h"
#include "net/worker.h"
#include "rpc/connection.h"
#include "rt/reactor.h"

namespace benchfs::bench {

class IdleClients final : private link::Handler, private link::Owner {
 public:
  struct Config {
    std::string registry_dir;
    cluster::Server server;  // the shard that all connect to
    std::uint64_t run_id = 0;
    std::string devices;                    // as in net::ContextConfig
    std::uint32_t at_once = 64;             // how many connect at the same time
    Deadline deadline = Deadline::never();  // for everything
  };
  static Result<std::unique_ptr<IdleClients>> create(const Config& config);
  ~IdleClients() override;

  // Connects and registers `clients` more clients; the latency of each goes into `out`.
  Status join(std::uint32_t clients, Measurement& out);
  // One ping from each, one at a time.
  Status ping(Measurement& out);
  // Makes `clients` connections to a BaselineServer and exchanges as many messages over each as
  // join() and ping() do.
  Status join_bare(std::uint32_t clients, const net::SocketAddress& address, Measurement& out);
  // Sleeps, handling only what arrives.
  void idle_for(Nanos span);
  // The number of joined clients that are registered now.
  [[nodiscard]] std::uint32_t registered() const;

 private:
  struct Member {
    rpc::ClientIdentity identity;
    std::unique_ptr<rpc::Connection> connection;
  };

  explicit IdleClients(Config config) : config_(std::move(config)) {}
  Status set_up();
  link::Disposition on_message(const link::Incoming& message) override;
  // A bare connection.
  void on_link_failed(link::Link& link, const link::Outcome& why) override;
  rt::CoStatus join_one(Member& member, Measurement& out);
  static rt::CoStatus greet(net::Endpoint& endpoint);
  rt::CoStatus greet_all();
  rt::CoStatus join_one_bare(net::Endpoint& endpoint, Measurement& out);
  rt::CoStatus ping_all(Measurement& out);

  Config config_;
  net::SocketAddress address_;
  Result<cluster::Secret> secret_ = fail(Errc::kConfig, "no secret was read");
  std::unique_ptr<net::Context> context_;
  // Nothing depends on how the connections fare.
  struct Unobserved final : rpc::ConnectionObserver {
    void on_registered(rpc::Connection&, rpc::Registered) override {}
    void on_connection_lost(rpc::Connection&) override {}
  };
  Unobserved unobserved_;
  std::unique_ptr<rt::Reactor> reactor_;
  std::unique_ptr<net::Worker> worker_;
  struct WorkerDialer final : rpc::Dialer {
    explicit WorkerDialer(net::Worker& made) : worker(made) {}
    Result<link::Link*> connect(wire::ShardId /*shard*/,
                                const net::SocketAddress& address,
                                link::Owner& owner) override {
      return worker.connect(address, owner);
    }
    net::Worker& worker;
  };
  std::optional<WorkerDialer> dialer_;
  // Indexed by number. Request ids carry the low bits of the number where those of a connection
  // pool carry the shard.
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<net::Endpoint*> bare_;
};

}  // namespace benchfs::bench
