// Programs that reach the daemons of their node through the node door: they come in, fall back to
// the network where they cannot, and harm nobody when they are killed or stopped.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "support/client_process.h"
#include "system/fault_fixture.h"

namespace benchfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class NodeDoor : public FaultFixture {
 protected:
  NodeDoor() : FaultFixture("auto") { ::setenv("BENCHFS_DOOR_DIR", path("doors").c_str(), 1); }
  ~NodeDoor() override {
    ::unsetenv("BENCHFS_DOOR_DIR");
    ::unsetenv("BENCHFS_TRANSPORT");
  }
  void SetUp() override { fs::create_directory(path("doors")); }

  json stats(std::size_t server = 0) {
    json all = json::parse(benchfs({"stats", "--json", "--timeout", "20"}).out, nullptr, false);
    return all.is_object() ? all["servers"][server].value("stats", json()) : json();
  }
  std::int64_t programs() { return stats()["door"]["programs"].get<std::int64_t>(); }
  std::int64_t descriptors() { return stats()["net"]["descriptors"].get<std::int64_t>(); }
  static bool has_loaded_ucx(const ClientProcess& client) {
    std::ifstream maps(fmt::format("/proc/{}/maps", client.pid()));
    std::string text(std::istreambuf_iterator<char>(maps), {});
    EXPECT_NE(text.find("libc.so"), std::string::npos);
    return text.find("libucp") != std::string::npos || text.find("libucs") != std::string::npos;
  }
  static std::int64_t ask(ClientProcess& client, const std::string& operation) {
    Answer answer = client.call(operation);
    EXPECT_TRUE(answer.ok()) << operation << ": " << answer.error;
    return answer.result;
  }
  // Files on all shards.
  static void write_and_read_files(ClientProcess& client, std::int64_t bytes) {
    for (int i = 0; i < 8; ++i) {
      std::int64_t file = ask(client, fmt::format("open /f{} bc", i));
      EXPECT_EQ(ask(client, fmt::format("pwrite {} 0 {} a", file, bytes)), bytes);
      EXPECT_EQ(client.call(fmt::format("pread {} 0 {}", file, bytes)).details,
                fmt::format("a*{}", bytes));
      ask(client, fmt::format("close {}", file));
    }
  }
};

