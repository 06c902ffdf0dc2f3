// Programs whose node has one daemon and which reach the others through it.
#include <fmt/format.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/client_process.h"
#include "system/fault_fixture.h"

namespace benchfs::test {
namespace {

using nlohmann::json;

class Forwarding : public FaultFixture {
 protected:
  Forwarding() : FaultFixture("nodes") {}
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(start_daemons(3, {"--set", "clients.directory_lease_ms=86400000"}));
  }

  json stats(std::size_t server) {
    json all = json::parse(benchfs({"stats", "--json", "--timeout", "20"}).out, nullptr, false);
    return all.is_object() ? all["servers"][server].value("stats", json()) : json();
  }
  static bool has_loaded_ucx(const ClientProcess& client) {
    std::ifstream maps(fmt::format("/proc/{}/maps", client.pid()));
    std::string text(std::istreambuf_iterator<char>(maps), {});
    return text.find("libucp") != std::string::npos || text.find("libucs") != std::string::npos;
  }
  static std::int64_t ask(ClientProcess& client, const std::string& operation) {
    Answer answer = client.call(operation);
    EXPECT_TRUE(answer.ok()) << operation << ": " << answer.error;
    return answer.result;
  }
};

TEST_F(Forwarding, AProgramUsesAllShardsWithoutANetworkOfItsOwn) {
  std::unique_ptr<ClientProcess> program = client();
  for (int i = 0; i < 12; ++i) {
    std::int64_t file = ask(*program, fmt::format("open /f{} bc", i));
    EXPECT_EQ(ask(*program, fmt::format("pwrite {} 0 300000 a", file)), 300000);
    EXPECT_EQ(program->call(fmt::format("pread {} 0 300000", file)).details, "a*300000");
    ask(*program, fmt::format("close {}", file));
  }
  EXPECT_FALSE(has_loaded_ucx(*program));
  json near = stats(0);
  EXPECT_GE(near["forwarding"]["channels"], 2);
  EXPECT_GT(near["forwarding"]["calls"], 24);
  EXPECT_GT(near["forwarding"]["bytes_in"], 12 * 100'000);
  EXPECT_GE(stats(1)["registry"]["forwarded"], 2);
  EXPECT_EQ(stats(1)["forwarding"]["channels"], 0);
}

TEST_F(Forwarding, ProgramsOfDifferentNodesSeeTheSameFiles) {
  std::unique_ptr<ClientProcess> first = client();
  stand_on_node(1);
  std::unique_ptr<ClientProcess> second = client();
  std::int64_t file = ask(*first, "open /f bc");
  ask(*first, fmt::format("pwrite {} 0 200000 a", file));
  EXPECT_EQ(second->call("stat /f").size(), 200000);
  ask(*second, "rename /f /g");
  EXPECT_EQ(first->call("access /f").result, -ENOENT);
  EXPECT_TRUE(first->call("access /g").ok());
}

// Their home keeps them for a while only when the way to it is lost, while the program computes.
TEST_F(Forwarding, AProgramHasAThreadOfOursOnceFilesOfOtherNodesAreOpen) {
  std::unique_ptr<ClientProcess> program = client();
  std::vector<std::string> all = names("/f", 6);
  for (const std::string& name : all) {
    EXPECT_EQ(program->call("stat " + name).result, -ENOENT);
  }
  EXPECT_EQ(threads_of(program->pid()), 1);
  for (const std::string& name : all) {
    ask(*program, fmt::format("open {} bc", name));
  }
  EXPECT_EQ(threads_of(program->pid()), 2);
}

// Its directories are on all nodes, and may be used by their names for a day.
TEST_F(Forwarding, AProgramThatStandsStillDelaysNoRenameOfADirectory) {
  std::unique_ptr<ClientProcess> stopped = client();
  for (int i = 0; i < 6; ++i) {
    ask(*stopped, fmt::format("mkdir /d{}", i));
    ask(*stopped, fmt::format("open /d{}/f bc", i));
  }
  stand_on_node(1);
  std::unique_ptr<ClientProcess> other = client(std::chrono::seconds(10));
  stopped->stop();
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(ask(*other, fmt::format("rename /d{0} /e{0}", i)), 0);
    EXPECT_EQ(ask(*other, fmt::format("mkdir /d{}", i)), 0);
  }
  stopped->go_on();
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(stopped->call(fmt::format("stat /d{}/f", i)).result, -ENOENT);
    EXPECT_TRUE(stopped->call(fmt::format("stat /e{}/f", i)).ok());
  }
}

