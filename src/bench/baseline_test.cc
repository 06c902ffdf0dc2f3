// Every baseline returns the right data in every direction, for small and large payloads.
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <tuple>

#include "bench/baseline_client.h"
#include "bench/baseline_server.h"

namespace benchfs::bench {
namespace {

// A server on its own thread; the destructor stops it.
class Baseline : public testing::TestWithParam<ReplyPath> {
 protected:
  Baseline() {
    EXPECT_EQ(pipe(stop_.data()), 0);
    auto server = BaselineServer::start("127.0.0.1", "lo");
    if (!server) {
      ADD_FAILURE() << server.error().message();
      return;
    }
    server_ = std::move(*server);
    thread_ = std::thread([this] { EXPECT_TRUE(server_->serve(stop_[0])); });
  }
  ~Baseline() override {
    close(stop_[1]);
    if (thread_.joinable()) {
      thread_.join();
    }
    close(stop_[0]);
  }

  [[nodiscard]] Result<std::unique_ptr<BaselineClient>> connect() const {
    return BaselineClient::connect(GetParam(), server_->address());
  }

  std::array<int, 2> stop_{};
  std::unique_ptr<BaselineServer> server_;
  std::thread thread_;
};

PingShape shape_of(Direction direction, std::size_t bytes, std::uint32_t depth) {
  return {.direction = direction, .payload_bytes = bytes, .depth = depth, .seed = 7, .rank = 3};
}

TEST_P(Baseline, AnswersEveryShapeOfPing) {
  auto client = connect();
  ASSERT_TRUE(client) << client.error().message();
  for (Direction direction : {Direction::kSend, Direction::kReceive, Direction::kEcho}) {
    for (std::size_t bytes :
         {std::size_t{0}, std::size_t{64}, std::size_t{65536}, std::size_t{4} << 20}) {
      Measurement measurement;
      Status done = (*client)->run(shape_of(direction, bytes, 3), {.operations = 9}, measurement);
      ASSERT_TRUE(done) << done.error().message();
      EXPECT_EQ(measurement.operations, 9U);
      EXPECT_EQ(measurement.bytes, 9 * bytes);
      EXPECT_EQ(measurement.latency.count(), 9U);
      EXPECT_EQ(measurement.mismatches, 0U) << measurement.first_mismatch;
    }
  }
}

TEST_P(Baseline, ServesClientsOneAfterTheOther) {
  for (int i = 0; i < 3; ++i) {
    auto client = connect();
    ASSERT_TRUE(client) << client.error().message();
    Measurement measurement;
    Status done =
        (*client)->run(shape_of(Direction::kEcho, 512, 1), {.operations = 5}, measurement);
    ASSERT_TRUE(done) << done.error().message();
    EXPECT_EQ(measurement.operations, 5U);
  }
}

TEST_P(Baseline, StopsAtTheGivenTime) {
  auto client = connect();
  ASSERT_TRUE(client) << client.error().message();
  Measurement measurement;
  Status done = (*client)->run(
      shape_of(Direction::kSend, 8, 4), {.operations = 0, .stop_at = mono_now()}, measurement);
  ASSERT_TRUE(done) << done.error().message();
  EXPECT_EQ(measurement.operations, 4U) << "what was outstanding then, and no more";
}

INSTANTIATE_TEST_SUITE_P(Paths,
                         Baseline,
                         testing::Values(ReplyPath::kReplyEndpoint,
                                         ReplyPath::kNewEndpoint,
                                         ReplyPath::kFloor),
                         [](const auto& info) {
                           std::string name(name_of(info.param));
                           std::erase(name, '-');
                           return name;
                         });

TEST(BaselineMessages, AnAddressSurvivesTheChannel) {
  BaselineAddress address{.socket = "127.0.0.1:5", .devices = "lo", .worker = {1, 2, 255}};
  auto read = baseline_address_from(to_message(address));
  ASSERT_TRUE(read);
  EXPECT_EQ(read->socket, address.socket);
  EXPECT_EQ(read->devices, address.devices);
  EXPECT_EQ(read->worker, address.worker);
}

TEST(BaselineMessages, AnIncompleteAddressIsMalformed) {
  EXPECT_FALSE(baseline_address_from({{"socket", "127.0.0.1:5"}}));
  EXPECT_FALSE(baseline_address_from({{"socket", ""}, {"devices", ""}, {"worker", {1}}}));
  EXPECT_FALSE(baseline_address_from({{"socket", 5}, {"devices", ""}, {"worker", {1}}}));
}

TEST(BaselineMessages, PathsHaveTheirNames) {
  for (ReplyPath path : kAllPaths) {
    EXPECT_EQ(path_of(name_of(path)), path);
  }
  EXPECT_FALSE(path_of("persistant"));
}

}  // namespace
}  // namespace benchfs::bench
