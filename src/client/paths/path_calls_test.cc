// Calls on a path that goes the way of the last one, against a scripted shard: one request, and
// everything that takes more than that.

#include "client/paths/path_calls.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/testing/scripted_shard.h"
#include "rt/frame_pool.h"

namespace benchfs::client {
namespace {

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

wire::Attr link_attr() {
  wire::Attr attr = file_attr(kOtherFile);
  attr.mode = S_IFLNK | 0777;
  return attr;
}

// A symlink to `target`.
Answer symlink_to(std::string target) {
  return [target](rpc::Request& request) -> rt::Task<void> {
    wire::EntryReply reply{.attr = link_attr(),
                           .target_bytes = static_cast<std::uint32_t>(target.size())};
    co_await request.reply(reply, std::as_bytes(std::span(target)));
  };
}

class PathCallTest : public ::testing::Test {
 protected:
  // What is looked up after the way to "/d/" is known.
  void know_way(std::vector<Answer> lookups,
                std::uint32_t mode = 0755,
                std::uint32_t gid = 0,
                std::chrono::seconds patience = std::chrono::seconds(10)) {
    std::vector<Answer> all = {
        entry(directory_attr(kDir, mode, gid)), entry(file_attr(kFile)), entry(file_attr(kFile))};
    all.insert(all.end(), lookups.begin(), lookups.end());
    shard_.script(Opcode::kLookup, std::move(all));
    client_ = std::make_unique<ClientUnderTest>(std::vector{&shard_}, Timeouts::all(patience));
    ASSERT_TRUE(client().run(fs().stat("/d/known")));  // the directory
    ASSERT_TRUE(client().run(fs().stat("/d/known")));  // the way
    shard_.forget_events();
  }
  [[nodiscard]] ClientUnderTest& client() { return *client_; }
  [[nodiscard]] FileSystem& fs() { return client_->fs(); }
  [[nodiscard]] int open_error(std::uint32_t flags) {
    Result<std::shared_ptr<OpenFile>> file = client().run(fs().open("/d/f", flags, 0644));
    if (file) {
      EXPECT_TRUE(client().run(fs().close(*file)));
    }
    return file ? 0 : file.error().to_errno();
  }

