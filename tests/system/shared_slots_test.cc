// Programs that read and fill the chunks of a daemon of their node by themselves: what others see
// while such a program stands still or is killed in the middle of a copy.
#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "support/client_process.h"
#include "system/fault_fixture.h"

namespace benchfs::test {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

class SharedSlots : public FaultFixture {
 protected:
  SharedSlots() : FaultFixture("auto") { ::setenv("BENCHFS_DOOR_DIR", path("").c_str(), 1); }
  ~SharedSlots() override { ::unsetenv("BENCHFS_DOOR_DIR"); }

  void start_daemons(std::size_t count = 1) {
    FaultFixture::start_daemons(
        count, {"--set", "storage.engine=memory", "--set", "clients.grace_ms=100"});
  }
  static std::int64_t ask(ClientProcess& client, const std::string& operation) {
    Answer answer = client.call(operation);
    EXPECT_TRUE(answer.ok()) << operation << ": " << answer.error;
    return answer.result;
  }
  static std::string read(ClientProcess& client, std::int64_t file, std::int64_t size) {
    Answer answer = client.call(fmt::format("pread {} 0 {}", file, size));
    EXPECT_TRUE(answer.ok()) << answer.error;
    return answer.details;
  }
  // How often the daemons served an operation.
  std::int64_t requests(const std::string& operation) {
    auto all = nlohmann::json::parse(benchfs({"stats", "--json"}).out, nullptr, false);
    EXPECT_TRUE(all.is_object());
    std::int64_t sum = 0;
    for (const nlohmann::json& server : all["servers"]) {
      for (const nlohmann::json& one : server["stats"]["operations"]) {
        if (one["operation"] == operation) {
          sum += one["requests"].get<std::int64_t>();
        }
      }
    }
    return sum;
  }
};

TEST_F(SharedSlots, WhatOneProgramWritesAnotherReadsWithoutAsking) {
  start_daemons();
  std::unique_ptr<ClientProcess> writer = client();
  std::unique_ptr<ClientProcess> reader = client();
  std::int64_t file = ask(*writer, "open /f bc");
  std::int64_t same = ask(*reader, "open /f r");
  EXPECT_EQ(ask(*writer, fmt::format("pwrite {} 0 {} a", file, 3 * kChunk)), 3 * kChunk);
  EXPECT_EQ(read(*reader, same, 3 * kChunk), fmt::format("a*{}", 3 * kChunk));
  std::int64_t asked = requests("read_chunk") + requests("locate_chunk");
  EXPECT_GT(requests("end_fill"), 0);
  EXPECT_EQ(requests("write_chunk"), 0);
  for (char byte : {'b', 'c', 'd'}) {
    ask(*writer, fmt::format("pwrite {} 0 {} {}", file, 3 * kChunk, byte));
    EXPECT_EQ(read(*reader, same, 3 * kChunk), fmt::format("{}*{}", byte, 3 * kChunk));
    EXPECT_EQ(read(*reader, same, 100), fmt::format("{}*100", byte));
  }
  EXPECT_EQ(requests("read_chunk") + requests("locate_chunk"), asked);
}

TEST_F(SharedSlots, AShortFileTakesOneRequestAndSoDoesItsEnd) {
  start_daemons();
  std::unique_ptr<ClientProcess> writer = client();
  std::unique_ptr<ClientProcess> reader = client();
  std::int64_t file = ask(*writer, "open /f bc");
  ask(*writer, fmt::format("pwrite {} 0 100 a", file));
  std::int64_t same = ask(*reader, "open /f r");
  auto asked = [&] {
    return requests("read_chunk") + requests("locate_chunk") + requests("getattr");
  };
  std::int64_t before = asked();
  EXPECT_EQ(read(*reader, same, kMiB), "a*100");
  EXPECT_EQ(asked() - before, 1);
  EXPECT_EQ(ask(*reader, fmt::format("pread {} 100 {}", same, kMiB)), 0);
  EXPECT_EQ(asked() - before, 2);
  ask(*writer, fmt::format("pwrite {} 100 100 b", file));
  EXPECT_EQ(read(*reader, same, kMiB), "a*100 b*100");
  EXPECT_EQ(asked() - before, 3);
  ask(*writer, fmt::format("pwrite {} 300 100 c", file));
  EXPECT_EQ(read(*reader, same, 2 * kChunk), "a*100 b*100 0*100 c*100");
  ask(*writer, "truncate /f 50");
  EXPECT_EQ(read(*reader, same, kMiB), "a*50");
  ask(*writer, "truncate /f 70");
  EXPECT_EQ(read(*reader, same, kMiB), "a*50 0*20");
}

// Its size is an old guess from then on, and does not make the reader ask for each piece.
TEST_F(SharedSlots, AFileThatGrewAfterItWasOpenedIsReadByTheProgramItself) {
  start_daemons();
  std::unique_ptr<ClientProcess> writer = client();
  std::unique_ptr<ClientProcess> reader = client();
  std::int64_t file = ask(*writer, "open /f bc");
  std::int64_t same = ask(*reader, "open /f r");
  ask(*writer, fmt::format("pwrite {} 0 {} a", file, 16 * kChunk));
  std::int64_t before = requests("read_chunk");
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(ask(*reader, fmt::format("pread {} {} {}", same, i * kChunk, kChunk)), kChunk);
  }
  EXPECT_LE(requests("read_chunk") - before, 4);  // the first, the third, the seventh, ...
}

