// Names that are replaced while they are looked up.

#include "server/names/entries.h"

#include "server/testing/names_fixture.h"

namespace benchfs::server {
namespace {

class EntriesTest : public testing::NamesTest {
 protected:
  // A file of the root, made by the client.
  wire::InodeId make_file(const std::string& name) {
    Result<rpc::Reply> made = open(name, wire::kOpenCreate);
    EXPECT_TRUE(made) << made.error().message();
    return made ? made->as<wire::EntryReply>()->attr.id() : wire::InodeId{};
  }
  // When `name` has been found next, another file takes its place, and its inode goes.
  void replace_when_found(const std::string& name, wire::InodeId with) {
    run([&, with](net::Worker&) {
      service_.door->before_use = [this, name, with] {
        meta::MetaStore& store = *service_.store;
        wire::InodeId old = store.find(wire::kRootInode, name)->inode;
        ASSERT_TRUE(
            store.apply(meta::PutEntry{wire::kRootInode, name, {with, S_IFREG}, 1, mono_now()}));
        ASSERT_TRUE(store.apply(meta::Unlink{old, 1}));
        store.apply(meta::Erase{old});
      };
    });
  }
};

TEST_F(EntriesTest, ALookupOfANameThatIsReplacedAnswersTheNewInode) {
  start();
  std::string name = name_on(testing::kSelf, "f");
  make_file(name);
  wire::InodeId other = make_file(name_on(testing::kSelf, "other"));
  replace_when_found(name, other);
  Result<wire::EntryReply> found = lookup(name);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(found->attr.id(), other);
}

TEST_F(EntriesTest, AnOpenOfANameThatIsReplacedOpensTheNewInode) {
  start();
  std::string name = name_on(testing::kSelf, "f");
  make_file(name);
  wire::InodeId other = make_file(name_on(testing::kSelf, "other"));
  replace_when_found(name, other);
  Result<rpc::Reply> found = open(name, wire::kOpenRead);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(found->as<wire::EntryReply>()->attr.id(), other);
}

TEST_F(EntriesTest, ANameWhoseInodeIsLostIsAnInputOutputError) {
  start();
  std::string name = name_on(testing::kSelf, "f");
  put(name, wire::InodeId::make(testing::kSelf, 7), S_IFREG);
  EXPECT_EQ(lookup(name).error().to_errno(), EIO);
  EXPECT_EQ(errno_of(open(name, wire::kOpenRead)), EIO);
}

TEST_F(EntriesTest, SpecialFilesAreMadeAndNeverOpened) {
  start();
  std::string name = name_on(testing::kSelf, "s");
  wire::MakeSpecialRequest body{.parent = wire::kRootInode.value,
                                .mode = S_IFBLK | 0640,
                                .uid = 7,
                                .gid = 8,
                                .device = 0x0102,
                                .name_bytes = static_cast<std::uint16_t>(name.size())};
  ASSERT_TRUE(call(body, name));
  Result<wire::EntryReply> found = lookup(name);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(found->attr.mode, S_IFBLK | 0640U);
  EXPECT_EQ(found->attr.uid, 7U);
  EXPECT_EQ(found->attr.gid, 8U);
  EXPECT_EQ(found->attr.device(), 0x0102U);
  EXPECT_EQ(errno_of(open(name, wire::kOpenRead)), ENXIO);
  EXPECT_EQ(errno_of(call(body, name)), EEXIST);
  // The types that have requests of their own.
  std::string other = name_on(testing::kSelf, "other");
  body.name_bytes = static_cast<std::uint16_t>(other.size());
  for (std::uint32_t type : std::initializer_list<std::uint32_t>{S_IFREG, S_IFDIR, S_IFLNK, 0}) {
    body.mode = type | 0644U;
    EXPECT_EQ(errno_of(call(body, other)), EINVAL);
  }
}

TEST_F(EntriesTest, TheInodeIsDroppedAfterTheName) {
  start();
  std::string name = name_on(testing::kSelf, "f");
  wire::InodeId file = make_file(name);
  wire::UnlinkRequest body{.parent = wire::kRootInode.value,
                           .name_bytes = static_cast<std::uint16_t>(name.size())};
  EXPECT_TRUE(call(body, name));
  run([&](net::Worker&) {
    EXPECT_EQ(service_.door->dropped, std::vector<wire::InodeId>{file});
    EXPECT_FALSE(service_.store->find(wire::kRootInode, name));
  });
}

// --- Links ---------------------------------------------------------------------------------------

class LinksTest : public EntriesTest {
 protected:
  void start_link() {
    start();
    Result<wire::InodeId> directory = mkdir(name_on(testing::kSelf, "d"));
    ASSERT_TRUE(directory);
    directory_ = *directory;
    name_ = name_on(testing::kSelf, "new", directory_);
    run([&](net::Worker&) { service_.door->holds_links = true; });
    body_ = {.inode = inode_.value,
             .parent = directory_.value,
             .name_bytes = static_cast<std::uint16_t>(name_.size())};
    pending_ = start_call(body_, name_);
  }
  bool ends() {
    run([&](net::Worker&) {
      service_.door->holds_links = false;
      service_.door->links_go_on.wake_all();
    });
    return is_done(pending_);
  }

