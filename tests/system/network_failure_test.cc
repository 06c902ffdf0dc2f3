// Networks fail: reset, cut, lossy, slow; and a server whose host is lost while its successor
// starts at another address. A daemon and a client, each on a host of its own (network.h), over
// tcp.
#include <cstdlib>
#include <future>
#include <optional>

#include "system/failure_test.h"
#include "system/network.h"

namespace benchfs::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class NetworkFailure : public FailureTest {
 protected:
  // The node door takes no notice of the network between two processes of one machine.
  void SetUp() override {
    if (!is_over_network()) {
      GTEST_SKIP() << "networks are tested over tcp alone";
    }
    make_network();
  }
  void make_network() {
    std::string why_not;
    network_ = TestNetwork::create(path(""), delay_, why_not);
    if (network_ == nullptr) {
      GTEST_SKIP() << why_not;
    }
    on_client_.emplace(network_->client());
    server_ = start_server(TestNetwork::kServerIp);
    ASSERT_TRUE(server_->wait_for_line("is ready", patience())) << server_->err();
  }
  std::unique_ptr<Process> start_server(const char* ip) {
    std::vector<std::string> arguments = {"--node-id",
                                          "node_0",
                                          "--registry-dir",
                                          registry(),
                                          "--expected-servers",
                                          "1",
                                          "--listen",
                                          ip,
                                          "--set",
                                          fmt::format("network.devices={}", TestNetwork::kDevice),
                                          "--engine",
                                          "memory"};
    Namespace::Visit visit(network_->server());
    return std::make_unique<Process>(start_daemon(arguments));
  }
  // Sets client_.
  void connect_client(client::Options options) {
    options.network.devices = TestNetwork::kDevice;
    client_ = connect_with(options);
    ASSERT_NE(client_, nullptr);
    ASSERT_TRUE(ping());
  }
  Status ping() { return client_->run(client_->fs().ping(kFirst)); }
  // Pings until one fails; returns its error.
  Error first_error() {
    Deadline deadline = patience();
    Status pong = ping();
    while (pong && !deadline.passed()) {
      pong = ping();
    }
    EXPECT_FALSE(pong) << "nothing went wrong";
    return pong ? Error{} : pong.error();
  }
  std::uint64_t connects() { return client_->fs().pool().at(kFirst).stats().connects; }

  Nanos delay_ = Nanos::zero();
  std::unique_ptr<TestNetwork> network_;
  std::unique_ptr<Process> server_;
  std::optional<Namespace::Visit> on_client_;  // the test itself runs on the client's host
  std::unique_ptr<client::Client> client_;
};

TEST_F(NetworkFailure, AResetIsNoticedAtOnceAndTheNextCallGoesThrough) {
  ASSERT_NO_FATAL_FAILURE(connect_client(impatient()));
  Held before = held_at_rest(*client_);
  std::ptrdiff_t descriptors_before = descriptors();
  ASSERT_TRUE(network_->filter_server("meta l4proto tcp reject with tcp reset"));
  MonoTime reset = mono_now();
  Error error = first_error();
  record("connection reset, until its caller is told", mono_now() - reset);
  EXPECT_LT(mono_now() - reset, kNoticed);
  EXPECT_NE(error.message().find("ping on node_0: "), std::string::npos) << error.message();
  ASSERT_TRUE(network_->heal());
  Status pong = ping();
  EXPECT_TRUE(pong) << message(pong);
  EXPECT_TRUE(holds_again(*client_, before));
  EXPECT_EQ(descriptors(), descriptors_before);
}

TEST_F(NetworkFailure, ACutIsNoticedInTwoSecondsAndHealed) {
  ASSERT_NO_FATAL_FAILURE(connect_client(impatient()));
  Held before = held_at_rest(*client_);
  std::ptrdiff_t descriptors_before = descriptors();
  std::vector<std::byte> data = pattern(16U << 20, 5);
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(network_->cut());
    MonoTime cut = mono_now();
    Error error = first_error();
    record("network cut, until its caller is told", mono_now() - cut);
    EXPECT_LT(mono_now() - cut, kNoticed);
    EXPECT_NE(error.message().find("ping on node_0: "), std::string::npos) << error.message();
    ASSERT_TRUE(network_->heal());
    Status pong = ping();
    EXPECT_TRUE(pong) << message(pong);
  }
  Status written = write_whole(*client_, "/file", data);
  EXPECT_TRUE(written) << message(written);
  EXPECT_EQ(read_whole(*client_, "/file").value_or(std::vector<std::byte>{}), data);
  EXPECT_TRUE(holds_again(*client_, before));
  EXPECT_EQ(descriptors(), descriptors_before);
}