TEST_F(NodeDoor, IsTheWayOfProgramsAndOfDaemonsAmongThemselves) {
  start_daemons(2);
  std::unique_ptr<ClientProcess> program = client();
  write_and_read_files(*program, 300'000);
  for (std::size_t server = 0; server < 2; ++server) {
    json now = stats(server);
    // The program, the other daemon, and the command that asks.
    EXPECT_EQ(now["door"]["programs"], 3) << now["door"].dump();
    EXPECT_EQ(now["registry"]["by_door"], 2) << now["registry"].dump();
    EXPECT_EQ(now["registry"]["servers"], 1);
    EXPECT_EQ(now["registry"]["by_network"], 0);
    EXPECT_EQ(now["net"]["endpoints"], 0);
    EXPECT_GT(now["door"]["calls"], 8);
  }
  EXPECT_FALSE(has_loaded_ucx(*program));
  Ended status = benchfs({"status"});
  EXPECT_NE(status.out.find("BY DOOR"), std::string::npos) << status.out;
}

// What it sends is as long as what any program sends.
TEST_F(NodeDoor, AProgramThatSeesOneDoorOfTheNodeReachesTheOtherShardThroughIt) {
  constexpr std::int64_t kLong = std::int64_t{4} << 20;
  start_daemons(2, {"--set", "storage.chunk_bytes=4MiB", "--set", "storage.buffer_bytes=4MiB"});
  for (const fs::directory_entry& there : fs::recursive_directory_iterator(path("doors"))) {
    fs::path seen = path("seen") / fs::relative(there.path(), path("doors"));
    if (there.is_directory()) {
      fs::create_directories(seen);
      fs::permissions(seen, fs::perms::owner_all);
    } else if (there.path().filename() == "0") {
      fs::create_hard_link(there.path(), seen);
    }
  }
  ::setenv("BENCHFS_DOOR_DIR", path("seen").c_str(), 1);
  std::unique_ptr<ClientProcess> program = client();
  write_and_read_files(*program, kLong);
  EXPECT_FALSE(has_loaded_ucx(*program));
  EXPECT_GE(stats(0)["forwarding"]["bytes_in"], kLong);
  EXPECT_GE(stats(1)["registry"]["forwarded"], 1);
}

TEST_F(NodeDoor, AProgramHasNoThreadOfOursUntilItNeedsOne) {
  start_daemons(2);
  std::unique_ptr<ClientProcess> program = client();
  ask(*program, "mkdir /d");
  std::int64_t file = ask(*program, "open /d/f bc");
  ask(*program, fmt::format("pwrite {} 0 3000000 a", file));
  EXPECT_EQ(program->call(fmt::format("pread {} 0 300000", file)).details, "a*300000");
  ask(*program, "rename /d /e");
  EXPECT_EQ(threads_of(program->pid()), 1);
  ask(*program, fmt::format("lock {}", file));  // it ends unless a lost connection is made again
  EXPECT_EQ(threads_of(program->pid()), 2);
}

TEST_F(NodeDoor, AKilledProgramDelaysNoRenameOfADirectory) {
  start_daemons(2, {"--set", "clients.directory_lease_ms=86400000"});
  std::unique_ptr<ClientProcess> other = client(std::chrono::seconds(10));
  ask(*other, "mkdir /d");
  std::unique_ptr<ClientProcess> killed = client();
  ask(*killed, "open /d/f bc");  // it may use the name of the directory for a day
  killed->kill();
  EXPECT_EQ(ask(*other, "rename /d /e"), 0);
  EXPECT_EQ(ask(*other, "mkdir /d"), 0);
}

TEST_F(NodeDoor, NorDoesOneThatStandsStillAndItUsesNoOldName) {
  start_daemons(2, {"--set", "clients.directory_lease_ms=86400000"});
  std::unique_ptr<ClientProcess> other = client(std::chrono::seconds(10));
  std::unique_ptr<ClientProcess> stopped = client();
  for (int i = 0; i < 4; ++i) {  // on both servers
    ask(*other, fmt::format("mkdir /d{}", i));
    ask(*stopped, fmt::format("open /d{}/f bc", i));  // may use its name for a day
  }
  stopped->stop();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(ask(*other, fmt::format("rename /d{0} /e{0}", i)), 0);
    EXPECT_EQ(ask(*other, fmt::format("mkdir /d{}", i)), 0);
  }
  stopped->go_on();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(stopped->call(fmt::format("stat /d{}/f", i)).result, -ENOENT);
    EXPECT_TRUE(stopped->call(fmt::format("stat /e{}/f", i)).ok());
  }
}

TEST_F(NodeDoor, TheLocksOfAKilledProgramEndThoughARequestOfItIsServed) {
  start_daemons(1, {"--set", "clients.directory_lease_ms=86400000"});
  std::unique_ptr<ClientProcess> other = client();
  ask(*other, "mkdir /d");
  std::int64_t wanted = ask(*other, "open /l bc");
  std::unique_ptr<ClientProcess> stopped = client_over_network();
  ask(*stopped, "open /d/f bc");
  stopped->stop();
  std::unique_ptr<ClientProcess> killed = client(std::chrono::minutes(1));
  std::int64_t locked = ask(*killed, "open /l bc");
  ask(*killed, fmt::format("lock {}", locked));
  killed->begin("rename /d /e");  // waits for the one that is stopped
  ASSERT_TRUE(wait_until([&] { return other->call("stat /e").ok(); }));
  EXPECT_EQ(other->call(fmt::format("lock {}", wanted)).result, -EAGAIN);
  killed->kill();
  EXPECT_TRUE(wait_until([&] { return other->call(fmt::format("lock {}", wanted)).ok(); },
                         Deadline::after(std::chrono::seconds(20))));
}

