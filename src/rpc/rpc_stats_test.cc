// Tests what a server counts and times, and what it shows of the requests under way.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "rpc/stats_json.h"
#include "rpc/testing/rpc_fixture.h"
#include "rpc/testing/unserved_request.h"

namespace benchfs::rpc {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using testing::Client;
using testing::ServerThread;

const Histogram& stage(const OperationStats& stats, Stage stage) {
  return (*stats.stages)[static_cast<std::size_t>(stage)];
}

json counters_of(ServerThread& server) {
  JsonWriter writer;
  server.run([&](Server& s, net::Worker&) {
    writer.begin_object();
    write_counters(writer, s);
    writer.end_object();
  });
  return json::parse(std::move(writer).take(), nullptr, false);
}

json requests_of(ServerThread& server,
                 std::uint32_t limit,
                 std::size_t max_bytes = wire::kMaxStatsBytes) {
  static testing::UnservedRequest nobody;
  JsonWriter writer;
  server.run([&](Server& s, net::Worker&) {
    writer.begin_object();
    write_requests(writer, s, nobody.request, limit, max_bytes);
    writer.end_object();
  });
  return json::parse(std::move(writer).take(), nullptr, false);
}

const json& operation_of(const json& counters, const std::string& name) {
  static const json kNone;
  for (const json& operation : counters["operations"]) {
    if (operation["operation"] == name) {
      return operation;
    }
  }
  return kNone;
}

TEST(RequestStats, CountsAllPingsAndTimesOneIn256) {
  ServerThread server;
  Client client("client_1", {server.address()});
  for (int i = 0; i < 513; ++i) {
    ASSERT_TRUE(client.ping());
  }
  // The last reply may arrive before its handler has ended.
  ASSERT_TRUE(server.eventually([](Server& s, net::Worker&) { return s.stats().in_flight == 0; }));
  server.run([&](Server& s, net::Worker&) {
    std::size_t operations = 0;
    s.request_stats().for_each([&](wire::Opcode opcode, const OperationStats& stats) {
      ++operations;
      EXPECT_EQ(opcode, wire::Opcode::kPing);
      EXPECT_EQ(stats.requests, 513U);
      for (Stage timed : {Stage::kDecoded, Stage::kQueued, Stage::kServed, Stage::kSent}) {
        EXPECT_EQ(stage(stats, timed).count(), 3U) << to_string(timed);
      }
      EXPECT_EQ(stage(stats, Stage::kBufferWait).count(), 0U);
      EXPECT_EQ(stats.failures + stats.errors, 0U);
    });
    EXPECT_EQ(operations, 1U);
  });
}

TEST(RequestStats, SlowOperationsAreAllTimed) {
  ServerThread server;
  Client client("client_1", {server.address()});
  constexpr std::uint64_t kMilliseconds = 20;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.sleep_there(kMilliseconds));
  }
  json counters = counters_of(server);
  const json& fsync = operation_of(counters, "fsync_chunks");
  ASSERT_TRUE(fsync.is_object()) << counters.dump();
  EXPECT_EQ(fsync["requests"], 3);
  const json& served = fsync["stages"]["served"];
  EXPECT_EQ(served["count"], 3);
  EXPECT_GE(served["p50_ns"], kMilliseconds * 1'000'000);
  EXPECT_GE(served["sum_ns"], 3 * kMilliseconds * 1'000'000);
  EXPECT_LT(fsync["stages"]["queued"]["p50_ns"], served["p50_ns"]);
}

