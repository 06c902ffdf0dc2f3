// Registration, calls and connections between well-behaved sides.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "net/testing/raw_peer.h"
#include "rpc/testing/rpc_fixture.h"
#include "rt/frame_pool.h"
#include "wire/ping.h"

namespace benchfs::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Client;
using testing::fill_pattern;
using testing::has_pattern;
using testing::ServerThread;

// --- Registration --------------------------------------------------------------------------------

// Registers with hand-made messages; message 50 and answer 151 are those of the requirement.
std::optional<wire::RegisterClientResponseHeader> register_by_hand(
    net::testing::RawPeer& peer,
    const wire::RegisterClientRequestHeader& request,
    std::string_view id) {
  peer.messages().clear();
  (void)peer.send(50,
                  std::as_bytes(std::span(&request, 1)),
                  std::as_bytes(std::span(id)),
                  UCP_AM_SEND_FLAG_REPLY | UCP_AM_SEND_FLAG_EAGER);
  // Do not wait for "or broken", too: over shared memory the end of the connection may be seen
  // before the answer.
  (void)peer.wait([&] { return !peer.messages().empty(); });
  wire::RegisterClientResponseHeader response;
  if (peer.messages().empty() || peer.messages()[0].id != 151 ||
      peer.messages()[0].header.size() != sizeof response) {
    return std::nullopt;
  }
  std::memcpy(&response, peer.messages()[0].header.data(), sizeof response);
  return response;
}

wire::RegisterClientRequestHeader registration_of(std::string_view id) {
  wire::RegisterClientRequestHeader request;
  request.client_id_len = static_cast<std::uint32_t>(id.size());
  request.client_uid = 7;
  request.run_id = testing::kTestRun;
  request.attempt = 99;
  return request;
}

TEST(Registration, UsesTheMessagesOfTheRequirement) {
  ServerThread server;
  net::testing::RawPeer peer(server.address());
  auto response = register_by_hand(peer, registration_of("client_1"), "client_1");
  ASSERT_TRUE(response);
  EXPECT_EQ(response->status, 0U);
  EXPECT_EQ(response->error_code, 0U);
  EXPECT_EQ(response->attempt, 99U);
  EXPECT_EQ(response->run_id, testing::kTestRun);
  EXPECT_NE(response->session_id, 0U);
  EXPECT_EQ(response->window, wire::kMaxWindow);
  EXPECT_EQ(response->max_transfer_bytes, 1U << 20);
  EXPECT_EQ(server.clients(), 1U);
}

TEST(Registration, WrongOnesAreRefusedWithTheReason) {
  ServerThread server;
  const std::string longest(wire::kMaxClientIdBytes, 'x');
  const std::string too_long(wire::kMaxClientIdBytes + 1, 'x');
  struct Case {
    const char* what;
    std::string id;
    Errc expected;
    void (*change)(wire::RegisterClientRequestHeader&);
  };
  using Header = wire::RegisterClientRequestHeader;
  const Case cases[] = {
      {"version", "c", Errc::kVersion, [](Header& h) { h.version = wire::kProtocolVersion + 1; }},
      {"run", "c", Errc::kStaleRun, [](Header& h) { h.run_id = 1; }},
      {"empty id", "", Errc::kMalformed, [](Header&) {}},
      {"too long id", too_long, Errc::kMalformed, [](Header&) {}},
      {"length", "c", Errc::kMalformed, [](Header& h) { h.client_id_len = 200; }},
      {"uid", "c", Errc::kMalformed, [](Header& h) { h.client_uid = 0; }},
      {"longest id", longest, Errc::kOk, [](Header&) {}},
      {"any run", "c", Errc::kOk, [](Header& h) { h.run_id = 0; }},
  };
  for (const Case& test : cases) {
    net::testing::RawPeer peer(server.address());
    Header request = registration_of(test.id);
    test.change(request);
    auto response = register_by_hand(peer, request, test.id);
    ASSERT_TRUE(response) << test.what;
    EXPECT_EQ(static_cast<Errc>(response->error_code), test.expected) << test.what;
    EXPECT_EQ(response->status, test.expected == Errc::kOk ? 0U : 1U) << test.what;
    EXPECT_EQ(response->session_id == 0, test.expected != Errc::kOk) << test.what;
    if (test.expected != Errc::kOk) {
      EXPECT_TRUE(peer.wait([&] { return peer.is_broken(); })) << test.what;
    }
  }
  EXPECT_EQ(server.registry_stats().rejected, 6U);
}

