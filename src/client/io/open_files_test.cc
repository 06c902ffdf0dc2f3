// Open files against a scripted shard: numbers, notices, statements after each registration, files
// that are gone.

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "client/testing/scripted_shard.h"
#include "cluster/placement.h"

namespace benchfs::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::Answer;
using testing::ClientUnderTest;
using testing::directory_attr;
using testing::done;
using testing::entry;
using testing::fail_with;
using testing::file_attr;
using testing::kDir;
using testing::kFile;
using testing::reply;
using testing::ScriptedShard;
using wire::Opcode;
using Events = std::vector<std::string>;

constexpr std::uint32_t kReadWrite = wire::kOpenRead | wire::kOpenWrite;

class OpenFilesTest : public ::testing::Test {
 protected:
  OpenFilesTest() {
    shard_.script(Opcode::kOpen, {entry(file_attr(kFile))});
    shard_.script(Opcode::kOpenInode, {entry(file_attr(kFile))});
    shard_.script(Opcode::kGetAttr, {entry(file_attr(kFile))});
    shard_.script(Opcode::kSetAttr, {entry(file_attr(kFile))});
    shard_.script(Opcode::kFsync, {entry(file_attr(kFile))});
    shard_.script(Opcode::kWriteChunk, {done()});
    shard_.script(Opcode::kReadChunk, {reply(wire::ReadChunkReply{})});
    made_since(1);
  }
  // The shard's first inode of this life has this counter.
  void made_since(std::uint64_t counter) {
    shard_.script(Opcode::kInodeRange, {reply(wire::InodeRangeReply{counter, counter + 1000})});
  }
  std::shared_ptr<OpenFile> open(ClientUnderTest& client, std::uint32_t flags = kReadWrite) {
    Result<std::shared_ptr<OpenFile>> file = client.run(client.fs().open("/f", flags, 0644));
    EXPECT_TRUE(file) << file.error().message();
    return file.value_or(nullptr);
  }
  Status close(ClientUnderTest& client, std::shared_ptr<OpenFile> file) {
    return client.run(client.fs().close(std::move(file)));
  }
  // Pings, so that everything sent before has been served.
  void sync(ClientUnderTest& client) { ASSERT_TRUE(client.run(client.fs().ping({}))); }
  bool loses_connection(ClientUnderTest& client) {
    return client.eventually(
        [&] { return client.fs().pool().at({}).state() == rpc::Connection::State::kClosed; });
  }
  // A path in the root whose entry is on the first shard.
  static std::string name_on_first_of(std::uint32_t shards) {
    std::string name = "f";
    while (cluster::entry_shard(wire::kRootInode, name, shards) != wire::ShardId{0}) {
      name += "f";
    }
    return "/" + name;
  }
  // The events without those of the tests' own means.
  Events events() {
    Events all = shard_.events();
    std::erase(all, "ping");
    return all;
  }

  ScriptedShard shard_;
};

TEST_F(OpenFilesTest, OpenAndCloseAreOneRequestAndANotice) {
  ClientUnderTest client({&shard_});
  ASSERT_TRUE(close(client, open(client)));
  std::uint64_t calls = client.calls();
  ASSERT_TRUE(close(client, open(client)));
  EXPECT_EQ(client.calls(), calls + 1);
  sync(client);
  EXPECT_EQ(events(), (Events{"registered", "open 1", "close 1 of 10", "open 2", "close 2 of 10"}));
}