// It has no thread that would hear of it, and calls nothing but close.
TEST_F(NodeDoor, WhatAnEvictedProgramClosesIsClosed) {
  start_daemons(1,
                {"--set",
                 "clients.grace_ms=86400000",
                 "--set",
                 "clients.max_clients=1",
                 "--set",
                 "clients.turn_ms=0"});
  std::unique_ptr<ClientProcess> evicted = client();
  std::int64_t file = ask(*evicted, "open /f bc");
  ask(*evicted, "unlink /f");
  EXPECT_EQ(held().orphans, 1);  // asked by a program that takes the place
  ask(*evicted, fmt::format("close {}", file));
  EXPECT_TRUE(wait_until([&] { return held().orphans == 0; }));
}

// The eviction comes with the answer to the last request.
TEST_F(NodeDoor, ProgramsThatTakeTurnsOpenFilesAllTheTime) {
  start_daemons(1, {"--set", "clients.max_clients=1", "--set", "clients.turn_ms=0"});
  auto work = [&](const std::string& name) {
    std::unique_ptr<ClientProcess> program = client();
    for (int i = 0; i < 200; ++i) {
      std::int64_t file = ask(*program, fmt::format("open /{}{} bc", name, i));
      ask(*program, fmt::format("close {}", file));
    }
  };
  std::thread other(work, "a");
  work("b");
  other.join();
}

#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)  // they need some
TEST_F(NodeDoor, AProgramWithoutDescriptorsIsToldSo) {
  start_daemons(1);
  ::setenv("BENCHFS_TRANSPORT", "node", 1);
  std::unique_ptr<ClientProcess> program = client();
  std::set<rlim_t> taken;
  for (const auto& entry : fs::directory_iterator(fmt::format("/proc/{}/fd", program->pid()))) {
    taken.insert(std::stoul(entry.path().filename()));
  }
  rlimit limit{};
  ASSERT_EQ(::prlimit(program->pid(), RLIMIT_NOFILE, nullptr, &limit), 0);
  limit.rlim_cur = 0;
  int refusals = 0;  // as many descriptors are free
  Answer answer;
  for (; refusals < 40; ++refusals) {
    for (; taken.contains(limit.rlim_cur); ++limit.rlim_cur) {
    }
    ASSERT_EQ(::prlimit(program->pid(), RLIMIT_NOFILE, &limit, nullptr), 0);
    answer = program->call("child stat /");
    if (answer.ok()) {
      break;
    }
    EXPECT_EQ(answer.result, -EMFILE) << "with " << refusals << " descriptors";
    ++limit.rlim_cur;
  }
  EXPECT_TRUE(answer.ok());
  EXPECT_GT(refusals, 5);
}
#endif

TEST_F(NodeDoor, TheEndOfAProgramThatWasEvictedIsNoticed) {
  start_daemons(1,
                {"--set",
                 "clients.grace_ms=86400000",
                 "--set",
                 "clients.max_clients=2",
                 "--set",
                 "clients.turn_ms=0"});
  std::unique_ptr<ClientProcess> evicted = client();
  std::int64_t locked = ask(*evicted, "open /f bc");
  ask(*evicted, fmt::format("lock {}", locked));
  std::unique_ptr<ClientProcess> other = client();
  std::int64_t wanted = ask(*other, "open /f b");
  std::unique_ptr<ClientProcess> third = client();  // takes the place of the first
  evicted->stop();                                  // it would come back for its lock
  EXPECT_EQ(other->call(fmt::format("lock {}", wanted)).result, -EAGAIN);
  EXPECT_NE(stats().dump().find("\"evictions\":"), std::string::npos);
  EXPECT_EQ(stats().dump().find("\"evictions\":0"), std::string::npos);
  evicted->kill();
  EXPECT_TRUE(wait_until([&] { return other->call(fmt::format("lock {}", wanted)).ok(); }));
}

