// The shard of entries whose directory lives on another one, which is scripted.
#include "server/names/directory_marks.h"

#include "server/testing/names_fixture.h"

namespace benchfs::server {
namespace {

using testing::ScriptedPeer;
using Kind = OwedCalls::Kind;
using wire::Opcode;

class DirectoryMarksTest : public testing::NamesTest {
 protected:
  std::string name(const std::string& text) const {
    return name_on(testing::kSelf, text, directory_);
  }
  bool make(const std::string& text) { return mkdir(name(text), directory_).has_value(); }
  wire::QueryDirectoryReply query(std::uint64_t stamp = 0, std::uint64_t changes = 0) {
    Result<rpc::Reply> reply = call(wire::QueryDirectoryRequest{
        .directory = directory_.value, .stamp = stamp, .changes = changes});
    EXPECT_TRUE(reply);
    return reply ? *reply->as<wire::QueryDirectoryReply>() : wire::QueryDirectoryReply{};
  }
  // The request and the name are borrowed.
  rpc::testing::Client::Pending start_mkdir() {
    name_ = name("a");
    body_ = {.parent = directory_.value,
             .mode = 0755,
             .name_bytes = static_cast<std::uint16_t>(name_.size())};
    auto pending = start_call(body_, name_);
    EXPECT_TRUE(
        peer_.eventually([&] { return peer_.unanswered_now(Opcode::kMarkDirectory) == 1; }));
    return pending;
  }

