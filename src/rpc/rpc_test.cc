#include <gtest/gtest.h>

#include "rpc/testing/rpc_fixture.h"

namespace benchfs::rpc {
namespace {

using testing::Client;
using testing::fill_pattern;
using testing::has_pattern;
using testing::ServerThread;

TEST(Rpc, APingIsAnswered) {
  ServerThread server;
  Client client("client_1", {server.address()});
  Status answered = client.ping();
  ASSERT_TRUE(answered) << answered.error().message();
  EXPECT_EQ(server.clients(), 1U);
}

TEST(Rpc, DataComesBackAsItWasSent) {
  ServerThread server;
  Client client("client_1", {server.address()});
  for (bool rendezvous : {false, true}) {
    for (std::size_t size : {1U, 100U, 4096U, 65536U, 1U << 20}) {
      std::vector<std::byte> data(size);
      std::vector<std::byte> back(size);
      fill_pattern(data, size);
      Result<Reply> reply = client.echo(data, back, rendezvous);
      ASSERT_TRUE(reply) << size << ": " << reply.error().message();
      EXPECT_EQ(reply->data_bytes, size);
      EXPECT_TRUE(has_pattern(back, size)) << size;
    }
  }
}

}  // namespace
}  // namespace benchfs::rpc