  ScriptedShard shard_;
  std::unique_ptr<ClientUnderTest> client_;
};

// Frames that come and go while `call` runs.
template <typename Function>
std::uint64_t frames(Function&& call) {
  rt::FramePoolStats before = rt::frame_pool_stats();
  call();
  rt::FramePoolStats after = rt::frame_pool_stats();
  return after.reuses + after.allocations - before.reuses - before.allocations;
}

TEST_F(PathCallTest, OneRequestWithoutACoroutine) {
  know_way({entry(file_attr(kFile, 7))});
  shard_.script(Opcode::kUnlink, {reply(wire::UnlinkReply{})});
  shard_.script(Opcode::kOpen, {entry(file_attr(kFile))});
  ASSERT_TRUE(client().run(fs().stat("/d/f")));  // pools have filled
  std::uint64_t own =
      frames([&] { (void)client().run(fs().close(std::make_shared<OpenFile>(0, 0))); });
  EXPECT_LE(frames([&] { EXPECT_EQ(client().run(fs().stat("/d/f"))->size, 7U); }), own);
  EXPECT_LE(frames([&] { EXPECT_TRUE(client().run(fs().unlink("/d/f"))); }), own);
  EXPECT_LE(frames([&] { EXPECT_TRUE(client().run(fs().open("/d/f", wire::kOpenRead, 0))); }), own);
  EXPECT_EQ(shard_.count("lookup"), 2U);
}

TEST_F(PathCallTest, ASymlinkIsFollowedButNotByLstat) {
  know_way(
      {symlink_to("target"), symlink_to("target"), symlink_to("target"), entry(file_attr(kFile))});
  EXPECT_TRUE(client().run(fs().lstat("/d/link"))->is_symlink());
  EXPECT_EQ(client().run(fs().stat("/d/link"))->id(), kFile);
  EXPECT_EQ(shard_.count("lookup"), 4U);
}

TEST_F(PathCallTest, ASymlinkThatIsOpenedIsFollowed) {
  know_way({});
  shard_.script(Opcode::kOpen,
                {symlink_to("target"), symlink_to("target"), entry(file_attr(kFile))});
  EXPECT_EQ(open_error(wire::kOpenRead), 0);
  EXPECT_EQ(shard_.requests<wire::OpenRequest>().size(), 3U);
}

TEST_F(PathCallTest, AnInodeOfAnotherShardIsAskedThere) {
  know_way({remote(file_attr(kOtherFile))});
  shard_.script(Opcode::kGetAttr, {entry(file_attr(kOtherFile, 9))});
  shard_.script(Opcode::kOpen, {remote(file_attr(kOtherFile))});
  shard_.script(Opcode::kOpenInode, {entry(file_attr(kOtherFile))});
  EXPECT_EQ(client().run(fs().stat("/d/f"))->size, 9U);
  EXPECT_EQ(open_error(wire::kOpenRead), 0);
}

TEST_F(PathCallTest, ADirectoryThatIsGoneIsLookedUpAgain) {
  know_way({entry(directory_attr(kOtherDir))});
  shard_.script(Opcode::kUnlink,
                {fail_with(ESTALE), fail_with(ESTALE), reply(wire::UnlinkReply{})});
  shard_.script(Opcode::kOpen, {fail_with(ESTALE), entry(file_attr(kFile))});
  EXPECT_TRUE(client().run(fs().unlink("/d/f")));
  std::vector<wire::UnlinkRequest> unlinks = shard_.requests<wire::UnlinkRequest>();
  ASSERT_EQ(unlinks.size(), 3U);
  EXPECT_EQ(unlinks[0].parent, kDir.value);
  EXPECT_EQ(unlinks[2].parent, kOtherDir.value);
  EXPECT_EQ(open_error(wire::kOpenRead), 0);
}

TEST_F(PathCallTest, TheAnswerOfTheFileSystemIsFinal) {
  know_way({fail_with(ENOENT)});
  shard_.script(Opcode::kUnlink, {fail_with(ENOSPC)});
  shard_.script(Opcode::kOpen, {fail_with(EEXIST)});
  EXPECT_EQ(client().run(fs().stat("/d/f")).error().to_errno(), ENOENT);
  EXPECT_EQ(shard_.count("lookup"), 1U);
  Status removed = client().run(fs().unlink("/d/f"));
  EXPECT_TRUE(removed.error().is_posix(ENOSPC));
  EXPECT_TRUE(removed.error().context.contains(fs().pool().at({}).name()))
      << removed.error().message();
  EXPECT_EQ(shard_.requests<wire::UnlinkRequest>().size(), 1U);
  EXPECT_EQ(open_error(wire::kOpenCreate | wire::kOpenExclusive | wire::kOpenWrite), EEXIST);
}

TEST_F(PathCallTest, ADirectoryThatIsFoundIsRemembered) {
  know_way({entry(directory_attr(kOtherDir)), entry(file_attr(kFile))});
  EXPECT_TRUE(client().run(fs().stat("/d/sub"))->is_directory());
  EXPECT_TRUE(client().run(fs().stat("/d/sub/f")));
  EXPECT_EQ(shard_.count("lookup"), 2U);
}

TEST_F(PathCallTest, ANewFileInheritsTheGroupOfItsDirectory) {
  know_way({}, S_ISGID | 0755, 77);
  shard_.script(Opcode::kOpen, {entry(file_attr(kFile))});
  EXPECT_EQ(open_error(wire::kOpenCreate | wire::kOpenWrite), 0);
  std::vector<wire::OpenRequest> opens = shard_.requests<wire::OpenRequest>();
  ASSERT_EQ(opens.size(), 1U);
  EXPECT_EQ(opens[0].gid, 77U);
  EXPECT_EQ(opens[0].mode, 0644U);
  EXPECT_EQ(shard_.count("lookup"), 0U);
}

TEST_F(PathCallTest, WhatCannotBeOpenedIsClosed) {
  know_way({});
  shard_.script(Opcode::kOpen, {entry(directory_attr(kOtherDir))});
  EXPECT_EQ(open_error(wire::kOpenWrite), EISDIR);
  EXPECT_EQ(open_error(wire::kOpenCreate | wire::kOpenDirectory | wire::kOpenRead), EINVAL);
  EXPECT_TRUE(client().eventually([&] { return shard_.count("close 1 of 6") == 1; }));
}

// The server may have opened the file when its answer no longer counts.
TEST_F(PathCallTest, AnOpenOfUnknownOutcomeIsClosed) {
  know_way({}, 0755, 0, std::chrono::seconds(1));
  shard_.script(Opcode::kOpen, {shard_.late(entry(file_attr(kFile)))});
  EXPECT_EQ(open_error(wire::kOpenCreate | wire::kOpenWrite), ETIMEDOUT);
  EXPECT_TRUE(client().eventually([&] { return shard_.count("close 1 of 0") == 1; }));
  shard_.release();
}

// Each begins again while all the others still have the slots of the window that they began with.
TEST_F(PathCallTest, AsManyCallsAsTheWindowHasBeginAgainAtOnce) {
  shard_.script(Opcode::kGetAttr, {entry(file_attr(kOtherFile, 9))});
  know_way({remote(file_attr(kOtherFile))});
  std::vector<std::shared_ptr<std::optional<Result<wire::Attr>>>> found;
  for (std::uint32_t i = 0; i < 2 * wire::kMaxWindow; ++i) {
    found.push_back(client().start([this] { return fs().stat("/d/f"); }));
  }
  for (const auto& one : found) {
    ASSERT_TRUE(client().eventually([&] { return one->has_value(); }));
    ASSERT_TRUE((*one)->has_value()) << (*one)->error().message();
    EXPECT_EQ((*one)->value().size, 9U);
  }
}

// The connection breaks: the request is sent again, and the call goes on with its answer.
TEST_F(PathCallTest, ALostConnectionIsMadeAgain) {
  know_way({shard_.late(entry(file_attr(kFile, 3))),
            remote(file_attr(kOtherFile)),  // sent again
            entry(directory_attr(kDir)),    // from the beginning: what was known is no longer
            remote(file_attr(kOtherFile))});
  shard_.script(Opcode::kGetAttr, {entry(file_attr(kOtherFile, 9))});
  auto found = client().start([this] { return fs().stat("/d/f"); });
  ASSERT_TRUE(client().eventually([&] { return shard_.count("lookup") == 1; }));
  shard_.cut();
  ASSERT_TRUE(client().eventually([&] { return found->has_value(); }));
  ASSERT_TRUE((*found)->has_value()) << (*found)->error().message();
  EXPECT_EQ((*found)->value().size, 9U);
  shard_.release();
}

}  // namespace
}  // namespace benchfs::client
