#include "support/cluster.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "base/check.h"
#include "client/environment.h"

namespace benchfs::test {

namespace {

// The semaphores of the shard that runs on this thread; read by the signal handler. Written before
// the signal can be sent, and used through plain thread-local storage of the executable, which
// needs no allocation at first use.
struct FreezePoint {
  sem_t* standing = nullptr;
  sem_t* resume = nullptr;
};
thread_local FreezePoint freeze_point;

void on_freeze(int) {
  int saved = errno;
  sem_post(freeze_point.standing);
  while (sem_wait(freeze_point.resume) != 0 && errno == EINTR) {
  }
  errno = saved;
}

void wait_for(sem_t* semaphore) {
  while (sem_wait(semaphore) != 0 && errno == EINTR) {
  }
}

}  // namespace

Cluster::Cluster(ClusterConfig config)
    : config_(std::move(config)), registry_dir_(directory_.path() + "/registry") {
  struct sigaction action{};
  action.sa_handler = on_freeze;
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR2, &action, nullptr);
}

void Cluster::add_node(std::uint32_t server, std::uint32_t shard) {
  auto node = std::make_unique<Node>();
  sem_init(&node->standing, 0, 0);
  sem_init(&node->resume, 0, 0);
  sem_init(&node->leave, 0, 0);
  server::ShardConfig& config = node->config;
  config.node_id = config_.shards == 1 ? fmt::format("node_{}", server)
                                       : fmt::format("node_{}.{}", server, shard);
  config.registry_dir = registry_dir_;
  config.expected_servers = config_.servers * config_.shards;
  config.listen_ip = "127.0.0.1";
  config.engine = config_.engine;
  config.data_dir = fmt::format("{}/data/{}", directory_.path(), config.node_id);
  config.memory_bytes = config_.memory_bytes;
  config.chunk_bytes = config_.chunk_bytes;
  // Small enough that a test of a few megabytes waits for buffers and splits its transfers.
  config.buffer_bytes = 256U << 10;
  config.buffer_count = 8;
  config.list_timeout = std::chrono::seconds(60);
  config.network.devices = "lo";
  BENCHFS_CHECK(rpc::apply_environment(config.to_peers).has_value());
  if (config_.tweak) {
    config_.tweak(config);
  }
  nodes_.push_back(std::move(node));
}

void Cluster::serve(Node& node) {
  freeze_point = {&node.standing, &node.resume};
  Result<std::unique_ptr<server::Shard>> shard = server::Shard::create(node.config);
  if (shard) {
    node.shard = std::move(*shard);
  } else {
    node.created = std::unexpected(std::move(shard.error()));
  }
  node.has_created = true;
  node.has_created.notify_all();
  if (node.shard != nullptr) {
    node.ran = node.shard->run();
    wait_for(&node.leave);
    node.shard.reset();  // on the thread that made it
  }
}

Result<std::unique_ptr<Cluster>> Cluster::start(ClusterConfig config) {
  std::unique_ptr<Cluster> cluster(new Cluster(config));  // lint: allow new private constructor
  std::error_code error;
  // Directories that others may write to are refused, whatever the test's umask is.
  mode_t mask = ::umask(077);
  std::filesystem::create_directories(cluster->registry_dir_, error);
  for (std::uint32_t server = 0; server < config.servers; ++server) {
    for (std::uint32_t shard = 0; shard < config.shards; ++shard) {
      cluster->add_node(server, shard);
      std::filesystem::create_directories(cluster->nodes_.back()->config.data_dir, error);
    }
  }
  ::umask(mask);
  for (std::unique_ptr<Node>& node : cluster->nodes_) {
    node->thread = std::thread([shared = node.get()] { serve(*shared); });
  }
  for (std::unique_ptr<Node>& node : cluster->nodes_) {
    node->has_created.wait(false);
    if (!node->created) {
      return std::unexpected(node->created.error());
    }
  }
  return cluster;
}

client::Options Cluster::client_options() const {
  client::Options options;
  options.registry_dir = registry_dir_;
  options.list_timeout = std::chrono::seconds(60);
  options.connect_timeout = std::chrono::seconds(60);
  BENCHFS_CHECK(client::apply_environment(options).has_value());
  return options;
}

Status Cluster::stop() {
  for (std::uint32_t index = 0; index < nodes_.size(); ++index) {
    thaw(index);
    Node& node = *nodes_[index];
    node.has_created.wait(false);
    if (node.thread.joinable() && node.created) {
      node.shard->stop();
      sem_post(&node.leave);
    }
  }
  Status first;
  for (std::unique_ptr<Node>& node : nodes_) {
    if (node->thread.joinable()) {
      node->thread.join();
    }
    if (first && !node->ran) {
      first = node->ran;
    }
  }
  return first;
}

Cluster::~Cluster() {
  (void)stop();
  for (std::unique_ptr<Node>& node : nodes_) {
    sem_destroy(&node->standing);
    sem_destroy(&node->resume);
    sem_destroy(&node->leave);
  }
}

void Cluster::freeze(std::uint32_t index) {
  Node& node = *nodes_[index];
  if (!node.frozen) {
    pthread_kill(node.thread.native_handle(), SIGUSR2);
    wait_for(&node.standing);
    node.frozen = true;
  }
}

void Cluster::thaw(std::uint32_t index) {
  Node& node = *nodes_[index];
  if (std::exchange(node.frozen, false)) {
    sem_post(&node.resume);
  }
}

}  // namespace benchfs::test
