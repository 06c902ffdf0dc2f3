// One-way messages of clients, and what a client hears about its connections.
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "net/testing/raw_peer.h"
#include "rpc/testing/rpc_fixture.h"
#include "rpc/testing/server_test_peer.h"

namespace benchfs::rpc {
namespace {

using std::chrono::milliseconds;
using testing::Client;
using testing::ServerThread;

// Remembers in which order requests began and notices arrived.
class RecordingService final : public testing::EchoService {
 public:
  rt::Task<void> handle(Request& request) override {
    record(std::string(wire::to_string(request.opcode())));
    co_await EchoService::handle(request);
  }
  bool on_notice(wire::SessionId, std::uint64_t, wire::Opcode opcode, wire::Reader body) override {
    if (opcode == wire::Opcode::kCloseNotice) {
      wire::CloseNotice notice;
      if (!body.read(notice)) {
        return false;
      }
      record("close " + std::to_string(notice.open_number));
      return true;
    }
    wire::OpensNotice notice;
    if (!body.read(notice)) {
      return false;
    }
    std::uint64_t sum = 0;
    for (std::uint32_t i = 0; i < notice.count; ++i) {
      std::uint64_t number = 0;
      if (!body.read(number)) {
        return false;
      }
      sum += number;
    }
    record("opens " + std::to_string(sum));
    return true;
  }
  std::vector<std::string> events() {
    std::lock_guard lock(mutex_);
    return events_;
  }

 private:
  void record(std::string event) {
    std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  std::mutex mutex_;
  std::vector<std::string> events_;
};

// Says which files are open at each registration.
class Handler final : public NoticeHandler {
 public:
  explicit Handler(Client& client) : client_(client) { client.pool().set_notice_handler(this); }
  ~Handler() override { client_.pool().set_notice_handler(nullptr); }
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;

  bool on_invalidate(wire::InodeId, std::string_view, const rpc::Revocation&) override {
    return true;
  }
  void on_registered(wire::ShardId shard, Registered how) override {
    registrations.push_back(how);
    wire::OpensNotice notice{.from = 1, .to = 2, .count = 0};
    EXPECT_TRUE(client_.pool().notify(shard, notice));
  }
  void on_connection_lost(wire::ShardId shard) override {
    ++lost;
    EXPECT_FALSE(client_.pool().notify(shard, wire::CloseNotice{}));
  }

  std::vector<Registered> registrations;
  int lost = 0;

 private:
  Client& client_;
};

using Events = std::vector<std::string>;

TEST(Notice, ArrivesInOrderWithTheRequests) {
  RecordingService service;
  ServerThread server({.service = &service});
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  wire::FsyncChunksRequest request{.inode = 0};
  Events expected{"ping"};
  std::vector<Client::Pending> pending;
  for (std::uint64_t i = 0; i < wire::kMaxWindow; ++i) {
    pending.push_back(client.start(make_call(request)));
    ASSERT_TRUE(client.eventually([&] { return client.connection().stats().calls == i + 2; }));
    ASSERT_TRUE(client.pool().notify({}, wire::CloseNotice{.inode = 1, .open_number = i}));
    expected.insert(expected.end(), {"fsync chunks", "close " + std::to_string(i)});
  }
  EXPECT_TRUE(client.eventually([&] { return service.events().size() == expected.size(); }));
  EXPECT_TRUE(client.eventually([&] { return pending.back()->has_value(); }));
  EXPECT_EQ(service.events(), expected);
  EXPECT_EQ(server.stats().notices, wire::kMaxWindow);
  EXPECT_EQ(client.connection().stats().notices, wire::kMaxWindow);
}

TEST(Notice, OfTheLargestSizeArrivesWhole) {
  RecordingService service;
  ServerThread server({.service = &service});
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  std::vector<std::uint64_t> numbers(wire::kMaxOpensInNotice, 3);
  wire::OpensNotice notice{.from = 1, .to = 4, .count = wire::kMaxOpensInNotice};
  ASSERT_TRUE(client.pool().notify({}, notice, std::as_bytes(std::span(numbers))));
  std::string expected = "opens " + std::to_string(3 * wire::kMaxOpensInNotice);
  EXPECT_TRUE(client.eventually([&] { return service.events().back() == expected; }));
}

TEST(Notice, IsServedWhileTheSessionDrains) {
  RecordingService service;
  ServerThread server(
      {.config = {.max_clients = 1, .run_id = testing::kTestRun}, .service = &service});
  Client busy("busy", {server.address()});
  wire::FsyncChunksRequest request{.inode = 400};
  auto running = busy.start(make_call(request));
  ASSERT_TRUE(busy.eventually([&] { return service.handled == 1; }));
  Client other("other", {server.address()});
  std::thread newcomer([&] {
    Status answered = other.ping();
    EXPECT_TRUE(answered) << answered.error().message();
  });
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) {
    Session* session = s.registry().find("busy");
    return session != nullptr && session->is_draining;
  }));
  EXPECT_TRUE(busy.pool().notify({}, wire::CloseNotice{.inode = 1, .open_number = 9}));
  EXPECT_TRUE(busy.eventually([&] { return running->has_value(); }));
  EXPECT_TRUE((*running)->has_value());
  EXPECT_EQ(service.events()[1], "close 9") << "before the newcomer's ping";
  newcomer.join();
}