TEST_F(NodeDoor, WhoHasNoneUsesTheNetwork) {
  start_daemons(1);
  ::setenv("BENCHFS_DOOR_DIR", path("").c_str(), 1);
  std::unique_ptr<ClientProcess> outside = client();
  ask(*outside, "mkdir /d");
  EXPECT_GE(stats()["net"]["endpoints"], 1);
  EXPECT_EQ(programs(), 0) << "the command that asks does not find it either";
  EXPECT_TRUE(has_loaded_ucx(*outside));

  ::setenv("BENCHFS_TRANSPORT", "node", 1);
  ClientProcess refused(TEST_CLIENT_PROGRAM, registry(), std::chrono::seconds(2));
  EXPECT_EQ(refused.connected().result, -EHOSTUNREACH) << refused.connected().error;
  EXPECT_NE(refused.connected().error.find("node door"), std::string::npos)
      << refused.connected().error;
  ::setenv("BENCHFS_TRANSPORT", "nobody", 1);
  ClientProcess misled(TEST_CLIENT_PROGRAM, registry(), std::chrono::seconds(2));
  EXPECT_EQ(misled.connected().result, -EINVAL);
  EXPECT_NE(misled.connected().error.find("BENCHFS_TRANSPORT"), std::string::npos)
      << misled.connected().error;
}

TEST_F(NodeDoor, TheServersKnowWhyProgramsDidNotComeInByIt) {
  start_daemons(1);
  std::vector<std::unique_ptr<ClientProcess>> programs;
  auto come = [&] {
    programs.push_back(client());
    ask(*programs.back(), fmt::format("mkdir /d{}", programs.size()));
  };
  come();
  ::setenv("BENCHFS_TRANSPORT", "ucx", 1);
  come();
  come();
  ::unsetenv("BENCHFS_TRANSPORT");
  ::setenv("BENCHFS_DOOR_DIR", path("").c_str(), 1);
  come();
  fs::create_directories(path("others/benchfs-door-123456"));
  ::setenv("BENCHFS_DOOR_DIR", path("others").c_str(), 1);
  come();
  fs::path open_to_all = path(fmt::format("open/benchfs-door-{}", ::geteuid()));
  fs::create_directories(open_to_all);
  fs::permissions(open_to_all, fs::perms::all);
  ::setenv("BENCHFS_DOOR_DIR", path("open").c_str(), 1);
  come();
  ::setenv("BENCHFS_DOOR_DIR", path("doors").c_str(), 1);

  json registry = stats()["registry"];
  EXPECT_EQ(registry["by_door"], 2) << registry.dump();  // with the command that asks
  EXPECT_EQ(registry["by_network"], 5);
  EXPECT_EQ(registry["no_door"],
            json({{"not_wanted", 2}, {"none", 1}, {"other_user", 1}, {"not_private", 1}}));
  Ended status = benchfs({"status"});
  EXPECT_NE(
      status.out.find("over the network: 2 told to use it (BENCHFS_TRANSPORT=ucx); 1 no daemon"),
      std::string::npos)
      << status.out;
  EXPECT_NE(benchfs({"stats"}).out.find("1 doors of other users only"), std::string::npos);
}

TEST_F(NodeDoor, ADaemonWithoutOneSaysWhyAndServesOverTheNetwork) {
  fs::permissions(path("doors"), fs::perms::all);  // others may write, and nothing is sticky
  start_daemons(1);
  EXPECT_TRUE(daemon(0).wait_for_line("has no node door", patience())) << daemon(0).err();
  std::unique_ptr<ClientProcess> program = client();
  ask(*program, "mkdir /d");
  EXPECT_EQ(stats()["door"]["open"], false);
}

