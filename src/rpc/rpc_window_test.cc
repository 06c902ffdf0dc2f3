// Tests the order of calls when a connection's window is full.
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "rpc/testing/rpc_fixture.h"
#include "rpc/testing/server_test_peer.h"

namespace benchfs::rpc {
namespace {

using testing::Client;
using testing::ServerThread;

constexpr std::size_t kKiB = 1024;

// Keeps every ping until it is told to answer the oldest. A ping is named by the bytes it brings.
class PingHoldingService final : public testing::EchoService {
 public:
  rt::Task<void> handle(Request& request) override {
    {
      std::lock_guard lock(mutex_);
      begun_.push_back(request.data_bytes() / kKiB);
    }
    (void)co_await answer_.wait(Deadline::never());
    co_await request.reply(wire::NoReply{});
  }
  void answer_oldest() { (void)answer_.wake_one(); }  // on the server's thread
  // The sizes in KiB of those that began, in order.
  std::vector<std::size_t> begun() {
    std::lock_guard lock(mutex_);
    return begun_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::size_t> begun_;
  rt::WaitQueue answer_;
};

using Sizes = std::vector<std::size_t>;

class Window : public ::testing::Test {
 protected:
  // A window of this many calls and 1 MiB.
  void open(std::uint32_t slots) {
    server.emplace(ServerThread::Options{
        .config = {.window = slots, .window_bytes = 1 << 20, .run_id = testing::kTestRun},
        .service = &service});
    client.emplace("client_1", std::vector{server->address()});
    rt::Reactor::Binding binding(client->reactor());
    ASSERT_TRUE(client->reactor().block_on(
        client->pool().connect_any({}, Deadline::after(std::chrono::seconds(10)))));
  }
  void TearDown() override {
    ASSERT_TRUE(client->eventually([&] {
      answer_oldest();
      return std::ranges::all_of(calls, [](const auto& call) { return call->has_value(); });
    }));
    for (const auto& call : calls) {
      EXPECT_TRUE((*call)->has_value()) << (*call)->error().message();
    }
    client.reset();
    server.reset();
  }
  // Starts a call with this many KiB, and lets it run as far as it can.
  void start(std::size_t kib) {
    Call call = make_call(request);
    call.data = std::span(data).first(kib * kKiB);
    call.rendezvous = kib >= 512;
    calls.push_back(client->start(call, Deadline::after(std::chrono::minutes(1))));
    rt::Reactor::Binding binding(client->reactor());
    client->reactor().turn();
  }
  void answer_oldest() {
    server->run([&](Server&, net::Worker&) { service.answer_oldest(); });
  }
  void expect_begun(const Sizes& sizes) {
    EXPECT_TRUE(client->eventually([&] { return service.begun().size() >= sizes.size(); }));
    EXPECT_EQ(service.begun(), sizes);
  }

  wire::PingRequest request;
  std::vector<std::byte> data = std::vector<std::byte>(1 << 20);
  PingHoldingService service;
  std::optional<ServerThread> server;
  std::optional<Client> client;
  std::vector<Client::Pending> calls;
};

// The large call is woken twice because a call ended, and fits only the second time.
TEST_F(Window, ALargeCallIsNotOvertakenBySmallerOnesThatCameLater) {
  open(16);
  start(250);
  start(251);
  expect_begun({250, 251});
  start(1000);  // has no room
  start(252);
  start(253);
  expect_begun({250, 251});
  answer_oldest();
  EXPECT_TRUE(client->eventually([&] { return calls[0]->has_value(); }));
  expect_begun({250, 251});
  answer_oldest();
  expect_begun({250, 251, 1000});
  answer_oldest();
  expect_begun({250, 251, 1000, 252, 253});
}

TEST_F(Window, CallsWithoutBulkPassALargeOneThatWaitsForRoomButLeaveItASlot) {
  open(4);
  start(250);
  start(1000);  // has no room
  for (std::size_t kib = 1; kib <= 4; ++kib) {
    start(kib);
  }
  expect_begun({250, 1, 2});  // the fourth slot is the large one's
  answer_oldest();
  expect_begun({250, 1, 2, 1000, 3});
  answer_oldest();
  expect_begun({250, 1, 2, 1000, 3, 4});
}

TEST_F(Window, InAWindowOfOneEverybodyWaitsForItsTurn) {
  open(1);
  start(250);
  start(1000);
  start(1);
  expect_begun({250});
  answer_oldest();
  expect_begun({250, 1000});
  answer_oldest();
  expect_begun({250, 1000, 1});
}

TEST_F(Window, ACallThatGaveUpLeavesItsTurnToTheNext) {
  open(16);
  start(250);
  Call large = make_call(request);
  large.data = std::span(data).first(1000 * kKiB);
  auto late = client->start(large, Deadline::after(std::chrono::milliseconds(100)));
  start(251);  // behind the large one
  ASSERT_TRUE(client->eventually([&] { return late->has_value(); }));
  ASSERT_FALSE(**late);
  const Error& error = (*late)->error();
  EXPECT_EQ(error.code, Errc::kDeadline);
  EXPECT_NE(error.message().find("waiting for a slot"), std::string::npos) << error.message();
  expect_begun({250, 251});
}

TEST_F(Window, CallsThatWaitGoOverTheNextConnection) {
  open(1);
  start(250);
  start(1000);
  start(1);
  expect_begun({250});
  server->run([&](Server& s, net::Worker&) { ServerTestPeer::disconnect(s, "client_1"); });
  EXPECT_TRUE(client->eventually([&] { return client->connection().stats().connects == 2; }));
}

}  // namespace
}  // namespace benchfs::rpc