TEST_F(OpenFilesTest, OnePerOperationWhateverTheServers) {
  ScriptedShard other;
  ScriptedShard third;
  ClientUnderTest client({&shard_, &other, &third});
  auto all_calls = [&] { return client.calls(0) + client.calls(1) + client.calls(2); };
  Result<std::shared_ptr<OpenFile>> opened =
      client.run(client.fs().open(name_on_first_of(3), kReadWrite, 0));
  ASSERT_TRUE(opened) << opened.error().message();
  std::shared_ptr<OpenFile> file = *opened;
  std::uint64_t before = all_calls();
  EXPECT_EQ(before, 1U);
  wire::SetAttrRequest cut;
  cut.mask = wire::kSetSize;
  ASSERT_TRUE(client.run(client.fs().fsync(*file)));
  EXPECT_EQ(all_calls(), before + 1);
  ASSERT_TRUE(client.run(client.fs().fstat(*file)));
  EXPECT_EQ(all_calls(), before + 2);
  ASSERT_TRUE(client.run(client.fs().set_attr(*file, cut)));
  EXPECT_EQ(all_calls(), before + 3);
  std::byte one{};
  ASSERT_TRUE(client.run(client.fs().write(*file, 0, {&one, 1})));
  EXPECT_EQ(all_calls(), before + 4);
  ASSERT_TRUE(close(client, file));
  EXPECT_EQ(all_calls(), before + 4);
}

TEST_F(OpenFilesTest, AfterEachRegistrationTheOpensAreStatedBeforeAnyRequest) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> kept = open(client);
  std::shared_ptr<OpenFile> closed = open(client);
  std::shared_ptr<OpenFile> third = open(client);
  sync(client);
  shard_.forget_events();
  shard_.evict();
  ASSERT_TRUE(loses_connection(client));
  ASSERT_TRUE(close(client, closed));  // the notice has no connection to go by
  ASSERT_TRUE(client.run(client.fs().fstat(*kept)));
  Events seen = events();
  ASSERT_GE(seen.size(), 3U);
  EXPECT_EQ(seen[0], "registered");
  EXPECT_EQ(seen[1], "opens [1,4) 1 3");
  EXPECT_EQ(seen[2], "getattr");
}

TEST_F(OpenFilesTest, AnOpenWhoseCallerGaveUpIsClosed) {
  shard_.script(Opcode::kOpen, {shard_.late(entry(file_attr(kFile)))});
  ClientUnderTest client({&shard_}, Timeouts::all(milliseconds(100)));
  ASSERT_TRUE(client.run(client.fs().pool().connect({}, Deadline::after(seconds(10)))));
  Result<std::shared_ptr<OpenFile>> file = client.run(client.fs().open("/f", kReadWrite, 0));
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, Errc::kDeadline);
  EXPECT_TRUE(client.eventually([&] { return shard_.count("close 1 of 0") == 1; }));
  // And the statement after the next registration, which a call makes, does not list it.
  shard_.cut();
  Deadline end = Deadline::after(seconds(10));
  while (shard_.count("opens [1,2)") == 0 && !end.passed()) {
    (void)client.run(client.fs().ping({}));
  }
  EXPECT_EQ(shard_.count("opens [1,2)"), 1U);
  shard_.release();
}

TEST_F(OpenFilesTest, AnOpenThatIsUnderWayIsKept) {
  shard_.script(Opcode::kOpen, {shard_.late(entry(file_attr(kFile)))});
  ClientUnderTest client({&shard_});
  auto result = client.start([&] { return client.fs().open("/f", kReadWrite, 0); });
  ASSERT_TRUE(client.eventually([&] { return shard_.count("open 1") == 1; }));
  shard_.cut();
  EXPECT_TRUE(client.eventually([&] { return shard_.count("opens [1,2) 1") == 1; }));
  shard_.release();
  ASSERT_TRUE(client.eventually([&] { return result->has_value(); }));
  EXPECT_TRUE((*result)->has_value());
}

TEST_F(OpenFilesTest, ALostConnectionToTheHomeOfOpenFilesIsMadeAgainWithoutACall) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  shard_.forget_events();
  shard_.cut();
  EXPECT_TRUE(client.eventually([&] { return shard_.count("opens [1,2) 1") == 1; }));
}

