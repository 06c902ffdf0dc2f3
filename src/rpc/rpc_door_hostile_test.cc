// Programs that send through the door what no client sends.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "door/client_links.h"
#include "rpc/testing/rpc_fixture.h"
#include "wire/forward.h"

namespace benchfs::rpc {
namespace {

using testing::Client;
using testing::kTestRun;
using testing::NearShard;
using testing::ServerThread;

constexpr std::uint64_t kMany = 200;

// A link to a shard that forwards.
class Stranger final : private link::Handler, private link::Owner {
 public:
  explicit Stranger(const NearShard& near) : reactor_(rt::Reactor::create().value()) {
    ConnectionPool::Config config;
    near.use_in(config);
    link::Handler& handler = *this;
    links_.emplace(*reactor_,
                   handler,
                   door::ClientLinks::Config{.run_id = kTestRun, .base = config.door_base});
    rt::Reactor::Binding binding(*reactor_);
    link_ = links_->connect(NearShard::kShard, *this, true);
  }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;
  ~Stranger() override {
    rt::Reactor::Binding binding(*reactor_);
    link_->close();
    reactor_->step(Deadline::after(Nanos::zero()));
  }

  void send(std::uint16_t id, std::span<const std::byte> header) {
    rt::Reactor::Binding binding(*reactor_);
    link_->send_and_forget(id, header);
  }
  void send(const wire::ForwardHeader& outer, std::span<const std::byte> inner = {}) {
    const wire::ForwardedHeader header = wire::forwarded(outer, inner);
    send(static_cast<std::uint16_t>(wire::Opcode::kForward), header.bytes());
  }
  void send(const wire::ForwardHeader& outer,
            std::span<const std::byte> inner,
            std::span<const std::byte> data) {
    rt::Reactor::Binding binding(*reactor_);
    const wire::ForwardedHeader header = wire::forwarded(outer, inner);
    link::Operation sending;
    link_->begin_send(sending,
                      {.id = static_cast<std::uint16_t>(wire::Opcode::kForward),
                       .header = header.bytes(),
                       .data = data});
    EXPECT_TRUE(eventually([&] { return !sending.is_pending(); }));
  }
  // With the shard itself.
  void register_as(std::string_view id) {
    rt::Reactor::Binding binding(*reactor_);
    wire::RegisterClientRequestHeader header{
        .client_id_len = static_cast<std::uint32_t>(id.size()), .client_uid = 1, .attempt = 1};
    link::Operation sending;
    link_->begin_send(sending,
                      {.id = static_cast<std::uint16_t>(wire::Opcode::kRegister),
                       .header = std::as_bytes(std::span(&header, 1)),
                       .data = std::as_bytes(std::span(id))});
    EXPECT_TRUE(eventually([&] { return !sending.is_pending() && is_registered_; }));
  }
  bool eventually(const std::function<bool()>& condition) {
    rt::Reactor::Binding binding(*reactor_);
    Deadline deadline = Deadline::after(std::chrono::seconds(10));
    while (!condition() && !deadline.passed()) {
      reactor_->step(Deadline::after(std::chrono::milliseconds(1)));
    }
    return condition();
  }
  [[nodiscard]] bool was_refused() const { return was_refused_; }
  // What was sent has a lane; there are fewer than kMany.
  [[nodiscard]] bool has_sent_all() const { return link_->operations() == 0; }

 private:
  link::Disposition on_message(const link::Incoming& message) override {
    is_registered_ = is_registered_ || message.id == wire::kRegisterReplyAmId;
    return link::Disposition::kDone;
  }
  void on_link_failed(link::Link&, const link::Outcome&) override { was_refused_ = true; }

