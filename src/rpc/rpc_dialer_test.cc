// Which way a client takes to a server whose door does not let it in.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

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

// Opens the door when the client is connected, and has not registered yet.
class OpensTheDoor final : public NoticeHandler {
 public:
  OpensTheDoor(std::string closed, std::string open)
      : closed_(std::move(closed)), open_(std::move(open)) {}
  bool on_invalidate(wire::InodeId, std::string_view, const Revocation&) override { return true; }
  [[nodiscard]] bool looks_at_words() const override {
    if (!std::exchange(is_open_, true)) {
      std::filesystem::rename(closed_, open_);
    }
    return false;
  }

 private:
  std::string closed_;
  std::string open_;
  mutable bool is_open_ = false;
};

TEST(Dialers, AServerWhoseDoorOpensMeanwhileIsReachedThroughIt) {
  std::string base = ::testing::TempDir() + "door_XXXXXX";
  ASSERT_NE(::mkdtemp(base.data()), nullptr);
  {
    std::filesystem::create_directory(base + "/closed");
    std::filesystem::permissions(base + "/closed", std::filesystem::perms::owner_all);
    ServerThread server({.door_base = base + "/closed"});
    ConnectionPool::Config config;
    config.transport = Transport::kAuto;
    config.door_base = base + "/open";
    Client client("client_1", {server.address()}, config);
    OpensTheDoor opens(base + "/closed", base + "/open");
    client.pool().set_notice_handler(&opens);
    EXPECT_TRUE(client.reactor().block_on(  // in one attempt
        client.pool().reach(wire::ShardId{0}, Deadline::after(std::chrono::seconds(10)))));
    EXPECT_TRUE(client.ping());
    EXPECT_TRUE(client.connection().is_near());
    EXPECT_EQ(client.worker().endpoint_count(), 0U);
    EXPECT_EQ(server.clients(), 1U);
    client.pool().set_notice_handler(nullptr);
    std::filesystem::rename(base + "/open", base + "/closed");
  }
  std::filesystem::remove_all(base);
}

}  // namespace
}  // namespace benchfs::rpc