TEST(Registration, ARefusalIsTheErrorOfTheCallAndNamesBothSides) {
  ServerThread server;
  Client client("client_1", {server.address()}, {}, 0xbad);
  Status refused = client.ping();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kStaleRun);
  for (const char* part : {"ping", "node_0", "client_1", "0000000000000bad", "0000000000005eed"}) {
    EXPECT_NE(refused.error().message().find(part), std::string::npos) << refused.error().message();
  }
}

TEST(Registration, AnIdOfTheWrongLengthIsRefusedBeforeItIsSent) {
  Client client("client_1", {});
  for (std::size_t size : {std::size_t{0}, wire::kMaxClientIdBytes + 1}) {
    auto pool = ConnectionPool::create(
        client.worker(), {.id = std::string(size, 'x'), .uid = 1, .run_id = 0}, {});
    ASSERT_FALSE(pool);
    EXPECT_EQ(pool.error().code, Errc::kInvalidArgument);
  }
}

TEST(Registration, AClientWaitsForAServerThatIsStarting) {
  ServerThread server({.ready = false});
  std::thread starter([&] {
    EXPECT_TRUE(server.eventually(
        [](Server& s, net::Worker&) { return s.registry().stats().rejected >= 2; }));
    server.run([](Server& s, net::Worker&) { s.set_ready({}, 1, testing::kTestRun); });
  });
  Client client("client_1", {server.address()});
  Status answered = client.ping();
  starter.join();
  EXPECT_TRUE(answered) << answered.error().message();
}

TEST(Registration, ManyCallsAtOnceRegisterOnce) {
  ServerThread server;
  Client client("client_1", {server.address()});
  wire::PingRequest request;
  std::vector<Client::Pending> calls;
  for (int i = 0; i < 50; ++i) {
    calls.push_back(client.start(make_call(request)));
  }
  for (auto& call : calls) {
    ASSERT_TRUE(client.eventually([&] { return call->has_value(); }));
    EXPECT_TRUE((*call)->has_value());
  }
  EXPECT_EQ(client.connection().stats().connects, 1U);
  EXPECT_EQ(server.service().registered, 1U);
}

TEST(Registration, TheSameIdReplacesTheOlderSession) {
  ServerThread server;
  Client first("twin", {server.address()});
  Client second("twin", {server.address()});
  ASSERT_TRUE(first.ping());
  ASSERT_TRUE(second.ping());
  EXPECT_EQ(server.clients(), 1U);
  EXPECT_EQ(server.registry_stats().replaced, 1U);
  EXPECT_TRUE(
      first.eventually([&] { return first.connection().state() == Connection::State::kClosed; }));
  EXPECT_EQ(first.connection().stats().evictions, 0U);
  EXPECT_TRUE(first.ping());
  EXPECT_EQ(server.registry_stats().replaced, 2U);
}

TEST(Registration, GoodbyeEndsTheSession) {
  ServerThread server;
  {
    Client client("client_1", {server.address()});
    ASSERT_TRUE(client.ping());
  }
  EXPECT_TRUE(server.eventually(
      [](Server& s, net::Worker&) { return s.registry().size() == 0 && s.link_count() == 0; }));
  EXPECT_EQ(server.service().gone, 1U);
  EXPECT_EQ(server.service().goodbyes, 1U);
}

