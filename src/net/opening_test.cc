#include "net/opening.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "net/testing/raw_bytes.h"

namespace benchfs::net {
namespace {

using testing::Bytes;
using testing::Garbage;
using testing::operator+;

// Uses a block of exactly its size, so that the address sanitizer detects an access beyond it.
std::size_t expected(Stage stage, const Bytes& bytes, const SocketAddress& here = {}) {
  auto copy = std::make_unique<std::byte[]>(bytes.size());
  std::ranges::copy(bytes, copy.get());
  return expected_size(stage, {copy.get(), bytes.size()}, here);
}

Bytes first(const Bytes& bytes, std::size_t size) {
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)};
}

// The stage after these bytes have arrived one by one, read as in incoming_sockets.cc.
Stage feed(Stage stage, const Bytes& bytes, const SocketAddress& here = {}) {
  Bytes message;
  for (std::byte byte : bytes) {
    message.push_back(byte);
    std::size_t size = expected(stage, message, here);
    if (size == 0) {
      return Stage::kRefused;
    }
    if (size == message.size()) {
      stage = after(stage);
      message.clear();
    }
    if (stage == Stage::kTrusted) {
      return stage;
    }
  }
  return stage;
}

TEST(Opening, WhatAPeerSendsIsExpected) {
  EXPECT_EQ(feed(Stage::kRequest, testing::good_request(4711)), Stage::kAnswer);
  EXPECT_EQ(feed(Stage::kNotice, testing::good_notice()), Stage::kQuiet);
  for (const char* ip : {"127.0.0.1", "::1"}) {
    SocketAddress here = make_address(ip, 40'000).value();
    Bytes connect = testing::good_connect(make_address(ip, 39'999).value());
    EXPECT_EQ(feed(Stage::kMagic, connect, here), Stage::kTrusted);
  }
}

TEST(Opening, AMessageThatIsNotCompleteIsWaitedFor) {
  Bytes request = testing::good_request();
  for (std::size_t size = 0; size < request.size(); ++size) {
    std::size_t header = testing::kRequestHeaderBytes;
    EXPECT_EQ(expected(Stage::kRequest, first(request, size)),
              size < header ? header : request.size());
  }
  SocketAddress here = make_address("127.0.0.1", 40'000).value();
  Bytes connect = testing::good_connect(make_address("127.0.0.1", 1).value());
  connect.erase(connect.begin(), connect.begin() + testing::kMagicBytes);
  for (std::size_t size = 0; size < connect.size(); ++size) {
    EXPECT_EQ(expected(Stage::kConnect, first(connect, size), here), connect.size());
  }
}

TEST(Opening, NothingIsExpectedOutOfTurn) {
  for (Stage stage : {Stage::kAnswer, Stage::kQuiet}) {
    EXPECT_EQ(expected(stage, {}), 1U);
    EXPECT_EQ(expected(stage, Bytes(1)), 0U);
  }
  EXPECT_EQ(feed(Stage::kNotice, testing::good_request()), Stage::kRefused);
}

TEST(Opening, GarbageIsRefused) {
  Random random(1);
  SocketAddress here = make_address("127.0.0.1", 40'000).value();
  for (const Garbage& garbage : testing::common_garbage(random)) {
    EXPECT_EQ(feed(Stage::kRequest, garbage.bytes), Stage::kRefused) << garbage.name;
    EXPECT_EQ(feed(Stage::kNotice, Bytes(16, std::byte{1}) + garbage.bytes), Stage::kRefused);
    EXPECT_EQ(feed(Stage::kMagic, garbage.bytes, here), Stage::kRefused) << garbage.name;
  }
  for (const Garbage& garbage : testing::almost_requests(random)) {
    EXPECT_EQ(feed(Stage::kRequest, garbage.bytes), Stage::kRefused) << garbage.name;
  }
  for (const Garbage& garbage : testing::almost_connects(here, random)) {
    Stage stage = feed(Stage::kMagic, garbage.bytes, here);
    bool is_right = garbage.name.starts_with("nobody's");  // which UCX finds out itself
    EXPECT_EQ(stage, is_right ? Stage::kTrusted : Stage::kRefused) << garbage.name;
  }
}

TEST(Opening, NoBytesAreReadThatAreNotThere) {
  const char* variable = std::getenv("BENCHFS_SEED");
  std::uint64_t seed = variable == nullptr ? 1 : std::strtoull(variable, nullptr, 0);
  SCOPED_TRACE("BENCHFS_SEED=" + std::to_string(seed));
  Random random(seed);
  SocketAddress here = make_address("127.0.0.1", 40'000).value();
  Bytes connect = testing::good_connect(make_address("127.0.0.1", 1).value());
  connect.erase(connect.begin(), connect.begin() + testing::kMagicBytes);
  for (int i = 0; i < 100'000; ++i) {
    Bytes request = testing::good_request();
    for (std::uint64_t changes = 1 + random.below(4); changes > 0; --changes) {
      request[16 + random.below(request.size() - 16)] = static_cast<std::byte>(random.next());
      connect[random.below(connect.size())] = static_cast<std::byte>(random.next());
    }
    std::size_t size = random.below(2) == 0 ? request.size() : random.below(request.size());
    std::size_t expected_request = expected(Stage::kRequest, first(request, size));
    EXPECT_TRUE(expected_request == 0 || expected_request >= size);
    expected(Stage::kConnect, connect, here);
    Bytes body(request.begin() + 16, request.end());
    auto copy = std::make_unique<std::byte[]>(body.size());
    std::ranges::copy(body, copy.get());
    is_request({copy.get(), random.below(body.size() + 1)});
  }
}

}  // namespace
}  // namespace benchfs::net
