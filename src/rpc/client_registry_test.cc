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
link::Link* fake_link(std::uintptr_t number) {
  return reinterpret_cast<link::Link*>(number * 64);
}

Session& add(ClientRegistry& registry, const std::string& id, std::uintptr_t number = 1) {
  return registry.add(id, number, fake_link(number), {}, mono_now());
}

using Kind = ClientRegistry::Room::Kind;

ClientRegistry::Config room_for(std::uint32_t clients, Nanos turn = Nanos::zero()) {
  return {.capacity = clients, .turn = turn};
}

// Registers as the server does; returns the id of the client that had to leave.
std::string admit(ClientRegistry& registry, const std::string& id) {
  std::string left;
  ClientRegistry::Room room = registry.make_room(id, mono_now());
  if (room.session != nullptr) {
    left = room.session->client_id;
    registry.remove(*room.session);
  }
  add(registry, id);
  return left;
}

TEST(ClientRegistry, AFullRegistryEvictsTheClientThatWasQuietLongest) {
  ClientRegistry registry(room_for(2));
  EXPECT_EQ(admit(registry, "client_1"), "");
  EXPECT_EQ(admit(registry, "client_2"), "");
  EXPECT_EQ(admit(registry, "client_3"), "client_1");
  EXPECT_EQ(registry.find("client_1"), nullptr);
  EXPECT_NE(registry.find("client_2"), nullptr);
  EXPECT_NE(registry.find("client_3"), nullptr);
  EXPECT_EQ(registry.size(), 2U);
}

TEST(ClientRegistry, ARequestMakesItsClientYoung) {
  ClientRegistry registry(room_for(2));
  Session& first = add(registry, "client_1");
  add(registry, "client_2");
  EXPECT_EQ(registry.get(first.id), &first);
  EXPECT_EQ(admit(registry, "client_3"), "client_2");
}

TEST(ClientRegistry, PeekingDoesNotMakeYoung) {
  ClientRegistry registry(room_for(2));
  Session& first = add(registry, "client_1");
  add(registry, "client_2");
  EXPECT_EQ(registry.peek(first.id), &first);
  EXPECT_EQ(registry.find("client_1"), &first);
  EXPECT_EQ(registry.stats().hits, 0U);
  EXPECT_EQ(admit(registry, "client_3"), "client_1");
}

TEST(ClientRegistry, AClientWithRequestsInFlightIsNotEvictedButDrains) {
  ClientRegistry registry(room_for(2));
  Session& first = add(registry, "client_1");
  Session& second = add(registry, "client_2");
  registry.begin_request(first, mono_now());
  ClientRegistry::Room room = registry.make_room("client_3", mono_now());
  EXPECT_EQ(room.kind, Kind::kEvict);
  EXPECT_EQ(room.session, &second);
  registry.begin_request(second, mono_now());
  room = registry.make_room("client_3", mono_now());
  EXPECT_EQ(room.kind, Kind::kDrain);
  EXPECT_EQ(room.session, &first);
  registry.drain(first);
  room = registry.make_room("client_4", mono_now());
  EXPECT_EQ(room.session, &second);
  registry.drain(second);
  EXPECT_EQ(registry.make_room("client_5", mono_now()).kind, Kind::kWait);
  registry.end_request(second);
  registry.remove(second);
  EXPECT_EQ(registry.make_room("client_5", mono_now()).kind, Kind::kFree);
}

TEST(ClientRegistry, AClientKeepsItsPlaceForItsTurn) {
  Nanos turn = std::chrono::seconds(5);
  ClientRegistry registry(room_for(2, turn));
  MonoTime now = mono_now();
  Session& first = registry.add("client_1", 1, fake_link(1), {}, now);
  Session& second = registry.add("client_2", 2, fake_link(2), {}, now + turn / 2);
  auto use = [&](Session& session, MonoTime when) {
    registry.begin_request(session, when);
    registry.end_request(session);
  };
  use(second, now + turn / 2);
  use(first, now + turn / 2);
  ClientRegistry::Room room = registry.make_room("client_3", now + turn / 2);
  EXPECT_EQ(room.kind, Kind::kWait);
  EXPECT_EQ(room.when, now + turn / 2 + turn / 5);
  use(second, now + turn - Nanos(1));
  use(first, now + turn - Nanos(1));
  room = registry.make_room("client_3", now + turn);
  EXPECT_EQ(room.kind, Kind::kEvict);
  EXPECT_EQ(room.session, &first);  // it came first
  use(first, now + turn + turn / 4);
  room = registry.make_room("client_3", now + turn + turn / 4);
  EXPECT_EQ(room.session, &second);  // quiet for a while
}