// Else the home of the file would ask all that store parts of it before each further append.
TEST_F(SharedSlots, AnAppendIsNoPlainWriteThoughItsProgramBringsTheBytes) {
  start_daemons(2);
  std::unique_ptr<ClientProcess> writer = client();
  std::int64_t file = ask(*writer, "open /f bca");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ask(*writer, fmt::format("append {} {} a", file, 4 * kChunk)), 4 * kChunk);
  }
  EXPECT_GT(requests("end_fill"), 0);
  EXPECT_EQ(requests("query_chunks"), 0);
}

TEST_F(SharedSlots, AReaderThatKnowsAChunkSeesCutsRemovalsAndWhatComesAfter) {
  start_daemons();
  std::unique_ptr<ClientProcess> writer = client();
  std::unique_ptr<ClientProcess> reader = client();
  std::int64_t file = ask(*writer, "open /f bc");
  std::int64_t same = ask(*reader, "open /f r");
  ask(*writer, fmt::format("pwrite {} 0 {} a", file, kChunk));
  EXPECT_EQ(read(*reader, same, kChunk), fmt::format("a*{}", kChunk));
  ask(*writer, fmt::format("ftruncate {} 100", file));
  EXPECT_EQ(read(*reader, same, kChunk), "a*100");
  ask(*writer, fmt::format("pwrite {} 1000 {} b", file, kChunk - 1000));
  EXPECT_EQ(read(*reader, same, kChunk), fmt::format("a*100 0*900 b*{}", kChunk - 1000));
  ask(*writer, fmt::format("ftruncate {} 0", file));
  std::int64_t other = ask(*writer, "open /g bc");
  ask(*writer, fmt::format("pwrite {} 0 {} x", other, kChunk));
  EXPECT_EQ(read(*reader, same, kChunk), "");
  EXPECT_EQ(ask(*reader, "open /none c"), 1);
}

// It has copied the first chunk, and stands still in the second one.
TEST_F(SharedSlots, AReadBesideATruncationIsOfBeforeOrAfterIt) {
  start_daemons();
  std::unique_ptr<ClientProcess> writer = client();
  std::unique_ptr<ClientProcess> reader = client();
  std::int64_t file = ask(*writer, "open /f bc");
  std::int64_t same = ask(*reader, "open /f r");
  ask(*writer, fmt::format("pwrite {} 0 {} a", file, 2 * kChunk));
  EXPECT_EQ(read(*reader, same, 2 * kChunk), fmt::format("a*{}", 2 * kChunk));
  reader->begin(fmt::format("halting-pread {} 0 {}", same, 2 * kChunk));
  reader->wait_until_stopped();
  ask(*writer, fmt::format("ftruncate {} 0", file));
  reader->go_on();
  EXPECT_EQ(reader->answer().result, 0);
}

