// Deadlines of calls, and what their errors say.
#include <gtest/gtest.h>

#include "rpc/testing/rpc_fixture.h"

namespace benchfs::rpc {
namespace {

using std::chrono::milliseconds;
using testing::Client;
using testing::contains;
using testing::ServerThread;

TEST(CallDeadline, NamesNodeOperationAndPhaseAndTheLateReplyIsDropped) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  Status late = client.sleep_there(300, Deadline::after(milliseconds(30)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::kDeadline);
  EXPECT_TRUE(contains(late.error(), "fsync chunks on node_0: no reply within 0."))
      << late.error().message();
  EXPECT_TRUE(contains(late.error(), "(waiting for the reply for ")) << late.error().message();
  EXPECT_TRUE(contains(late.error(), " s; connected)")) << late.error().message();
  EXPECT_EQ(client.connection().stats().deadline_misses, 1U);
  EXPECT_TRUE(client.eventually([&] { return client.connection().stats().late_replies == 1; }));
  EXPECT_TRUE(client.ping());
  EXPECT_EQ(client.connection().stats().connects, 1U);
}

TEST(CallDeadline, EndsACallWhoseDataTheServerDoesNotTake) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  server.freeze();
  {
    std::vector<std::byte> data(1 << 20);
    wire::PingRequest request;
    Call call = make_call(request);
    call.data = data;
    call.rendezvous = true;
    Result<Reply> answer = client.call(call, Deadline::after(milliseconds(50)));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Errc::kDeadline);
    EXPECT_TRUE(contains(answer.error(), "ping on node_0: no reply within 0."));
    EXPECT_TRUE(contains(answer.error(), "(sending for ")) << answer.error().message();
  }  // the data is gone when the server wakes up
  server.thaw();
  Status answered = client.ping();
  EXPECT_TRUE(answered) << answered.error().message();
  EXPECT_EQ(client.connection().stats().connects, 2U);
}

TEST(CallDeadline, EndsACallWhoseReplyStopsArriving) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  {
    std::vector<std::byte> into(1 << 20);
    wire::PingRequest request{.reply_bytes = static_cast<std::uint32_t>(into.size())};
    Call call = make_call(request);
    call.into = into;
    auto pending = client.start(call, Deadline::after(milliseconds(300)));
    std::uint64_t before = server.service().handled;
    EXPECT_TRUE(client.eventually([&] { return server.service().handled > before; }));
    server.freeze();
    EXPECT_TRUE(client.eventually([&] { return pending->has_value(); }));
    if (!(*pending)->has_value()) {  // cma needs nobody to take part
      EXPECT_EQ((*pending)->error().code, Errc::kDeadline);
    }
  }
  server.thaw();
  EXPECT_TRUE(client.ping());
}

TEST(CallDeadline, HoldsWhileAllSlotsOfTheWindowAreTaken) {
  ServerThread server;
  Client client("client_1", {server.address()});
  wire::FsyncChunksRequest slow{.inode = 400};
  std::vector<Client::Pending> slow_calls;
  for (std::uint32_t i = 0; i < wire::kMaxWindow; ++i) {
    slow_calls.push_back(client.start(make_call(slow)));
  }
  EXPECT_TRUE(client.eventually([&] { return server.service().most_at_once == wire::kMaxWindow; }));
  Status waited = client.ping(Deadline::after(milliseconds(20)));
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code, Errc::kDeadline);
  EXPECT_TRUE(contains(waited.error(), "ping on node_0: no reply within 0."));
  EXPECT_TRUE(contains(waited.error(), "(waiting for a slot for ")) << waited.error().message();
  for (auto& call : slow_calls) {
    EXPECT_TRUE(client.eventually([&] { return call->has_value(); }));
    EXPECT_TRUE((*call)->has_value());
  }
  EXPECT_TRUE(client.ping());
}

TEST(CallDeadline, HoldsWhileTheServerDoesNotAnswerTheRegistration) {
  ServerThread server;
  server.freeze();
  Client client("client_1", {server.address()});
  Status answered = client.ping(Deadline::after(milliseconds(100)));
  ASSERT_FALSE(answered);
  EXPECT_EQ(answered.error().code, Errc::kDeadline);
  EXPECT_TRUE(contains(answered.error(), "ping on node_0: no reply within 0.1"))
      << answered.error().message();
  EXPECT_TRUE(contains(answered.error(), "ing for 0.")) << answered.error().message();
  EXPECT_TRUE(contains(answered.error(), "; not connected)")) << answered.error().message();
  server.thaw();
  EXPECT_TRUE(client.ping());
}

TEST(CallDeadline, AnswerOfTheServersRpcLayerNamesNodeAndOperation) {
  ServerThread server;
  Client client("client_1", {server.address()});
  Call unknown;
  unknown.opcode = wire::Opcode::kStatfs;
  Result<Reply> answer = client.call(unknown);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::kUnknownOpcode);
  EXPECT_TRUE(contains(answer.error(), "statfs on node_0: refused by the server (after 0."))
      << answer.error().message();
}

TEST(WaitingCalls, AreListedWithOperationAndPhase) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  EXPECT_TRUE(client.connection().waiting().empty());
  wire::MkdirRequest request{.parent = 100};
  auto pending = client.start(make_call(request));
  ASSERT_TRUE(client.eventually([&] { return server.service().mkdirs == 1; }));
  std::vector<WaitingCall> calls = client.connection().waiting();
  ASSERT_EQ(calls.size(), 1U);
  EXPECT_EQ(calls[0].opcode, wire::Opcode::kMkdir);
  EXPECT_EQ(calls[0].phase, CallPhase::kWaitingForReply);
  EXPECT_GE(calls[0].age, Nanos::zero());
  EXPECT_TRUE(client.eventually([&] { return pending->has_value(); }));
  EXPECT_TRUE(client.connection().waiting().empty());
}

}  // namespace
}  // namespace benchfs::rpc