TEST_F(OpenFilesTest, WithoutOpenFilesALostConnectionStaysClosed) {
  ScriptedShard other;
  ClientUnderTest client({&shard_, &other});
  Result<std::shared_ptr<OpenFile>> file =
      client.run(client.fs().open(name_on_first_of(2), kReadWrite, 0));
  ASSERT_TRUE(file) << file.error().message();
  ASSERT_TRUE(close(client, *file));
  sync(client);  // it has read that the file is closed
  shard_.forget_events();
  shard_.cut();
  ASSERT_TRUE(loses_connection(client));
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(client.run(client.fs().ping(wire::ShardId{1})));
  }
  EXPECT_EQ(shard_.count("registered"), 0U);
}

TEST_F(OpenFilesTest, AServerThatEvictedTheClientHearsOfALaterCloseWithoutACall) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  sync(client);
  shard_.evict();
  ASSERT_TRUE(loses_connection(client));
  ASSERT_TRUE(close(client, file));
  EXPECT_TRUE(client.eventually([&] { return shard_.count("opens [1,2)") == 1; }));
}

TEST_F(OpenFilesTest, ACloseThatTheServerMayNotHaveReadIsStatedAgain) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  ASSERT_TRUE(close(client, file));
  shard_.evict();
  EXPECT_TRUE(client.eventually([&] { return shard_.count("opens [1,2)") == 1; }));
}

TEST_F(OpenFilesTest, WhatWasOpenWhenTheConnectionWasLostIsClosedThoughNothingIsOpenAnyMore) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  sync(client);
  shard_.cut();
  ASSERT_TRUE(close(client, file));
  EXPECT_TRUE(client.eventually([&] { return shard_.count("opens [1,2)") == 1; }));
}

TEST_F(OpenFilesTest, LeavingAfterAnEvictionSaysGoodbyeWhereFilesAreOpen) {
  for (int i = 0; i < 20 && shard_.count("goodbye") == 0; ++i) {  // it does not wait for long
    auto client = std::make_unique<ClientUnderTest>(std::vector{&shard_});
    std::shared_ptr<OpenFile> file = open(*client);
    sync(*client);
    shard_.evict();
    ASSERT_TRUE(loses_connection(*client));
    client.reset();
  }
  EXPECT_GE(shard_.count("goodbye"), 1U);  // that of the last attempt but one may come late
}

TEST_F(OpenFilesTest, AServerThatForgotTheClientOpensItsFilesAgainByNumber) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file =
      open(client, kReadWrite | wire::kOpenCreate | wire::kOpenTruncate);
  shard_.forget_events();
  shard_.forget_client();
  EXPECT_TRUE(client.eventually([&] { return shard_.count("open inode 1") == 1; }));
  std::vector<wire::OpenInodeRequest> again = shard_.requests<wire::OpenInodeRequest>();
  ASSERT_EQ(again.size(), 1U);
  EXPECT_EQ(again[0].inode, kFile.value);
  EXPECT_EQ(again[0].flags, kReadWrite);  // it must not be made or cut again
  EXPECT_TRUE(client.run(client.fs().fstat(*file)));
}

TEST_F(OpenFilesTest, FilesThatCannotBeOpenedAgainKeepNoOtherFromIt) {
  ClientUnderTest client({&shard_});
  std::vector<std::shared_ptr<OpenFile>> files;
  for (int i = 0; i < 40; ++i) {
    files.push_back(open(client));
  }
  shard_.script(Opcode::kOpenInode, {[](rpc::Request& request) -> rt::Task<void> {
                  wire::OpenInodeRequest body;
                  request.reader().read(body);
                  Answer answer =
                      body.open_number <= 16 ? fail_with(Errc::kDataLost) : entry(file_attr(kFile));
                  co_await answer(request);
                }});
  shard_.forget_client();
  EXPECT_TRUE(client.eventually([&] { return shard_.count("open inode 40") == 1; }));
}

