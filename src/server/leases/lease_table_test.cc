#include "server/leases/lease_table.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace benchfs::server {
namespace {

using std::chrono::seconds;

const EntryKey kD{wire::kRootInode, "d"};
const EntryKey kE{wire::kRootInode, "e"};

class LeaseTableTest : public testing::Test {
 protected:
  bool grant(const EntryKey& key, std::uint64_t holder, seconds until) {
    return table_.grant(key, holder, LeaseKind::kName, start_ + until);
  }
  LeaseTable::Lease* lease(const EntryKey& key, std::uint64_t holder) {
    LeaseTable::Lease* found = nullptr;
    table_.for_each_on(
        key, [&](LeaseTable::Lease& each) { found = each.holder() == holder ? &each : found; });
    return found;
  }
  std::vector<std::uint64_t> holders(const EntryKey& key) {
    std::vector<std::uint64_t> all;
    table_.for_each_on(key, [&](LeaseTable::Lease& each) { all.push_back(each.holder()); });
    return all;
  }

  MonoTime start_ = mono_now();
  LeaseTable table_{4};
};

TEST_F(LeaseTableTest, ThereIsOneLeaseForEachKeyAndHolder) {
  EXPECT_TRUE(grant(kD, 1, seconds(1)));
  EXPECT_TRUE(grant(kD, 2, seconds(2)));
  EXPECT_TRUE(grant(kE, 1, seconds(3)));
  EXPECT_TRUE(grant(kD, 1, seconds(4)));
  EXPECT_EQ(table_.size(), 3U);
  EXPECT_EQ(holders(kD), (std::vector<std::uint64_t>{2, 1}));
  EXPECT_EQ(table_.first_end(kD), start_ + seconds(2));
  EXPECT_EQ(lease(kD, 1)->until(), start_ + seconds(4));
}

TEST_F(LeaseTableTest, WhatHasEndedIsRemoved) {
  grant(kD, 1, seconds(1));
  grant(kE, 1, seconds(2));
  grant(kD, 1, seconds(3));
  table_.expire(start_ + seconds(2));
  EXPECT_TRUE(table_.has(kD));
  EXPECT_FALSE(table_.has(kE));
  table_.expire(start_ + seconds(3));
  EXPECT_EQ(table_.size(), 0U);
}

TEST_F(LeaseTableTest, AFullTableRenewsButDoesNotGrant) {
  for (std::uint64_t holder = 1; holder <= 4; ++holder) {
    EXPECT_TRUE(grant(kD, holder, seconds(1)));
  }
  EXPECT_TRUE(table_.is_full());
  EXPECT_FALSE(grant(kD, 5, seconds(2)));
  EXPECT_FALSE(grant(kE, 1, seconds(2)));
  EXPECT_TRUE(grant(kD, 4, seconds(3)));
  EXPECT_EQ(table_.size(), 4U);
}

TEST_F(LeaseTableTest, ARenewedLeaseIsNoLongerRevoked) {
  grant(kD, 1, seconds(1));
  std::uint64_t sequence = table_.revoke(*lease(kD, 1));
  EXPECT_EQ(table_.find_revoked(sequence), lease(kD, 1));
  grant(kD, 1, seconds(2));
  EXPECT_EQ(table_.find_revoked(sequence), nullptr);
  EXPECT_EQ(lease(kD, 1)->sequence(), 0U);
}

TEST_F(LeaseTableTest, ARemovedLeaseIsNotFoundByItsSequence) {
  grant(kD, 1, seconds(1));
  std::uint64_t first = table_.revoke(*lease(kD, 1));
  std::uint64_t second = table_.revoke(*lease(kD, 1));
  EXPECT_NE(first, second);
  EXPECT_EQ(table_.find_revoked(first), nullptr);
  table_.remove(*lease(kD, 1));
  EXPECT_EQ(table_.find_revoked(second), nullptr);
}

TEST_F(LeaseTableTest, CountsWhatIsHeldRecalledAndRunOutByKind) {
  auto expect = [&](LeaseKind kind, std::uint64_t held, std::uint64_t recalled, std::uint64_t out) {
    EXPECT_EQ(table_.stats(kind).held, held);
    EXPECT_EQ(table_.stats(kind).recalled, recalled);
    EXPECT_EQ(table_.stats(kind).run_out, out);
  };
  grant(kD, 1, seconds(1));
  grant(kD, 2, seconds(1));
  table_.grant(kE, 1, LeaseKind::kMissingName, start_ + seconds(2));
  expect(LeaseKind::kName, 2, 0, 0);
  expect(LeaseKind::kMissingName, 1, 0, 0);
  table_.revoke(*lease(kD, 1));
  table_.revoke(*lease(kD, 1));
  table_.revoke(*lease(kD, 2));
  expect(LeaseKind::kName, 2, 2, 0);
  table_.remove(*lease(kD, 2));  // acknowledged
  table_.grant(kE, 1, LeaseKind::kName, start_ + seconds(2));
  expect(LeaseKind::kName, 2, 2, 0);
  expect(LeaseKind::kMissingName, 0, 0, 0);
  table_.expire(start_ + seconds(3));
  expect(LeaseKind::kName, 0, 2, 1);
}

TEST_F(LeaseTableTest, AHolderCanGiveEverythingBack) {
  grant(kD, 1, seconds(1));
  grant(kE, 1, seconds(1));
  grant(kE, 2, seconds(1));
  table_.remove_all_of(1);
  EXPECT_FALSE(table_.has(kD));
  EXPECT_EQ(holders(kE), std::vector<std::uint64_t>{2});
}

}  // namespace
}  // namespace benchfs::server