// --- Calls ---------------------------------------------------------------------------------------

TEST(Call, DataUpToTheLimitTravelsBothWays) {
  ServerThread server;
  Client client("client_1", {server.address()});
  std::uint64_t seed = 0;
  for (std::size_t size : {0U, 1U, 93U, 4096U, 16384U, 16385U, 65536U, 1U << 20}) {
    for (bool rendezvous : {false, true}) {
      for (std::size_t reply : {std::size_t{0}, size / 3, size}) {
        std::vector<std::byte> data(size);
        std::vector<std::byte> back(reply);
        fill_pattern(data, ++seed);
        Result<Reply> answer = client.echo(data, back, rendezvous);
        ASSERT_TRUE(answer) << size << ": " << answer.error().message();
        EXPECT_EQ(answer->data_bytes, reply);
        EXPECT_TRUE(has_pattern(back, seed)) << size;
      }
    }
  }
}

TEST(Call, DataBeyondTheLimitIsMalformed) {
  ServerThread server;
  Client client("client_1", {server.address()});
  std::vector<std::byte> data(wire::kMaxPingBytes + 1);
  for (bool rendezvous : {false, true}) {
    Result<Reply> answer = client.echo(data, {}, rendezvous);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Errc::kMalformed);
    EXPECT_NE(answer.error().message().find("ping on node_0"), std::string::npos);
  }
  EXPECT_EQ(server.stats().malformed, 2U);
  EXPECT_TRUE(client.ping());
}

TEST(Call, AReplyLargerThanItsBufferIsMalformedAndNotWritten) {
  ServerThread server;
  Client client("client_1", {server.address()});
  for (std::uint32_t size : {100U, 100'000U}) {
    std::vector<std::byte> into(size - 1, std::byte{0x77});
    wire::PingRequest request{.reply_bytes = size};
    Call call = make_call(request);
    call.into = into;
    Result<Reply> answer = client.call(call);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, Errc::kMalformed);
    EXPECT_NE(answer.error().message().find("ping on node_0: the reply brings "), std::string::npos)
        << answer.error().message();
    EXPECT_EQ(std::ranges::count(into, std::byte{0x77}), size - 1);
  }
  EXPECT_TRUE(client.ping());
}

TEST(Call, ManyAtOnceEachGetTheirOwnReply) {
  ServerThread server;
  Client client("client_1", {server.address()});
  constexpr std::size_t kCalls = 64;
  std::vector<wire::PingRequest> requests(kCalls);
  std::vector<std::vector<std::byte>> data(kCalls);
  std::vector<std::vector<std::byte>> back(kCalls);
  std::vector<Client::Pending> pending;
  for (std::size_t i = 0; i < kCalls; ++i) {
    std::size_t size = 1 + i * 997;
    data[i].resize(size);
    back[i].resize(size);
    fill_pattern(data[i], i);
    requests[i] = {.reply_bytes = static_cast<std::uint32_t>(size)};
    Call call = make_call(requests[i]);
    call.data = data[i];
    call.into = back[i];
    call.rendezvous = i % 3 == 0;
    pending.push_back(client.start(call));
  }
  for (std::size_t i = 0; i < kCalls; ++i) {
    ASSERT_TRUE(client.eventually([&] { return pending[i]->has_value(); }));
    ASSERT_TRUE((*pending[i])->has_value()) << (*pending[i])->error().message();
    EXPECT_EQ((**pending[i])->data_bytes, back[i].size());
    EXPECT_TRUE(has_pattern(back[i], i));
  }
  EXPECT_EQ(client.connection().stats().late_replies, 0U);
}

TEST(Call, MoreThanTheWindowWait) {
  ServerThread server;
  Client client("client_1", {server.address()});
  wire::FsyncChunksRequest request{.inode = 5};
  std::vector<Client::Pending> pending;
  for (int i = 0; i < 300; ++i) {
    pending.push_back(client.start(make_call(request)));
  }
  for (auto& call : pending) {
    ASSERT_TRUE(client.eventually([&] { return call->has_value(); }));
    EXPECT_TRUE((*call)->has_value());
  }
  EXPECT_EQ(server.service().most_at_once, wire::kMaxWindow);
  EXPECT_EQ(server.stats().overloaded, 0U);
}