TEST_F(SharedSlots, AProgramStoppedInTheMiddleOfACopyDelaysNobody) {
  start_daemons();
  std::unique_ptr<ClientProcess> halting = client();
  std::unique_ptr<ClientProcess> other = client(std::chrono::seconds(5));
  std::int64_t file = ask(*halting, "open /f bc");
  std::int64_t same = ask(*other, "open /f b");
  ask(*other, fmt::format("pwrite {} 0 {} a", same, kChunk));
  halting->begin(fmt::format("halting-pwrite {} 0 {} b", file, kChunk));
  halting->wait_until_stopped();

  ask(*other, fmt::format("ftruncate {} 1000", same));
  ask(*other, fmt::format("pwrite {} {} {} c", same, kChunk / 2, kChunk / 2));
  Answer answer = other->call(fmt::format("pread {} 1000 {}", same, kChunk - 1000));
  EXPECT_EQ(answer.details, fmt::format("0*{} c*{}", kChunk / 2 - 1000, kChunk / 2));
  ask(*other, "unlink /f");
  std::int64_t another = ask(*other, "open /g bc");
  ask(*other, fmt::format("pwrite {} 0 {} d", another, 16 * kChunk));
  EXPECT_EQ(read(*other, another, 16 * kChunk), fmt::format("d*{}", 16 * kChunk));

  halting->go_on();
  EXPECT_EQ(halting->answer().result, kChunk);
  EXPECT_EQ(read(*halting, file, kChunk), fmt::format("b*{}", kChunk)) << "it came after the cut";
  EXPECT_EQ(read(*other, another, 16 * kChunk), fmt::format("d*{}", 16 * kChunk));
}

TEST_F(SharedSlots, AProgramKilledInTheMiddleOfACopyLeavesNothing) {
  start_daemons();
  std::unique_ptr<ClientProcess> other = client();
  std::int64_t same = ask(*other, "open /f bc");
  ask(*other, fmt::format("pwrite {} 0 {} a", same, kChunk));
  Held before = held();
  for (int i = 0; i < 10; ++i) {
    std::unique_ptr<ClientProcess> victim = client();
    std::int64_t file = ask(*victim, "open /f b");
    std::int64_t gone = ask(*victim, fmt::format("open /gone{} bc", i));
    ask(*victim, fmt::format("pwrite {} 0 {} x", gone, kChunk));
    bool is_of_removed = i % 2 == 0;
    victim->begin(fmt::format("halting-pwrite {} 0 {} b", is_of_removed ? gone : file, kChunk));
    victim->wait_until_stopped();
    ask(*other, fmt::format("unlink /gone{}", i));
    victim->kill();
  }
  EXPECT_TRUE(wait_until([&] { return held() == before; })) << ::testing::PrintToString(held());
  EXPECT_EQ(other->call("stat /f").size(), kChunk);
  ask(*other, fmt::format("pwrite {} 0 {} c", same, kChunk));
  EXPECT_EQ(read(*other, same, kChunk), fmt::format("c*{}", kChunk));
}

// The memory of a daemon that was killed stays mapped; nobody reads it any more.
TEST_F(SharedSlots, NothingIsReadFromTheMemoryOfADaemonThatDied) {
  start_daemons();
  std::unique_ptr<ClientProcess> reader = client();
  std::int64_t file = ask(*reader, "open /f bc");
  ask(*reader, fmt::format("pwrite {} 0 {} a", file, kMiB));
  EXPECT_EQ(read(*reader, file, kMiB), fmt::format("a*{}", kMiB));
  daemon(0).signal(SIGKILL);
  start_daemon_again(0);
  Answer answer = reader->call(fmt::format("pread {} 0 {}", file, kMiB));
  EXPECT_EQ(answer.result, -EIO) << answer.details;
}