TEST(RequestStats, BytesAndFailuresAreCounted) {
  ServerThread server;
  Client client("client_1", {server.address()});
  std::vector<std::byte> data(100'000);
  std::vector<std::byte> into(50'000);
  ASSERT_TRUE(client.echo(data, into));
  EXPECT_FALSE(client.call(make_call(wire::ReadlinkRequest{})));  // an operation it does not know
  json counters = counters_of(server);
  const json& ping = operation_of(counters, "ping");
  EXPECT_EQ(ping["bytes_in"], data.size());
  EXPECT_EQ(ping["bytes_out"], into.size());
  EXPECT_EQ(operation_of(counters, "readlink")["failures"], 1);
  EXPECT_EQ(counters["rpc"]["requests"], 2);
  EXPECT_EQ(counters["rpc"]["failures"], 1);
  EXPECT_EQ(counters["rpc"]["bytes_in"], data.size());
  EXPECT_EQ(counters["registry"]["clients"], 1);
}

TEST(RequestStats, TheOctavesOfAStageAddUpToItsCount) {
  ServerThread server;
  Client client("client_1", {server.address()});
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(client.sleep_there(1));
  }
  json counters = counters_of(server);
  const json& served = operation_of(counters, "fsync_chunks")["stages"]["served"];
  std::uint64_t sum = 0;
  for (const json& octave : served["octaves"]) {
    sum += octave.get<std::uint64_t>();
  }
  EXPECT_EQ(sum, served["count"]);
  // The largest value lies in the last octave that is listed.
  auto bits = static_cast<std::size_t>(std::bit_width(served["max_ns"].get<std::uint64_t>()));
  EXPECT_EQ(served["octaves"].size(), bits + 1);
}

TEST(RequestsUnderWay, AreShownOldestFirstWithClientPhaseAndDeadline) {
  ServerThread server;
  Client older("older \"client\"", {server.address()});
  Client newer("newer", {server.address()});
  wire::MkdirRequest mkdir{.parent = 5'000};
  wire::FsyncChunksRequest fsync{.inode = 5'000};
  Deadline deadline = Deadline::after(std::chrono::seconds(30));
  auto first = older.start(make_call(mkdir), deadline);
  ASSERT_TRUE(older.eventually([&] { return server.service().handled == 1; }));
  // Arrival is known to a kernel tick, 10 ms at most.
  MonoTime tick = mono_now();
  ASSERT_TRUE(older.eventually([&] { return mono_now() > tick + milliseconds(20); }));
  auto second = newer.start(make_call(fsync), deadline);
  ASSERT_TRUE(newer.eventually([&] { return server.service().handled == 2; }));

  json all = requests_of(server, 10);
  ASSERT_EQ(all["requests"].size(), 2U) << all.dump();
  EXPECT_EQ(all["in_flight"], 2);
  const json& oldest = all["requests"][0];
  EXPECT_EQ(oldest["client"], "older \"client\"");
  EXPECT_EQ(oldest["operation"], "mkdir");
  EXPECT_EQ(oldest["phase"], "serving");
  EXPECT_GE(oldest["age_ms"], 10);
  EXPECT_GT(oldest["deadline_ms"], 0);
  EXPECT_LE(oldest["deadline_ms"], 30'000);
  EXPECT_EQ(all["requests"][1]["client"], "newer");
  EXPECT_EQ(all["requests"][1]["operation"], "fsync_chunks");

  json cut = requests_of(server, 1);
  EXPECT_EQ(cut["in_flight"], 2);
  ASSERT_EQ(cut["requests"].size(), 1U);
  EXPECT_EQ(cut["requests"][0]["operation"], "mkdir");
  EXPECT_EQ(requests_of(server, 10, 1000)["requests"].size(), 0U) << "no room for any";
}

TEST(RequestsUnderWay, AReplyThatTheClientDoesNotTakeIsBeingSent) {
  ServerThread server;
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  std::vector<std::byte> into(1 << 20);
  wire::PingRequest request{.reply_bytes = static_cast<std::uint32_t>(into.size())};
  Call call = make_call(request);
  call.into = into;
  auto pending = client.start(call, Deadline::after(std::chrono::seconds(30)));
  ASSERT_TRUE(client.eventually([&] { return client.connection().stats().calls == 2; }));
  // From here on the client is not driven: the bytes stay where they are.
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) {
    bool sending = false;
    s.for_each_request([&](const Request& r) { sending = r.trace().phase() == Phase::kSending; });
    return sending;
  }));
  json shown = requests_of(server, 10);
  ASSERT_EQ(shown["requests"].size(), 1U) << shown.dump();
  EXPECT_EQ(shown["requests"][0]["phase"], "sending the reply");
  EXPECT_EQ(shown["requests"][0]["client"], "client_1");
  EXPECT_TRUE(client.eventually([&] { return pending->has_value(); }));
  EXPECT_TRUE((*pending)->has_value());
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) { return s.stats().in_flight == 0; }));
  EXPECT_EQ(requests_of(server, 10)["in_flight"], 0);
}

}  // namespace
}  // namespace benchfs::rpc