  wire::InodeId directory_ = wire::InodeId::make(testing::kPeer, 9);
  std::string name_;
  wire::MkdirRequest body_;
};

TEST_F(DirectoryMarksTest, TheHomeKnowsBeforeTheFirstChangeAndIsNotToldOfFurtherOnes) {
  start();
  peer_.set(Opcode::kMarkDirectory, ScriptedPeer::Answer::kNever);
  auto pending = start_mkdir();
  run([&](net::Worker&) { EXPECT_FALSE(service_.store->find(directory_, name_)); });
  peer_.set(Opcode::kMarkDirectory, ScriptedPeer::Answer::kOk);
  ASSERT_TRUE(is_done(pending));
  EXPECT_TRUE(pending->value());
  EXPECT_TRUE(make("b"));
  EXPECT_TRUE(make("c"));
  EXPECT_EQ(peer_.received(Opcode::kMarkDirectory), 1U);
}

TEST_F(DirectoryMarksTest, ADirectoryOfThisShardNeedsNone) {
  start();
  EXPECT_TRUE(mkdir(name_on(testing::kSelf, "d")));
  EXPECT_EQ(peer_.received(Opcode::kMarkDirectory), 0U);
}

TEST_F(DirectoryMarksTest, WhatFailsAnywayIsNotAnnounced) {
  start();
  run([&](net::Worker&) {
    ASSERT_TRUE(service_.store->apply(
        meta::PutEntry{directory_, name("a"), {wire::InodeId{1}, S_IFREG}, 1, mono_now()}));
  });
  EXPECT_FALSE(make("a"));
  EXPECT_EQ(peer_.received(Opcode::kMarkDirectory), 0U);
}

TEST_F(DirectoryMarksTest, ASilentHomeDoesNotKeepAnybodyAndIsToldWhenItAnswers) {
  start();
  peer_.set(Opcode::kMarkDirectory, ScriptedPeer::Answer::kNotReady);
  EXPECT_TRUE(make("a"));
  directory_ = wire::InodeId::make(testing::kPeer, 10);
  EXPECT_TRUE(make("a"));
  EXPECT_EQ(owed(Kind::kMark), 2U);
  EXPECT_TRUE(peer_.eventually([&] { return peer_.received_now(Opcode::kMarkDirectory) > 3; }));
  peer_.set(Opcode::kMarkDirectory, ScriptedPeer::Answer::kOk);
  EXPECT_TRUE(is_paid(Kind::kMark));
}

TEST_F(DirectoryMarksTest, AMarkEndsWhenNothingChangedBetweenTwoQuestions) {
  start();
  auto before = wall_now_ns();
  ASSERT_TRUE(make("a"));
  wire::QueryDirectoryReply first = query();
  EXPECT_EQ(first.changes, 1U);
  EXPECT_EQ(first.directories, 1U);
  EXPECT_GE(first.changed_ns, before);
  EXPECT_EQ(first.flags, 0U);
  EXPECT_EQ(query(first.stamp, 1).flags, 0U);
  ASSERT_TRUE(make("b"));
  EXPECT_EQ(query(first.stamp, 1).changes, 2U);
  EXPECT_EQ(query(first.stamp, 2).flags, 0U);
  EXPECT_EQ(peer_.received(Opcode::kMarkDirectory), 1U);
  EXPECT_EQ(query(first.stamp, 2).flags, wire::kDirectoryUnmarked);
  EXPECT_EQ(query(first.stamp, 2).flags, wire::kDirectoryUnmarked);  // the answer was lost
  ASSERT_TRUE(make("c"));
  EXPECT_EQ(peer_.received(Opcode::kMarkDirectory), 2U);
  wire::QueryDirectoryReply later = query(first.stamp, 2);
  EXPECT_GT(later.stamp, first.stamp);
  EXPECT_EQ(later.changes, 1U);
  EXPECT_EQ(later.directories, 3U);
  // A question about an earlier mark ends none.
  EXPECT_EQ(query(first.stamp, 1).flags, 0U);
  EXPECT_EQ(query(first.stamp, 1).flags, 0U);
}

// Who waits for it would have to begin again.
TEST_F(DirectoryMarksTest, AMarkThatIsNotAnsweredDoesNotEnd) {
  start();
  peer_.set(Opcode::kMarkDirectory, ScriptedPeer::Answer::kNever);
  auto pending = start_mkdir();
  std::uint64_t stamp = query().stamp;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(query(stamp, 0).flags, 0U);
  }
  peer_.set(Opcode::kMarkDirectory, ScriptedPeer::Answer::kOk);
  ASSERT_TRUE(is_done(pending));
  EXPECT_EQ(peer_.received(Opcode::kMarkDirectory), 1U);
}

TEST_F(DirectoryMarksTest, WhatAnEarlierLifeMarkedHasEnded) {
  start();
  wire::QueryDirectoryReply reply = query(77, 5);
  EXPECT_EQ(reply.flags, wire::kDirectoryUnmarked);
  EXPECT_EQ(reply.changes, 0U);
  EXPECT_EQ(reply.directories, 0U);
}

TEST_F(DirectoryMarksTest, ARemovedDirectoryIsForgotten) {
  start();
  ASSERT_TRUE(make("a"));
  EXPECT_NE(query().stamp, 0U);
  ASSERT_TRUE(call(wire::ThawDirectoryRequest{.directory = directory_.value, .removed = 1}));
  EXPECT_EQ(query().stamp, 0U);
}

TEST_F(DirectoryMarksTest, EveryChangeOfAnEntryCounts) {
  start();
  std::uint64_t parent = directory_.value;
  std::vector<std::string> names;
  for (const char* text : {"d", "l", "f", "h", "moved", "installed"}) {
    names.push_back(name(text));
  }
  auto bytes = [&](std::size_t i) { return static_cast<std::uint16_t>(names[i].size()); };
  std::uint64_t changes = 0;
  auto expect_changes = [&](std::uint64_t more, const char* what) {
    changes += more;
    EXPECT_EQ(query().changes, changes) << what;
  };
  ASSERT_TRUE(
      call(wire::MkdirRequest{.parent = parent, .mode = 0755, .name_bytes = bytes(0)}, names[0]));
  expect_changes(1, "mkdir");
  wire::SymlinkRequest symlink{.parent = parent, .target_bytes = 1, .name_bytes = bytes(1)};
  rpc::Call with_target = rpc::make_call(symlink, names[1]);
  with_target.data = std::as_bytes(std::span("t", 1));
  ASSERT_TRUE(client_->call(with_target, Deadline::after(std::chrono::seconds(10)), self_));
  expect_changes(1, "symlink");
  Result<rpc::Reply> file = call(wire::OpenRequest{.parent = parent,
                                                   .flags = wire::kOpenCreate,
                                                   .mode = 0644,
                                                   .name_bytes = bytes(2),
                                                   .open_number = 99},
                                 names[2]);
  ASSERT_TRUE(file);
  expect_changes(1, "create");
  ASSERT_TRUE(call(wire::LinkRequest{.inode = file->as<wire::EntryReply>()->attr.inode,
                                     .parent = parent,
                                     .name_bytes = bytes(3)},
                   names[3]));
  expect_changes(1, "link");
  ASSERT_TRUE(call(wire::RenameRequest{.old_parent = parent,
                                       .new_parent = parent,
                                       .old_name_bytes = bytes(2),
                                       .new_name_bytes = bytes(4)},
                   names[2],
                   names[4]));
  expect_changes(2, "rename");
  ASSERT_TRUE(call(wire::UnlinkRequest{.parent = parent, .name_bytes = bytes(4)}, names[4]));
  expect_changes(1, "unlink");
  ASSERT_TRUE(call(wire::RmdirRequest{.parent = parent, .name_bytes = bytes(0)}, names[0]));
  expect_changes(1, "rmdir");
  ASSERT_TRUE(call(wire::InstallEntryRequest{.parent = parent,
                                             .inode = 1,
                                             .type = S_IFREG,
                                             .ticket = 1,
                                             .settled = 1,
                                             .sender = 1,
                                             .name_bytes = bytes(5)},
                   names[5]));
  expect_changes(1, "install");
  EXPECT_EQ(query().directories, 0U);
}

}  // namespace
}  // namespace benchfs::server
