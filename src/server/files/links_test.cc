// Names of an inode on other shards than it: the home and the shards of the names, which are
// scripted.
#include <set>

#include "cluster/placement.h"
#include "server/testing/files_fixture.h"

namespace benchfs::server {
namespace {

using std::chrono::milliseconds;
using testing::kWrite;
using wire::Opcode;

class LinksOfInodes : public testing::FilesTest {
 protected:
  static wire::LinkChange change(std::uint64_t ticket, std::uint32_t shard = 1) {
    return {.life = kLife, .ticket = ticket, .settled = 1, .shard = shard};
  }
  Result<wire::EntryReply> add(wire::Attr file, wire::LinkChange numbered) {
    wire::LinkInodeRequest body;
    body.inode = file.inode;
    body.change = numbered;
    return shard_.call(body);
  }
  bool forget(wire::Attr file, wire::LinkChange numbered, std::uint32_t flags = 0) {
    wire::ForgetInodeRequest body;
    body.inode = file.inode;
    body.change = numbered;
    body.flags = flags;
    return shard_.call(body).has_value();
  }
  std::uint32_t links(wire::Attr file) {
    auto found = stat(file);
    EXPECT_TRUE(found.has_value()) << found.error().message();
    return found ? found->attr.nlink : UINT32_MAX;
  }
  static wire::LinkRequest link_request(std::uint64_t inode, const std::string& name) {
    wire::LinkRequest body;
    body.inode = inode;
    body.parent = wire::kRootInode.value;
    body.name_bytes = static_cast<std::uint16_t>(name.size());
    return body;
  }
  static wire::RenameRequest rename_request(const std::string& from, const std::string& to) {
    wire::RenameRequest body;
    body.old_parent = body.new_parent = wire::kRootInode.value;
    body.old_name_bytes = static_cast<std::uint16_t>(from.size());
    body.new_name_bytes = static_cast<std::uint16_t>(to.size());
    return body;
  }
  int rename(const std::string& from, const std::string& to) {
    wire::RenameRequest body = rename_request(from, to);
    Result<rpc::Reply> reply = shard_.client().call(rpc::make_call(body, from, to));
    return reply ? 0 : reply.error().to_errno();
  }
  // Makes the name here of an inode that lives elsewhere.
  void link_remote(const std::string& name) {
    wire::EntryReply counted;
    counted.attr.inode = kRemote.value;
    counted.attr.mode = S_IFREG | 0644;
    counted.attr.nlink = 2;
    shard_.peer(1).answer<wire::LinkInodeRequest>(counted);
    auto linked = shard_.call(link_request(kRemote.value, name), name);
    ASSERT_TRUE(linked.has_value()) << linked.error().message();
    EXPECT_EQ(linked->flags, wire::kEntryCreated | wire::kEntryRemote);
  }
  std::string remote_name(std::uint32_t shard, std::string text) const {
    while (cluster::entry_shard(wire::kRootInode, text, 3) != wire::ShardId{shard}) {
      text += "x";
    }
    return text;
  }

  wire::Attr make_directory() {
    std::string name = shard_.local_name("d");
    wire::MkdirRequest body;
    body.parent = wire::kRootInode.value;
    body.mode = 0755;
    body.name_bytes = static_cast<std::uint16_t>(name.size());
    auto made = shard_.call(body, name);
    EXPECT_TRUE(made.has_value()) << made.error().message();
    return made.value_or(wire::EntryReply{}).attr;
  }
  // A name in the directory whose entry is on the shard.
  static std::string name_in(wire::Attr directory) {
    std::string name = "n";
    while (cluster::entry_shard(directory.id(), name, 3) != wire::ShardId{0}) {
      name += "x";
    }
    return name;
  }
  static wire::LinkRequest link_request_in(wire::Attr directory,
                                           wire::Attr file,
                                           const std::string& name) {
    wire::LinkRequest body = link_request(file.inode, name);
    body.parent = directory.inode;
    return body;
  }
  // As the shard of its entry says.
  bool is_removed(wire::Attr directory) {
    return shard_.call(wire::ThawDirectoryRequest{.directory = directory.inode, .removed = 1})
        .has_value();
  }