TEST_F(NodeDoor, AProgramKilledWhileItSendsHarmsNobody) {
  start_daemons(1);
  std::unique_ptr<ClientProcess> witness = client();
  ask(*witness, "mkdir /d");
  std::int64_t before = programs();
  std::int64_t descriptors_before = descriptors();
  for (int i = 0; i < 20; ++i) {
    std::string name = fmt::format("/d/f{}", i);
    std::unique_ptr<ClientProcess> victim = client();
    std::int64_t file = ask(*victim, fmt::format("open {} bca", name));
    victim->begin(fmt::format("repeat 1000000 append {} {} a", file, 1 + i * 5000));
    ASSERT_TRUE(wait_until([&] { return witness->call("stat " + name).size() > i * 20000; }));
    victim->kill();
    ask(*witness, "access " + name);
  }
  EXPECT_TRUE(wait_until([&] { return programs() == before; })) << programs();
  EXPECT_TRUE(wait_until([&] { return descriptors() <= descriptors_before; })) << descriptors();
}

TEST_F(NodeDoor, AProgramThatIsStoppedDelaysNobody) {
  start_daemons(1);
  std::unique_ptr<ClientProcess> stopped = client();
  std::unique_ptr<ClientProcess> other = client();
  std::int64_t file = ask(*stopped, "open /f bca");
  stopped->begin(fmt::format("repeat 20000 append {} 100000 a", file));
  ASSERT_TRUE(wait_until([&] { return other->call("stat /f").size() > 0; }));
  stopped->stop();
  std::int64_t own = ask(*other, "open /g bc");
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(ask(*other, fmt::format("pwrite {} 0 100000 b", own)), 100000);
  }
  stopped->go_on();
  stopped->kill();
}

TEST_F(NodeDoor, AChildOfForkComesInByItself) {
  start_daemons(2);
  std::unique_ptr<ClientProcess> program = client();
  std::int64_t file = ask(*program, "open /f bc");
  EXPECT_EQ(ask(*program, fmt::format("pwrite {} 0 1000 a", file)), 1000);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(ask(*program, "child stat /f"), 0);
    EXPECT_EQ(ask(*program, fmt::format("child mkdir /d{}", i)), 0);
    EXPECT_EQ(ask(*program, fmt::format("pwrite {} 0 1000 b", file)), 1000);
  }
}

// The programs of a daemon that is gone are told at once, and meet its successor at the same door.
TEST_F(NodeDoor, ADaemonThatDiesAndComesBackIsFoundAgain) {
  start_daemons(2);
  std::unique_ptr<ClientProcess> program = client();
  ask(*program, "stat /");
  daemon(1).signal(SIGKILL);
  daemon(1).wait(patience());
  start_daemon_again(1);
  for (int i = 0; i < 8; ++i) {
    std::int64_t file = ask(*program, fmt::format("open /f{} bc", i));
    EXPECT_EQ(ask(*program, fmt::format("pwrite {} 0 200000 a", file)), 200000);
    ask(*program, fmt::format("close {}", file));
  }
  EXPECT_EQ(stats(1)["net"]["endpoints"], 0) << "through the door";
}

TEST_F(NodeDoor, WhatAKilledDaemonLeftIsRemovedByDown) {
  start_daemons(2);
  daemon(1).signal(SIGKILL);
  daemon(1).wait(patience());
  std::string doors = path(fmt::format("doors/benchfs-door-{}", ::geteuid()));
  EXPECT_FALSE(fs::is_empty(doors));
  (void)benchfs({"down"});
  EXPECT_TRUE(fs::is_empty(doors));
}

TEST_F(NodeDoor, WhatKilledDaemonsOfAnotherRunLeftIsRemovedWhenADoorOpens) {
  start_daemons(1);
  daemon(0).signal(SIGKILL);
  daemon(0).wait(patience());
  std::string doors = path(fmt::format("doors/benchfs-door-{}", ::geteuid()));
  fs::path left = fs::directory_iterator(doors)->path();
  fs::path young = doors + "/young";
  fs::create_directory(young);
  fs::last_write_time(left, fs::file_time_type::clock::now() - std::chrono::hours(1));
  fs::remove_all(registry());
  start_daemons(1);
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(young)) << "somebody may be opening it";
  std::unique_ptr<ClientProcess> program = client();
  ask(*program, "mkdir /d");
}

}  // namespace
}  // namespace benchfs::test
