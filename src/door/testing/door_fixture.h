// A door with a handler that echoes, served by the test's thread, and clients in processes and
// threads of their own.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "door/client_session.h"
#include "door/door.h"
#include "door/server_links.h"
#include "door/steps.h"

namespace benchfs::door::testing {

inline constexpr std::uint16_t kEcho = 1;  // answered at once: the header, and the data inverted
inline constexpr std::uint16_t kHold = 2;  // answered when the test says so
inline constexpr std::uint64_t kRun = 0x1234;

class EchoHandler final : public CallHandler {
 public:
  void on_call(ServerLane& lane) override {
    ++calls;
    if (lane.id() == kHold || lane.id() == kListenId) {
      held.push_back(&lane);
      return;
    }
    echo(lane);
  }
  void on_session_end(ServerSession& session) override {
    EXPECT_EQ(session.in_service(), 0U);
    ++ended;
    died += session.has_died() ? 1 : 0;
  }
  void answer_held() {
    std::vector<ServerLane*> lanes;
    lanes.swap(held);
    for (ServerLane* lane : lanes) {
      EXPECT_TRUE(lane->answer(kHold, {}).has_value());
    }
  }

  std::uint64_t calls = 0;
  std::uint64_t ended = 0;
  std::uint64_t died = 0;  // of those
  std::vector<ServerLane*> held;

 private:
  static void echo(ServerLane& lane) {
    std::vector<std::byte> data(lane.data_bytes());
    lane.copy_data(data);
    for (std::byte& byte : data) {
      byte = ~byte;
    }
    EXPECT_TRUE(lane.answer(kEcho, lane.header(), data).has_value());
  }
};

class DoorFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "benchfs-door-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    base = pattern;
    auto made = rt::Reactor::create({.spin = std::chrono::microseconds(1), .yield = Nanos(0)});
    ASSERT_TRUE(made.has_value());
    reactor = std::move(*made);
    pool = std::make_unique<rt::BlockingPool>(*reactor);
  }
  void TearDown() override {
    step_hook = nullptr;
    if (door != nullptr) {
      handler.answer_held();
      reactor->block_on(door->close());
      door.reset();
    }
    pool.reset();
    std::filesystem::remove_all(base);
  }

  void open(DoorConfig config = {}) {
    config.run_id = kRun;
    config.base = base;
    auto opened = Door::open(*reactor, *pool, handler, config);
    ASSERT_TRUE(opened.has_value()) << opened.error().message();
    door = std::move(*opened);
  }

  // Serves until it is so; a minute is for ever.
  ::testing::AssertionResult serve_until(const std::function<bool()>& done) {
    rt::Reactor::Binding binding(*reactor);
    Deadline deadline = Deadline::after(std::chrono::minutes(1));
    while (!done()) {
      if (deadline.passed()) {
        return ::testing::AssertionFailure() << "still not so after a minute";
      }
      reactor->step(Deadline::after(std::chrono::milliseconds(5)));
    }
    return ::testing::AssertionSuccess();
  }

  [[nodiscard]] AttachOptions options() const { return {.run_id = kRun, .base = base}; }

  // Runs a function in a process of its own, without any descriptor of this one.
  static pid_t start_process(const std::function<int()>& function) {
    pid_t child = fork();
    if (child == 0) {
      for (int fd = 3; fd < 256; ++fd) {
        ::close(fd);
      }
      _exit(function());
    }
    return child;
  }
  // Serves until the process has ended; its exit status as of waitpid().
  int serve_process(pid_t child) {
    int status = -1;
    EXPECT_TRUE(serve_until([&] { return waitpid(child, &status, WNOHANG) == child; }));
    return status;
  }
  int run_process(const std::function<int()>& function) {
    return serve_process(start_process(function));
  }
  ::testing::AssertionResult everybody_left() {
    return serve_until([&] { return door->sessions() == 0 && door->unattached() == 0; });
  }

  std::string base;
  std::unique_ptr<rt::Reactor> reactor;
  std::unique_ptr<rt::BlockingPool> pool;
  EchoHandler handler;
  std::unique_ptr<Door> door;
};

inline Deadline soon() {
  return Deadline::after(std::chrono::minutes(1));
}

// One echo; true when what came back is what was sent.
inline bool echo(ClientLane& lane, std::size_t header_bytes, std::size_t data_bytes, int salt) {
  std::vector<std::byte> header(header_bytes);
  std::vector<std::byte> data(data_bytes);
  for (std::size_t i = 0; i < header.size(); ++i) {
    header[i] = static_cast<std::byte>(i * 7 + static_cast<std::size_t>(salt));
  }
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = static_cast<std::byte>(i * 13 + static_cast<std::size_t>(salt));
  }
  if (!lane.send({.id = kEcho, .header = header, .data = data})) {
    return false;
  }
  std::vector<std::byte> got_header(wire::kMaxHeaderBytes);
  std::vector<std::byte> got_data(data_bytes);
  auto reply = lane.receive(got_header, got_data, soon());
  if (!reply || reply->header_bytes != header_bytes || reply->data_bytes != data_bytes) {
    return false;
  }
  for (std::byte& byte : got_data) {
    byte = ~byte;
  }
  got_header.resize(header_bytes);
  return got_header == header && got_data == data;
}

// Attaches and echoes `count` times. 0 when all came back.
inline int echo_some(const AttachOptions& options, int count) {
  auto session = ClientSession::attach(options, soon());
  if (!session) {
    return 10;
  }
  auto lane = (*session)->take_lane();
  if (!lane) {
    return 11;
  }
  for (int i = 0; i < count; ++i) {
    if (!echo(*lane, static_cast<std::size_t>(i % 200), static_cast<std::size_t>(i % 5000), i)) {
      return 12;
    }
  }
  return 0;
}

inline bool exited_well(int status) {
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace benchfs::door::testing