TEST_F(OpenFilesTest, AFileThatIsGoneWhenItIsOpenedAgainIsStale) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  shard_.script(Opcode::kOpenInode, {fail_with(ESTALE)});
  made_since(kFile.counter() + 1);
  shard_.forget_client();
  ASSERT_TRUE(client.eventually([&] { return file->stale.has_value(); }));
  Status written = client.run(client.fs().write(*file, 0, std::vector<std::byte>(1)));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().to_errno(), EIO);
  EXPECT_NE(written.error().message().find("node_0 restarted"), std::string::npos)
      << written.error().message();
  EXPECT_EQ(shard_.count("write chunk"), 0U);
}

// --- Files that are gone -------------------------------------------------------------------------

TEST_F(OpenFilesTest, OnceTheFileIsGoneEveryUseFailsWithTheReasonAndCloseSucceeds) {
  for (Opcode refused : {Opcode::kWriteChunk, Opcode::kFsync, Opcode::kGetAttr, Opcode::kSetAttr}) {
    ClientUnderTest client({&shard_});
    std::shared_ptr<OpenFile> file = open(client);
    shard_.script(refused, {fail_with(ESTALE), entry(file_attr(kFile))});
    std::vector<std::byte> byte(1);
    std::vector<Status> results;
    FileSystem& fs = client.fs();
    auto use = [&](Opcode opcode) -> Status {
      Result<wire::Attr> attr = file->attr;
      if (opcode == Opcode::kWriteChunk) {
        return client.run(fs.write(*file, 0, byte));
      }
      if (opcode == Opcode::kFsync) {
        return client.run(fs.fsync(*file));
      }
      attr = client.run(opcode == Opcode::kGetAttr ? fs.fstat(*file) : fs.set_attr(*file, {}));
      return attr ? Status{} : std::unexpected(attr.error());
    };
    EXPECT_FALSE(use(refused));
    for (Opcode opcode :
         {Opcode::kWriteChunk, Opcode::kFsync, Opcode::kGetAttr, Opcode::kSetAttr}) {
      Status later = use(opcode);
      ASSERT_FALSE(later) << wire::to_string(refused) << ", then " << wire::to_string(opcode);
      EXPECT_EQ(later.error().to_errno(), ESTALE);
      EXPECT_NE(later.error().message().find("removed"), std::string::npos);
    }
    Result<std::size_t> read = client.run(fs.read(*file, 0, byte));
    EXPECT_FALSE(read);
    EXPECT_TRUE(close(client, file));
    shard_.script(refused, {refused == Opcode::kWriteChunk ? done() : entry(file_attr(kFile))});
  }
}

TEST_F(OpenFilesTest, ReadingAFileThatARestartedServerLostIsEioNamingTheNode) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  shard_.script(Opcode::kGetAttr, {fail_with(ENOENT)});
  made_since(kFile.counter() + 1);
  std::vector<std::byte> byte(1);
  Result<std::size_t> read = client.run(client.fs().read(*file, 0, byte));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().to_errno(), EIO);
  EXPECT_NE(read.error().message().find("node_0"), std::string::npos) << read.error().message();
}

// Has lost the chunks from this index on.
Answer lost_from(std::uint64_t index) {
  return [index](rpc::Request& request) -> rt::Task<void> {
    wire::ReadChunkRequest read;
    (void)request.reader().read(read);
    if (read.index >= index) {
      co_await request.reply_error(Error{Errc::kDataLost, 0, {}});
    } else {
      std::vector<std::byte> data(read.length, std::byte{1});
      co_await request.reply(wire::ReadChunkReply{data.size()}, data);
    }
  };
}

// Beyond the end of the file nothing is lost: who knows nothing of a chunk cannot tell.
TEST_F(OpenFilesTest, APartThatAServerLostIsAnErrorIfTheFileReachesSoFar) {
  constexpr std::uint64_t kChunk = wire::kMinChunkBytes;
  shard_.script(Opcode::kReadChunk, {lost_from(1)});
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  std::vector<std::byte> bytes(3 * kChunk);
  shard_.script(Opcode::kGetAttr, {entry(file_attr(kFile, kChunk))});
  Result<std::size_t> read = client.run(client.fs().read(*file, 0, bytes));
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, kChunk);
  EXPECT_EQ(bytes[kChunk - 1], std::byte{1});
  shard_.script(Opcode::kGetAttr, {entry(file_attr(kFile, kChunk + 1))});
  read = client.run(client.fs().read(*file, 0, bytes));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().to_errno(), EIO);
  EXPECT_NE(read.error().message().find("node_0"), std::string::npos) << read.error().message();
}

