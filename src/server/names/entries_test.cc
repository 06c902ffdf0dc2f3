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

}  // namespace
}  // namespace benchfs::server
