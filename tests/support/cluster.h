// A file system inside the test: its shards run on threads of this process, its server list and
// data live in a directory of its own that goes with it.
//
//   BENCHFS_TEST_ASSIGN(cluster, Cluster::start({.servers = 2, .shards = 2}));
//   auto client = client::Client::connect(cluster->client_options());
//
// Thread: the one that made it.
#pragma once

#include <semaphore.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "client/client.h"
#include "server/shard.h"
#include "support/temp_dir.h"

namespace benchfs::test {

struct ClusterConfig {
  std::uint32_t servers = 1;
  std::uint32_t shards = 1;  // a server
  server::Engine engine = server::Engine::kMemory;
  std::uint64_t memory_bytes = std::uint64_t{256} << 20;  // of chunks, a shard
  std::uint32_t chunk_bytes = 64U << 10;
  // Changes what else a test needs in the configuration of every shard.
  std::function<void(server::ShardConfig&)> tweak;
};

class Cluster {
 public:
  // Returns when every shard listens and is in the server list.
  static Result<std::unique_ptr<Cluster>> start(ClusterConfig config = {});
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;
  // Stops what still runs.
  ~Cluster();

  [[nodiscard]] const std::string& registry_dir() const { return registry_dir_; }
  [[nodiscard]] std::uint32_t shard_count() const {
    return static_cast<std::uint32_t>(nodes_.size());
  }
  [[nodiscard]] client::Options client_options() const;
  [[nodiscard]] server::Shard& shard(std::uint32_t index) { return *nodes_[index]->shard; }

  // Stops all shards and returns the first error of a run.
  Status stop();

  // A frozen shard does nothing at all, as after SIGSTOP, until thaw(). freeze() returns when it
  // stands still.
  void freeze(std::uint32_t index);
  void thaw(std::uint32_t index);

 private:
  struct Node {
    server::ShardConfig config;
    std::unique_ptr<server::Shard> shard;
    Status created;
    Status ran;
    std::thread thread;
    std::atomic<bool> has_created{false};
    bool frozen = false;
    sem_t standing;  // posted by the frozen thread
    sem_t resume;    // posted by thaw()
    sem_t leave;     // posted by stop(): the shard may be destroyed
  };

  explicit Cluster(ClusterConfig config);
  void add_node(std::uint32_t server, std::uint32_t shard);
  static void serve(Node& node);

  ClusterConfig config_;
  TempDir directory_;
  std::string registry_dir_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace benchfs::test

// Declares `name` as the value of a Result, or fails the test with its message.
#define BENCHFS_TEST_ASSIGN(name, ...)                                       \
  auto name##_result = (__VA_ARGS__);                                        \
  ASSERT_TRUE(name##_result.has_value()) << name##_result.error().message(); \
  auto name = std::move(*name##_result)