  std::unique_ptr<rt::Reactor> reactor_;
  std::optional<door::ClientLinks> links_;
  link::Link* link_ = nullptr;
  bool was_refused_ = false;
  bool is_registered_ = false;
};

class HostileAtTheDoor : public ::testing::Test {
 protected:
  // Others are served, and of the stranger nothing is left.
  void expect_no_harm() {
    ConnectionPool::Config config;
    near_.use_in(config);
    Client client("client_1", {far_.address()}, config);
    EXPECT_TRUE(client.ping());
  }
  ServerThread far_;
  NearShard near_{{far_.address()}};
};

TEST_F(HostileAtTheDoor, AMessageOfNoKindEndsItsLink) {
  Stranger stranger(near_);
  std::array<std::byte, 24> header{};
  stranger.send(5000, header);
  EXPECT_TRUE(stranger.eventually([&] { return stranger.was_refused(); }));
  EXPECT_EQ(near_.thread().stats().unattributed, 1U);
  expect_no_harm();
}

TEST_F(HostileAtTheDoor, ARequestOfASessionThatIsNotThereEndsTheLink) {
  Stranger stranger(near_);
  stranger.register_as("stranger");
  wire::RequestHeader request{.request_id = 1, .session_id = 12345};
  stranger.send(static_cast<std::uint16_t>(wire::Opcode::kPing),
                std::as_bytes(std::span(&request, 1)));
  EXPECT_TRUE(stranger.eventually([&] { return stranger.was_refused(); }));
  expect_no_harm();
}

// What would be left in service would keep the session of a program that has died.
TEST_F(HostileAtTheDoor, ASecondRegistrationKeepsNoSession) {
  {
    Stranger stranger(near_);
    stranger.register_as("stranger");
    wire::RegisterClientRequestHeader again;
    stranger.send(static_cast<std::uint16_t>(wire::Opcode::kRegister),
                  std::as_bytes(std::span(&again, 1)));
  }
  EXPECT_TRUE(near_.thread().eventually(
      [](Server& server, net::Worker&) { return server.node_links().size() == 0; }));
  expect_no_harm();
}

TEST_F(HostileAtTheDoor, AForwardThatIsTooShortEndsItsLink) {
  Stranger stranger(near_);
  std::array<std::byte, 9> header{};
  stranger.send(static_cast<std::uint16_t>(wire::Opcode::kForward), header);
  EXPECT_TRUE(stranger.eventually([&] { return stranger.was_refused(); }));
  EXPECT_TRUE(near_.thread().eventually(
      [](Server& server, net::Worker&) { return server.forwarder()->programs() == 0; }));
  expect_no_harm();
}

TEST_F(HostileAtTheDoor, MessagesInUnknownChannelsAreAnswered) {
  Stranger stranger(near_);
  for (std::uint64_t i = 1; i <= kMany; ++i) {
    wire::RequestHeader request{.request_id = i};
    stranger.send({.call = i, .channel = 3, .id = static_cast<std::uint16_t>(wire::Opcode::kPing)},
                  std::as_bytes(std::span(&request, 1)));
  }
  EXPECT_TRUE(stranger.eventually([&] { return stranger.has_sent_all(); }));
  EXPECT_EQ(near_.channels(), 0U);
  expect_no_harm();
}

// The far shard keeps nothing of it.
TEST(AtTheDoor, AMessageThatIsTooLongForTheWayEndsItsChannelOnBothSides) {
  std::string base = ::testing::TempDir() + "far_XXXXXX";
  ASSERT_NE(::mkdtemp(base.data()), nullptr);
  {
    ServerThread far({.door_base = base});
    NearShard near({far.address()}, base, door::SessionShape{.lanes = 4, .area_bytes = 4U << 16});
    Stranger stranger(near);
    constexpr std::string_view kId = "stranger";
    wire::RegisterClientRequestHeader registration{
        .client_id_len = kId.size(), .client_uid = 1, .attempt = 1};
    stranger.send(
        {.call = 1, .channel = 1, .id = static_cast<std::uint16_t>(wire::Opcode::kRegister)},
        std::as_bytes(std::span(&registration, 1)),
        std::as_bytes(std::span(kId)));
    auto links = [](std::size_t count) {
      return [count](Server& server, net::Worker&) { return server.link_count() == count; };
    };
    EXPECT_TRUE(far.eventually(links(2)));  // the shard between, and the stranger
    wire::RequestHeader request{.request_id = 2};
    std::vector<std::byte> data(300'000);
    stranger.send({.call = 2, .channel = 1, .id = static_cast<std::uint16_t>(wire::Opcode::kPing)},
                  std::as_bytes(std::span(&request, 1)),
                  data);
    EXPECT_TRUE(far.eventually(links(1)));
    EXPECT_EQ(near.channels(), 0U);
  }
  std::filesystem::remove_all(base);
}

TEST_F(HostileAtTheDoor, AShardThatDoesNotExistIsTheEndOfTheChannel) {
  Stranger stranger(near_);
  for (std::uint64_t i = 1; i <= kMany; ++i) {
    wire::RegisterClientRequestHeader registration{.attempt = i};
    stranger.send({.call = i,
                   .channel = i,
                   .shard = 17,
                   .id = static_cast<std::uint16_t>(wire::Opcode::kRegister)},
                  std::as_bytes(std::span(&registration, 1)));
  }
  EXPECT_TRUE(stranger.eventually([&] { return stranger.has_sent_all(); }));
  EXPECT_EQ(near_.channels(), 0U);
  expect_no_harm();
}

TEST_F(HostileAtTheDoor, ChannelsOfAProgramAreBounded) {
  Stranger stranger(near_);
  far_.freeze();
  for (std::uint64_t i = 1; i <= kMany; ++i) {
    wire::RegisterClientRequestHeader registration{.attempt = i};
    stranger.send({.channel = i, .id = static_cast<std::uint16_t>(wire::Opcode::kRegister)},
                  std::as_bytes(std::span(&registration, 1)));
  }
  EXPECT_TRUE(stranger.eventually([&] { return stranger.has_sent_all(); }));
  EXPECT_GE(near_.channels(), 1U);
  EXPECT_LE(near_.channels(), 4U);
  far_.thaw();
  expect_no_harm();
}

// What is inside is of no kind for the far shard either.
TEST_F(HostileAtTheDoor, WhatTheFarShardDoesNotKnowHarmsNobodyThere) {
  {
    ConnectionPool::Config config;
    near_.use_in(config);
    Client client("client_2", {far_.address()}, config);
    ASSERT_TRUE(client.ping());
    rt::Reactor::Binding binding(client.reactor());
    std::array<std::byte, 24> header{};
    for (std::uint16_t id : {std::uint16_t{5000}, std::uint16_t{171}, std::uint16_t{71}}) {
      client.connection().link()->send_and_forget(id, header);
    }
    // A channel in a channel.
    wire::ForwardHeader nested{.session_id = client.connection().grant().session_id,
                               .id = static_cast<std::uint16_t>(wire::Opcode::kRegister)};
    client.connection().link()->send_and_forget(static_cast<std::uint16_t>(wire::Opcode::kForward),
                                                std::as_bytes(std::span(&nested, 1)));
    EXPECT_TRUE(client.ping());
  }
  EXPECT_EQ(far_.stats().unattributed, 4U);
  expect_no_harm();
}

}  // namespace
}  // namespace benchfs::rpc