  static constexpr std::uint64_t kLife = 100;
  static constexpr wire::InodeId kRemote = wire::InodeId::make(wire::ShardId{1}, 9);
};

TEST_F(LinksOfInodes, AFileEndsWithItsLastName) {
  std::string first = shard_.local_name("f");
  std::string second = shard_.local_name("g");
  wire::Attr file = create(first, 1);
  ASSERT_TRUE(close(1));
  auto linked = shard_.call(link_request(file.inode, second), second);
  ASSERT_TRUE(linked.has_value()) << linked.error().message();
  EXPECT_EQ(linked->attr.nlink, 2U);
  EXPECT_EQ(linked->flags, wire::kEntryCreated);
  ASSERT_TRUE(unlink(first).has_value());
  EXPECT_EQ(links(file), 1U);
  ASSERT_TRUE(unlink(second).has_value());
  EXPECT_EQ(stat(file).error().to_errno(), ENOENT);
  EXPECT_EQ(shard_.requests_to_peers(), 0U);
}

TEST_F(LinksOfInodes, TwoNamesOfAnInodeStayWhenOneIsRenamedToTheOther) {
  std::string first = shard_.local_name("f");
  std::string second = shard_.local_name("g");
  wire::Attr file = create(first, 1);
  ASSERT_TRUE(shard_.call(link_request(file.inode, second), second).has_value());
  EXPECT_EQ(rename(first, second), 0);
  EXPECT_EQ(links(file), 2U);
  ASSERT_TRUE(unlink(first).has_value());
  EXPECT_EQ(links(file), 1U);
}

TEST_F(LinksOfInodes, TheOldNameStaysWhenAnotherShardSaysThatTheNewOneIsOfTheSameInode) {
  std::string from = shard_.local_name("f");
  create(from, 1);
  shard_.peer(2).answer<wire::InstallEntryRequest>({.flags = wire::kInstallSame});
  EXPECT_EQ(rename(from, remote_name(2, "g")), 0);
  wire::LookupRequest lookup;
  lookup.parent = wire::kRootInode.value;
  lookup.name_bytes = static_cast<std::uint16_t>(from.size());
  EXPECT_TRUE(shard_.call(lookup, from).has_value());
}

TEST_F(LinksOfInodes, AShardThatInstallsANameOfTheSameInodeSaysSoAndDoesNothing) {
  std::string name = shard_.local_name("f");
  wire::Attr file = create(name, 1);
  wire::InstallEntryRequest body;
  body.parent = wire::kRootInode.value;
  body.inode = file.inode;
  body.type = S_IFREG;
  body.ticket = body.settled = 1;
  body.sender = 2;
  body.name_bytes = static_cast<std::uint16_t>(name.size());
  EXPECT_EQ(shard_.call(body, name).value().flags, wire::kInstallSame);
  wire::SettleInstallRequest settle;
  settle.ticket = 1;
  settle.sender = 2;
  EXPECT_EQ(shard_.call(settle).value().installed, 0U);
  body.ticket = 2;
  body.flags = wire::kRenameNoReplace;
  EXPECT_TRUE(shard_.call(body, name).error().is_posix(EEXIST));
}

// --- The home ------------------------------------------------------------------------------------

TEST_F(LinksOfInodes, ANameThatWentIsCountedOnceHoweverOftenAndByWhomItIsTold) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  ASSERT_TRUE(add(file, change(1)).has_value());
  ASSERT_TRUE(add(file, change(2)).has_value());
  EXPECT_EQ(links(file), 3U);
  EXPECT_TRUE(forget(file, change(3)));
  EXPECT_TRUE(forget(file, change(3)));
  wire::LinkChange by_another = change(3);
  by_another.settled = 0;
  EXPECT_TRUE(forget(file, by_another));
  EXPECT_EQ(links(file), 2U);
  wire::LinkChange later = change(4);
  later.settled = 4;
  EXPECT_TRUE(forget(file, later));
  EXPECT_EQ(links(file), 1U);
  EXPECT_TRUE(forget(file, by_another));  // late
  EXPECT_EQ(links(file), 1U);
}

TEST_F(LinksOfInodes, ALinkThatIsTakenBackHasHappenedOnceOrDoesNotHappen) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  ASSERT_TRUE(add(file, change(1)).has_value());
  EXPECT_TRUE(forget(file, change(1), wire::kForgetLink));
  EXPECT_TRUE(forget(file, change(1), wire::kForgetLink));
  EXPECT_EQ(links(file), 1U);
  EXPECT_TRUE(forget(file, change(2), wire::kForgetLink));
  EXPECT_TRUE(add(file, change(2)).error().is_posix(ESTALE));
  EXPECT_EQ(links(file), 1U);
}

// The shard of the name asks to take it back when the answer was lost.
TEST_F(LinksOfInodes, ALinkThatTheHomeRefusedIsNotTakenBackLater) {
  wire::Attr directory = make_directory();
  EXPECT_TRUE(add(directory, change(1)).error().is_posix(EPERM));
  EXPECT_TRUE(forget(directory, change(1), wire::kForgetLink));
  EXPECT_EQ(links(directory), directory.nlink);
}

