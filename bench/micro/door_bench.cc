// Round trips between two processes: through a lane of the node door, and through two bare cache
// lines, the least that any protocol in shared memory can take. Argument: clients, which share the
// machine's cores with one shard. The rate is that of all clients together; one client also tells
// the median of its round trips. Near and far cores: taskset.
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "door/client_session.h"
#include "door/door.h"

namespace benchfs::door {
namespace {

constexpr Nanos kRun = std::chrono::milliseconds(500);
constexpr std::size_t kHeader = 28;  // of a ping

struct Line {
  alignas(kLine) std::atomic<std::uint64_t> request;
  alignas(kLine) std::atomic<std::uint64_t> reply;
};

// What the processes share to count and to end.
struct Board {
  std::atomic<bool> is_over;
  std::atomic<std::uint64_t> calls;
  std::atomic<std::uint64_t> median;
  std::array<Line, 16> lines;
};

Board& new_board() {
  void* memory =
      mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  BENCHFS_CHECK(memory != MAP_FAILED);
  return *static_cast<Board*>(memory);
}

void run_client(Board& board, const std::function<void()>& ping) {
  std::vector<std::int64_t> times;
  times.reserve(1U << 24);
  MonoTime start = mono_now();
  MonoTime last = start;
  while (last - start < kRun && times.size() < times.capacity()) {
    ping();
    MonoTime now = mono_now();
    times.push_back((now - last).count());
    last = now;
  }
  auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  board.median = static_cast<std::uint64_t>(*middle);
  board.calls += times.size();
}

class Echo final : public CallHandler {
 public:
  void on_call(ServerLane& lane) override {
    BENCHFS_CHECK(lane.answer(lane.id(), lane.header()).has_value());
  }
  void on_session_end(ServerSession& /*session*/) override {}
};

void report(std::string_view name, int clients, const Board& board) {
  double seconds = std::chrono::duration<double>(kRun).count();
  fmt::print("{:<10} clients {:2}  {:6.2f} M/s  p50 {:6} ns\n",
             name,
             clients,
             static_cast<double>(board.calls.load()) / seconds / 1e6,
             board.median.load());
}

void wait_for(const std::vector<pid_t>& children) {
  for (pid_t child : children) {
    BENCHFS_CHECK(waitpid(child, nullptr, 0) == child);
  }
}

void bench_lines(int clients) {
  Board& board = new_board();
  pid_t server = fork();
  if (server == 0) {
    std::array<std::uint64_t, 16> seen{};
    while (!board.is_over.load(std::memory_order_relaxed)) {
      for (std::size_t i = 0; i < static_cast<std::size_t>(clients); ++i) {
        std::uint64_t request = board.lines[i].request.load(std::memory_order_acquire);
        if (request != seen[i]) {
          seen[i] = request;
          board.lines[i].reply.store(request, std::memory_order_release);
        }
      }
    }
    _exit(0);
  }
  std::vector<pid_t> children;
  for (int c = 0; c < clients; ++c) {
    children.push_back(fork());
    if (children.back() == 0) {
      Line& line = board.lines[static_cast<std::size_t>(c)];
      std::uint64_t number = 0;
      run_client(board, [&] {
        line.request.store(++number, std::memory_order_release);
        while (line.reply.load(std::memory_order_acquire) != number) {
        }
      });
      _exit(0);
    }
  }
  wait_for(children);
  board.is_over = true;
  wait_for({server});
  report("bare lines", clients, board);
}

void bench_door(int clients) {
  std::string base = "/tmp/benchfs-door-bench-XXXXXX";
  BENCHFS_CHECK(mkdtemp(base.data()) != nullptr);
  Board& board = new_board();
  auto reactor = rt::Reactor::create();
  BENCHFS_CHECK(reactor.has_value());
  rt::BlockingPool pool(**reactor);
  Echo echo;
  auto door = Door::open(**reactor, pool, echo, {.run_id = 1, .base = base});
  BENCHFS_CHECK(door.has_value());
  std::vector<pid_t> children;
  for (int c = 0; c < clients; ++c) {
    children.push_back(fork());
    if (children.back() == 0) {
      auto session = ClientSession::attach({.run_id = 1, .base = base},
                                           Deadline::after(std::chrono::hours(1)));
      BENCHFS_CHECK(session.has_value());
      auto lane = (*session)->take_lane();
      std::array<std::byte, kHeader> header{};
      std::array<std::byte, kHeader> answer{};
      run_client(board, [&] {
        BENCHFS_CHECK(lane->send({.id = 1, .header = header, .data = {}}).has_value());
        BENCHFS_CHECK(lane->receive(answer, {}, Deadline::never()).has_value());
      });
      _exit(0);
    }
  }
  std::size_t left = children.size();
  {
    rt::Reactor::Binding binding(**reactor);
    MonoTime looked = mono_now();
    while (left > 0) {
      (*reactor)->step(Deadline::after(std::chrono::milliseconds(1)));
      if (mono_now() - looked > std::chrono::milliseconds(10)) {
        looked = mono_now();
        left -= waitpid(-1, nullptr, WNOHANG) > 0 ? 1 : 0;
      }
    }
  }
  (*reactor)->block_on((*door)->close());
  ::rmdir((base + "/benchfs-" + std::to_string(geteuid())).c_str());
  ::rmdir(base.c_str());
  report("door", clients, board);
}

}  // namespace
}  // namespace benchfs::door

int main() {
  for (int clients : {1, 2, 4}) {
    benchfs::door::bench_lines(clients);
    benchfs::door::bench_door(clients);
  }
  return 0;
}
