// Calls that must not be executed twice, over connections that are cut in every phase: the history
// of all of them is recorded and checked.
//
// BENCHFS_HISTORY_CALLS is the number of calls (3000), BENCHFS_SEED repeats what the clients do.
#include <gtest/gtest.h>

#include <cstdlib>
#include <future>
#include <thread>

#include "base/random.h"
#include "rpc/testing/cutting_service.h"
#include "rpc/testing/rpc_fixture.h"
#include "rpc/testing/server_test_peer.h"

namespace benchfs::rpc {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::CallHistory;
using testing::Client;
using testing::Cut;
using testing::CuttingService;
using testing::Event;
using testing::Operation;
using testing::Outcome;
using testing::ServerThread;

constexpr std::uint64_t kClients = 4;
// Below the calls that a client has under way, so that some are queued in the client.
constexpr std::uint32_t kWindow = 5;
constexpr std::uint64_t kMostAtOnce = 8;

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

// A call, and the memory it needs until it ends.
class Issued {
 public:
  Issued(std::uint64_t call, Operation operation, Cut cut)
      : call_(call), operation_(std::move(operation)), cut_(cut) {}
  Issued(const Issued&) = delete;
  Issued& operator=(const Issued&) = delete;
  ~Issued() = default;

  void begin(Client& client, CallHistory& history) {
    history.begun(call_, operation_);
    pending_ = client.start(
        make(), Deadline::after(cut_ == Cut::kGivenUp ? milliseconds(5) : milliseconds(8000)));
  }
  [[nodiscard]] bool has_ended() const { return pending_->has_value(); }
  [[nodiscard]] std::uint64_t call() const { return call_; }

  void record(CallHistory& history) const {
    const Result<Reply>& reply = **pending_;
    if (reply || reply.error().code == Errc::kPosix) {
      history.answered(call_, outcome_of(reply));
      return;
    }
    history.given_up(call_);
    EXPECT_EQ(cut_, Cut::kGivenUp) << "lost: " << reply.error().message();
  }

 private:
  Call make() {
    auto cut = static_cast<std::uint32_t>(cut_);
    auto name_bytes = static_cast<std::uint16_t>(operation_.name.size());
    if (operation_.kind == Operation::Kind::kCreate) {
      mkdir_ = {.parent = call_, .mode = cut, .name_bytes = name_bytes};
      return make_call(mkdir_, operation_.name);
    }
    if (operation_.kind == Operation::Kind::kAppend) {
      append_ = {.inode = call_, .length = cut};
      return make_call(append_);
    }
    rename_ = {.old_parent = call_,
               .new_parent = cut,
               .old_name_bytes = name_bytes,
               .new_name_bytes = static_cast<std::uint16_t>(operation_.to.size())};
    return make_call(rename_, operation_.name, operation_.to);
  }

  [[nodiscard]] Outcome outcome_of(const Result<Reply>& reply) const {
    if (!reply) {
      return {.error = reply.error().to_errno(), .value = 0};
    }
    if (operation_.kind == Operation::Kind::kCreate) {
      return {.error = 0, .value = reply->as<wire::EntryReply>().value().attr.inode};
    }
    if (operation_.kind == Operation::Kind::kAppend) {
      return {.error = 0, .value = reply->as<wire::AppendReply>().value().offset};
    }
    return {};
  }

  std::uint64_t call_;
  Operation operation_;
  Cut cut_;
  wire::MkdirRequest mkdir_;
  wire::RenameRequest rename_;
  wire::AppendRequest append_;
  Client::Pending pending_;
};

struct World {
  explicit World(std::uint64_t calls) : calls_a_client(calls / kClients) {
    server.run([&](Server& s, net::Worker& worker) { service.attach(s, worker.reactor()); });
  }
  CallHistory history;
  CuttingService service{history};
  ServerThread server{
      {.config = {.window = kWindow, .max_requests = 4096, .run_id = testing::kTestRun},
       .service = &service}};
  std::uint64_t calls_a_client;
  std::array<std::atomic<std::uint64_t>, testing::kCuts> rounds{};
};

// One client: rounds of some calls side by side, in each of which the connection ends once.
class Caller {
 public:
  Caller(World& world, std::uint64_t number, std::uint64_t seed)
      : world_(world),
        number_(number),
        random_(seed + number),
        id_("client_" + std::to_string(number)),
        client_(id_, {world.server.address()}) {}

  void run() {
    while (made_ < world_.calls_a_client && !::testing::Test::HasFailure()) {
      auto cut = static_cast<Cut>(random_.below(testing::kCuts));
      ++world_.rounds[static_cast<std::size_t>(cut)];
      play(cut);
      finish();
    }
  }

 private:
  void play(Cut cut) {
    std::uint64_t count = 1 + random_.below(kMostAtOnce);
    if (cut == Cut::kBeforeArrival) {
      return cut_before_arrival(count);
    }
    if (cut == Cut::kAfterReplyUnread) {
      return cut_before_reading();
    }
    if (cut == Cut::kBeforeSending) {
      disconnect();
    }
    issue(count, cut);
    if (cut == Cut::kEvicted) {
      evict();
    }
  }

  // One of the calls, at a random place, asks for the cut.
  void issue(std::uint64_t count, Cut cut) {
    std::uint64_t chosen = random_.below(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      issued_.push_back(std::make_unique<Issued>(
          (number_ << 32) + made_++, some_operation(), i == chosen ? cut : Cut::kNever));
      issued_.back()->begin(client_, world_.history);
    }
  }
  void finish() {
    for (auto& issued : issued_) {
      ASSERT_TRUE(client_.eventually([&] { return issued->has_ended(); })) << "a call hangs";
      issued->record(world_.history);
    }
    issued_.clear();
  }

