#include <sys/mman.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/futex.h"
#include "door/client_links.h"
#include "door/testing/door_fixture.h"

namespace benchfs::door {

class ClientLaneTestPeer {
 public:
  static LaneMemory& memory(const ClientLane& lane) { return lane.memory(); }
  static std::atomic<std::uint32_t>& bell(const ClientLane& lane) {
    return lane.session_->view_.head().bell;
  }
};

namespace {

using std::chrono::milliseconds;
using testing::DoorFixture;
using testing::echo;
using testing::echo_some;
using testing::exited_well;
using testing::kEcho;
using testing::kHold;
using testing::kRun;
using testing::soon;

class DoorTest : public DoorFixture {
 protected:
  // Serves while a function runs in a thread of its own.
  void serve_thread(const std::function<void()>& function) {
    std::atomic<bool> is_done = false;
    std::thread thread([&] {
      function();
      is_done = true;
    });
    EXPECT_TRUE(serve_until([&] { return is_done.load(); }));
    thread.join();
  }
};

class Program final : public link::Owner, public link::Handler {
 public:
  void on_link_failed(link::Link& link, const link::Outcome& /*why*/) override { link.close(); }
  link::Disposition on_message(const link::Incoming& /*message*/) override {
    ++replies;
    return link::Disposition::kDone;
  }
  int replies = 0;
};

TEST_F(DoorTest, OnAContendedCoreAProgramKeepsItWhileTheShardLooks) {
  open();
  auto made = rt::Reactor::create(
      {.spin = std::chrono::hours(1), .yield = std::chrono::hours(1), .begins_contended = true});
  ASSERT_TRUE(made.has_value());
  rt::Reactor& own = **made;
  Program program;
  ClientLinks links(own, program, {.run_id = kRun, .base = base});
  link::Link* link = links.connect(0, program, true);
  link::Operation send;
  std::uint64_t id = 1;
  link->begin_send(send, {.id = kHold, .header = std::as_bytes(std::span(&id, 1)), .data = {}});
  auto serve_both_until = [&](const std::function<bool()>& done) {
    return serve_until([&] {
      rt::Reactor::Binding binding(own);
      own.step();
      return done();
    });
  };
  ASSERT_TRUE(serve_both_until([&] { return handler.held.size() == 2; }));
  struct Nothing final : rt::Mail {
    void on_mail() override {}
  } work;
  own.post(work);
  own.step();
  for (int i = 0; i < 20; ++i) {
    reactor->turn();
    own.step();
    ASSERT_TRUE(own.idle().is_spinning());
  }
  for (int i = 0; i < 1000 && own.idle().is_spinning(); ++i) {
    own.step();
  }
  EXPECT_FALSE(own.idle().is_spinning()) << "the shard stands still";
  handler.answer_held();
  EXPECT_TRUE(serve_both_until([&] { return program.replies == 2; }));
  link->close();
  handler.answer_held();
  EXPECT_TRUE(serve_both_until([&] { return links.size() == 0; }));
}

TEST(DoorParts, ShortDataFollowsTheHeaderInTheLane) {
  Parts fits(20, kNearBytes - 20);
  EXPECT_EQ(fits.near_data, kNearBytes - 20);
  EXPECT_EQ(fits.far(), 0U);
  Parts longer(20, kNearBytes - 19);
  EXPECT_EQ(longer.near_data, 0U);
  EXPECT_EQ(longer.far_data, kNearBytes - 19);
  Parts header(kNearBytes + 96, 5);
  EXPECT_EQ(header.near_header, kNearBytes);
  EXPECT_EQ(header.far_header, 96U);
  EXPECT_EQ(header.far_data, 5U);
}

TEST_F(DoorTest, MessagesOfEverySizeComeBack) {
  open();
  int status = run_process([&] {
    auto session = ClientSession::attach(options(), soon());
    if (!session) {
      return 1;
    }
    auto lane = (*session)->take_lane();
    std::size_t room = (*session)->room_of_lane();
    for (std::size_t header : {0U, 1U, 43U, 44U, 45U, 107U, 108U, 109U, 500U, 1024U}) {
      std::size_t far_header = header - std::min(header, kNearBytes);
      std::size_t near = kNearBytes - std::min(header, kNearBytes);
      for (std::size_t data :
           {std::size_t{0}, std::size_t{1}, near, near + 1, kPage, room - far_header}) {
        if (!echo(*lane, header, data, static_cast<int>(header + data))) {
          return 2;
        }
      }
    }
    std::vector<std::byte> long_data(room + 1);
    auto sent = lane->send({.id = 1, .header = {}, .data = long_data});
    return !sent && sent.error().code == Errc::kLimit ? 0 : 3;
  });
  EXPECT_TRUE(exited_well(status)) << status;
  EXPECT_TRUE(everybody_left());
  EXPECT_EQ(handler.ended, 1U);
}

TEST_F(DoorTest, ManyProcessesAndTheirThreadsAtOnce) {
  open();
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    children.push_back(start_process([&] { return echo_some(options(), 500); }));
  }
  serve_thread([&] {
    auto session = ClientSession::attach(options(), soon());
    ASSERT_TRUE(session.has_value()) << session.error().message();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&session, t] {
        auto lane = (*session)->take_lane();
        ASSERT_TRUE(lane.has_value());
        for (int i = 0; i < 500; ++i) {
          ASSERT_TRUE(echo(*lane, 30, static_cast<std::size_t>(i), i + t));
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  });
  for (pid_t child : children) {
    EXPECT_TRUE(exited_well(serve_process(child)));
  }
  EXPECT_TRUE(everybody_left());
}

TEST_F(DoorTest, WhoIsOfAnotherRunVersionOrShapeIsToldSo) {
  open();
  serve_thread([&] {
    auto directory = DoorDirectory::open(kRun, base);
    ASSERT_TRUE(directory.has_value());
    auto ask = [&](AttachRequest request) {
      auto socket = directory->connect(0);
      EXPECT_TRUE(socket.has_value());
      auto answer = ask_to_attach(socket->get(), request, soon());
      return answer ? Errc::kOk : answer.error().code;
    };
    AttachRequest good{.run_id = kRun, .lanes = 1};
    EXPECT_EQ(ask(good), Errc::kOk);
    AttachRequest bad = good;
    bad.run_id = 1;
    EXPECT_EQ(ask(bad), Errc::kStaleRun);
    bad = good;
    bad.version = kDoorVersion + 1;
    EXPECT_EQ(ask(bad), Errc::kVersion);
    bad = good;
    bad.lanes = kMaxLanes + 1;
    EXPECT_EQ(ask(bad), Errc::kMalformed);
    bad = good;
    bad.area_bytes = 17;
    EXPECT_EQ(ask(bad), Errc::kMalformed);
    bad = good;
    bad.flags = 2;
    EXPECT_EQ(ask(bad), Errc::kMalformed);
    bad = good;
    bad.magic = 0;
    EXPECT_EQ(ask(bad), Errc::kDisconnected);
  });
  EXPECT_TRUE(everybody_left());
}

TEST_F(DoorTest, WhoSaysNothingIsDropped) {
  open({.patience = milliseconds(100)});
  serve_thread([&] {
    auto directory = DoorDirectory::open(kRun, base);
    auto socket = directory->connect(0);
    ASSERT_TRUE(socket.has_value());
    char byte = 0;
    EXPECT_TRUE(wait_for_answer(socket->get(), soon()));
    EXPECT_EQ(recv(socket->get(), &byte, 1, 0), 0);
  });
  EXPECT_EQ(door->stats().dropped, 1U);
}

TEST_F(DoorTest, TheOldestWhoSaysNothingGoesWhenThereAreMany) {
  open({.most_unattached = 2, .patience = std::chrono::hours(24)});
  serve_thread([&] {
    auto directory = DoorDirectory::open(kRun, base);
    std::vector<Fd> sockets;
    for (int i = 0; i < 3; ++i) {
      auto socket = directory->connect(0);
      ASSERT_TRUE(socket.has_value());
      sockets.push_back(std::move(*socket));
    }
    char byte = 0;
    EXPECT_TRUE(wait_for_answer(sockets[0].get(), soon()));
    EXPECT_EQ(recv(sockets[0].get(), &byte, 1, 0), 0);
    EXPECT_EQ(recv(sockets[2].get(), &byte, 1, MSG_DONTWAIT), -1);
  });
}

TEST_F(DoorTest, NoMoreSessionsThanThereIsRoomFor) {
  open({.most_sessions = 2});
  serve_thread([&] {
    auto first = ClientSession::attach(options(), soon());
    auto second = ClientSession::attach(options(), soon());
    auto third = ClientSession::attach(options(), soon());
    EXPECT_TRUE(first.has_value() && second.has_value());
    ASSERT_FALSE(third.has_value());
    EXPECT_EQ(third.error().code, Errc::kLimit);
  });
}

TEST_F(DoorTest, ACallThatWasGivenUpKeepsItsLaneUntilItIsAnswered) {
  open();
  AttachOptions wanted = options();
  wanted.wanted.lanes = 2;
  std::atomic<bool> is_given_up = false;
  std::atomic<bool> is_answered = false;
  std::thread client([&] {
    auto session = ClientSession::attach(wanted, soon());
    ASSERT_TRUE(session.has_value()) << session.error().message();
    for (int i = 0; i < 2; ++i) {
      auto lane = (*session)->take_lane();
      ASSERT_TRUE(lane.has_value());
      ASSERT_TRUE(lane->send({.id = kHold, .header = {}, .data = {}}).has_value());
      EXPECT_EQ(lane->receive({}, {}, Deadline::after(milliseconds(1))).error().code,
                Errc::kDeadline);
    }
    EXPECT_EQ((*session)->take_lane().error().code, Errc::kBusy);
    is_given_up = true;
    is_answered.wait(false);
    auto lane = (*session)->take_lane();
    ASSERT_TRUE(lane.has_value()) << lane.error().message();
    EXPECT_TRUE(echo(*lane, 10, 10, 1));
  });
  EXPECT_TRUE(serve_until([&] { return is_given_up.load() && handler.held.size() == 2; }));
  handler.answer_held();
  is_answered = true;
  is_answered.notify_all();
  EXPECT_TRUE(everybody_left());
  client.join();
  EXPECT_EQ(handler.calls, 3U);
}

TEST_F(DoorTest, QuietLanesAreNotLookedAtAndStillServed) {
  open();
  serve_thread([&] {
    auto session = ClientSession::attach(options(), soon());
    ASSERT_TRUE(session.has_value());
    auto lane = (*session)->take_lane();
    ASSERT_TRUE(lane.has_value());
    for (int round = 0; round < 3; ++round) {
      EXPECT_TRUE(echo(*lane, 10, 0, round));
    }
  });
  EXPECT_TRUE(everybody_left());
  EXPECT_GE(door->stats().rings, 1U);
  EXPECT_EQ(door->hot_lanes(), 0U);
}

// The watch on the bell may have been between two waits.
TEST_F(DoorTest, AShardThatDidNotHearTheRingIsRungAgain) {
  static thread_local LaneMemory* lost = nullptr;  // the shard takes steps, too
  open();
  step_hook = [](Step step) {
    if (lost != nullptr && (step == Step::kFenced || step == Step::kSent)) {  // not rung in between
      lost->ssleep.store(step == Step::kSent ? 1 : 0);
    }
  };
  serve_thread([&] {
    auto session = ClientSession::attach(options(), soon());
    ASSERT_TRUE(session.has_value());
    auto lane = (*session)->take_lane();
    ASSERT_TRUE(lane.has_value());
    lost = &ClientLaneTestPeer::memory(*lane);
    EXPECT_TRUE(echo(*lane, 10, 0, 1));
    lost = nullptr;
  });
  step_hook = nullptr;
  EXPECT_TRUE(everybody_left());
  EXPECT_GE(door->stats().rings, 1U);
}

// Sends an echo; its bell is rung, and nobody hears that. Not while the door is served.
void send_unheard(ClientLane& lane) {
  static thread_local LaneMemory* lost = nullptr;
  lost = &ClientLaneTestPeer::memory(lane);
  step_hook = [](Step step) {
    if (lost != nullptr && step == Step::kFenced) {
      lost->ssleep.store(0);  // the client does not ring
    }
  };
  std::vector<std::byte> header(8);
  EXPECT_TRUE(lane.send({.id = kEcho, .header = header, .data = {}}));
  ++ClientLaneTestPeer::bell(lane);
  lost = nullptr;
  step_hook = nullptr;
}

// A program that rings and then calls no more does not ring again.
TEST_F(DoorTest, ARingThatTheShardDidNotHearIsSeenAfterAnother) {
  open();
  std::unique_ptr<ClientSession> session;
  std::unique_ptr<ClientSession> other;
  std::optional<ClientLane> lane;
  std::optional<ClientLane> ringing;
  serve_thread([&] {
    session = ClientSession::attach(options(), soon()).value();
    other = ClientSession::attach(options(), soon()).value();
    lane.emplace(session->take_lane().value());
    ringing.emplace(other->take_lane().value());
    ASSERT_TRUE(echo(*lane, 10, 0, 1) && echo(*ringing, 10, 0, 1));
  });
  ASSERT_TRUE(serve_until([&] { return door->hot_lanes() == 0; }));
  ++ClientLaneTestPeer::bell(*lane);
  // The last ring of it is heard before its reply comes, or at any time later.
  serve_thread([&] { EXPECT_TRUE(echo(*ringing, 10, 0, 1)); });
  send_unheard(*lane);
  EXPECT_TRUE(serve_until([&] { return lane->has_reply(); }));
  lane->finish();
  lane.reset();
  ringing.reset();
  session.reset();
  other.reset();
  EXPECT_TRUE(everybody_left());
}

// Nor does one that has just come in.
TEST_F(DoorTest, TheFirstRingOfAProgramIsSeenThoughNobodyHearsIt) {
  open();
  std::unique_ptr<ClientSession> session;
  std::optional<ClientLane> lane;
  serve_thread([&] {
    session = ClientSession::attach(options(), soon()).value();
    lane.emplace(session->take_lane().value());
  });
  send_unheard(*lane);
  EXPECT_TRUE(serve_until([&] { return lane->has_reply(); }));
  EXPECT_EQ(door->stats().rings, 0U);
  lane->finish();
  lane.reset();
  session.reset();
  EXPECT_TRUE(everybody_left());
}

TEST_F(DoorTest, AnIdleDoorSleeps) {
  open();
  constexpr int kPrograms = 150;
  std::vector<std::unique_ptr<ClientSession>> sessions;
  serve_thread([&] {
    for (int i = 0; i < kPrograms; ++i) {
      auto session = ClientSession::attach(options(), soon());
      ASSERT_TRUE(session.has_value()) << session.error().message();
      auto lane = (*session)->take_lane();
      ASSERT_TRUE(echo(*lane, 10, 0, i));
      sessions.push_back(std::move(*session));
    }
  });
  ASSERT_TRUE(serve_until([&] { return door->hot_lanes() == 0; }));
  std::uint64_t sleeps = reactor->stats().sleeps;
  EXPECT_TRUE(serve_until([&] { return reactor->stats().sleeps > sleeps + 3; }));
  sessions.clear();
  EXPECT_TRUE(everybody_left());
}

TEST_F(DoorTest, ClosingTellsWhoWaits) {
  open();
  std::atomic<bool> is_done = false;
  Errc code = Errc::kOk;
  std::thread client([&] {
    auto session = ClientSession::attach(options(), soon());
    auto lane = (*session)->take_lane();
    ASSERT_TRUE(echo(*lane, 1, 1, 1));
    is_done = true;
    is_done.notify_all();
    while (echo(*lane, 1, 1, 1)) {
    }
    EXPECT_FALSE((*session)->take_lane().has_value());
    code = Errc::kDisconnected;
  });
  ASSERT_TRUE(serve_until([&] { return is_done.load(); }));
  reactor->block_on(door->close());
  door.reset();
  client.join();
  EXPECT_EQ(code, Errc::kDisconnected);
}

TEST_F(DoorTest, ClosingRefusesWhatIsInService) {
  open();
  std::thread client([&] {
    auto session = ClientSession::attach(options(), soon());
    ASSERT_TRUE(session.has_value()) << session.error().message();
    auto lane = (*session)->take_lane();
    ASSERT_TRUE(lane.has_value());
    ASSERT_TRUE(lane->send({.id = kHold, .header = {}, .data = {}}).has_value());
    EXPECT_EQ(lane->receive({}, {}, soon()).error().code, Errc::kDisconnected);
  });
  EXPECT_TRUE(serve_until([&] { return handler.held.size() == 1; }));
  reactor->block_on(door->close());
  EXPECT_EQ(handler.ended, 1U);
  door.reset();
  client.join();
}

TEST_F(DoorTest, WhatAProgramSaysOfItsCopiesCountsOnlyIfItCanBe) {
  Fd file(memfd_create("slots", MFD_CLOEXEC));
  open({.slots = file.get(), .slot_states = file.get(), .slot_bytes = 4096});
  int status = run_process([&] {
    auto directory = DoorDirectory::open(kRun, base);
    auto socket = directory->connect(0);
    SessionShape shape{.lanes = 1, .area_bytes = kPage, .has_slots = true};
    AttachRequest request{
        .run_id = kRun, .lanes = shape.lanes, .area_bytes = shape.area_bytes, .flags = kWantsSlots};
    auto answer = ask_to_attach(socket->get(), request, soon());
    auto memory = map_received(answer->memory.get(), shape.bytes(), Mapping::Access::kReadWrite);
    SessionView view(memory->data(), shape);
    view.copier(0).counts.reads = 3;
    view.copier(0).counts.bytes_read = 500;
    view.copier(1).counts.overwrites = UINT64_MAX / 2;
    view.copier(2).counts.bytes_overwritten = UINT64_MAX / 2;
    return 0;
  });
  EXPECT_TRUE(exited_well(status));
  ASSERT_TRUE(everybody_left());
  link::CopyTotals copies = door->copies();
  EXPECT_EQ(copies.reads, 3U);
  EXPECT_EQ(copies.bytes_read, 500U);
  EXPECT_EQ(copies.overwrites, 0U);
  EXPECT_EQ(copies.bytes_overwritten, 0U);
}

// A lane and the area are filled with noise while they are served, by a thread that does not care
// what anybody does. Nobody else notices.
TEST_F(DoorTest, AScribblerHarmsItselfOnly) {
  open();
  const char* given = std::getenv("BENCHFS_SEED");
  std::uint64_t seed = given == nullptr ? 1 : std::strtoull(given, nullptr, 10);
  std::vector<pid_t> scribblers;
  for (std::uint64_t s = 0; s < 4; ++s) {
    scribblers.push_back(start_process([&, s] {
      auto directory = DoorDirectory::open(kRun, base);
      auto socket = directory->connect(0);
      SessionShape shape{.lanes = 4, .area_bytes = 2 * kPage};
      auto answer =
          ask_to_attach(socket->get(),
                        {.run_id = kRun, .lanes = shape.lanes, .area_bytes = shape.area_bytes},
                        soon());
      auto page = map_received(answer->page.get(), kPage, Mapping::Access::kRead);
      auto memory = map_received(answer->memory.get(), shape.bytes(), Mapping::Access::kReadWrite);
      SessionView view(memory->data(), shape);
      std::uint64_t state = (seed + s) * 0x9E3779B97F4A7C15ULL + 1;
      auto next = [&state] {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state;
      };
      for (int i = 0; i < 200'000; ++i) {
        LaneMemory& lane = view.lane(static_cast<std::uint32_t>(next() % shape.lanes));
        MessageFrame frame;
        switch (next() % 8) {
          case 0:  // any word of it
            reinterpret_cast<std::atomic<std::uint32_t>*>(
                memory->data())[next() % (shape.bytes() / 4)]
                .store(static_cast<std::uint32_t>(next()));
            break;
          case 1:
            frame = {.id = static_cast<std::uint16_t>(next() % 3 == 0 ? 1 : next()),
                     .header_bytes = static_cast<std::uint16_t>(next() % 1100),
                     .far_offset = static_cast<std::uint32_t>(next() % shape.area_bytes),
                     .far_bytes = static_cast<std::uint32_t>(next() % (2 * shape.area_bytes)),
                     .data_bytes = static_cast<std::uint32_t>(next() % shape.area_bytes)};
            std::memcpy(&lane.request.frame, &frame, sizeof frame);
            break;
          case 2:
            lane.ssleep.store(static_cast<std::uint32_t>(next() % 2));
            lane.csleep.store(static_cast<std::uint32_t>(next() % 2));
            break;
          case 3:
            view.head().bell.fetch_add(1);
            futex_wake(reinterpret_cast<const ShardPage*>(page->data())->bell);
            break;
          default:
            lane.request.sequence.fetch_add(1);
        }
      }
      return 0;
    }));
  }
  std::vector<pid_t> honest;
  for (int i = 0; i < 2; ++i) {
    honest.push_back(start_process([&] { return echo_some(options(), 2000); }));
  }
  for (pid_t child : honest) {
    EXPECT_TRUE(exited_well(serve_process(child)));
  }
  for (pid_t child : scribblers) {
    EXPECT_TRUE(exited_well(serve_process(child)));
  }
  EXPECT_TRUE(serve_until([&] {
    handler.answer_held();
    return door->sessions() == 0;
  }));
  EXPECT_GT(door->stats().malformed, 0U);
}

}  // namespace
}  // namespace benchfs::door