// Each of them would leave somebody with a count that is not true any more.
TEST_F(LinksOfInodes, NobodyHasTheLinkCountCachedWhenItChanges) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  std::string second = shard_.local_name("g");
  wire::LinkRequest here = link_request(file.inode, second);
  EXPECT_TRUE(waits_for_a_holder(file, rpc::make_call(here, second)));
  wire::LinkInodeRequest elsewhere;
  elsewhere.inode = file.inode;
  elsewhere.change = change(1);
  EXPECT_TRUE(waits_for_a_holder(file, rpc::make_call(elsewhere)));
  wire::ForgetInodeRequest gone;
  gone.inode = file.inode;
  gone.change = change(2);
  EXPECT_TRUE(waits_for_a_holder(file, rpc::make_call(gone)));
  wire::UnlinkRequest unlink{.parent = wire::kRootInode.value, .name_bytes = here.name_bytes};
  EXPECT_TRUE(waits_for_a_holder(file, rpc::make_call(unlink, second)));
  ASSERT_TRUE(shard_.call(here, second).has_value());
  std::string other = shard_.local_name("h");
  create(other, 2);
  wire::RenameRequest over = rename_request(other, second);
  EXPECT_TRUE(waits_for_a_holder(file, rpc::make_call(over, other, second)));
  EXPECT_EQ(links(file), 1U);
  ASSERT_TRUE(add(file, change(3, 2)).has_value());
  create(other, 3);
  std::string there = remote_name(2, "i");
  shard_.peer(2).answer<wire::InstallEntryRequest>(
      {.replaced = file.inode, .life = kLife, .ticket = 9});
  wire::RenameRequest over_there = rename_request(other, there);
  EXPECT_TRUE(waits_for_a_holder(file, rpc::make_call(over_there, other, there)));
  EXPECT_EQ(links(file), 1U);
}

// Somebody may have asked for the count while the name waited for its directory.
TEST_F(LinksOfInodes, ANameThatCannotBeMadeIsDroppedWhenNobodyHasTheLinkCountCached) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  wire::Attr directory = make_directory();
  rpc::testing::Client first("first", {shard_.address()});
  auto of_directory =
      std::make_unique<rpc::testing::Client>("of directory", std::vector{shard_.address()});
  rpc::testing::Client second("second", {shard_.address()});
  ASSERT_TRUE(takes_lease(first, file));
  std::string name = name_in(directory);
  wire::LinkRequest body = link_request_in(directory, file, name);
  auto pending =
      shard_.client().start(rpc::make_call(body, name), Deadline::after(std::chrono::hours(1)));
  pass_time();
  ASSERT_TRUE(takes_lease(*of_directory, directory));
  ASSERT_TRUE(first.ping());
  ASSERT_TRUE(shard_.eventually([&] {
    (void)first.ping();
    return links(file) == 2;
  }));
  ASSERT_TRUE(takes_lease(second, file));
  ASSERT_TRUE(is_removed(directory));
  of_directory.reset();
  pass_time();
  EXPECT_FALSE(pending->has_value());
  ASSERT_TRUE(ends_with(pending, second));
  EXPECT_TRUE((**pending).error().is_posix(ESTALE)) << (**pending).error().message();
  EXPECT_EQ(links(file), 1U);
}

TEST_F(LinksOfInodes, WhatAnEarlierLifeOfAShardSaidLateCountsForNothing) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  ASSERT_TRUE(add(file, change(1)).has_value());
  wire::LinkChange earlier = change(7);
  --earlier.life;
  EXPECT_TRUE(forget(file, earlier));
  EXPECT_TRUE(add(file, earlier).error().is_posix(ESTALE));
  EXPECT_EQ(links(file), 2U);
  EXPECT_TRUE(forget(file, change(1)));  // its own tickets are still known
  EXPECT_EQ(links(file), 2U);
}

TEST_F(LinksOfInodes, AShardThatDoesNotExistIsMalformed) {
  wire::Attr file = create(shard_.local_name("f"), 1);
  EXPECT_EQ(add(file, change(1, 77)).error().code, Errc::kMalformed);
  EXPECT_FALSE(forget(file, change(1, 77)));
}

// --- The shard of the name -----------------------------------------------------------------------

