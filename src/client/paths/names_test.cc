// Operations by path against a scripted shard: inodes that are gone right after their name was
// found, the directory cache, and what set-gid directories hand on.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "client/testing/scripted_shard.h"
#include "cluster/placement.h"

namespace benchfs::client {
namespace {

using std::chrono::milliseconds;
using testing::Answer;
using testing::ClientUnderTest;
using testing::directory_attr;
using testing::entry;
using testing::fail_with;
using testing::file_attr;
using testing::kDir;
using testing::kFile;
using testing::kOtherDir;
using testing::kOtherFile;
using testing::remote;
using testing::reply;
using testing::ScriptedShard;
using wire::Opcode;

// Lets what was started begin.
rt::Task<void> pause() {
  co_await rt::Yield{};
  co_await rt::Yield{};
}

int errno_of(const Status& status) {
  return status ? 0 : status.error().to_errno();
}

// An operation by path on "/name" that asks for the inode of the name.
struct ByPath {
  const char* what;
  std::function<rt::CoStatus(FileSystem&)> run;
  Opcode at_home;  // the request to the inode
};

template <typename T>
Status without_value(Result<T> result) {
  return result ? Status{} : Status(std::unexpected(std::move(result.error())));
}

wire::SetAttrRequest new_mode() {
  wire::SetAttrRequest request;
  request.mask = wire::kSetMode;
  request.mode = 0600;
  return request;
}

const std::vector<ByPath>& operations() {
  static const std::vector<ByPath> all = {
      {"stat",
       [](FileSystem& fs) -> rt::CoStatus { co_return without_value(co_await fs.stat("/name")); },
       Opcode::kGetAttr},
      {"lstat",
       [](FileSystem& fs) -> rt::CoStatus { co_return without_value(co_await fs.lstat("/name")); },
       Opcode::kGetAttr},
      {"open",
       [](FileSystem& fs) -> rt::CoStatus {
         co_return without_value(co_await fs.open("/name", wire::kOpenRead, 0));
       },
       Opcode::kOpenInode},
      {"chmod",
       [](FileSystem& fs) -> rt::CoStatus {
         co_return without_value(co_await fs.set_attr("/name", new_mode()));
       },
       Opcode::kSetAttr},
      {"list",
       [](FileSystem& fs) -> rt::CoStatus {
         co_return without_value(co_await fs.list("/name", "", 10));
       },
       Opcode::kReaddir},
  };
  return all;
}

class NamesTest : public ::testing::TestWithParam<ByPath> {
 protected:
  // The name leads to `inodes` one after the other; requests to them are answered with `answers`.
  void lead_to(const std::vector<wire::InodeId>& inodes, std::vector<Answer> answers) {
    bool is_list = GetParam().at_home == Opcode::kReaddir;
    std::vector<Answer> lookups;
    std::vector<Answer> opens;
    std::vector<Answer> attrs;
    for (wire::InodeId inode : inodes) {
      wire::Attr attr = is_list ? directory_attr(inode) : file_attr(inode);
      bool needs_attr = GetParam().at_home == Opcode::kGetAttr;
      lookups.push_back(needs_attr ? remote(attr) : entry(attr));
      opens.push_back(remote(attr));
    }
    shard_.script(Opcode::kLookup, std::move(lookups));
    shard_.script(Opcode::kOpen, std::move(opens));
    shard_.script(GetParam().at_home, std::move(answers));
  }
  [[nodiscard]] Answer success() const {
    return GetParam().at_home == Opcode::kReaddir ? reply(wire::ReaddirReply{.at_end = 1})
                                                  : entry(file_attr(kOtherFile));
  }
  Status run(ClientUnderTest& client) { return client.run(GetParam().run(client.fs())); }