  Operation some_operation() {
    std::uint64_t names = kClients * world_.calls_a_client / 3 + 1;
    auto name = [&] { return "name_" + std::to_string(random_.below(names)); };
    switch (random_.below(3)) {
      case 0:
        return {Operation::Kind::kCreate, name(), {}};
      case 1:
        return {Operation::Kind::kRename, name(), name()};
      default:
        return {};
    }
  }

  void disconnect() {
    world_.server.run([&](Server& s, net::Worker&) { ServerTestPeer::disconnect(s, id_); });
  }
  void evict() {
    world_.server.run([](Server& s, net::Worker&) {
      std::uint32_t capacity = s.registry().capacity();
      s.set_capacity(1);
      s.set_capacity(capacity);
    });
  }

  // The server reads nothing until the requests have left, and then ends the connection.
  void cut_before_arrival(std::uint64_t count) {
    ASSERT_TRUE(client_.ping());
    std::promise<void> standing;
    std::promise<void> sent;
    auto cutter = std::async(std::launch::async, [&] {
      world_.server.run([&](Server& s, net::Worker&) {
        standing.set_value();
        (void)sent.get_future().wait_for(seconds(5));
        ServerTestPeer::disconnect(s, id_);
      });
    });
    standing.get_future().wait();
    std::uint64_t before = client_.connection().stats().calls;
    issue(count, Cut::kBeforeArrival);
    Deadline deadline = Deadline::after(milliseconds(50));  // it may have been evicted meanwhile
    client_.eventually(
        [&] { return client_.connection().stats().calls > before || deadline.passed(); });
    sent.set_value();
    cutter.get();
  }

  // The client does not look at its connection between sending and the end of the connection.
  void cut_before_reading() {
    ASSERT_TRUE(client_.ping());
    std::uint64_t before = client_.connection().stats().calls;
    issue(1, Cut::kAfterReplyUnread);
    std::uint64_t call = issued_.back()->call();
    Deadline sending = Deadline::after(milliseconds(50));
    client_.eventually(
        [&] { return client_.connection().stats().calls > before || sending.passed(); });
    Deadline deadline = Deadline::after(milliseconds(200));
    while (world_.service.replied(number_) != call && !deadline.passed()) {
      std::this_thread::yield();
    }
  }

  World& world_;
  std::uint64_t number_;
  Random random_;
  std::string id_;
  Client client_;
  std::uint64_t made_ = 0;
  std::vector<std::unique_ptr<Issued>> issued_;
};

TEST(ExactlyOnceHistory, NoCallIsExecutedTwiceNorLostWhateverHappensToTheConnection) {
  std::uint64_t calls = number_from_environment("BENCHFS_HISTORY_CALLS", 3000);
  std::uint64_t seed = number_from_environment("BENCHFS_SEED", 20251108);
  SCOPED_TRACE("BENCHFS_SEED=" + std::to_string(seed));
  World world(calls);
  std::vector<std::thread> threads;
  for (std::uint64_t c = 0; c < kClients; ++c) {
    threads.emplace_back([&world, c, seed] { Caller(world, c, seed).run(); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  ASSERT_TRUE(
      world.server.eventually([](Server& s, net::Worker&) { return s.stats().in_flight == 0; }));
  testing::Names left;
  world.server.run([&](Server&, net::Worker&) { left = world.service.left(); });
  std::vector<Event> events = world.history.events();
  for (const std::string& complaint : check_history(events, left)) {
    ADD_FAILURE() << complaint;
  }
  EXPECT_GE(world.history.count(Event::Kind::kBegun), calls / kClients * kClients);
  EXPECT_GT(world.server.stats().repeated, calls / 100);
  EXPECT_GT(world.server.stats().replies_dropped, 0U);
  EXPECT_TRUE(testing::is_forwarded() || world.server.registry_stats().evictions > 0)
      << "forwarded clients have places enough";
  for (std::size_t i = 0; i < testing::kCuts; ++i) {
    auto cut = static_cast<Cut>(i);
    EXPECT_GE(world.rounds[i], calls / 300) << to_string(cut);
    if (cut >= Cut::kQueued) {
      EXPECT_GE(world.service.cuts(cut), calls / 400) << to_string(cut);
    }
    std::printf("%6lu rounds, %6lu cuts by the server: %s\n",
                world.rounds[i].load(),
                world.service.cuts(cut),
                std::string(to_string(cut)).c_str());
  }
  std::printf("%zu calls executed, %lu sent again, %zu given up\n",
              world.history.count(Event::Kind::kExecuted),
              world.server.stats().repeated,
              world.history.count(Event::Kind::kGivenUp));
}

// More clients come and are evicted than there were histories before the limit was raised.
TEST(Histories, AreKeptForMoreClientsWhenThereIsRoomForMore) {
  ServerThread server({.config = {.max_clients = 1, .run_id = testing::kTestRun}});
  server.run([](Server& s, net::Worker&) { s.set_capacity(2); });
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 12; ++i) {
    clients.push_back(
        std::make_unique<Client>("client_" + std::to_string(i), std::vector{server.address()}));
    Status answered = clients.back()->ping();
    ASSERT_TRUE(answered) << answered.error().message();
  }
  Client& first = *clients.front();
  ASSERT_EQ(first.connection().grant().flags & wire::kRegisterRemembered, 0U);
  ASSERT_TRUE(first.ping());
  EXPECT_EQ(first.connection().stats().connects, 2U);
  EXPECT_EQ(first.connection().grant().flags & wire::kRegisterRemembered,
            wire::kRegisterRemembered);
}

}  // namespace
}  // namespace benchfs::rpc