TEST_F(LinksOfInodes, EachNameThatGoesHasANumberOfItsOwn) {
  std::string first = shard_.local_name("f");
  std::string second = shard_.local_name("g");
  link_remote(first);
  link_remote(second);
  ASSERT_TRUE(unlink(first).has_value());
  ASSERT_TRUE(unlink(second).has_value());
  auto added = shard_.peer(1).received<wire::LinkInodeRequest>();
  auto forgotten = shard_.peer(1).received<wire::ForgetInodeRequest>();
  ASSERT_EQ(added.size(), 2U);
  ASSERT_EQ(forgotten.size(), 2U);
  std::set<std::uint64_t> tickets;
  for (const wire::LinkChange& one :
       {added[0].change, added[1].change, forgotten[0].change, forgotten[1].change}) {
    EXPECT_EQ(one.life, added[0].change.life);
    EXPECT_EQ(one.settled, one.ticket);  // all earlier ones were answered
    EXPECT_TRUE(tickets.insert(one.ticket).second);
  }
}

TEST_F(LinksOfInodes, ALinkWithoutAnAnswerIsTakenBackUntilTheHomeAnswers) {
  std::string name = shard_.local_name("f");
  shard_.peer(1).hold(Opcode::kLinkInode);
  shard_.peer(1).hold(Opcode::kForgetInode);
  auto linked =
      shard_.call(link_request(kRemote.value, name), name, Deadline::after(milliseconds(500)));
  ASSERT_FALSE(linked.has_value());
  ASSERT_TRUE(shard_.eventually([&] { return shard_.peer(1).count(Opcode::kForgetInode) > 0; }));
  EXPECT_TRUE(unlink(name).error().is_posix(ENOENT));
  EXPECT_TRUE(shard_.eventually_in_stats("\"names\":1"));
  auto added = shard_.peer(1).received<wire::LinkInodeRequest>();
  auto taken_back = shard_.peer(1).received<wire::ForgetInodeRequest>();
  EXPECT_EQ(taken_back[0].flags, wire::kForgetLink);
  EXPECT_EQ(taken_back[0].inode, kRemote.value);
  EXPECT_EQ(taken_back[0].change.ticket, added[0].change.ticket);
  EXPECT_EQ(taken_back[0].change.settled, added[0].change.ticket);  // not answered yet
  shard_.peer(1).release(Opcode::kForgetInode);
  EXPECT_TRUE(shard_.eventually_in_stats("\"names\":0"));
  shard_.peer(1).release(Opcode::kLinkInode);
}

TEST_F(LinksOfInodes, ALinkThatWasRefusedIsNotTakenBack) {
  std::string name = shard_.local_name("f");
  shard_.peer(1).answer_error(Opcode::kLinkInode, Error::from_errno(EMLINK));
  EXPECT_TRUE(shard_.call(link_request(kRemote.value, name), name).error().is_posix(EMLINK));
  EXPECT_TRUE(unlink(name).error().is_posix(ENOENT));
  EXPECT_TRUE(shard_.eventually_in_stats("\"names\":0"));
  EXPECT_EQ(shard_.peer(1).count(Opcode::kForgetInode), 0U);
}

// The shard of the new name owes it to the home as well, with the same number.
TEST_F(LinksOfInodes, TheShardOfTheOldNameTellsWhatWasReplacedWithTheNumberOfTheOther) {
  std::string from = shard_.local_name("f");
  create(from, 1);
  shard_.peer(2).answer<wire::InstallEntryRequest>(
      {.replaced = kRemote.value, .life = kLife, .ticket = 9});
  EXPECT_EQ(rename(from, remote_name(2, "g")), 0);
  auto told = shard_.peer(1).received<wire::ForgetInodeRequest>();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].change.life, kLife);
  EXPECT_EQ(told[0].change.ticket, 9U);
  EXPECT_EQ(told[0].change.shard, 2U);
  EXPECT_EQ(told[0].change.settled, 0U);
}

TEST_F(LinksOfInodes, WhatTheOtherShardReplacedIsCountedOnceWhenItsHomeIsHere) {
  wire::Attr file = create(shard_.local_name("here"), 1);
  ASSERT_TRUE(add(file, change(1, 2)).has_value());
  std::string from = shard_.local_name("f");
  create(from, 2);
  shard_.peer(2).answer<wire::InstallEntryRequest>(
      {.replaced = file.inode, .life = kLife, .ticket = 9});
  EXPECT_EQ(rename(from, remote_name(2, "g")), 0);
  EXPECT_EQ(links(file), 1U);
  EXPECT_TRUE(forget(file, change(9, 2)));
  EXPECT_EQ(links(file), 1U);
}

// --- Files without a name ------------------------------------------------------------------------

