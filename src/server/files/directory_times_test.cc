// The home of a directory, in which other shards, which are scripted, change entries.
#include "server/files/directory_times.h"

#include "server/testing/files_fixture.h"

namespace benchfs::server {
namespace {

using wire::Opcode;

class DirectoryTimesTest : public testing::FilesTest {
 protected:
  Result<wire::NoReply> mark(std::uint32_t shard, std::uint64_t stamp) {
    wire::MarkDirectoryRequest body;
    body.directory = directory_.inode;
    body.stamp = stamp;
    body.shard = shard;
    return shard_.call(body);
  }
  // What the shard answers from now on.
  void says(std::uint32_t shard, const wire::QueryDirectoryReply& reply) {
    shard_.peer(shard).answer<wire::QueryDirectoryRequest>(reply);
  }
  std::size_t questions(std::uint32_t shard) {
    return shard_.peer(shard).count(Opcode::kQueryDirectory);
  }
  wire::Attr attr() {
    auto found = stat(directory_);
    EXPECT_TRUE(found.has_value()) << found.error().message();
    return found.value_or(wire::EntryReply{}).attr;
  }
  Result<wire::EntryReply> lookup(std::uint16_t flags) {
    wire::LookupRequest body;
    body.parent = wire::kRootInode.value;
    body.name_bytes = static_cast<std::uint16_t>(name_.size());
    body.flags = flags;
    return shard_.call(body, name_);
  }
  void SetUp() override {
    wire::MkdirRequest body;
    body.parent = wire::kRootInode.value;
    body.mode = 0755;
    body.name_bytes = static_cast<std::uint16_t>(name_.size());
    auto made = shard_.call(body, name_);
    ASSERT_TRUE(made.has_value()) << made.error().message();
    directory_ = made->attr;
  }