TEST_F(Forwarding, ADeadProgramLeavesNothingAtFarShards) {
  std::unique_ptr<ClientProcess> witness = client();
  for (int i = 0; i < 6; ++i) {
    ask(*witness, fmt::format("mkdir /d{}", i));
  }
  std::unique_ptr<ClientProcess> program = client();
  for (int i = 0; i < 6; ++i) {
    ask(*program, fmt::format("open /d{}/f bc", i));
  }
  std::int64_t before = stats(1)["registry"]["forwarded"].get<std::int64_t>();
  program->kill();
  EXPECT_TRUE(wait_until([&] {
    return stats(1)["registry"]["forwarded"].get<std::int64_t>() == before - 1 &&
           stats(0)["forwarding"]["programs"].get<std::int64_t>() == 2;
  })) << stats(0)["forwarding"].dump()
      << stats(1)["registry"].dump();
}

// Its session ends only when the rename does; far shards hear of its death before.
TEST_F(Forwarding, TheLocksOfAKilledProgramEndThoughARequestOfItIsServed) {
  std::unique_ptr<ClientProcess> other = client();
  ask(*other, "mkdir /d");
  std::vector<std::int64_t> wanted;
  std::vector<std::string> files = names("/l", 6);
  for (const std::string& name : files) {
    wanted.push_back(ask(*other, fmt::format("open {} bc", name)));
  }
  std::unique_ptr<ClientProcess> stopped = client_over_network();
  ask(*stopped, "open /d/f bc");
  stopped->stop();
  std::unique_ptr<ClientProcess> killed = client(std::chrono::minutes(1));
  for (const std::string& name : files) {
    ask(*killed, fmt::format("lock {}", ask(*killed, fmt::format("open {} bc", name))));
  }
  killed->begin("rename /d /e");  // waits for the one that is stopped
  ASSERT_TRUE(wait_until([&] { return other->call("stat /e").ok(); }));
  killed->kill();
  for (std::int64_t file : wanted) {
    EXPECT_TRUE(wait_until([&] { return other->call(fmt::format("lock {}", file)).ok(); },
                           Deadline::after(std::chrono::seconds(20))));
  }
}

// A far shard that stands still is a matter of those who ask it.
TEST_F(Forwarding, AFarShardThatStandsStillDelaysNobodyElse) {
  std::unique_ptr<ClientProcess> program = client(std::chrono::seconds(1));
  std::vector<std::string> all = names("/x", 12);
  for (const std::string& name : all) {
    ask(*program, fmt::format("mkdir {}", name));
  }
  stop_daemon(2);
  int answered = 0;
  for (const std::string& name : all) {
    answered += program->call("stat " + name).ok() ? 1 : 0;
  }
  EXPECT_GT(answered, 2);
  EXPECT_LT(answered, 12);
  let_daemon_go_on(2);
  EXPECT_TRUE(wait_until([&] {
    for (const std::string& name : all) {
      if (!program->call("stat " + name).ok()) {
        return false;
      }
    }
    return true;
  }));
}

TEST_F(Forwarding, WithoutTheDaemonOfTheNodeProgramsGoOverTheNetwork) {
  std::unique_ptr<ClientProcess> program = client(std::chrono::seconds(2));
  std::vector<std::string> all = names("/x", 8);
  for (const std::string& name : all) {
    ask(*program, fmt::format("mkdir {}", name));
  }
  EXPECT_FALSE(has_loaded_ucx(*program));
  daemon(0).signal(SIGKILL);
  EXPECT_TRUE(wait_until([&] { return program->call("stat " + all[0]).ok(); }) ||
              program->call("stat " + all[1]).ok());
  int answered = 0;
  for (const std::string& name : all) {
    answered += program->call("stat " + name).ok() ? 1 : 0;
  }
  EXPECT_GT(answered, 1) << "of the shards that live";
  EXPECT_TRUE(has_loaded_ucx(*program));
}

}  // namespace
}  // namespace benchfs::test