// Bulk waits for room in the window of bytes; small calls pass it.
TEST(Call, BulkBeyondTheWindowOfBytesWaitsAndSmallCallsDoNot) {
  constexpr std::size_t kBytes = 400'000;
  ServerThread server(
      {.config = {.window_bytes = 1U << 20, .bulk_bytes = 1U << 20, .run_id = testing::kTestRun}});
  Client client("client_1", {server.address()});
  ASSERT_TRUE(client.ping());
  server.freeze();
  std::vector<std::vector<std::byte>> data(6, std::vector<std::byte>(kBytes));
  std::vector<std::vector<std::byte>> back(6, std::vector<std::byte>(kBytes));
  wire::PingRequest request{.reply_bytes = kBytes};
  wire::PingRequest small;
  std::vector<Client::Pending> pending;
  for (std::size_t i = 0; i < data.size(); ++i) {
    fill_pattern(data[i], i);
    Call call = make_call(request);
    call.data = data[i];
    call.into = back[i];
    call.rendezvous = true;
    pending.push_back(client.start(call));
  }
  pending.push_back(client.start(make_call(small)));
  // The window of 1 MiB has room for one of the large calls (there and back), and the small one was
  // sent beside it.
  EXPECT_TRUE(client.eventually([&] { return client.connection().stats().calls == 3; }));
  server.thaw();
  for (auto& call : pending) {
    ASSERT_TRUE(client.eventually([&] { return call->has_value(); }));
    EXPECT_TRUE((*call)->has_value()) << (*call)->error().message();
  }
  for (std::size_t i = 0; i < data.size(); ++i) {
    EXPECT_TRUE(has_pattern(back[i], i));
  }
  EXPECT_EQ(client.connection().stats().calls, 8U);
}

// Each caller comes back at once, as a benchmark does: a freed slot must go to a call that waits
// for one.
TEST(Call, CallersThatComeBackAtOnceDoNotStarveThoseWhoWait) {
  ServerThread server;
  Client client("client_1", {server.address()});
  constexpr std::size_t kCallers = wire::kMaxWindow + 16;
  wire::PingRequest request;
  std::vector<Client::Pending> pending(kCallers);
  std::vector<int> calls(kCallers);
  rt::Scope scope;
  bool stop = false;
  struct Caller {
    static rt::Task<void> run(ConnectionPool* pool, const Call call, int* count, bool* stop) {
      while (!*stop) {
        Result<Reply> reply =
            co_await pool->call({}, call, Deadline::after(std::chrono::seconds(10)));
        EXPECT_TRUE(reply);
        ++*count;
      }
    }
  };
  {
    rt::Reactor::Binding binding(client.reactor());
    for (int& count : calls) {
      scope.spawn(Caller::run(&client.pool(), make_call(request), &count, &stop));
    }
  }
  EXPECT_TRUE(client.eventually([&] { return std::ranges::min(calls) >= 5; }));
  stop = true;
  EXPECT_TRUE(client.eventually([&] { return scope.active() == 0; }));
}

TEST(Call, AHandlerThatForgetsToReplyIsAnInternalError) {
  ServerThread server;
  Client client("client_1", {server.address()});
  wire::GetAttrRequest request;
  Result<Reply> answer = client.call(make_call(request));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::kInternal);
}

TEST(Call, AnUnknownOperationIsSaidToBeUnknown) {
  ServerThread server;
  Client client("client_1", {server.address()});
  wire::StatfsRequest request;
  Result<Reply> answer = client.call(make_call(request));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::kUnknownOpcode);
  EXPECT_NE(answer.error().message().find("statfs on node_0"), std::string::npos);
}