  static constexpr std::int64_t kLater = 9'000'000'000'000'000'000;
  std::string name_ = shard_.local_name("d");
  wire::Attr directory_;
};

TEST_F(DirectoryTimesTest, MarkedShardsAreAskedAndNoOthers) {
  EXPECT_EQ(attr().nlink, 2U);
  EXPECT_EQ(shard_.requests_to_peers(), 0U);
  ASSERT_TRUE(mark(1, 5).has_value());
  says(1, {.stamp = 5, .changes = 1, .changed_ns = kLater, .directories = 3});
  wire::Attr now = attr();
  EXPECT_EQ(now.mtime_ns, kLater);
  EXPECT_EQ(now.ctime_ns, kLater);
  EXPECT_EQ(now.nlink, 5U);
  EXPECT_EQ(attr().mtime_ns, kLater);
  auto asked = shard_.peer(1).received<wire::QueryDirectoryRequest>();
  ASSERT_EQ(asked.size(), 2U);
  EXPECT_EQ(asked[0].stamp, 5U);
  EXPECT_EQ(asked[0].changes, 0U);
  EXPECT_EQ(asked[1].changes, 1U);
  EXPECT_EQ(questions(2), 0U);
}

TEST_F(DirectoryTimesTest, AChangeShowsThoughTheClockOfItsShardIsBehind) {
  ASSERT_TRUE(mark(1, 5).has_value());
  for (std::uint64_t changes = 1; changes < 4; ++changes) {
    wire::Attr before = attr();
    says(1, {.stamp = 5, .changes = changes, .changed_ns = 1});
    wire::Attr now = attr();
    EXPECT_GT(now.mtime_ns, before.mtime_ns);
    EXPECT_GT(now.ctime_ns, before.ctime_ns);
  }
}

TEST_F(DirectoryTimesTest, AShardWhoseMarkEndedIsNotAskedAgain) {
  ASSERT_TRUE(mark(1, 5).has_value());
  says(1, {.directories = 3, .flags = wire::kDirectoryUnmarked});
  EXPECT_EQ(attr().nlink, 5U);
  EXPECT_EQ(attr().nlink, 5U);
  EXPECT_EQ(questions(1), 1U);
  ASSERT_TRUE(mark(1, 6).has_value());
  says(1, {.stamp = 6, .changes = 1, .changed_ns = kLater, .directories = 2});
  EXPECT_EQ(attr().nlink, 4U);
  EXPECT_EQ(attr().mtime_ns, kLater);
}

// The answers and the marks of a shard come over different connections.
TEST_F(DirectoryTimesTest, TheEndOfAnEarlierMarkDoesNotEndALaterOne) {
  ASSERT_TRUE(mark(1, 5).has_value());
  says(1, {.flags = wire::kDirectoryUnmarked});
  shard_.peer(1).delay_next(Opcode::kQueryDirectory);
  wire::GetAttrRequest body;
  body.inode = directory_.inode;
  auto pending = shard_.client().start(rpc::make_call(body));
  ASSERT_TRUE(shard_.eventually([&] { return questions(1) == 1; }));
  ASSERT_TRUE(mark(1, 6).has_value());
  shard_.peer(1).let_go(Opcode::kQueryDirectory);
  ASSERT_TRUE(shard_.eventually([&] { return pending->has_value(); }));
  says(1, {.stamp = 6, .changes = 1, .changed_ns = kLater});
  EXPECT_EQ(attr().mtime_ns, kLater);
}

// The answer to a question about an earlier mark may already be about a later one.
TEST_F(DirectoryTimesTest, ChangesSinceALaterMarkAreNotComparedWithThoseOfAnEarlierOne) {
  ASSERT_TRUE(mark(1, 5).has_value());
  says(1, {.stamp = 5, .changes = 1, .changed_ns = 1});
  wire::Attr before = attr();
  says(1, {.stamp = 6, .changes = 1, .changed_ns = kLater});
  EXPECT_EQ(attr().mtime_ns, kLater);
  ASSERT_TRUE(mark(1, 6).has_value());  // late
  EXPECT_EQ(attr().mtime_ns, kLater);
  EXPECT_GT(attr().mtime_ns, before.mtime_ns);
}

TEST_F(DirectoryTimesTest, ASilentShardKeepsNobodyAndIsHeardWhenItAnswers) {
  ASSERT_TRUE(mark(1, 5).has_value());
  ASSERT_TRUE(mark(2, 5).has_value());
  says(1, {.stamp = 5, .changes = 1, .changed_ns = kLater});
  says(2, {.stamp = 5, .changes = 1, .changed_ns = kLater - 1});
  shard_.peer(1).hold(Opcode::kQueryDirectory);
  EXPECT_EQ(attr().mtime_ns, kLater - 1);
  EXPECT_EQ(attr().mtime_ns, kLater - 1);
  shard_.peer(1).release(Opcode::kQueryDirectory);
  EXPECT_TRUE(shard_.eventually([&] { return attr().mtime_ns >= kLater; }));
}

TEST_F(DirectoryTimesTest, ThoseWhoComeLaterShareTheNextQuestion) {
  ASSERT_TRUE(mark(1, 5).has_value());
  shard_.peer(1).delay_next(Opcode::kQueryDirectory);
  wire::GetAttrRequest body;
  body.inode = directory_.inode;
  std::vector<rpc::testing::Client::Pending> calls = {shard_.client().start(rpc::make_call(body))};
  ASSERT_TRUE(shard_.eventually([&] { return questions(1) == 1; }));
  for (int i = 0; i < 5; ++i) {
    calls.push_back(shard_.client().start(rpc::make_call(body)));
  }
  shard_.stats();  // the shard has begun with them
  EXPECT_EQ(questions(1), 1U);
  shard_.peer(1).let_go(Opcode::kQueryDirectory);
  for (const auto& call : calls) {
    ASSERT_TRUE(shard_.eventually([&] { return call->has_value(); }));
    EXPECT_TRUE((**call).has_value());
  }
  EXPECT_EQ(questions(1), 2U);
}

TEST_F(DirectoryTimesTest, ATimeThatIsSetIsNotUndoneByAChangeFromBefore) {
  ASSERT_TRUE(mark(1, 5).has_value());
  says(1, {.stamp = 5, .changes = 1, .changed_ns = kLater});
  wire::SetAttrRequest set;
  set.inode = directory_.inode;
  set.mask = wire::kSetMtime;
  set.mtime_ns = 1234;
  ASSERT_TRUE(shard_.call(set).has_value());
  EXPECT_EQ(attr().mtime_ns, 1234);
  says(1, {.stamp = 5, .changes = 2, .changed_ns = 1});
  EXPECT_NE(attr().mtime_ns, 1234);
}

TEST_F(DirectoryTimesTest, AShardThatStartedAgainHasNoEntries) {
  ASSERT_TRUE(mark(1, 5).has_value());
  says(1, {.stamp = 5, .changes = 1, .changed_ns = 1, .directories = 3});
  EXPECT_EQ(attr().nlink, 5U);
  wire::NewLifeRequest body;
  body.life = 6;
  body.first_counter = 1000;
  body.shard = 1;
  ASSERT_TRUE(shard_.call(body).has_value());
  EXPECT_EQ(attr().nlink, 2U);
  EXPECT_EQ(questions(1), 1U);
  // The news may come after its first mark.
  ASSERT_TRUE(mark(1, 7).has_value());
  ASSERT_TRUE(shard_.call(body).has_value());
  says(1, {.stamp = 7, .changes = 1, .changed_ns = kLater, .directories = 1});
  EXPECT_EQ(attr().nlink, 3U);
}

TEST_F(DirectoryTimesTest, ADirectoryOnTheWayIsNotAskedAbout) {
  ASSERT_TRUE(mark(1, 5).has_value());
  EXPECT_TRUE(lookup(wire::kLookupName).has_value());
  EXPECT_EQ(questions(1), 0U);
  EXPECT_TRUE(lookup(0).has_value());
  EXPECT_EQ(questions(1), 1U);
}

TEST_F(DirectoryTimesTest, OnlyDirectoriesOfThisShardAreMarked) {
  wire::Attr directory = std::exchange(directory_, create(shard_.local_name("f"), 1));
  EXPECT_TRUE(mark(1, 5).error().is_posix(ENOENT));
  directory_.inode = wire::InodeId::make(wire::ShardId{1}, 3).value;
  EXPECT_TRUE(mark(1, 5).error().is_posix(ENOENT));
  directory_ = directory;
  EXPECT_EQ(mark(0, 5).error().code, Errc::kMalformed);
  EXPECT_EQ(mark(77, 5).error().code, Errc::kMalformed);
}

// Who has a lease of them knows them after its own changes.
TEST_F(DirectoryTimesTest, TheTimesThatAChangeLeavesAreToldToWhoAsksForThem) {
  std::uint64_t opens = 0;
  auto make = [&](const std::string& name, std::uint32_t more_flags) {
    wire::OpenRequest body;
    body.parent = directory_.inode;
    body.flags = testing::kWrite | more_flags;
    body.mode = 0644;
    body.name_bytes = static_cast<std::uint16_t>(name.size());
    body.open_number = ++opens;
    return shard_.call(body, name).value_or(wire::EntryReply{});
  };
  auto remove = [&](const std::string& name, std::uint16_t flags) {
    wire::UnlinkRequest body;
    body.parent = directory_.inode;
    body.name_bytes = static_cast<std::uint16_t>(name.size());
    body.flags = flags;
    return shard_.call(body, name).value_or(wire::UnlinkReply{-1}).directory_ns;
  };
  EXPECT_EQ(make("a", 0).flags, wire::kEntryCreated);
  wire::EntryReply made = make("b", wire::kOpenLease);
  EXPECT_NE(made.flags & wire::kDirectoryTimed, 0U);
  EXPECT_EQ(attr().mtime_ns, made.attr.ctime_ns);
  EXPECT_EQ(attr().ctime_ns, made.attr.ctime_ns);
  EXPECT_EQ(remove("a", 0), 0);
  std::int64_t removed_ns = remove("b", wire::kUnlinkTimes);
  EXPECT_GT(removed_ns, made.attr.ctime_ns);
  EXPECT_EQ(attr().mtime_ns, removed_ns);
  EXPECT_EQ(attr().ctime_ns, removed_ns);
  // They are later than this shard's clock.
  ASSERT_TRUE(mark(1, 5).has_value());
  says(1, {.stamp = 5, .changes = 1, .changed_ns = kLater});
  EXPECT_EQ(attr().mtime_ns, kLater);
  EXPECT_EQ(make("c", wire::kOpenLease).flags & wire::kDirectoryTimed, 0U);
  EXPECT_EQ(remove("c", wire::kUnlinkTimes), 0);
}

}  // namespace
}  // namespace benchfs::server