TEST(ClientRegistry, GrowsAndShrinksWithItsClients) {
  ClientRegistry registry(room_for(2));
  Session& first = add(registry, "client_1");
  add(registry, "client_2");
  registry.set_capacity(1000);
  for (int i = 3; i <= 1000; ++i) {
    add(registry, "client_" + std::to_string(i));
  }
  EXPECT_NE(registry.find("client_2"), nullptr);
  EXPECT_EQ(registry.make_room("another", mono_now()).session, &first);
  registry.begin_request(first, mono_now());
  registry.set_capacity(1);
  EXPECT_EQ(registry.make_room("another", mono_now()).kind, Kind::kEvict);
  for (int left = 2; left <= 1000; ++left) {
    ClientRegistry::Room room = registry.shed();
    ASSERT_EQ(room.kind, Kind::kEvict);
    EXPECT_EQ(room.session->client_id, "client_" + std::to_string(left));
    registry.remove(*room.session);
  }
  EXPECT_EQ(registry.shed().kind, Kind::kFree);
  EXPECT_EQ(registry.size(), 1U);
}

TEST(ClientRegistry, WarnsOnceWhenItFillsUp) {
  ClientRegistry registry(room_for(10));
  auto fill = [&](int from, int to) {
    int warnings = 0;
    for (int i = from; i <= to; ++i) {
      add(registry, "client_" + std::to_string(i));
      warnings += registry.take_warning() ? 1 : 0;
    }
    return warnings;
  };
  EXPECT_EQ(fill(1, 8), 0);
  EXPECT_EQ(fill(9, 10), 1);
  registry.remove(*registry.find("client_1"));
  EXPECT_EQ(fill(1, 1), 0);
  for (int i = 1; i <= 5; ++i) {
    registry.remove(*registry.find("client_" + std::to_string(i)));
  }
  EXPECT_FALSE(registry.take_warning());
  EXPECT_EQ(fill(1, 5), 1);
}

TEST(ClientRegistry, TheSameClientIdReplacesItsOlderSessionEvenWhenBusy) {
  ClientRegistry registry(room_for(1));
  Session& older = add(registry, "client_1");
  registry.begin_request(older, mono_now());
  wire::SessionId old_id = older.id;
  EXPECT_EQ(registry.make_room("client_1", mono_now()).session, &older);
  EXPECT_EQ(registry.make_room("client_1", mono_now()).kind, Kind::kReplace);
  registry.remove(older);
  Session& younger = add(registry, "client_1");
  EXPECT_NE(younger.id, old_id);
  EXPECT_EQ(younger.in_flight, 0U);
  EXPECT_EQ(registry.get(old_id), nullptr);
}

TEST(ClientRegistry, ASessionIdIsNeverUsedAgain) {
  ClientRegistry registry(room_for(1));
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

TEST(ClientRegistry, NoSessionIsNotTheOneThatLeftItsSlot) {
  ClientRegistry registry(room_for(4));
  registry.remove(add(registry, "client"));
  EXPECT_EQ(registry.peek({}), nullptr);
  EXPECT_EQ(registry.get({}), nullptr);
}

TEST(ClientRegistry, UnknownSessionsAreMisses) {
  ClientRegistry registry(room_for(4));
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
  EXPECT_DOUBLE_EQ(ClientRegistry(room_for(1)).stats().hit_rate(), 1.0);
}

// The same random operations on the registry and on a plain list.
TEST(ClientRegistry, AgreesWithASimpleModel) {
  const char* variable = std::getenv("BENCHFS_SEED");
  std::uint64_t seed = variable == nullptr ? 1 : std::strtoull(variable, nullptr, 0);
  RecordProperty("seed", std::to_string(seed));
  SCOPED_TRACE("BENCHFS_SEED=" + std::to_string(seed));
  Random random(seed);
  constexpr std::uint32_t kCapacity = 10;
  ClientRegistry registry(room_for(kCapacity));
  struct Client {
    std::string id;
    wire::SessionId session;
    std::uint32_t in_flight = 0;
  };
  std::list<Client> model;  // idle ones, least recently used first, then the busy ones
  std::uint32_t high_water = 0;
  auto remove = [&](std::list<Client>::iterator client) {
    registry.remove(*registry.peek(client->session));
    model.erase(client);
  };
  auto pick = [&] {
    return std::next(model.begin(), static_cast<long>(random.below(model.size())));
  };
  auto first_busy = [&] { return std::ranges::find(model, 1U, &Client::in_flight); };
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
      ClientRegistry::Room room = registry.make_room(id, mono_now());
      ASSERT_EQ(room.kind == Kind::kDrain, busy);
      if (busy) {
        continue;
      }
      ASSERT_EQ(room.session == nullptr, victim == model.end());
      if (victim != model.end()) {
        ASSERT_EQ(room.session->client_id, victim->id);
        remove(victim);
      }
      model.insert(first_busy(), {id, add(registry, id).id, 0});
      high_water = std::max(high_water, static_cast<std::uint32_t>(model.size()));
    } else if (what < 4) {
      remove(pick());
    } else if (what < 8) {
      auto client = pick();
      ASSERT_EQ(registry.get(client->session)->client_id, client->id);
      if (client->in_flight == 0) {
        model.splice(first_busy(), model, client);
      }
    } else {
      auto client = pick();
      Session& session = *registry.peek(client->session);
      if (client->in_flight == 0) {
        client->in_flight = 1;
        registry.begin_request(session, mono_now());
        model.splice(model.end(), model, client);
      } else {
        client->in_flight = 0;
        registry.end_request(session);
        model.splice(first_busy(), model, client);
      }
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
