#include "bench/channel.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <string>
#include <thread>

namespace benchfs::bench {
namespace {

using nlohmann::json;

constexpr Nanos kLong = std::chrono::seconds(30);

class ChannelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> sockets{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
    left_.emplace(sockets[0]);
    right_.emplace(sockets[1]);
  }
  void write_raw(std::string_view text) {
    ASSERT_EQ(write(left_->fd(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }

  std::optional<Channel> left_;
  std::optional<Channel> right_;
};

TEST_F(ChannelTest, MessagesArriveInOrder) {
  ASSERT_TRUE(left_->send({{"number", 1}}));
  ASSERT_TRUE(left_->send({{"number", 2}, {"text", "a\nb"}}));
  Result<json> first = right_->receive(Deadline::after(kLong));
  Result<json> second = right_->receive(Deadline::after(kLong));
  ASSERT_TRUE(first && second);
  EXPECT_EQ((*first)["number"], 1);
  EXPECT_EQ((*second)["text"], "a\nb");
}

TEST_F(ChannelTest, APartOfAMessageIsNotAMessage) {
  write_raw("{\"number\":");
  Result<std::optional<json>> nothing = right_->try_receive();
  ASSERT_TRUE(nothing);
  EXPECT_FALSE(*nothing);
  write_raw("3}\n");
  Result<std::optional<json>> whole = right_->try_receive();
  ASSERT_TRUE(whole && *whole);
  EXPECT_EQ((**whole)["number"], 3);
}

TEST_F(ChannelTest, AMessageLargerThanTheSocketBufferArrives) {
  std::string large(900'000, 'x');
  std::thread sender([&] { EXPECT_TRUE(left_->send({{"text", large}})); });
  Result<json> message = right_->receive(Deadline::after(kLong));
  sender.join();
  ASSERT_TRUE(message);
  EXPECT_EQ((*message)["text"], large);
}

TEST_F(ChannelTest, SilenceEndsAtTheDeadline) {
  Result<json> message = right_->receive(Deadline::after(Nanos::zero()));
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().code, Errc::kDeadline);
}

TEST_F(ChannelTest, TheEndOfTheOtherSideIsAnError) {
  ASSERT_TRUE(left_->send({{"number", 1}}));
  left_.reset();
  EXPECT_TRUE(right_->receive(Deadline::after(kLong)));
  Result<json> message = right_->receive(Deadline::after(kLong));
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().code, Errc::kDisconnected);
  Status sent = right_->send({{"number", 2}});
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::kDisconnected);
}

TEST_F(ChannelTest, WhatIsNotAnObjectIsMalformed) {
  for (std::string_view text : {"nonsense\n", "[1]\n", "\n", "{\"a\":}\n"}) {
    write_raw(text);
    Result<json> message = right_->receive(Deadline::after(kLong));
    ASSERT_FALSE(message) << text;
    EXPECT_EQ(message.error().code, Errc::kMalformed) << text;
  }
}

TEST_F(ChannelTest, AnEndlessMessageIsRefused) {
  std::thread sender([&] {
    std::string text(64 << 10, 'x');
    for (int i = 0; i < 64 && ::send(left_->fd(), text.data(), text.size(), MSG_NOSIGNAL) > 0;
         ++i) {
    }
  });
  Result<json> message = right_->receive(Deadline::after(kLong));
  right_.reset();
  sender.join();
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().code, Errc::kMalformed);
}

}  // namespace
}  // namespace benchfs::bench
