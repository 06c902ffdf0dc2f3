#include "rpc/testing/many_evictions.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "rpc/testing/rpc_fixture.h"
#include "rt/frame_pool.h"

namespace benchfs::rpc::testing {
namespace {

constexpr std::uint32_t kPlaces = 2;
constexpr std::size_t kThreads = 2;
constexpr std::size_t kClientsAThread = 3;

// The resources that the process holds while all places are taken.
struct Holding {
  std::size_t resident = 0;
  std::size_t descriptors = 0;
  std::size_t server_endpoints = 0;
  std::size_t client_endpoints = 0;
  std::int64_t server_frames = 0;

  void print(const char* when, std::uint64_t evictions) const {
    std::printf(
        "%s: %lu evictions, %.1f MiB resident, %zu descriptors, %zu + %zu endpoints, %ld frames\n",
        when,
        evictions,
        static_cast<double>(resident) / (1U << 20),
        descriptors,
        server_endpoints,
        client_endpoints,
        server_frames);
  }
};

class Evictions {
 public:
  Evictions() {
    for (std::size_t i = 0; i < kThreads * kClientsAThread; ++i) {
      clients_.push_back(
          std::make_unique<Client>("client_" + std::to_string(i), std::vector{server_.address()}));
    }
  }

  // Lets all clients call in turn until there have been this many evictions.
  void run_until(std::uint64_t evictions) {
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([this, t, evictions] {
        while (this->evictions() < evictions && !::testing::Test::HasFailure()) {
          for (std::size_t i = 0; i < 20 * kClientsAThread; ++i) {
            call(*clients_[t * kClientsAThread + i % kClientsAThread]);
          }
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  }

  std::uint64_t evictions() { return server_.registry_stats().evictions; }
  std::uint64_t calls() const { return calls_; }
  std::uint64_t executed() { return server_.service().mkdirs; }

  Holding settle() {
    for (auto& client : clients_) {
      call(*client);  // the last of them are registered when all have called
    }
    Holding now;
    for (auto& client : clients_) {
      bool is_registered = client == clients_.back() || client == clients_[clients_.size() - 2];
      std::size_t expected = is_registered ? 1 : 0;
      EXPECT_TRUE(client->eventually([&] { return client->link_count() == expected; }))
          << client->link_count();
      now.client_endpoints += client->link_count();
    }
    EXPECT_TRUE(server_.eventually([](Server& s, net::Worker&) {
      return s.link_count() == kPlaces && s.stats().in_flight == 0;
    }));
    server_.run([&](Server& s, net::Worker&) {
      now.server_endpoints = s.link_count();
      now.server_frames = rt::frame_pool_stats().live;
      now.descriptors = open_descriptors();
      now.resident = resident_bytes();
    });
    return now;
  }

 private:
  void call(Client& client) {
    ++calls_;
    Status made = client.mkdir_there(0);
    EXPECT_TRUE(made) << made.error().message();
  }

  ServerThread server_{{.config = {.max_clients = kPlaces,
                                   .client_turn = std::chrono::milliseconds(1),
                                   .run_id = kTestRun}}};
  std::vector<std::unique_ptr<Client>> clients_;
  std::atomic<std::uint64_t> calls_{0};
};

}  // namespace

void expect_evictions_leave_nothing(std::uint64_t count) {
  Evictions evictions;
  evictions.run_until(count / 10);  // pools of all kinds have filled
  Holding before = evictions.settle();
  before.print("before", evictions.evictions());
  evictions.run_until(count);
  Holding after = evictions.settle();
  after.print("after", evictions.evictions());
  EXPECT_GE(evictions.evictions(), count);
  EXPECT_EQ(evictions.executed(), evictions.calls());
  EXPECT_EQ(after.server_endpoints, before.server_endpoints);
  EXPECT_EQ(after.client_endpoints, before.client_endpoints);
  EXPECT_EQ(after.server_frames, before.server_frames);
  EXPECT_LE(after.descriptors, before.descriptors + 8) << "some close a little later";
  // Sanitizers keep freed memory.
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
  EXPECT_LE(after.resident, before.resident + (32U << 20));
#endif
}

}  // namespace benchfs::rpc::testing