// Programs read small files into large buffers.
TEST_F(OpenFilesTest, ABufferMuchLongerThanTheFileIsNotAskedForWhole) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  std::vector<std::byte> bytes(std::size_t{64} << 20);
  EXPECT_EQ(client.run(client.fs().read(*file, 0, bytes)).value_or(1), 0U);
  EXPECT_GE(shard_.count("read chunk"), 1U);
  EXPECT_LE(shard_.count("read chunk") * file->layout().chunk_bytes, 4U << 20);
}

// It may have been cut while it was looked at; nothing of it may be made up then.
TEST_F(OpenFilesTest, WhatIsMissingIsAHoleOnlyIfTheFileIsTheSameAfterwards) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  std::vector<std::byte> bytes(200, std::byte{7});
  shard_.script(Opcode::kGetAttr, {entry(file_attr(kFile, 100)), entry(file_attr(kFile, 0))});
  EXPECT_EQ(client.run(client.fs().read(*file, 0, bytes)).value_or(1), 0U);
  shard_.script(Opcode::kGetAttr, {entry(file_attr(kFile, 100))});
  EXPECT_EQ(client.run(client.fs().read(*file, 0, bytes)).value_or(1), 100U);
  EXPECT_EQ(bytes[99], std::byte{0});
}

TEST_F(OpenFilesTest, ARemovedDirectoryThatIsOpenHasItsLastAttributes) {
  shard_.script(Opcode::kOpen, {entry(directory_attr(kDir, 0750))});
  shard_.script(Opcode::kGetAttr, {fail_with(ENOENT)});
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> directory = open(client, wire::kOpenRead);
  for (int i = 0; i < 2; ++i) {
    Result<wire::Attr> attr = client.run(client.fs().fstat(*directory));
    ASSERT_TRUE(attr) << attr.error().message();
    EXPECT_EQ(attr->mode & 07777U, 0750U);
    EXPECT_EQ(attr->nlink, 0U);
  }
}

TEST_F(OpenFilesTest, ATroubledConnectionMakesNoFileStale) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  shard_.script(Opcode::kGetAttr, {fail_with(Errc::kInternal), entry(file_attr(kFile))});
  EXPECT_FALSE(client.run(client.fs().fstat(*file)));
  EXPECT_TRUE(client.run(client.fs().fstat(*file)));
}

TEST_F(OpenFilesTest, LeavingWithAFrozenServerAndOpenFilesDoesNotWaitForIt) {
  auto client = std::make_unique<ClientUnderTest>(std::vector{&shard_});
  std::vector<std::shared_ptr<OpenFile>> files;
  for (int i = 0; i < 40; ++i) {
    files.push_back(open(*client));
  }
  shard_.freeze();
  for (auto& file : files) {
    EXPECT_TRUE(close(*client, file));  // one of them waiting would end at a deadline of 10 s
  }
  shard_.thaw();
  client.reset();
}

// --- Data ----------------------------------------------------------------------------------------

TEST_F(OpenFilesTest, AnAppendThatATruncationOvertookHasHappenedBeforeIt) {
  shard_.script(Opcode::kAppend,
                {reply(wire::AppendReply{100, 7, 10}), reply(wire::AppendReply{100, 8, 0})});
  shard_.script(Opcode::kWriteChunk, {fail_with(EAGAIN), done()});
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client, kReadWrite | wire::kOpenAppend);
  std::vector<std::byte> bytes(10);
  Result<Appended> appended = client.run(client.fs().append(*file, bytes));
  ASSERT_TRUE(appended) << appended.error().message();
  EXPECT_EQ(appended->offset, 100U);
  EXPECT_EQ(appended->bytes, 10U);
  EXPECT_EQ(shard_.requests<wire::WriteChunkRequest>().size(), 1U);
  std::vector<wire::AppendRequest> asked = shard_.requests<wire::AppendRequest>();
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_EQ(asked[0].truncation, wire::kAnyTruncation);
  EXPECT_EQ(asked[1].offset, 100U);
  EXPECT_EQ(asked[1].length, 10U);
  EXPECT_EQ(asked[1].truncation, 7U);
}

