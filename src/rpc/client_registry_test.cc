#include "rpc/client_registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <list>
#include <set>
#include <string>

#include "base/random.h"

namespace benchfs::rpc {
namespace {

// The registry keeps the pointer and never looks behind it.
net::Endpoint* fake_endpoint(std::uintptr_t number) {
  return reinterpret_cast<net::Endpoint*>(number * 64);
}

Session& add(ClientRegistry& registry, const std::string& id, std::uintptr_t number = 1) {
  return registry.add(id, number, fake_endpoint(number), {});
}

// Registers as the server does; returns the id of the client that had to leave.
std::string admit(ClientRegistry& registry, const std::string& id) {
  std::string left;
  if (Session* victim = registry.make_room(id).value()) {
    left = victim->client_id;
    registry.remove(*victim);
  }
  add(registry, id);
  return left;
}

TEST(ClientRegistry, AFullRegistryEvictsTheClientThatWasQuietLongest) {
  ClientRegistry registry(2);
  EXPECT_EQ(admit(registry, "client_1"), "");
  EXPECT_EQ(admit(registry, "client_2"), "");
  EXPECT_EQ(admit(registry, "client_3"), "client_1");
  EXPECT_EQ(registry.find("client_1"), nullptr);
  EXPECT_NE(registry.find("client_2"), nullptr);
  EXPECT_NE(registry.find("client_3"), nullptr);
  EXPECT_EQ(registry.size(), 2U);
}

TEST(ClientRegistry, ARequestMakesItsClientYoung) {
  ClientRegistry registry(2);
  Session& first = add(registry, "client_1");
  add(registry, "client_2");
  EXPECT_EQ(registry.get(first.id), &first);
  EXPECT_EQ(admit(registry, "client_3"), "client_2");
}

TEST(ClientRegistry, PeekingDoesNotMakeYoung) {
  ClientRegistry registry(2);
  Session& first = add(registry, "client_1");
  add(registry, "client_2");
  EXPECT_EQ(registry.peek(first.id), &first);
  EXPECT_EQ(registry.find("client_1"), &first);
  EXPECT_EQ(registry.stats().hits, 0U);
  EXPECT_EQ(admit(registry, "client_3"), "client_1");
}

TEST(ClientRegistry, AClientWithRequestsInFlightStays) {
  ClientRegistry registry(2);
  add(registry, "client_1").in_flight = 1;
  Session& second = add(registry, "client_2");
  EXPECT_EQ(registry.make_room("client_3").value(), &second);
  second.in_flight = 3;
  Result<Session*> full = registry.make_room("client_3");
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code, Errc::kBusy);
}

TEST(ClientRegistry, TheSameClientIdReplacesItsOlderSessionEvenWhenBusy) {
  ClientRegistry registry(1);
  Session& older = add(registry, "client_1");
  older.in_flight = 1;
  wire::SessionId old_id = older.id;
  EXPECT_EQ(registry.make_room("client_1").value(), &older);
  registry.remove(older);
  Session& younger = add(registry, "client_1");
  EXPECT_NE(younger.id, old_id);
  EXPECT_EQ(younger.in_flight, 0U);
  EXPECT_EQ(registry.get(old_id), nullptr);
}

TEST(ClientRegistry, ASessionIdIsNeverUsedAgain) {
  ClientRegistry registry(1);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    Session& session = add(registry, "client");
    EXPECT_TRUE(session.id.is_valid());
    EXPECT_EQ(session.id.slot(), 0U);
    EXPECT_TRUE(seen.insert(session.id.value).second);
    registry.remove(session);
    EXPECT_EQ(registry.get(wire::SessionId{*seen.begin()}), nullptr);
  }
}

TEST(ClientRegistry, UnknownSessionsAreMisses) {
  ClientRegistry registry(4);
  Session& session = add(registry, "client");
  EXPECT_EQ(registry.get({}), nullptr);
  EXPECT_EQ(registry.get(wire::SessionId::make(3, 77)), nullptr);
  EXPECT_EQ(registry.get(wire::SessionId::make(0xffffff, 77)), nullptr);
  EXPECT_EQ(registry.get(wire::SessionId{session.id.value ^ (1ULL << 40)}), nullptr);
  EXPECT_EQ(registry.get(wire::SessionId{~0ULL}), nullptr);
  EXPECT_EQ(registry.stats().misses, 5U);
  EXPECT_NE(registry.get(session.id), nullptr);
  EXPECT_NE(registry.get(session.id), nullptr);
  EXPECT_NE(registry.get(session.id), nullptr);
  EXPECT_EQ(registry.stats().hits, 3U);
  EXPECT_DOUBLE_EQ(registry.stats().hit_rate(), 3.0 / 8.0);
}

TEST(ClientRegistry, ARegistryNobodyAskedHasAFullHitRate) {
  EXPECT_DOUBLE_EQ(ClientRegistry(1).stats().hit_rate(), 1.0);
}

// The same random operations on the registry and on a plain list.
TEST(ClientRegistry, AgreesWithASimpleModel) {
  const char* variable = std::getenv("BENCHFS_SEED");
  std::uint64_t seed = variable == nullptr ? 1 : std::strtoull(variable, nullptr, 0);
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE("BENCHFS_SEED=" + std::to_string(seed));
  Random random(seed);
  constexpr std::uint32_t kCapacity = 10;
  ClientRegistry registry(kCapacity);
  struct Client {
    std::string id;
    wire::SessionId session;
    std::uint32_t in_flight = 0;
  };
  std::list<Client> model;  // oldest first
  std::uint32_t high_water = 0;
  auto remove = [&](std::list<Client>::iterator client) {
    registry.remove(*registry.peek(client->session));
    model.erase(client);
  };
  auto pick = [&] {
    return std::next(model.begin(), static_cast<long>(random.below(model.size())));
  };
  for (int step = 0; step < 50'000; ++step) {
    std::uint64_t what = random.below(10);
    if (what < 3 || model.empty()) {
      std::string id = "client_" + std::to_string(random.below(2 * kCapacity));
      auto victim = std::ranges::find(model, id, &Client::id);
      bool busy = false;
      if (victim == model.end() && model.size() == kCapacity) {
        victim = std::ranges::find(model, 0U, &Client::in_flight);
        busy = victim == model.end();
      }
      Result<Session*> leaves = registry.make_room(id);
      ASSERT_EQ(!leaves, busy);
      if (busy) {
        continue;
      }
      ASSERT_EQ(*leaves == nullptr, victim == model.end());
      if (victim != model.end()) {
        ASSERT_EQ((*leaves)->client_id, victim->id);
        remove(victim);
      }
      model.push_back({id, add(registry, id).id, 0});
      high_water = std::max(high_water, static_cast<std::uint32_t>(model.size()));
    } else if (what < 4) {
      remove(pick());
    } else if (what < 8) {
      auto client = pick();
      ASSERT_EQ(registry.get(client->session)->client_id, client->id);
      model.splice(model.end(), model, client);
    } else {
      auto client = pick();
      client->in_flight = static_cast<std::uint32_t>(random.below(2));
      registry.peek(client->session)->in_flight = client->in_flight;
    }
    ASSERT_EQ(registry.size(), model.size());
    auto expected = model.begin();
    registry.for_each([&](const Session& session) {
      ASSERT_EQ(session.client_id, expected->id);
      ++expected;
    });
    ASSERT_EQ(registry.oldest() == nullptr, model.empty());
  }
  EXPECT_EQ(registry.stats().high_water, high_water);
}

}  // namespace
}  // namespace benchfs::rpc