TEST_F(NetworkFailure, ReadsUnderWayOutliveACutOfAFewSeconds) {
  ASSERT_NO_FATAL_FAILURE(connect_client(client_options()));
  std::vector<std::byte> data = pattern(32U << 20, 6);
  ASSERT_TRUE(write_whole(*client_, "/file", data));
  auto file = client_->run(client_->fs().open("/file", wire::kOpenRead, 0));
  ASSERT_TRUE(file) << message(file);
  std::vector<std::byte> back(data.size());
  ASSERT_TRUE(network_->cut());
  auto reading = std::async(std::launch::async,
                            [&] { return client_->run(client_->fs().read(**file, 0, back)); });
  // Past the moment at which it is noticed.
  EXPECT_EQ(reading.wait_for(milliseconds(2500)), std::future_status::timeout);
  ASSERT_TRUE(network_->heal());
  Result<std::size_t> got = reading.get();
  EXPECT_EQ(got.value_or(0), data.size()) << message(got);
  EXPECT_EQ(back, data);
  EXPECT_GE(connects(), 2U);
  Status closed = client_->run(client_->fs().close(*file));
  EXPECT_TRUE(closed) << message(closed);
}

TEST_F(NetworkFailure, LossSlowsButBreaksNothing) {
  ASSERT_NO_FATAL_FAILURE(connect_client(client_options()));
  Held before = held_at_rest(*client_);
  ASSERT_TRUE(network_->filter_server("numgen random mod 100 < 3 drop"));
  ASSERT_TRUE(network_->filter_client("numgen random mod 100 < 3 drop"));
  std::vector<std::byte> data = pattern(4U << 20, 7);
  MonoTime begin = mono_now();
  for (int i = 0; i < 3; ++i) {
    std::string name = fmt::format("/file_{}", i);
    Status written = write_whole(*client_, name, data);
    EXPECT_TRUE(written) << message(written);
    Result<std::vector<std::byte>> got = read_whole(*client_, name);
    EXPECT_EQ(got.value_or(std::vector<std::byte>{}), data) << message(got);
  }
  record("24 MiB at 3 % loss", mono_now() - begin);
  EXPECT_EQ(connects(), 1U) << "a lossy network is not a dead server";
  ASSERT_TRUE(network_->heal());
  EXPECT_TRUE(holds_again(*client_, before));
}

// The host of the server vanishes without a word; its successor has another address.
TEST_F(NetworkFailure, AServerThatRestartedElsewhereIsFoundInTheListWithinOneCall) {
  ASSERT_NO_FATAL_FAILURE(connect_client(client_options()));
  std::ptrdiff_t descriptors_before = descriptors();
  ASSERT_TRUE(network_->change_server_ip());
  server_->signal(SIGKILL);
  EXPECT_EQ(server_->wait(patience()).signal, SIGKILL);
  std::unique_ptr<Process> successor = start_server(TestNetwork::kOtherServerIp);
  ASSERT_TRUE(successor->wait_for_line("is ready", patience())) << successor->err();

  MonoTime begin = mono_now();
  Status pong = ping();  // the connection still looks healthy
  record("server lost, until its successor elsewhere answers", mono_now() - begin);
  EXPECT_TRUE(pong) << message(pong);
  EXPECT_LT(mono_now() - begin, kNoticed);
  std::vector<std::byte> data = pattern(300'000, 8);
  Status written = write_whole(*client_, "/file", data);
  EXPECT_TRUE(written) << message(written);
  EXPECT_EQ(read_whole(*client_, "/file").value_or(std::vector<std::byte>{}), data);
  EXPECT_EQ(descriptors(), descriptors_before);
  client_.reset();  // says goodbye while the successor is there
}

class SlowNetwork : public NetworkFailure {
 protected:
  SlowNetwork() { delay_ = milliseconds(50); }
};

TEST_F(SlowNetwork, ServesAllTheSame) {
  client::Options options = client_options();
  // Heartbeats before any answer can be there, and a limit that no loaded machine reaches.
  options.pool.heartbeat_after = milliseconds(20);
  options.pool.silence_limit = std::chrono::hours(1);
  ASSERT_NO_FATAL_FAILURE(connect_client(options));
  Held before = held_at_rest(*client_);
  MonoTime begin = mono_now();
  ASSERT_TRUE(ping());
  EXPECT_GE(mono_now() - begin, 2 * delay_) << "the delay is real";
  record("ping with 50 ms each way", mono_now() - begin);
  std::vector<std::byte> data = pattern(8U << 20, 9);
  begin = mono_now();
  Status written = write_whole(*client_, "/file", data);
  EXPECT_TRUE(written) << message(written);
  Result<std::vector<std::byte>> got = read_whole(*client_, "/file");
  EXPECT_EQ(got.value_or(std::vector<std::byte>{}), data) << message(got);
  record("16 MiB with 50 ms each way", mono_now() - begin);
  EXPECT_EQ(connects(), 1U) << "a slow network is not a dead server";
  EXPECT_GE(client_->fs().pool().at(kFirst).stats().heartbeats, 1U);
  EXPECT_TRUE(holds_again(*client_, before));
}

}  // namespace
}  // namespace benchfs::test