TEST(Call, AShardThatIsNotThereIsAnError) {
  ServerThread server;
  Client client("client_1", {server.address()});
  wire::PingRequest request;
  Result<Reply> answer =
      client.call(make_call(request), Deadline::after(seconds(10)), wire::ShardId{1});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, Errc::kInvalidArgument);
}

TEST(Call, SeveralServersAreToldApart) {
  ServerThread first;
  ServerThread second;
  Client client("client_1", {first.address(), second.address()});
  wire::PingRequest request;
  for (std::uint32_t shard : {1U, 0U, 1U, 1U}) {
    ASSERT_TRUE(
        client.call(make_call(request), Deadline::after(seconds(10)), wire::ShardId{shard}));
  }
  EXPECT_EQ(first.service().handled, 1U);
  EXPECT_EQ(second.service().handled, 3U);
}

// --- Notices -------------------------------------------------------------------------------------

TEST(Notice, AnInvalidationReachesTheClientAndIsAcknowledged) {
  struct Notices final : NoticeHandler {
    std::vector<std::pair<std::uint64_t, std::string>> got;
    bool on_invalidate(wire::InodeId parent, std::string_view name, const Revocation&) override {
      got.emplace_back(parent.value, std::string(name));
      return true;
    }
  } notices;
  ServerThread server;
  Client client("client_1", {server.address()});
  client.pool().set_notice_handler(&notices);
  ASSERT_TRUE(client.ping());
  const std::string name(wire::kMaxNameBytes, 'n');
  server.run([&](Server& s, net::Worker&) {
    wire::SessionId session = s.registry().oldest()->id;
    wire::InvalidateHeader header{.sequence = 5, .session_id = session.value, .parent = 17};
    header.name_bytes = static_cast<std::uint16_t>(name.size());
    wire::HeaderBuffer<> bytes;
    bytes.append(header);
    bytes.append_text(name);
    EXPECT_TRUE(s.notify(session, wire::Opcode::kInvalidate, std::as_const(bytes).bytes()));
    EXPECT_FALSE(s.notify({}, wire::Opcode::kInvalidate, std::as_const(bytes).bytes()));
  });
  EXPECT_TRUE(client.eventually([&] { return server.service().last_ack == 5; }));
  ASSERT_EQ(notices.got.size(), 1U);
  EXPECT_EQ(notices.got[0], std::pair(std::uint64_t{17}, name));
}

// --- Resources -----------------------------------------------------------------------------------

TEST(Connections, MadeAndClosedAHundredTimesLeaveNothingBehind) {
  ServerThread server;
  Client client("client_1", {server.address()});
  std::size_t descriptors = 0;
  std::int64_t frames = rt::frame_pool_stats().live;
  std::int64_t server_frames = 0;
  server.run([&](Server&, net::Worker&) { server_frames = rt::frame_pool_stats().live; });
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(client.ping());
    rt::Reactor::Binding binding(client.reactor());
    client.connection().close();
    if (round == 9) {
      ASSERT_TRUE(client.worker().drain(Deadline::after(seconds(10))));
      descriptors = testing::open_descriptors();
    }
  }
  rt::Reactor::Binding binding(client.reactor());
  EXPECT_TRUE(client.worker().drain(Deadline::after(seconds(10))));
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) {
    return s.link_count() == 0 && s.registry().size() == 0 && s.admission().size() == 0;
  }));
  EXPECT_EQ(rt::frame_pool_stats().live, frames);
  EXPECT_TRUE(server.eventually(
      [&](Server&, net::Worker&) { return rt::frame_pool_stats().live == server_frames; }));
  EXPECT_TRUE(server.eventually([&](Server&, net::Worker&) {
    return testing::open_descriptors() <= descriptors;
  })) << testing::open_descriptors()
      << " instead of " << descriptors;
}

}  // namespace
}  // namespace benchfs::rpc