// Else a job that computes for hours would keep what the next daemon of the node needs.
TEST_F(SharedSlots, TheMemoryOfADaemonThatDiedIsGivenBackAtTheNextCallToIt) {
  start_daemons();
  std::unique_ptr<ClientProcess> reader = client();
  std::int64_t file = ask(*reader, "open /f bc");
  ask(*reader, fmt::format("pwrite {} 0 {} a", file, kMiB));
  EXPECT_EQ(read(*reader, file, kMiB), fmt::format("a*{}", kMiB));
  auto has_slots = [&] {
    std::string maps = read_file(fmt::format("/proc/{}/maps", reader->pid()));
    return maps.find("memfd:benchfs-slots") != std::string::npos;
  };
  EXPECT_TRUE(has_slots());
  daemon(0).signal(SIGKILL);
  daemon(0).wait(patience());
  reader->call("stat /f");
  EXPECT_FALSE(has_slots());
}

// The first slots of its new memory have the generations that those of the old one had.
TEST_F(SharedSlots, WhatWasLearntOfADaemonIsNotUsedWithItsNextLife) {
  constexpr int kFiles = 8;
  FaultFixture::start_daemons(2, {"--set", "storage.engine=memory"});
  ::setenv("BENCHFS_TRANSPORT", "node", 1);  // not over the network when it comes back
  std::unique_ptr<ClientProcess> reader = client();
  std::vector<std::int64_t> files;
  for (int i = 0; i < kFiles; ++i) {  // a chunk on each daemon
    files.push_back(ask(*reader, fmt::format("open /f{} bc", i)));
    ask(*reader, fmt::format("pwrite {} 0 {} a", files.back(), 2 * kChunk));
    EXPECT_EQ(read(*reader, files.back(), 2 * kChunk), fmt::format("a*{}", 2 * kChunk));
  }
  daemon(1).signal(SIGKILL);
  start_daemon_again(1);
  std::unique_ptr<ClientProcess> writer = client();
  for (int i = 0; i < 2 * kFiles; ++i) {
    std::int64_t other = ask(*writer, fmt::format("open /g{} bc", i));
    ask(*writer, fmt::format("pwrite {} 0 {} x", other, 2 * kChunk));
  }
  ask(*reader, "stat /g0");
  ask(*reader, "stat /g1");
  for (int round = 0; round < 2; ++round) {  // in the second it is connected again
    for (std::int64_t file : files) {
      for (std::int64_t offset : {std::int64_t{0}, kChunk}) {
        Answer answer = reader->call(fmt::format("pread {} {} {}", file, offset, kChunk));
        EXPECT_TRUE(answer.result == -EIO || answer.details == fmt::format("a*{}", kChunk))
            << answer.result << " " << answer.details;
      }
    }
  }
}

// --- Write loans ---------------------------------------------------------------------------------

TEST_F(SharedSlots, WhatIsOverwrittenAgainNeedsNoRequest) {
  start_daemons();
  std::unique_ptr<ClientProcess> writer = client();
  std::unique_ptr<ClientProcess> reader = client();
  std::int64_t file = ask(*writer, "open /f bc");
  std::int64_t same = ask(*reader, "open /f r");
  ask(*writer, fmt::format("pwrite {} 0 {} a", file, 3 * kChunk));
  ask(*writer, fmt::format("pwrite {} 0 {} b", file, 3 * kChunk));
  auto asked = [&] {
    return requests("write_chunk") + requests("begin_fill") + requests("end_fill");
  };
  std::int64_t before = asked();
  for (char byte : {'c', 'd'}) {
    EXPECT_EQ(ask(*writer, fmt::format("pwrite {} 0 {} {}", file, 3 * kChunk, byte)), 3 * kChunk);
    EXPECT_EQ(read(*reader, same, 3 * kChunk), fmt::format("{}*{}", byte, 3 * kChunk));
  }
  EXPECT_EQ(ask(*writer, fmt::format("pwrite {} 100 10 e", file)), 10);
  EXPECT_EQ(read(*reader, same, 120), "d*100 e*10 d*10");
  EXPECT_EQ(asked(), before);
  EXPECT_EQ(writer->call(fmt::format("pwrite {} 0 10 x", ask(*writer, "open /f r"))).result,
            -EBADF);
  // The last chunk is lent, and what makes the file longer is not its to write.
  EXPECT_EQ(ask(*writer, fmt::format("pwrite {} {} 100 g", file, 3 * kChunk - 50)), 100);
  EXPECT_EQ(reader->call("stat /f").size(), 3 * kChunk + 50);
}

