// A client of one file system: everything from the registry directory to the FileSystem.
//
// Several may live in one process. Thread-safe; made by connect(), which returns when the client is
// registered with its first server.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/error.h"
#include "client/driver.h"
#include "client/file_system.h"
#include "net/context.h"
#include "net/worker.h"
#include "rpc/connection_pool.h"

namespace benchfs::client {

struct Options {
  std::string registry_dir;
  std::string client_id;     // empty: made from host, process and a random number
  std::uint64_t run_id = 0;  // the run the caller expects; 0 = any
  Nanos list_timeout = std::chrono::seconds(10);     // for the server list to be complete
  Nanos connect_timeout = std::chrono::seconds(10);  // to be registered with the first server
  bool helper_thread = true;                         // once it is needed (client/driver.h)
  // Devices empty: "lo" when all servers are on loopback, else all. Not over UCX's shared memory: a
  // program that is killed while it sends there may stop the daemon.
  net::ContextConfig network{.sharing = net::Sharing::kNothing};
  rt::IdleConfig idle;
  FileSystemConfig file_system;
  rpc::ConnectionPool::Config pool{.transport = rpc::Transport::kAuto, .forwarded = true};
};

class Client {
 public:
  static Result<std::unique_ptr<Client>> connect(Options options);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  // Says goodbye to all servers. No call may be under way.
  ~Client();

  // Runs a task or a call of fs() to its end, from any thread: client.run(client.fs().stat("/a")).
  template <typename T>
  Result<T> run(rt::CoResult<T> task) {
    return driver_->run(std::move(task));
  }
  template <typename Call>
  auto run(Call&& call) {
    return driver_->call([&call]() -> Call& { return call; });
  }
  // The same for what `make` makes when the client is driven: nothing of it is made before, or
  // stays after.
  template <typename Make>
  auto call(Make&& make) {
    return driver_->call(std::forward<Make>(make));
  }
  // Does what can be done without waiting; see Driver::run_now().
  template <typename Work>
  void run_now(Work work) {
    driver_->run_now(std::move(work));
  }
  // Tasks may be created anywhere but run only through run().
  FileSystem& fs() { return *file_system_; }
  [[nodiscard]] const cluster::ServerList& servers() const { return servers_; }
  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] std::uint64_t uid() const { return pool_->identity().uid; }
  [[nodiscard]] bool is_forked() const { return driver_->is_forked(); }

 private:
  Client() = default;
  Status keep_driven();
  Result<net::Worker*> open_network(net::ContextConfig config, const std::string& registry_dir);

  bool has_warned_ = false;  // that there is no thread
  std::string id_;
  cluster::ServerList servers_;
  std::unique_ptr<Driver> driver_;
  std::unique_ptr<net::Context> context_;  // once the network is used
  std::unique_ptr<net::Worker> worker_;
  std::unique_ptr<rpc::ConnectionPool> pool_;
  std::unique_ptr<FileSystem> file_system_;
};

}  // namespace benchfs::client
