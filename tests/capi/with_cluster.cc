// with_cluster PROGRAM [ARGUMENT…]: runs a program with BENCHFS_REGISTRY_DIR set to that of a
// cluster of two servers that lives as long as the program runs. Exits with the program's exit
// code.
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "support/cluster.h"

namespace {

// Whether every server answers: programs that come before their node door is open use the network.
benchfs::Status wait_until_ready(const benchfs::test::Cluster& cluster) {
  BENCHFS_TRY(auto client, benchfs::client::Client::connect(cluster.client_options()));
  for (std::uint32_t shard = 0; shard < client->servers().servers.size(); ++shard) {
    BENCHFS_TRY_VOID(client->run(client->fs().ping(benchfs::wire::ShardId{shard})));
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: {} PROGRAM [ARGUMENT…]\n", argv[0]);
    return 2;
  }
  using benchfs::test::Cluster;
  auto cluster = Cluster::start(
      {.servers = 2, .engine = benchfs::server::Engine::kFile, .chunk_bytes = 1U << 20});
  if (!cluster) {
    fmt::print(stderr, "with_cluster: {}\n", cluster.error().message());
    return 1;
  }
  if (auto ready = wait_until_ready(**cluster); !ready) {
    fmt::print(stderr, "with_cluster: {}\n", ready.error().message());
    return 1;
  }
  setenv("BENCHFS_REGISTRY_DIR", (*cluster)->registry_dir().c_str(), 1);
  pid_t child = 0;
  if (int error = posix_spawnp(&child, argv[1], nullptr, nullptr, argv + 1, environ); error != 0) {
    fmt::print(stderr, "with_cluster: {}: error {}\n", argv[1], error);
    return 1;
  }
  int status = 0;
  waitpid(child, &status, 0);
  benchfs::Status stopped = (*cluster)->stop();
  if (!stopped) {
    fmt::print(stderr, "with_cluster: {}\n", stopped.error().message());
    return 1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