// Where a chunk is may be known from reading it; that gives no right to write there.
TEST_F(SharedSlots, WhoseLoanWasTakenBackAsksAgainThoughItKnowsTheChunk) {
  start_daemons();
  std::unique_ptr<ClientProcess> writer = client();
  std::unique_ptr<ClientProcess> other = client();
  std::int64_t file = ask(*writer, "open /f bc");
  for (char byte : {'a', 'b'}) {
    ask(*writer, fmt::format("pwrite {} 0 {} {}", file, kChunk, byte));
  }
  std::int64_t before = requests("begin_fill");
  ask(*other, "truncate /f 1000");
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(read(*writer, file, 1000), "b*1000");
  }
  for (int i = 0; i < 10; ++i) {
    ask(*writer, fmt::format("pwrite {} 0 1000 c", file));
  }
  EXPECT_EQ(requests("begin_fill"), before + 1);
}

TEST_F(SharedSlots, AChunkIsLentAfterSomeShortOverwrites) {
  start_daemons();
  std::unique_ptr<ClientProcess> writer = client();
  std::int64_t file = ask(*writer, "open /f bc");
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(ask(*writer, fmt::format("pwrite {} {} 100 a", file, 1000 - 10 * i)), 100);
  }
  EXPECT_LE(requests("write_chunk"), 6);
  EXPECT_EQ(read(*writer, file, 1100), "0*510 a*590");
}

TEST_F(SharedSlots, AStoppedProgramWithLoansDelaysNobody) {
  start_daemons();
  std::unique_ptr<ClientProcess> holder = client();
  std::unique_ptr<ClientProcess> other = client(std::chrono::seconds(5));
  std::int64_t file = ask(*holder, "open /f bc");
  std::int64_t same = ask(*other, "open /f b");
  for (char byte : {'a', 'b', 'c'}) {
    ask(*holder, fmt::format("pwrite {} 0 {} {}", file, 2 * kChunk, byte));
  }
  holder->stop();
  EXPECT_EQ(other->call("stat /f").size(), 2 * kChunk);
  ask(*other, fmt::format("ftruncate {} 1000", same));
  ask(*other, fmt::format("pwrite {} 0 {} d", same, 2 * kChunk));
  ask(*other, "unlink /f");
  holder->go_on();
  EXPECT_EQ(read(*holder, file, 2 * kChunk), fmt::format("d*{}", 2 * kChunk));
  ask(*holder, fmt::format("pwrite {} 0 {} e", file, 2 * kChunk));
  EXPECT_EQ(read(*other, same, 2 * kChunk), fmt::format("e*{}", 2 * kChunk));
}

TEST_F(SharedSlots, NothingIsWrittenIntoTheMemoryOfADaemonThatDied) {
  start_daemons();
  std::unique_ptr<ClientProcess> writer = client();
  std::int64_t file = ask(*writer, "open /f bc");
  for (char byte : {'a', 'b', 'c'}) {
    ask(*writer, fmt::format("pwrite {} 0 {} {}", file, kChunk, byte));
  }
  daemon(0).signal(SIGKILL);
  start_daemon_again(0);
  EXPECT_LT(writer->call(fmt::format("pwrite {} 0 {} d", file, kChunk)).result, 0);
}

TEST_F(SharedSlots, TheVariableTurnsThemOff) {
  start_daemons();
  ::setenv("BENCHFS_DIRECT_BYTES", "0", 1);
  std::unique_ptr<ClientProcess> program = client();
  ::unsetenv("BENCHFS_DIRECT_BYTES");
  std::int64_t file = ask(*program, "open /f bc");
  ask(*program, fmt::format("pwrite {} 0 {} a", file, kMiB));
  EXPECT_EQ(read(*program, file, kMiB), fmt::format("a*{}", kMiB));
  EXPECT_EQ(requests("begin_fill"), 0);
  EXPECT_EQ(requests("locate_chunk"), 0);
  EXPECT_GT(requests("write_chunk"), 0);
}

}  // namespace
}  // namespace benchfs::test