// Stores chunks below this index; a later truncation than 7 overtook the rest.
Answer overtaken_from(std::uint64_t index) {
  return [index](rpc::Request& request) -> rt::Task<void> {
    wire::WriteChunkRequest write;
    (void)request.reader().read(write);
    if (write.index >= index && write.truncation == 7) {
      co_await request.reply_error(Error::from_errno(EAGAIN));
    } else {
      std::vector<std::byte> data(request.data_bytes());
      (void)co_await request.receive(data);
      co_await request.reply(wire::NoReply{});
    }
  };
}

TEST_F(OpenFilesTest, OnlyWhatTruncationsLeftOfAnAppendAndIsNotStoredIsWrittenAgain) {
  constexpr std::uint64_t kChunk = wire::kMinChunkBytes;
  shard_.script(Opcode::kAppend,
                {reply(wire::AppendReply{0, 7, 4 * kChunk}),
                 reply(wire::AppendReply{0, 8, (2 * kChunk) + 10})});
  shard_.script(Opcode::kWriteChunk, {overtaken_from(1)});
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client, kReadWrite | wire::kOpenAppend);
  std::vector<std::byte> bytes(4 * kChunk);
  Result<Appended> appended = client.run(client.fs().append(*file, bytes));
  ASSERT_TRUE(appended) << appended.error().message();
  EXPECT_EQ(appended->offset, 0U);
  EXPECT_EQ(appended->bytes, bytes.size());
  std::vector<wire::WriteChunkRequest> again = shard_.requests<wire::WriteChunkRequest>();
  std::erase_if(again, [](const wire::WriteChunkRequest& write) { return write.truncation == 7; });
  ASSERT_EQ(again.size(), 2U);
  std::ranges::sort(again, {}, &wire::WriteChunkRequest::index);
  EXPECT_EQ(again[0].index, 1U);
  EXPECT_EQ(again[0].length, kChunk);
  EXPECT_EQ(again[1].index, 2U);
  EXPECT_EQ(again[1].length, 10U);
}

TEST_F(OpenFilesTest, AnAppendThatTruncationsOvertakeAgainAndAgainOnlyLoses) {
  shard_.script(Opcode::kAppend,
                {reply(wire::AppendReply{100, 7, 30}),
                 reply(wire::AppendReply{100, 8, 20}),
                 reply(wire::AppendReply{100, 9, 10})});
  shard_.script(Opcode::kWriteChunk, {fail_with(EAGAIN), fail_with(EAGAIN), done()});
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client, kReadWrite | wire::kOpenAppend);
  Result<Appended> appended = client.run(client.fs().append(*file, std::vector<std::byte>(30)));
  ASSERT_TRUE(appended) << appended.error().message();
  EXPECT_EQ(appended->offset, 100U);
  EXPECT_EQ(appended->bytes, 30U);
  std::vector<wire::AppendRequest> asked = shard_.requests<wire::AppendRequest>();
  ASSERT_EQ(asked.size(), 3U);
  EXPECT_EQ(asked[2].truncation, 8U);
  EXPECT_EQ(asked[2].length, 20U);
  std::vector<wire::WriteChunkRequest> writes = shard_.requests<wire::WriteChunkRequest>();
  ASSERT_EQ(writes.size(), 3U);
  EXPECT_EQ(writes[2].truncation, 9U);
  EXPECT_EQ(writes[2].length, 10U);
}

