// Which way a client takes to a server whose door does not let it in.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "door/attach.h"
#include "rpc/testing/rpc_fixture.h"

namespace benchfs::rpc {
namespace {

using testing::Client;
using testing::kTestRun;
using testing::ServerThread;

// The door of shard 0, which answers everybody with one error.
class ClosedDoor {
 public:
  explicit ClosedDoor(Errc answer) : answer_(answer) {
    std::string made = ::testing::TempDir() + "door_XXXXXX";
    EXPECT_NE(::mkdtemp(made.data()), nullptr);
    base_ = made;
    listener_ = door::DoorDirectory::create(kTestRun, base_).value().listen(0).value();
    thread_ = std::thread([this] { serve(); });
  }
  ~ClosedDoor() {
    done_ = true;
    thread_.join();
    std::filesystem::remove_all(base_);
  }
  [[nodiscard]] ConnectionPool::Config config(Transport transport) const {
    ConnectionPool::Config config;
    config.transport = transport;
    config.door_base = base_;
    return config;
  }
  [[nodiscard]] int asked() const { return asked_; }

 private:
  static bool is_readable(int fd) {
    pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
    return ::poll(&one, 1, 20) == 1;
  }
  void serve() {
    while (!done_) {
      if (!is_readable(listener_.get())) {
        continue;
      }
      Fd program(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      while (!done_ && !is_readable(program.get())) {
      }
      if (door::receive_attach(program.get())) {
        ++asked_;
        (void)door::answer_attach(
            program.get(), {.status = static_cast<std::uint32_t>(answer_), .run_id = kTestRun}, {});
      }
    }
  }

  Errc answer_;
  std::string base_;
  Fd listener_;
  std::atomic<bool> done_{false};
  std::atomic<int> asked_{0};
  std::thread thread_;
};

class Dialer : public ::testing::TestWithParam<Errc> {};

TEST_P(Dialer, WhoIsNotLetInGoesOverTheNetworkIfItMay) {
  ServerThread server;
  ClosedDoor door(GetParam());
  Client client("client_1", {server.address()}, door.config(Transport::kAuto));
  EXPECT_TRUE(client.ping());
  EXPECT_EQ(door.asked(), 1);
}

INSTANTIATE_TEST_SUITE_P(Refusals,
                         Dialer,
                         ::testing::Values(Errc::kVersion, Errc::kStaleRun, Errc::kLimit));

TEST(OnlyTheDoor, ADaemonOfAnotherVersionEndsTheCallAtOnce) {
  ServerThread server;
  ClosedDoor door(Errc::kVersion);
  Client client("client_1", {server.address()}, door.config(Transport::kNode));
  Result<Reply> reply = client.call(make_call(wire::FsyncChunksRequest{}));
  ASSERT_FALSE(reply.has_value());
  EXPECT_EQ(reply.error().code, Errc::kVersion);
  EXPECT_EQ(door.asked(), 1);
}

// A server whose door is there, but closed, until a client that is connected is about to register:
// at its first registration, or a later one.
class LateDoor final : public NoticeHandler {
 public:
  explicit LateDoor(int registration) : left_(registration) {
    base_ = ::testing::TempDir() + "door_XXXXXX";
    EXPECT_NE(::mkdtemp(base_.data()), nullptr);
    std::filesystem::create_directory(closed());
    std::filesystem::permissions(closed(), std::filesystem::perms::owner_all);
  }
  ~LateDoor() override { std::filesystem::remove_all(base_); }
  bool on_invalidate(wire::InodeId, std::string_view, const Revocation&) override { return true; }
  [[nodiscard]] bool looks_at_words() const override {
    if (--left_ == 0) {
      std::filesystem::rename(closed(), open());
    }
    return false;
  }
  void on_registered(wire::ShardId /*shard*/, Registered how) override { how_ = how; }

  [[nodiscard]] ServerThread::Options server() const { return {.door_base = closed()}; }
  // The server may be at another address later.
  std::unique_ptr<Client> client(const net::SocketAddress& server) {
    ConnectionPool::Config config;
    config.read_list = testing::reader_of(server);
    config.list_interval = Nanos::zero();
    config.transport = Transport::kAuto;
    config.door_base = open();
    auto client = std::make_unique<Client>("client_1", std::vector{server}, config);
    client->pool().set_notice_handler(this);
    return client;
  }
  // Where the server expects it when it stops.
  void close() const { std::filesystem::rename(open(), closed()); }
  [[nodiscard]] Registered how() const { return how_; }

 private:
  [[nodiscard]] std::string closed() const { return base_ + "/closed"; }
  [[nodiscard]] std::string open() const { return base_ + "/open"; }
  std::string base_;
  mutable int left_;
  Registered how_ = Registered::kFirst;
};

TEST(Dialers, AServerWhoseDoorOpensMeanwhileIsReachedThroughIt) {
  LateDoor door(1);
  ServerThread server(door.server());
  std::unique_ptr<Client> client = door.client(server.address());
  EXPECT_TRUE(client->reactor().block_on(  // in one attempt
      client->pool().reach(wire::ShardId{0}, Deadline::after(std::chrono::seconds(10)))));
  EXPECT_TRUE(client->ping());
  EXPECT_TRUE(client->connection().is_near());
  EXPECT_EQ(client->worker().endpoint_count(), 0U);
  EXPECT_EQ(server.clients(), 1U);
  client.reset();
  door.close();
}

// What it answers to the first of the two registrations counts.
TEST(Dialers, AServerThatForgotTheClientIsNoticedAlthoughItsDoorOpensMeanwhile) {
  LateDoor door(2);
  auto server = std::make_unique<ServerThread>(door.server());
  net::SocketAddress address = server->address();
  std::unique_ptr<Client> client = door.client(address);
  ASSERT_TRUE(client->ping());
  EXPECT_FALSE(client->connection().is_near());
  server.reset();
  server = std::make_unique<ServerThread>(door.server());
  address = server->address();
  ASSERT_TRUE(client->ping());
  EXPECT_TRUE(client->connection().is_near());
  EXPECT_EQ(door.how(), Registered::kForgotten);
  client.reset();
  door.close();
}

}  // namespace
}  // namespace benchfs::rpc
