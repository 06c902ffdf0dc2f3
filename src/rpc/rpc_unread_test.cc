// A client that leaves hundreds of replies unread: the server sleeps all the same, serves others,
// and loses none of them.
#include <gtest/gtest.h>

#include <cstring>
#include <ctime>
#include <set>
#include <thread>

#include "net/testing/raw_peer.h"
#include "rpc/testing/rpc_fixture.h"
#include "rt/sync.h"

namespace benchfs::rpc {
namespace {

using net::testing::RawPeer;
using std::chrono::seconds;
using testing::Client;
using testing::ServerThread;

constexpr std::uint32_t kUnread = 600;

// Answers fsyncs when it is told to, pings at once.
class FsyncHoldingService final : public Service {
 public:
  rt::Task<void> handle(Request& request) override {
    if (request.opcode() == wire::Opcode::kFsyncChunks) {
      ++held;
      (void)co_await released.wait(Deadline::after(seconds(30)));
      ++answered;
    }
    co_await request.reply(wire::NoReply{});
  }
  void on_client_registered(wire::SessionId, std::uint64_t) override {}
  void on_client_gone(std::uint64_t, Departure, pid_t) override {}
  void on_invalidate_ack(wire::SessionId, std::uint64_t) override {}

  rt::Event released;  // server's thread
  std::atomic<std::uint32_t> held{0};
  std::atomic<std::uint32_t> answered{0};
};

// Records what the server's thread did.
struct Work {
  double cpu_seconds = 0;
  rt::Reactor::Stats reactor;

  static Work of(ServerThread& server) {
    Work work;
    server.run([&](Server&, net::Worker& worker) {
      timespec cpu{};
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
      work.cpu_seconds = static_cast<double>(cpu.tv_sec) + 1e-9 * static_cast<double>(cpu.tv_nsec);
      work.reactor = worker.reactor().stats();
    });
    return work;
  }
};

void expect_it_sleeps(ServerThread& server, const char* when) {
  Work before = Work::of(server);
  std::this_thread::sleep_for(seconds(1));  // lint: allow sleep measured
  Work after = Work::of(server);
  double cpu = after.cpu_seconds - before.cpu_seconds;
  std::uint64_t sleeps = after.reactor.sleeps - before.reactor.sleeps;
  std::uint64_t passes = after.reactor.passes - before.reactor.passes;
  std::printf("%s: %.4f s of CPU, %lu sleeps, %lu passes in a second\n", when, cpu, sleeps, passes);
  EXPECT_LT(cpu, 0.2) << when;
  EXPECT_GT(sleeps, 0U) << when;
  EXPECT_LT(passes, 500'000U) << when << ": a spinning reactor does millions";
}

// Registers by hand; the session.
std::uint64_t register_peer(RawPeer& peer) {
  wire::RegisterClientRequestHeader header;
  std::string_view id = "deaf";
  header.client_id_len = static_cast<std::uint32_t>(id.size());
  header.client_uid = 7;
  EXPECT_EQ(peer.send(static_cast<unsigned>(wire::Opcode::kRegister),
                      std::as_bytes(std::span(&header, 1)),
                      std::as_bytes(std::span(id)),
                      UCP_AM_SEND_FLAG_REPLY),
            UCS_OK);
  EXPECT_TRUE(peer.wait([&] { return !peer.messages().empty(); }));
  wire::RegisterClientResponseHeader response;
  if (!peer.messages().empty() && peer.messages()[0].header.size() == sizeof response) {
    std::memcpy(&response, peer.messages()[0].header.data(), sizeof response);
  }
  peer.messages().clear();
  return response.session_id;
}

void send_fsync(RawPeer& peer, std::uint64_t session, std::uint32_t number) {
  struct {
    wire::RequestHeader header;
    wire::FsyncChunksRequest body;
  } request;
  request.header.request_id =
      wire::RequestId::make(number % wire::kMaxWindow, wire::ShardId{0}, number + 1).value;
  request.header.session_id = session;
  request.header.deadline_ms = 30'000;
  ASSERT_EQ(peer.send(static_cast<unsigned>(wire::Opcode::kFsyncChunks),
                      std::as_bytes(std::span(&request, 1))),
            UCS_OK);
}

TEST(UnreadReplies, LeaveTheServerAsleepAndAreNotLost) {
  FsyncHoldingService service;
  ServerThread server(
      {.config = {.window = kUnread, .run_id = testing::kTestRun}, .service = &service});
  RawPeer deaf(server.address());
  std::uint64_t session = register_peer(deaf);
  ASSERT_NE(session, 0U);
  for (std::uint32_t i = 0; i < kUnread; ++i) {
    send_fsync(deaf, session, i);
  }
  ASSERT_TRUE(deaf.wait([&] { return service.held == kUnread; }));
  // The client is not driven from here on.
  server.run([&](Server&, net::Worker&) { service.released.set(); });
  ASSERT_TRUE(
      server.eventually([&](Server&, net::Worker&) { return service.answered == kUnread; }));
  ASSERT_TRUE(deaf.messages().empty());
  expect_it_sleeps(server, "unread");
  Client other("other", {server.address()});
  Status pong = other.ping();
  EXPECT_TRUE(pong) << pong.error().message();
  expect_it_sleeps(server, "unread, after another client was served");

  EXPECT_TRUE(deaf.wait([&] { return deaf.messages().size() == kUnread; }));
  std::set<std::uint64_t> ids;
  for (const RawPeer::Message& message : deaf.messages()) {
    wire::ReplyHeader header;
    ASSERT_EQ(message.header.size(), sizeof header);
    std::memcpy(&header, message.header.data(), sizeof header);
    ids.insert(header.request_id);
  }
  EXPECT_EQ(ids.size(), kUnread);
  EXPECT_TRUE(server.eventually([](Server& s, net::Worker&) { return s.stats().in_flight == 0; }));
  expect_it_sleeps(server, "read");
}

}  // namespace
}  // namespace benchfs::rpc