  ScriptedShard shard_;
};

TEST_P(NamesTest, AReplacedNameLeadsToItsNewInode) {
  for (int gone : {ENOENT, ESTALE}) {
    lead_to({kFile, kOtherFile}, {fail_with(gone), success()});
    ClientUnderTest client({&shard_});
    Status done = run(client);
    EXPECT_TRUE(done) << done.error().message();
  }
}

TEST_P(NamesTest, AnInodeThatItsNodeHasLostIsEioNamingTheNode) {
  lead_to({kFile, kFile}, {fail_with(ENOENT)});
  ClientUnderTest client({&shard_});
  Status done = run(client);
  ASSERT_EQ(errno_of(done), EIO);
  EXPECT_NE(done.error().message().find("node_0"), std::string::npos) << done.error().message();
}

TEST_P(NamesTest, ANameThatIsReplacedForEverEndsAtTheDeadline) {
  lead_to({kFile}, {fail_with(ESTALE)});
  // Another inode each time, without an end.
  std::uint64_t counter = 100;
  bool is_list = GetParam().at_home == Opcode::kReaddir;
  bool needs_attr = GetParam().at_home == Opcode::kGetAttr;
  Answer another = [&counter, is_list, needs_attr](rpc::Request& request) -> rt::Task<void> {
    wire::InodeId inode = wire::InodeId::make({}, counter++);
    wire::Attr attr = is_list ? directory_attr(inode) : file_attr(inode);
    bool is_remote = needs_attr || request.opcode() == Opcode::kOpen;
    Answer answer = is_remote ? remote(attr) : entry(attr);
    co_await answer(request);
  };
  shard_.script(Opcode::kLookup, {another});
  shard_.script(Opcode::kOpen, {another});
  ClientUnderTest client({&shard_}, Timeouts::all(milliseconds(200)));
  Status done = run(client);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, Errc::kDeadline) << done.error().message();
}

INSTANTIATE_TEST_SUITE_P(ByPath,
                         NamesTest,
                         ::testing::ValuesIn(operations()),
                         [](const auto& info) { return std::string(info.param.what); });

TEST(NamesOfMissing, ANameThatIsGoneTheSecondTimeIsEnoent) {
  ScriptedShard shard;
  shard.script(Opcode::kLookup, {remote(file_attr(kFile)), fail_with(ENOENT)});
  shard.script(Opcode::kGetAttr, {fail_with(ESTALE)});
  ClientUnderTest client({&shard});
  EXPECT_EQ(errno_of(without_value(client.run(client.fs().stat("/name")))), ENOENT);
  EXPECT_EQ(shard.count("lookup"), 2U);
}

TEST(DirectoriesByName, ARemovedDirectoryInTheCacheIsLookedUpAgain) {
  ScriptedShard shard;
  shard.script(Opcode::kLookup,
               {entry(directory_attr(kDir)),       // /d
                entry(file_attr(kFile)),           // /d/f
                fail_with(ESTALE),                 // /d/f, with the directory from the cache
                entry(directory_attr(kOtherDir)),  // /d again
                entry(file_attr(kOtherFile))});    // /d/f
  ClientUnderTest client({&shard});
  ASSERT_TRUE(client.run(client.fs().stat("/d/f")));
  Result<wire::Attr> attr = client.run(client.fs().stat("/d/f"));
  ASSERT_TRUE(attr) << attr.error().message();
  EXPECT_EQ(attr->id(), kOtherFile);
  std::vector<wire::LookupRequest> lookups = shard.requests<wire::LookupRequest>();
  ASSERT_EQ(lookups.size(), 5U);
  EXPECT_EQ(lookups[2].parent, kDir.value);
  EXPECT_EQ(lookups[4].parent, kOtherDir.value);
}

TEST(DirectoriesByName, TheWayOfTheLastPathLeadsThroughWhatIsKnownNow) {
  ScriptedShard shard;
  shard.script(Opcode::kLookup,
               {entry(directory_attr(kDir)),       // /d
                entry(file_attr(kFile)),           // /d/f
                entry(file_attr(kFile)),           // /d/g
                entry(directory_attr(kOtherDir)),  // /d: replaced
                entry(file_attr(kOtherFile))});    // /d/f
  ClientUnderTest client({&shard});
  for (const char* path : {"/d/f", "/d/g", "/d", "/d/f"}) {
    ASSERT_TRUE(client.run(client.fs().stat(path))) << path;
  }
  std::vector<wire::LookupRequest> lookups = shard.requests<wire::LookupRequest>();
  ASSERT_EQ(lookups.size(), 5U);
  EXPECT_EQ(lookups[2].parent, kDir.value);
  EXPECT_EQ(lookups[4].parent, kOtherDir.value);
}

// --- The cache and the connection ----------------------------------------------------------------

class CacheTest : public ::testing::Test {
 protected:
  CacheTest() {
    shard_.script(Opcode::kLookup, {entry(directory_attr(kDir))});
    shard_.script(Opcode::kUnlink, {reply(wire::UnlinkReply{})});
  }
  // Removes "/d/f"; returns how many lookups that took.
  std::size_t lookups(ClientUnderTest& client) {
    shard_.forget_events();
    EXPECT_TRUE(client.run(client.fs().unlink("/d/f")));
    return shard_.count("lookup");
  }
  bool waits_for_loss(ClientUnderTest& client) {
    return client.eventually(
        [&] { return client.fs().pool().at({}).state() == rpc::Connection::State::kClosed; });
  }
  ScriptedShard shard_;
};

TEST_F(CacheTest, ADirectoryIsLookedUpOnce) {
  ClientUnderTest client({&shard_});
  EXPECT_EQ(lookups(client), 1U);
  EXPECT_EQ(lookups(client), 0U);
}

TEST_F(CacheTest, WhatAShardGrantedEndsWithABrokenConnection) {
  ClientUnderTest client({&shard_});
  EXPECT_EQ(lookups(client), 1U);
  shard_.cut();
  ASSERT_TRUE(waits_for_loss(client));
  EXPECT_EQ(lookups(client), 1U);
}

TEST_F(CacheTest, WhatAShardGrantedEndsWithAnEviction) {
  ClientUnderTest client({&shard_});
  EXPECT_EQ(lookups(client), 1U);
  shard_.evict();
  ASSERT_TRUE(waits_for_loss(client));
  EXPECT_EQ(lookups(client), 1U);
}

// The shard of the last component takes long to connect. Meanwhile the directory is renamed, and
// its shard says so.
class RenamedMeanwhile : public ::testing::Test {
 protected:
  static std::uint32_t shard_of(wire::InodeId parent, std::string_view name) {
    return cluster::entry_shard(parent, name, 2).value;
  }
  // An entry of the directory, whatever inode that has, on the directory's shard or on the other.
  static std::string name_on(std::uint32_t shard) {
    std::string name = "f";
    while (shard_of(kDir, name) != shard || shard_of(kOtherDir, name) != shard) {
      name += "f";
    }
    return name;
  }
  RenamedMeanwhile() {
    home().script(Opcode::kLookup, {entry(directory_attr(kDir)), entry(directory_attr(kOtherDir))});
    home().script(Opcode::kUnlink, {reply(wire::UnlinkReply{})});
    other().script(Opcode::kUnlink, {reply(wire::UnlinkReply{})});
  }
  [[nodiscard]] ScriptedShard& home() { return shards_[kHome]; }
  [[nodiscard]] ScriptedShard& other() { return shards_[1 - kHome]; }
  [[nodiscard]] rpc::Connection::State state_of_other() {
    return client_.fs().pool().at(wire::ShardId{1 - kHome}).state();
  }
  void remove_twice(const std::string& path) {  // the second time on a known way
    ASSERT_TRUE(client_.run(client_.fs().unlink(path)));
    ASSERT_TRUE(client_.run(client_.fs().unlink(path)));
  }
  void expect_another_walk() {
    other().forget_events();
    other().freeze();
    auto result = client_.start([this] { return client_.fs().unlink(far_); });
    client_.run(pause());
    home().invalidate(wire::kRootInode, "d");
    ASSERT_TRUE(client_.eventually([&] { return home().count("acknowledged") == 1; }));
    other().thaw();
    ASSERT_TRUE(client_.eventually([&] { return result->has_value(); }));
    EXPECT_TRUE((*result)->has_value()) << (*result)->error().message();
    std::vector<wire::UnlinkRequest> unlinks = other().requests<wire::UnlinkRequest>();
    ASSERT_EQ(unlinks.size(), 1U);
    EXPECT_EQ(unlinks[0].parent, kOtherDir.value);
  }

