// The common parts of the failure tests: a client that gives up at once, the resources that daemons
// hold, and the time until a failure was noticed.
#pragma once

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string_view>

#include "system/system_test.h"

namespace benchfs::test {

inline constexpr wire::ShardId kFirst{0};
// The specified bound on the time until a failure is noticed is 2 s; the rest is for a machine with
// other work.
inline constexpr Nanos kNoticed = std::chrono::seconds(5);

// Whether programs and daemons of this run use the network (ctest's tcp.*), not the node door.
inline bool is_over_network() {
  const char* transport = std::getenv("BENCHFS_TRANSPORT");
  return transport != nullptr && std::string_view(transport) == "ucx";
}

class FailureTest : public SystemTest {
 protected:
  // Held by a daemon. Resources that a failure took must be given back.
  struct Held {
    int clients = 0;
    int endpoints = 0;
    int descriptors = 0;
    int in_flight = 0;
    int buffers_free = 0;
    int frames = 0;  // of coroutines
    friend bool operator==(const Held&, const Held&) = default;
  };

  // Reports the first failure to its caller, so that the time until then is that of the detection,
  // up to one attempt to connect again.
  [[nodiscard]] client::Options impatient() const {
    client::Options options = client_options();
    options.pool.connect_patience = Nanos::zero();
    options.pool.connect_timeout = std::chrono::milliseconds(500);
    return options;
  }
  static std::unique_ptr<client::Client> connect_with(client::Options options) {
    Result<std::unique_ptr<client::Client>> client = client::Client::connect(std::move(options));
    EXPECT_TRUE(client) << message(client);
    return client ? std::move(*client) : nullptr;
  }

  static Held held(client::Client& client) {
    Result<std::string> text = client.run(client.fs().shard_stats(kFirst));
    EXPECT_TRUE(text) << message(text);
    nlohmann::json stats = nlohmann::json::parse(text.value_or("{}"), nullptr, false);
    return {.clients = stats["registry"]["clients"],
            .endpoints = stats["net"]["endpoints"],
            .descriptors = stats["net"]["descriptors"],
            .in_flight = stats["rpc"]["in_flight"],
            .buffers_free = stats["buffers"]["free"],
            .frames = stats["reactor"]["frames"]};
  }
  // Once the command that started the daemons has left, too: whoever is connected is registered.
  static Held held_at_rest(client::Client& client) {
    Deadline deadline = Deadline::after(std::chrono::seconds(2));
    for (;;) {
      nlohmann::json stats =
          nlohmann::json::parse(client.run(client.fs().shard_stats(kFirst)).value_or("{}"));
      std::int64_t links =
          stats["net"]["endpoints"].get<std::int64_t>() +
          stats.value("door", nlohmann::json::object()).value("programs", std::int64_t{0});
      if (links == stats["registry"]["clients"].get<std::int64_t>() || deadline.passed()) {
        return held(client);
      }
      std::this_thread::sleep_for(  // lint: allow sleep counters of another process
          std::chrono::milliseconds(10));
    }
  }
  // Waits until the daemon holds what it held; true in time.
  static bool holds_again(client::Client& client, const Held& before) {
    Deadline deadline = patience();
    Held now = held(client);
    for (; now != before && !deadline.passed(); now = held(client)) {
      std::this_thread::sleep_for(  // lint: allow sleep counters of another process
          std::chrono::milliseconds(10));
    }
    EXPECT_EQ(now.clients, before.clients);
    EXPECT_EQ(now.endpoints, before.endpoints);
    EXPECT_EQ(now.descriptors, before.descriptors);
    EXPECT_EQ(now.in_flight, before.in_flight);
    EXPECT_EQ(now.buffers_free, before.buffers_free);
    EXPECT_EQ(now.frames, before.frames);
    return now == before;
  }
  // Descriptors of this process.
  static std::ptrdiff_t descriptors() {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
  }

  // Records a time for the table in docs/operations.md.
  static void record(const char* what, Nanos took) {
    double milliseconds = std::chrono::duration<double, std::milli>(took).count();
    RecordProperty(what, fmt::format("{:.1f} ms", milliseconds));
    fmt::print("{}: {:.1f} ms\n", what, milliseconds);
  }
};

}  // namespace benchfs::test