  wire::InodeId inode_ = wire::InodeId::make(testing::kPeer, 9);
  wire::InodeId directory_;
  std::string name_;
  wire::LinkRequest body_;
  rpc::testing::Client::Pending pending_;
};

// Else another name that goes meanwhile takes the inode along.
TEST_F(LinksTest, TheInodeHasCountedANameBeforeAnybodySeesIt) {
  start_link();
  wire::LookupRequest lookup{.parent = directory_.value, .name_bytes = body_.name_bytes};
  Result<rpc::Reply> found = call(lookup, name_, {}, std::chrono::milliseconds(100));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Errc::kDeadline);
  run([&](net::Worker&) { EXPECT_FALSE(service_.store->find(directory_, name_)); });
  ASSERT_TRUE(ends());
  ASSERT_TRUE(pending_->value());
  EXPECT_EQ(pending_->value()->as<wire::EntryReply>()->flags,
            wire::kEntryCreated | wire::kEntryRemote);
  found = call(lookup, name_);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->as<wire::EntryReply>()->attr.id(), inode_);
}

// Else an inode would get a name and lose it, which somebody may see.
TEST_F(LinksTest, ADirectoryInWhichALinkIsMadeIsNotRemoved) {
  start_link();
  wire::FreezeDirectoryRequest freeze{.directory = directory_.value, .owner = 5};
  EXPECT_FALSE(call(freeze, {}, {}, std::chrono::milliseconds(100)));
  ASSERT_TRUE(ends());
  EXPECT_TRUE(pending_->value());
  EXPECT_EQ(errno_of(call(freeze)), ENOTEMPTY);
}

TEST_F(LinksTest, ANameThatCannotBeMadeIsDropped) {
  start_link();
  run([&](net::Worker&) { service_.store->apply(meta::RemoveDirectory{directory_}); });
  ASSERT_TRUE(ends());
  EXPECT_EQ(errno_of(pending_->value()), ESTALE);
  run([&](net::Worker&) {
    EXPECT_EQ(service_.door->linked, std::vector<wire::InodeId>{inode_});
    EXPECT_EQ(service_.door->dropped, std::vector<wire::InodeId>{inode_});
  });
}

TEST_F(LinksTest, ANameThatIsThereStays) {
  start();
  name_ = name_on(testing::kSelf, "f");
  wire::InodeId file = make_file(name_);
  body_ = {.inode = inode_.value,
           .parent = wire::kRootInode.value,
           .name_bytes = static_cast<std::uint16_t>(name_.size())};
  EXPECT_EQ(errno_of(call(body_, name_)), EEXIST);
  run([&](net::Worker&) { EXPECT_TRUE(service_.door->linked.empty()); });
  EXPECT_EQ(lookup(name_)->attr.id(), file);
}

}  // namespace
}  // namespace benchfs::server