TEST(Notice, NeedsASessionAndAMeaning) {
  ServerThread server;  // its service understands no notices
  Client client("client_1", {server.address()});
  EXPECT_FALSE(client.pool().notify({}, wire::CloseNotice{})) << "not connected";
  EXPECT_FALSE(client.pool().notify(wire::ShardId{7}, wire::CloseNotice{})) << "no such server";
  ASSERT_TRUE(client.ping());
  EXPECT_TRUE(client.pool().notify({}, wire::CloseNotice{}));
  ASSERT_TRUE(client.ping());
  EXPECT_EQ(server.stats().malformed, 1U);
  net::testing::RawPeer peer(server.address());
  wire::NoticeHeader stranger{.session_id = 12345};
  EXPECT_EQ(peer.send(static_cast<unsigned>(wire::Opcode::kCloseNotice),
                      std::as_bytes(std::span(&stranger, 1))),
            UCS_OK);
  EXPECT_TRUE(
      server.eventually([](Server& s, net::Worker&) { return s.stats().unattributed == 1; }));
  EXPECT_EQ(server.stats().notices, 0U);
}

TEST(NoticeHandler, SpeaksFirstAfterEachRegistration) {
  RecordingService service;
  ServerThread server({.service = &service});
  Client client("client_1", {server.address()});
  Handler handler(client);
  wire::FsyncChunksRequest request{.inode = 0};
  for (int round = 0; round < 3; ++round) {
    std::vector<Client::Pending> waiting;
    for (int i = 0; i < 4; ++i) {
      waiting.push_back(client.start(make_call(request)));
    }
    EXPECT_TRUE(client.eventually([&] { return waiting.back()->has_value(); }));
    server.run([](Server& s, net::Worker&) { ServerTestPeer::disconnect(s, "client_1"); });
    EXPECT_TRUE(client.eventually([&] { return handler.lost == round + 1; }));
  }
  Events expected;
  for (int round = 0; round < 3; ++round) {
    expected.insert(expected.end(),
                    {"opens 0", "fsync chunks", "fsync chunks", "fsync chunks", "fsync chunks"});
  }
  EXPECT_EQ(service.events(), expected);
  EXPECT_EQ(handler.registrations,
            (std::vector{Registered::kFirst, Registered::kRemembered, Registered::kRemembered}));
}

TEST(NoticeHandler, HearsThatTheServerHasForgottenTheClient) {
  RecordingService service;
  auto server = std::make_unique<ServerThread>(ServerThread::Options{.service = &service});
  net::SocketAddress now = server->address();
  ConnectionPool::Config config;
  config.read_list = testing::reader_of(now);
  Client client("client_1", {now}, config);
  Handler handler(client);
  ASSERT_TRUE(client.ping());
  server = nullptr;
  EXPECT_TRUE(client.eventually([&] { return handler.lost == 1; }));
  server = std::make_unique<ServerThread>(ServerThread::Options{.service = &service});
  now = server->address();
  ASSERT_TRUE(client.ping());
  EXPECT_EQ(handler.registrations, (std::vector{Registered::kFirst, Registered::kForgotten}));
}

TEST(NoticeHandler, HearsOfAnEviction) {
  RecordingService service;
  ServerThread server(
      {.config = {.max_clients = 1, .run_id = testing::kTestRun}, .service = &service});
  Client client("client_1", {server.address()});
  Handler handler(client);
  ASSERT_TRUE(client.ping());
  Client other("other", {server.address()});
  ASSERT_TRUE(other.ping());
  EXPECT_TRUE(client.eventually([&] { return handler.lost == 1; }));
  ASSERT_TRUE(client.ping());
  EXPECT_EQ(handler.registrations.back(), Registered::kRemembered);
}

TEST(NoticeHandler, HearsThatAServerStoppedResponding) {
  RecordingService service;
  ServerThread server({.service = &service});
  ConnectionPool::Config config;
  config.silence_limit = milliseconds(100);
  Client client("client_1", {server.address()}, config);
  Handler handler(client);
  ASSERT_TRUE(client.ping());
  int before = handler.lost;
  server.freeze();
  EXPECT_FALSE(client.mkdir_there(0, Deadline::after(std::chrono::seconds(2))));
  EXPECT_GT(handler.lost, before);
  server.thaw();
}

TEST(NoticeHandler, HearsNothingWhenTheClientClosesByItself) {
  RecordingService service;
  ServerThread server({.service = &service});
  Client client("client_1", {server.address()});
  Handler handler(client);
  ASSERT_TRUE(client.ping());
  rt::Reactor::Binding binding(client.reactor());
  client.pool().close();
  EXPECT_EQ(handler.lost, 0);
}

}  // namespace
}  // namespace benchfs::rpc
