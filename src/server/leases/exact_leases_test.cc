#include "server/leases/exact_leases.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "server/testing/names_fixture.h"

namespace benchfs::server {
namespace {

using testing::kPeer;
using testing::kSelf;
using testing::NamesTest;

constexpr std::uint32_t kMissing = wire::kEntryLeased | wire::kEntryMissing;

// Missing names that a client may take for missing until it is told otherwise.
class MissingNamesTest : public NamesTest {
 protected:
  void SetUp() override { start(); }

  // What a client that takes leases is told of a name.
  Result<wire::EntryReply> take_lease(rpc::testing::Client& client, std::string_view name) {
    wire::LookupRequest body{.parent = wire::kRootInode.value,
                             .name_bytes = static_cast<std::uint16_t>(name.size()),
                             .flags = wire::kLookupLease};
    Result<rpc::Reply> reply = client.call(rpc::make_call(body, name));
    if (!reply) {
      return std::unexpected(reply.error());
    }
    return reply->as<wire::EntryReply>();
  }
  std::uint32_t flags_of(rpc::testing::Client& client, std::string_view name) {
    Result<wire::EntryReply> reply = take_lease(client, name);
    return reply ? reply->flags : 0;
  }
  std::size_t leases() {
    std::size_t count = 0;
    run([&](net::Worker&) { count = service_.names->exact_leases().size(); });
    return count;
  }
  void make_old(const std::string& name) {
    ASSERT_TRUE(open(name, wire::kOpenWrite | wire::kOpenCreate));
  }

  int unlink(std::string_view name) {
    wire::UnlinkRequest body{.parent = wire::kRootInode.value,
                             .name_bytes = static_cast<std::uint16_t>(name.size())};
    return errno_of(call(body, name));
  }
  // Makes name_, of which the client takes leases.
  [[nodiscard]] wire::OpenRequest leased_creation() const {
    return {.parent = wire::kRootInode.value,
            .flags = wire::kOpenWrite | wire::kOpenCreate | wire::kOpenExclusive | wire::kOpenLease,
            .mode = 0644,
            .name_bytes = static_cast<std::uint16_t>(name_.size()),
            .open_number = 5};
  }
  template <typename Request>
  void expect_wait(const Request& body,
                   const std::string& name,
                   std::string_view first,
                   std::string_view second = {});

