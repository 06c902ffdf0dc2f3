// Processes fail: each failure is noticed in time, its callers are told, nothing is left behind,
// and the clients go on. The failures of networks are in network_failure_test.cc.
#include "system/failure_test.h"

#include <sys/wait.h>

#include <csignal>
#include <future>
#include <sstream>
#include <thread>

namespace benchfs::test {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;

class Failure : public FailureTest {
 protected:
  Failure() {
    cluster_ = up({"--servers", "1", "--engine", "memory"});
    client_ = connect_with(impatient());
  }
  void SetUp() override { ASSERT_NE(client_, nullptr); }

  // Left by `benchfs up`, so it is a child of this process now.
  [[nodiscard]] pid_t server() const { return pid_of(cluster_, 0); }
  // Returns when it stands still.
  void freeze_server() { ASSERT_TRUE(stop(server())); }
  void kill_server() {
    ::kill(server(), SIGKILL);
    ASSERT_TRUE(wait_for_end(server(), patience()));
    ::waitpid(server(), nullptr, 0);
  }
  std::uint64_t sleeps_of_server() {
    Result<std::string> text = client_->run(client_->fs().shard_stats(kFirst));
    EXPECT_TRUE(text) << message(text);
    return json::parse(text.value_or("{}"))["reactor"]["sleeps"];
  }
  Status ping() { return client_->run(client_->fs().ping(kFirst)); }
  // Waits until as many clients are registered.
  // `bench`: with this many worker processes. It is a client itself before they begin.
  bool has_clients(int count, pid_t bench = 0, std::size_t processes = 0) {
    Deadline deadline = patience();
    while (held(*client_).clients != count ||
           (processes > 0 && workers(bench).size() < processes)) {
      if (deadline.passed()) {
        return false;
      }
      std::this_thread::sleep_for(milliseconds(1));  // lint: allow sleep another process's counter
    }
    return true;
  }
  // The processes of a `benchfs bench` that are clients.
  static std::vector<pid_t> workers(pid_t bench) {
    std::istringstream list(read_file(fmt::format("/proc/{0}/task/{0}/children", bench)));
    return {std::istream_iterator<pid_t>(list), {}};
  }
  Process start_bench(const std::vector<std::string>& arguments) {
    std::vector<std::string> all = {BENCHFS_PROGRAM, "--registry-dir", registry(), "bench"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return {all, path("")};
  }

  json cluster_;
  std::unique_ptr<client::Client> client_;
};

TEST_F(Failure, AKilledClientIsForgottenAtOnceWithAllItHeld) {
  ASSERT_TRUE(ping());
  Held before = held_at_rest(*client_);
  std::vector<std::string> writers = {"io", "--clients", "2", "--size", "64G", "--depth", "16"};
  std::vector<std::string> pings = {
      "rpc", "--clients", "2", "--seconds", "600", "--depth", "16", "--payload", "256K"};
  for (const std::vector<std::string>& load : {writers, pings}) {
    Process bench = start_bench(load);
    ASSERT_TRUE(has_clients(before.clients + 2, bench.pid(), 2)) << bench.err();
    std::vector<pid_t> clients = workers(bench.pid());
    ASSERT_EQ(clients.size(), 2U);
    MonoTime killed = mono_now();
    for (pid_t client : clients) {
      ::kill(client, SIGKILL);
    }
    ASSERT_TRUE(has_clients(before.clients));
    record("client killed, until the server has forgotten it", mono_now() - killed);
    EXPECT_LT(mono_now() - killed, kNoticed);
    EXPECT_NE(bench.wait(patience()).exit_code, 0);
    EXPECT_TRUE(holds_again(*client_, before));
  }
}

TEST_F(Failure, AKilledServerIsNoticedAtOnce) {
  ASSERT_TRUE(ping());
  std::ptrdiff_t descriptors_before = descriptors();
  freeze_server();  // so that the call waits
  auto call = std::async(std::launch::async, [&] { return ping(); });
  EXPECT_EQ(call.wait_for(milliseconds(100)), std::future_status::timeout);
  MonoTime killed = mono_now();
  kill_server();
  Status pong = call.get();
  record("server killed, until its caller is told", mono_now() - killed);
  EXPECT_LT(mono_now() - killed, kNoticed);
  ASSERT_FALSE(pong);
  EXPECT_NE(message(pong).find("ping on node_0: "), std::string::npos) << message(pong);
  EXPECT_LE(descriptors(), descriptors_before) << "the connection is gone";
}

TEST_F(Failure, AFrozenServerIsNoticedInTwoSecondsAndServesAgainWhenItContinues) {
  ASSERT_TRUE(ping());
  Held before = held_at_rest(*client_);
  std::ptrdiff_t descriptors_before = descriptors();
  freeze_server();
  MonoTime frozen = mono_now();
  Status pong = ping();
  record("server frozen, until its caller is told", mono_now() - frozen);
  EXPECT_LT(mono_now() - frozen, kNoticed);
  ASSERT_FALSE(pong);
  EXPECT_NE(message(pong).find("ping on node_0: "), std::string::npos) << message(pong);
  EXPECT_LE(descriptors(), descriptors_before);

  ::kill(server(), SIGCONT);
  std::unique_ptr<client::Client> patient = connect();  // the server serves again
  ASSERT_NE(patient, nullptr);
  patient.reset();
  pong = ping();
  EXPECT_TRUE(pong) << message(pong);
  EXPECT_TRUE(holds_again(*client_, before));
  EXPECT_EQ(descriptors(), descriptors_before);
}

TEST_F(Failure, CallsOutliveAServerThatIsFrozenForAFewSeconds) {
  std::unique_ptr<client::Client> client = connect();
  ASSERT_NE(client, nullptr);
  std::vector<std::byte> data = pattern(8U << 20, 9);
  ASSERT_TRUE(write_whole(*client, "/file", data));
  freeze_server();
  auto reading = std::async(std::launch::async, [&] { return read_whole(*client, "/file"); });
  // Past the moment at which it is noticed.
  EXPECT_EQ(reading.wait_for(milliseconds(2500)), std::future_status::timeout);
  ::kill(server(), SIGCONT);
  Result<std::vector<std::byte>> got = reading.get();
  // The open came first: it may fail with an unknown effect, the read may not.
  if (!got) {
    EXPECT_NE(message(got).find("open on node_0: "), std::string::npos) << message(got);
    got = read_whole(*client, "/file");
  }
  EXPECT_EQ(got.value_or(std::vector<std::byte>{}), data) << message(got);
}

TEST_F(Failure, AClientThatWasStoppedItselfDoesNotBlameTheServer) {
  Process bench = start_bench({"rpc", "--seconds", "6", "--depth", "4"});
  ASSERT_TRUE(has_clients(2, bench.pid(), 1)) << bench.err();
  std::vector<pid_t> clients = workers(bench.pid());
  ASSERT_EQ(clients.size(), 1U);
  freeze_server();  // so that calls wait
  ASSERT_TRUE(stop(clients[0]));
  EXPECT_FALSE(wait_for_end(clients[0], Deadline::after(seconds(3)))) << "stopped, not ended";
  ::kill(clients[0], SIGCONT);
  ::kill(server(), SIGCONT);
  Ended ended = bench.wait(patience());
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.err.find("silent"), std::string::npos) << ended.err;
}

// Each of four clients leaves up to a window of replies unread.
TEST_F(Failure, ClientsThatReadNothingLeaveTheServerAsleep) {
  ASSERT_TRUE(ping());
  Held before = held_at_rest(*client_);
  Process bench = start_bench({"rpc", "--clients", "4", "--seconds", "4", "--depth", "64"});
  ASSERT_TRUE(has_clients(before.clients + 4, bench.pid(), 4)) << bench.err();
  std::vector<pid_t> clients = workers(bench.pid());
  ASSERT_EQ(clients.size(), 4U);
  for (pid_t client : clients) {
    ASSERT_TRUE(stop(client));
  }
  // Busy until the last request is answered.
  double cpu = 1;
  std::uint64_t sleeps = 0;
  for (int second = 0; second < 5 && cpu >= 0.2; ++second) {
    std::uint64_t cpu_before = cpu_ns(server());
    std::uint64_t sleeps_before = sleeps_of_server();
    std::this_thread::sleep_for(seconds(1));  // lint: allow sleep measured
    cpu = static_cast<double>(cpu_ns(server()) - cpu_before) * 1e-9;
    sleeps = sleeps_of_server() - sleeps_before;
  }
  fmt::print("four stopped clients: {:.3f} s of CPU, {} sleeps in a second\n", cpu, sleeps);
  EXPECT_LT(cpu, 0.2);
  EXPECT_GT(sleeps, 0U);
  for (pid_t client : clients) {
    ::kill(client, SIGCONT);
  }
  Ended ended = bench.wait(patience());
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_TRUE(holds_again(*client_, before));
}

TEST_F(Failure, TheErrorOfADeadlineNamesOperationNodePhaseAndTimes) {
  client::Options options = client_options();
  options.file_system.timeouts.metadata = milliseconds(700);
  std::unique_ptr<client::Client> client = connect_with(options);
  ASSERT_NE(client, nullptr);
  ASSERT_TRUE(client->run(client->fs().stat("/")));
  freeze_server();
  Result<wire::Attr> got = client->run(client->fs().stat("/"));
  ::kill(server(), SIGCONT);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, Errc::kDeadline);
  EXPECT_NE(message(got).find("getattr on node_0: no reply within 0."), std::string::npos)
      << message(got);
  EXPECT_NE(message(got).find("(waiting for the reply for "), std::string::npos) << message(got);
  EXPECT_NE(message(got).find("; nothing heard for 0."), std::string::npos) << message(got);
}

}  // namespace
}  // namespace benchfs::test