class UnnamedFiles : public LinksOfInodes {
 protected:
  Result<wire::EntryReply> make(std::uint64_t number, std::uint32_t flags = wire::kOpenWrite) {
    wire::OpenUnnamedRequest body;
    body.parent = wire::kRootInode.value;
    body.flags = flags;
    body.mode = 0640;
    body.open_number = number;
    return shard_.call(body);
  }
  wire::Attr made(std::uint64_t number, std::uint32_t flags = wire::kOpenWrite) {
    auto reply = make(number, flags);
    EXPECT_TRUE(reply.has_value()) << reply.error().message();
    return reply.value_or(wire::EntryReply{}).attr;
  }
  int link_here(wire::Attr file, const std::string& name) {
    auto linked = shard_.call(link_request(file.inode, name), name);
    return linked ? 0 : linked.error().to_errno();
  }
};

TEST_F(UnnamedFiles, OneEndsWithItsOpen) {
  wire::Attr file = made(1);
  EXPECT_EQ(file.mode, std::uint32_t{S_IFREG | 0640});
  EXPECT_EQ(links(file), 0U);
  EXPECT_EQ(made(1).inode, file.inode) << "a repeated open is the same";
  EXPECT_NE(made(2).inode, file.inode);
  ASSERT_TRUE(close(1));
  EXPECT_EQ(stat(file).error().to_errno(), ENOENT);
}

TEST_F(UnnamedFiles, OneIsFreedOnAllShardsThatHoldBytesOfIt) {
  wire::Attr file = made(1);
  ASSERT_TRUE(mark(1, file, 1).has_value());
  stores(1, 1 << 20);
  EXPECT_EQ(size(file), std::uint64_t{1} << 20);
  ASSERT_TRUE(close(1));
  EXPECT_TRUE(shard_.eventually([&] { return cuts(1) == 1; }));
  EXPECT_TRUE(shard_.eventually_in_stats("\"inodes\":1,"));
}

TEST_F(UnnamedFiles, ALinkNamesOneForGood) {
  std::string name = shard_.local_name("f");
  wire::Attr file = made(1);
  EXPECT_EQ(link_here(file, name), 0);
  EXPECT_EQ(links(file), 1U);
  ASSERT_TRUE(close(1));
  EXPECT_EQ(links(file), 1U);
  ASSERT_TRUE(unlink(name).has_value());
  EXPECT_EQ(stat(file).error().to_errno(), ENOENT);
}

TEST_F(UnnamedFiles, OneThatHasLostItsNameOrIsExclusiveGetsNone) {
  std::string name = shard_.local_name("f");
  wire::Attr file = made(1);
  EXPECT_EQ(link_here(file, name), 0);
  ASSERT_TRUE(unlink(name).has_value());
  EXPECT_EQ(links(file), 0U);
  EXPECT_EQ(link_here(file, name), ENOENT);
  EXPECT_EQ(link_here(made(2, wire::kOpenWrite | wire::kOpenExclusive), name), ENOENT);
}

TEST_F(UnnamedFiles, ANameThatCannotBeMadeLeavesItAsItWas) {
  wire::Attr file = made(1);
  wire::Attr directory = make_directory();
  rpc::testing::Client holder("holder", {shard_.address()});
  ASSERT_TRUE(takes_lease(holder, file));
  std::string name = name_in(directory);
  wire::LinkRequest body = link_request_in(directory, file, name);
  auto pending =
      shard_.client().start(rpc::make_call(body, name), Deadline::after(std::chrono::hours(1)));
  pass_time();
  ASSERT_FALSE(pending->has_value());
  ASSERT_TRUE(is_removed(directory));
  ASSERT_TRUE(ends_with(pending, holder));
  EXPECT_TRUE((**pending).error().is_posix(ESTALE)) << (**pending).error().message();
  EXPECT_EQ(links(file), 0U);
  EXPECT_EQ(link_here(file, shard_.local_name("f")), 0);
}

TEST_F(UnnamedFiles, ALinkFromAnotherShardThatIsTakenBackLeavesItAsItWas) {
  wire::Attr file = made(1);
  ASSERT_TRUE(add(file, change(1)).has_value());
  EXPECT_EQ(links(file), 1U);
  EXPECT_TRUE(forget(file, change(1), wire::kForgetLink));
  EXPECT_EQ(links(file), 0U);
  ASSERT_TRUE(add(file, change(2)).has_value());
  EXPECT_TRUE(forget(file, change(3), wire::kForgetUnmade));
  EXPECT_EQ(links(file), 0U);
  ASSERT_TRUE(add(file, change(4)).has_value());
  EXPECT_TRUE(forget(file, change(5)));
  EXPECT_EQ(add(file, change(6)).error().to_errno(), ENOENT);
}

}  // namespace
}  // namespace benchfs::server