  std::string name_ = name_on(kSelf, "new");
  std::string old_ = name_on(kSelf, "old");
};

TEST_F(MissingNamesTest, AreLeasedToThoseThatTakeLeases) {
  Result<wire::EntryReply> reply = take_lease(*client_, name_);
  ASSERT_TRUE(reply);
  EXPECT_EQ(reply->flags, kMissing);
  EXPECT_FALSE(reply->attr.id().is_valid());
  EXPECT_EQ(leases(), 1U);
  EXPECT_EQ(lookup(name_).error().to_errno(), ENOENT);
}

// `body` makes `name`, which somebody else took for missing.
template <typename Request>
void MissingNamesTest::expect_wait(const Request& body,
                                   const std::string& name,
                                   std::string_view first,
                                   std::string_view second) {
  SCOPED_TRACE(name);
  rpc::testing::Client holder("holder", addresses());
  ASSERT_EQ(flags_of(holder, name), kMissing);
  auto pending = start_call(body, first, second);
  EXPECT_FALSE(pending->has_value());
  EXPECT_EQ(errno_of(open(name, wire::kOpenRead)), ENOENT);
  Deadline end = Deadline::after(std::chrono::seconds(5));
  while (!pending->has_value() && !end.passed()) {
    (void)holder.ping();  // it reads the notice when that has come, and acknowledges
    (void)client_->ping();
  }
  ASSERT_TRUE(pending->has_value());
  EXPECT_TRUE(pending->value()) << pending->value().error().message();
  EXPECT_EQ(flags_of(holder, name) & kMissing, wire::kEntryLeased);
}

TEST_F(MissingNamesTest, AreNotMadeBeforeEverybodyElseHasForgottenThem) {
  make_old(old_);
  constexpr std::uint64_t kRoot = wire::kRootInode.value;
  auto length = [](const std::string& name) { return static_cast<std::uint16_t>(name.size()); };
  std::string file = name_on(kSelf, "file");
  expect_wait(wire::OpenRequest{.parent = kRoot,
                                .flags = wire::kOpenWrite | wire::kOpenCreate,
                                .mode = 0644,
                                .name_bytes = length(file),
                                .open_number = 77},
              file,
              file);
  std::string directory = name_on(kSelf, "directory");
  expect_wait(wire::MkdirRequest{.parent = kRoot, .mode = 0755, .name_bytes = length(directory)},
              directory,
              directory);
  std::string fifo = name_on(kSelf, "fifo");
  expect_wait(
      wire::MakeSpecialRequest{.parent = kRoot, .mode = S_IFIFO | 0644, .name_bytes = length(fifo)},
      fifo,
      fifo);
  std::string link = name_on(kSelf, "link");
  wire::InodeId inode = lookup(old_).value().attr.id();
  expect_wait(wire::LinkRequest{.inode = inode.value, .parent = kRoot, .name_bytes = length(link)},
              link,
              link);
  std::string renamed = name_on(kSelf, "renamed");
  expect_wait(rename_request(old_, renamed), renamed, old_, renamed);
}

// Else it would be called back again, and those who keep asking would hold the change up for ever.
TEST_F(MissingNamesTest, AreNotLeasedAgainWhileTheAttributesOfTheirDirectoryAreCalledBack) {
  constexpr std::uint64_t kSilent = 999;  // a client that does not answer
  const EntryRef attributes = ExactLeases::attributes(wire::kRootInode);
  rpc::testing::Client holder("holder", addresses());
  run([&](net::Worker&) {
    ASSERT_TRUE(service_.names->exact_leases().grant(attributes, kSilent, mono_now()));
  });
  ASSERT_EQ(flags_of(holder, name_), kMissing);
  ASSERT_EQ(leases(), 2U);
  auto pending =
      start_call(wire::MkdirRequest{.parent = wire::kRootInode.value,
                                    .mode = 0755,
                                    .name_bytes = static_cast<std::uint16_t>(name_.size())},
                 name_);
  Deadline end = Deadline::after(std::chrono::seconds(5));
  while (leases() > 1 && !end.passed()) {
    (void)holder.ping();
  }
  ASSERT_EQ(leases(), 1U);
  EXPECT_FALSE(pending->has_value());
  EXPECT_EQ(flags_of(holder, name_), 0U);
  EXPECT_EQ(leases(), 1U);
  run([&](net::Worker&) { service_.names->exact_leases().give_back(attributes, kSilent); });
  while (!pending->has_value() && !end.passed()) {
    (void)client_->ping();
  }
  ASSERT_TRUE(pending->has_value());
  EXPECT_TRUE(pending->value()) << pending->value().error().message();
}

TEST_F(MissingNamesTest, AreMadeAtOnceByTheirOnlyHolderWhoseLeaseEnds) {
  ASSERT_EQ(flags_of(*client_, name_), kMissing);
  make_old(name_);
  EXPECT_EQ(leases(), 0U);
  ASSERT_EQ(unlink(name_), 0);
  ASSERT_EQ(flags_of(*client_, name_), kMissing);
  ASSERT_TRUE(mkdir(name_));
  EXPECT_EQ(leases(), 0U);
}

TEST_F(MissingNamesTest, AnUnlinkEndsTheLeaseOfTheClientThatAsksForIt) {
  make_old(name_);
  ASSERT_NE(flags_of(*client_, name_) & wire::kEntryLeased, 0U);
  auto held = [&] {
    std::uint64_t count = 0;
    run([&](net::Worker&) { count = service_.names->lease_stats(LeaseKind::kName).held; });
    return count;
  };
  EXPECT_EQ(held(), 1U);
  ASSERT_EQ(unlink(name_), 0);
  EXPECT_EQ(held(), 0U);
}

// A look-up that waited for a removal that did not happen.
TEST_F(MissingNamesTest, NoneIsLeasedInADirectoryThatIsBeingRemoved) {
  constexpr std::uint64_t kOwner = 5;
  wire::InodeId directory = mkdir(name_).value();
  wire::FreezeDirectoryRequest freeze{
      .directory = directory.value, .owner = kOwner, .shard = kPeer.value};
  ASSERT_TRUE(call(freeze));
  std::string inside = name_on(kSelf, "inside", directory);
  wire::LookupRequest body{.parent = directory.value,
                           .name_bytes = static_cast<std::uint16_t>(inside.size()),
                           .flags = wire::kLookupLease};
  EXPECT_FALSE(call(body, inside, {}, std::chrono::milliseconds(300)));
  EXPECT_EQ(leases(), 0U);
}

TEST_F(MissingNamesTest, AChangeThatEndsAtItsDeadlineNamesWhoHasTheNameCached) {
  rpc::testing::Client holder("host:4711:holder", addresses());
  ASSERT_EQ(flags_of(holder, name_), kMissing);
  auto made = mkdir(name_, wire::kRootInode, std::chrono::seconds(4));
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message().find("host:4711:holder, which has the name cached"),
            std::string::npos)
      << made.error().message();
  run([&](net::Worker&) {
    const LeaseTable::Stats& stats = service_.names->lease_stats(LeaseKind::kMissingName);
    EXPECT_EQ(stats.held, 1U);
    EXPECT_EQ(stats.recalled, 1U);
    EXPECT_EQ(stats.run_out, 0U);
  });
}

// Programs do not wait because a client does not answer.
TEST_F(MissingNamesTest, ANameIsFoundWhileItsReplacementWaitsForAClient) {
  constexpr std::uint64_t kSilent = 999;
  make_old(old_);
  make_old(name_);
  wire::InodeId replaced = lookup(name_).value().attr.id();
  wire::InodeId installed = lookup(old_).value().attr.id();
  const EntryRef attributes = ExactLeases::attributes(replaced);
  run([&](net::Worker&) {
    ASSERT_TRUE(service_.names->exact_leases().grant(attributes, kSilent, mono_now()));
  });
  auto pending = start_call(rename_request(old_, name_), old_, name_);
  EXPECT_EQ(flags_of(*client_, name_), 0U) << "it would be called back next";
  Result<wire::EntryReply> found = lookup(name_);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_EQ(found->attr.id(), replaced);
  EXPECT_FALSE(pending->has_value());
  run([&](net::Worker&) { service_.names->exact_leases().give_back(attributes, kSilent); });
  Deadline end = Deadline::after(std::chrono::seconds(5));
  while (!pending->has_value() && !end.passed()) {
    (void)client_->ping();
  }
  ASSERT_TRUE(pending->has_value());
  EXPECT_TRUE(pending->value()) << pending->value().error().message();
  EXPECT_EQ(lookup(name_).value().attr.id(), installed);
}

// What is told with the creation is called back like everything that clients cache.
TEST_F(MissingNamesTest, AFileIsLeasedToWhoMakesItAndTheNameIsCalledBack) {
  rpc::testing::Client maker("maker", addresses());
  ASSERT_EQ(flags_of(maker, name_), kMissing);
  Result<rpc::Reply> made = maker.call(rpc::make_call(leased_creation(), name_));
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(made->as<wire::EntryReply>()->flags, wire::kEntryCreated | wire::kEntryLeased);
  EXPECT_EQ(leases(), 1U);
  wire::UnlinkRequest unlink{.parent = wire::kRootInode.value,
                             .name_bytes = static_cast<std::uint16_t>(name_.size())};
  auto pending = start_call(unlink, name_);
  EXPECT_TRUE(lookup(name_));
  EXPECT_FALSE(pending->has_value());
  Deadline end = Deadline::after(std::chrono::seconds(5));
  while (!pending->has_value() && !end.passed()) {
    (void)maker.ping();
    (void)client_->ping();
  }
  ASSERT_TRUE(pending->has_value());
  EXPECT_TRUE(pending->value()) << pending->value().error().message();
}

TEST_F(MissingNamesTest, ANameThatIsThereAlreadyIsNotLeasedByItsCreation) {
  make_old(name_);
  EXPECT_EQ(errno_of(call(leased_creation(), name_)), EEXIST);
  EXPECT_EQ(leases(), 0U);
}

// Whoever ends a file has no use for its attributes any more.
TEST_F(MissingNamesTest, TheAttributesOfAFileThatEndsAreNotCalledBackFromWhoEndsIt) {
  make_old(name_);
  constexpr std::uint32_t kBoth = wire::kEntryLeased | wire::kAttrLeased;
  ASSERT_EQ(flags_of(*client_, name_), kBoth);
  wire::UnlinkRequest body{.parent = wire::kRootInode.value,
                           .forgotten = lookup(name_).value().attr.inode,
                           .name_bytes = static_cast<std::uint16_t>(name_.size())};
  EXPECT_EQ(errno_of(call(body, name_)), 0);
  EXPECT_EQ(leases(), 0U);
  run([&](net::Worker&) {
    EXPECT_EQ(service_.names->exact_leases().stats(LeaseKind::kAttributes).recalled, 0U);
  });
}

// There is no end of them: they leave room for what is there.
TEST(ExactLeasesTest, MissingNamesGetHalfOfTheTable) {
  ExactLeases leases({.max_leases = 4});
  MonoTime now = mono_now();
  auto key = [](const char* name) { return EntryRef{wire::kRootInode, name}; };
  EXPECT_TRUE(leases.grant_missing(key("a"), 1, now));
  EXPECT_TRUE(leases.grant_missing(key("b"), 1, now));
  EXPECT_FALSE(leases.grant_missing(key("c"), 1, now));
  EXPECT_TRUE(leases.grant(key("d"), 1, now));
  EXPECT_TRUE(leases.grant(key("e"), 1, now));
  EXPECT_FALSE(leases.grant(key("f"), 1, now));
}

// A listing is as long as its directory.
TEST(ExactLeasesTest, ListedNamesAndAttributesGetHalfOfTheTable) {
  ExactLeases leases({.max_leases = 4});
  MonoTime now = mono_now();
  auto key = [](const char* name) { return EntryRef{wire::kRootInode, name}; };
  EntryRef attributes = ExactLeases::attributes(wire::kRootInode);
  EXPECT_TRUE(leases.grant_listed(key("a"), 1, now));
  EXPECT_TRUE(leases.grant_listed(attributes, 1, now));
  EXPECT_FALSE(leases.grant_listed(key("c"), 1, now));
  EXPECT_TRUE(leases.grant(key("d"), 1, now));
  EXPECT_TRUE(leases.grant(key("e"), 1, now));
}

}  // namespace
}  // namespace benchfs::server