TEST_F(OpenFilesTest, AWriteBelongsToNoTruncation) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  ASSERT_TRUE(client.run(client.fs().write(*file, 0, std::vector<std::byte>(10))));
  EXPECT_EQ(shard_.requests<wire::WriteChunkRequest>().at(0).truncation, wire::kAnyTruncation);
}

// Refuses the chunks from this index on.
Answer full_from(std::uint64_t index, int why = ENOSPC) {
  return [index, why](rpc::Request& request) -> rt::Task<void> {
    wire::WriteChunkRequest write;
    (void)request.reader().read(write);
    if (write.index >= index) {
      co_await request.reply_error(Error::from_errno(why));
    } else {
      std::vector<std::byte> data(request.data_bytes());
      (void)co_await request.receive(data);
      co_await request.reply(wire::NoReply{});
    }
  };
}

TEST_F(OpenFilesTest, AListOfChunksThatNoFileHasIsRefused) {
  auto page = [](std::vector<std::uint64_t> indices) -> Answer {
    return [indices](rpc::Request& request) -> rt::Task<void> {
      std::vector<wire::ChunkEnd> chunks;
      for (std::uint64_t index : indices) {
        chunks.push_back({.index = index, .end = 1});
      }
      co_await request.reply(
          wire::ListChunksReply{.count = static_cast<std::uint32_t>(chunks.size())},
          std::as_bytes(std::span(chunks)));
    };
  };
  shard_.script(Opcode::kFsync, {entry(file_attr(kFile, 10U * wire::kMinChunkBytes))});
  shard_.script(Opcode::kGetAttr, {entry(file_attr(kFile, 10U * wire::kMinChunkBytes))});
  shard_.script(Opcode::kListChunks, {page({UINT64_MAX}), page({3, 3}), page({0})});
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  for (int i = 0; i < 3; ++i) {
    Result<std::uint64_t> found =
        client.run(client.fs().holes().seek_data(*file, 2U * wire::kMinChunkBytes));
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Errc::kMalformed) << found.error().message();
  }
}

TEST_F(OpenFilesTest, AWriteThatMeetsAFullServerReturnsWhatIsStoredBeforeIt) {
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  std::vector<std::byte> bytes(4U * wire::kMinChunkBytes);
  for (int why : {ENOSPC, EDQUOT}) {
    shard_.script(Opcode::kWriteChunk, {full_from(2, why)});
    Result<std::size_t> written = client.run(client.fs().write_some(*file, 0, bytes));
    ASSERT_TRUE(written) << written.error().message();
    EXPECT_EQ(*written, 2U * wire::kMinChunkBytes);
  }
}

TEST_F(OpenFilesTest, AWriteOfWhichNothingIsStoredFailsAndNamesTheNode) {
  shard_.script(Opcode::kWriteChunk, {full_from(0)});
  ClientUnderTest client({&shard_});
  std::shared_ptr<OpenFile> file = open(client);
  std::vector<std::byte> bytes(4U * wire::kMinChunkBytes);
  Result<std::size_t> written = client.run(client.fs().write_some(*file, 0, bytes));
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().to_errno(), ENOSPC);
  EXPECT_NE(written.error().message().find("node_0"), std::string::npos);
}

// A listing that ends without an error is complete.
TEST_F(OpenFilesTest, ADirectoryThatIsGoneHasNoEntriesUnlessItsHomeLostThem) {
  shard_.script(Opcode::kReaddir, {fail_with(ESTALE)});
  ClientUnderTest client({&shard_});
  Result<std::vector<DirEntry>> listed = client.run(client.fs().list(kDir, "", 10));
  ASSERT_TRUE(listed) << listed.error().message();
  EXPECT_TRUE(listed->empty());
  made_since(100);
  listed = client.run(client.fs().list(kDir, "", 10));
  ASSERT_FALSE(listed);
  EXPECT_TRUE(listed.error().is_posix(EIO)) << listed.error().message();
}

}  // namespace
}  // namespace benchfs::client
