// A client in a program that forks: the parent goes on, the child gets an error.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "support/cluster.h"

namespace benchfs {
namespace {

TEST(Fork, TheChildsCallsFailAndTheParentsGoOn) {
  BENCHFS_TEST_ASSIGN(cluster, test::Cluster::start({.servers = 2}));
  BENCHFS_TEST_ASSIGN(client, client::Client::connect(cluster->client_options()));
  ASSERT_TRUE(client->run(client->fs().mkdir("/before", 0755)));
  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    auto attr = client->run(client->fs().stat("/before"));
    bool told = !attr && attr.error().code == Errc::kCancelled && client->is_forked();
    client.reset();  // must not say goodbye for the parent
    _exit(told ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_TRUE(client->run(client->fs().stat("/before")));
  EXPECT_TRUE(client->run(client->fs().mkdir("/after", 0755)));
  client.reset();
  EXPECT_TRUE(cluster->stop());
}

}  // namespace
}  // namespace benchfs