  const std::uint32_t kHome = shard_of(wire::kRootInode, "d");
  const std::string near_ = "/d/" + name_on(kHome);
  const std::string far_ = "/d/" + name_on(1 - kHome);
  std::array<ScriptedShard, 2> shards_;
  ClientUnderTest client_{{&shards_[0], &shards_[1]}};
};

TEST_F(RenamedMeanwhile, CachedDirectoriesAreNotActedOnAfterAConnectionWasLost) {
  remove_twice(far_);
  other().cut();
  ASSERT_TRUE(
      client_.eventually([&] { return state_of_other() == rpc::Connection::State::kClosed; }));
  expect_another_walk();
}

TEST_F(RenamedMeanwhile, CachedDirectoriesAreNotActedOnAfterTheFirstConnection) {
  remove_twice(near_);
  ASSERT_EQ(state_of_other(), rpc::Connection::State::kClosed);
  expect_another_walk();
}

// --- Set-gid directories -------------------------------------------------------------------------

class SetGidTest : public ::testing::Test {
 protected:
  void directory_is(std::uint32_t mode, std::uint32_t gid) {
    shard_.script(Opcode::kLookup, {entry(directory_attr(kDir, mode, gid))});
    shard_.script(Opcode::kGetAttr, {entry(directory_attr(wire::kRootInode, mode, gid))});
  }
  SetGidTest() {
    shard_.script(Opcode::kMkdir, {entry(directory_attr(kOtherDir))});
    shard_.script(Opcode::kOpen, {entry(file_attr(kFile))});
    shard_.script(Opcode::kSymlink, {entry(file_attr(kFile))});
  }
  void make_one_of_each(ClientUnderTest& client) {
    FileSystem& fs = client.fs();
    ASSERT_TRUE(client.run(fs.mkdir("/d/sub", 0750)));
    ASSERT_TRUE(client.run(fs.open("/d/f", wire::kOpenWrite | wire::kOpenCreate, 0640)));
    ASSERT_TRUE(client.run(fs.symlink("target", "/d/link")));
  }
  ScriptedShard shard_;
};

TEST_F(SetGidTest, HandsOnItsGroupAndToDirectoriesTheBit) {
  directory_is(02775, 42);
  ClientUnderTest client({&shard_});
  make_one_of_each(client);
  wire::MkdirRequest directory = shard_.requests<wire::MkdirRequest>().at(0);
  EXPECT_EQ(directory.gid, 42U);
  EXPECT_EQ(directory.mode, 02750U);
  wire::OpenRequest file = shard_.requests<wire::OpenRequest>().at(0);
  EXPECT_EQ(file.gid, 42U);
  EXPECT_EQ(file.mode, 0640U);
  EXPECT_EQ(shard_.requests<wire::SymlinkRequest>().at(0).gid, 42U);
  EXPECT_EQ(shard_.count("getattr"), 0U);
}

TEST_F(SetGidTest, AnOrdinaryDirectoryHandsOnNothing) {
  directory_is(0775, 42);
  ClientUnderTest client({&shard_});
  make_one_of_each(client);
  EXPECT_EQ(shard_.requests<wire::MkdirRequest>().at(0).gid, 100U);
  EXPECT_EQ(shard_.requests<wire::MkdirRequest>().at(0).mode, 0750U);
  EXPECT_EQ(shard_.requests<wire::OpenRequest>().at(0).gid, 100U);
}

TEST_F(SetGidTest, TheRootIsAskedOnce) {
  directory_is(02775, 42);
  ClientUnderTest client({&shard_});
  ASSERT_TRUE(client.run(client.fs().mkdir("/a", 0755)));
  ASSERT_TRUE(client.run(client.fs().mkdir("/b", 0755)));
  EXPECT_EQ(shard_.count("getattr"), 1U);
  EXPECT_EQ(shard_.requests<wire::MkdirRequest>().at(1).gid, 42U);
}

TEST_F(SetGidTest, ItsOwnChmodOfADirectoryIsKnownAtOnce) {
  directory_is(0775, 42);
  shard_.script(Opcode::kSetAttr, {entry(directory_attr(kDir, 02775, 42))});
  ClientUnderTest client({&shard_});
  ASSERT_TRUE(client.run(client.fs().mkdir("/d/before", 0755)));
  ASSERT_TRUE(client.run(client.fs().set_attr("/d", new_mode())));
  ASSERT_TRUE(client.run(client.fs().mkdir("/d/after", 0755)));
  EXPECT_EQ(shard_.requests<wire::MkdirRequest>().at(0).gid, 100U);
  EXPECT_EQ(shard_.requests<wire::MkdirRequest>().at(1).gid, 42U);
}

}  // namespace
}  // namespace benchfs::client
