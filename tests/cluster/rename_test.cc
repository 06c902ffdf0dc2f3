// Renames between servers that do not answer in time.

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <thread>

#include "cluster/many_clients.h"
#include "cluster/placement.h"

namespace benchfs {
namespace {

constexpr std::uint64_t kStranger = 77;  // an owner of the lease on directory renames

// An entry of the root.
class Name {
 public:
  Name(std::string prefix, std::uint32_t shard, std::uint32_t shards) : text_(std::move(prefix)) {
    while (cluster::entry_shard(wire::kRootInode, text_, shards).value != shard) {
      text_ += "x";
    }
  }
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::string path() const { return "/" + text_; }

 private:
  std::string text_;
};

class Renames : public ManyClients {
 protected:
  // A request that only shards send.
  template <typename Request>
  Result<rpc::Reply> ask(std::uint32_t shard, const Request& request, std::string_view name = {}) {
    rpc::Call call = rpc::make_call(request, name);
    auto wait = [&]() -> rt::CoResult<rpc::Reply> {
      co_return co_await fs(0).pool().call(
          wire::ShardId{shard}, call, Deadline::after(std::chrono::seconds(10)));
    };
    return at(0).run(wait());
  }
  // Asks for the lease on directory renames as a stranger.
  bool lock_renames(std::uint32_t lease_ms) {
    Result<rpc::Reply> reply = ask(0, wire::LockRenamesRequest{{}, kStranger, lease_ms});
    EXPECT_TRUE(reply || reply.error().is_posix(EBUSY)) << reply.error().message();
    return reply.has_value();
  }
  void unlock_renames() { EXPECT_TRUE(ask(0, wire::UnlockRenamesRequest{{}, kStranger})); }
  // Returns once somebody else has the lease.
  void expect_renames_locked() {
    Deadline deadline = Deadline::after(std::chrono::seconds(10));
    while (lock_renames(0) && !deadline.passed()) {
    }
    EXPECT_FALSE(deadline.passed());
  }
  std::uint64_t requests(std::uint32_t shard, const std::string& operation) {
    std::string stats = at(0).run(fs(0).shard_stats(wire::ShardId{shard})).value();
    std::string before = "\"operation\":\"" + operation + "\",\"requests\":";
    std::size_t found = stats.find(before);
    return found == std::string::npos
               ? 0
               : std::strtoull(stats.c_str() + found + before.size(), nullptr, 10);
  }
  // Has one shard connect to another.
  void connect(std::uint32_t from, std::uint32_t to) {
    Name first("first", from, cluster_->shard_count());
    Name second("second", to, cluster_->shard_count());
    make_file(0, first.path(), "");
    ASSERT_TRUE(at(0).run(fs(0).rename(first.path(), second.path())));
    ASSERT_TRUE(at(0).run(fs(0).unlink(second.path())));
  }
  void rename_beside(std::size_t i, const std::string& from, const std::string& to) {
    renamer_ = std::thread([=, this] {
      renamed_ = at(i).run(fs(i).rename(from, to));
      is_renamed_ = true;
    });
  }
  int join_rename() {
    renamer_.join();
    return renamed_ ? 0 : renamed_.error().to_errno();
  }

  void TearDown() override {
    for (std::uint32_t shard = 0; cluster_ != nullptr && shard < cluster_->shard_count(); ++shard) {
      cluster_->thaw(shard);
    }
    if (renamer_.joinable()) {
      renamer_.join();
    }
    ManyClients::TearDown();
  }

  std::thread renamer_;
  Status renamed_;
  std::atomic<bool> is_renamed_{false};
};

TEST_F(Renames, TheShardOfTheNewNameIsTooSlowForTheCallerAndOneNameIsLeft) {
  start({.servers = 2}, 1);
  add_client(std::chrono::milliseconds(500));
  connect(0, 1);
  for (int round = 0; round < 4; ++round) {
    Name from("from" + std::to_string(round), 0, 2);
    Name to("to" + std::to_string(round), 1, 2);
    make_file(0, from.path(), "data");
    ASSERT_EQ(stat_errno(1, from.path()), 0);  // connected
    ASSERT_EQ(stat_errno(1, to.path()), ENOENT);
    cluster_->freeze(1);
    EXPECT_FALSE(at(1).run(fs(1).rename(from.path(), to.path())));
    cluster_->thaw(1);
    // It may still go through, at any moment.
    bool at_from = stat_errno(0, from.path()) == 0;
    bool at_to = stat_errno(0, to.path()) == 0;
    if (at_from && at_to) {
      at_from = stat_errno(0, from.path()) == 0;
    }
    EXPECT_NE(at_from, at_to);
    auto file = at(0).run(fs(0).open(from.path(), wire::kOpenRead, 0));
    if (file) {
      EXPECT_TRUE(at(0).run(fs(0).close(*file)));
      EXPECT_EQ((*file)->attr.size, 4U);
    } else {
      EXPECT_EQ(read_file(0, to.path()), "data");
    }
  }
}

TEST_F(Renames, TheShardOfTheNewNameStandsStillForLongerThanAConnectionLives) {
  constexpr Nanos kLong = std::chrono::seconds(9);
  start({.servers = 2}, 1);
  connect(0, 1);
  Name from("from", 0, 2);
  Name to("to", 1, 2);
  make_file(0, from.path(), "data");
  cluster_->freeze(1);
  rename_beside(0, from.path(), to.path());
  Deadline deadline = Deadline::after(kLong);
  while (!is_renamed_ && !deadline.passed()) {
    std::this_thread::sleep_for(kLong / 100);  // lint: allow sleep it stands still
  }
  cluster_->thaw(1);
  EXPECT_EQ(join_rename(), 0) << renamed_.error().message();
  EXPECT_EQ(stat_errno(0, from.path()), ENOENT);
  EXPECT_EQ(read_file(0, to.path()), "data");
}

TEST_F(Renames, WhatWasRuledOutIsNotInstalledAndWhatWasInstalledIsKnown) {
  start({.servers = 2}, 1);
  Name name("name", 1, 2);
  make_file(0, Name("file", 0, 2).path(), "data");
  wire::Attr attr = at(0).run(fs(0).stat(Name("file", 0, 2).path())).value();
  wire::SettleInstallRequest settle;
  settle.ticket = 5;
  auto is_installed = [&] {
    return ask(1, settle).value().as<wire::SettleInstallReply>().value().installed == 1;
  };
  EXPECT_FALSE(is_installed());
  wire::InstallEntryRequest install;
  install.parent = wire::kRootInode.value;
  install.inode = attr.inode;
  install.type = S_IFREG;
  install.settled = 1;
  install.name_bytes = static_cast<std::uint16_t>(name.text().size());
  install.ticket = 5;
  Result<rpc::Reply> refused = ask(1, install, name.text());
  EXPECT_TRUE(!refused && refused.error().is_posix(EBUSY));
  EXPECT_EQ(stat_errno(0, name.path()), ENOENT);
  install.ticket = settle.ticket = 6;
  EXPECT_TRUE(ask(1, install, name.text()));
  EXPECT_EQ(stat_errno(0, name.path()), 0);
  // Whatever becomes of the name later.
  ASSERT_TRUE(at(0).run(fs(0).unlink(name.path())));
  EXPECT_TRUE(is_installed());
  install.sender = settle.sender = 2;  // there is none
  EXPECT_FALSE(ask(1, settle));
  EXPECT_FALSE(ask(1, install, name.text()));
}

// The lease ends while the rename asks whether it would build a loop, and somebody else gets it.
TEST_F(Renames, ADirectoryDoesNotMoveWhenTheLeaseOnRenamesHasEnded) {
  start({.servers = 3,
         .tweak = [](server::ShardConfig& c) { c.rename_lease = std::chrono::seconds(1); }},
        2);
  connect(1, 2);
  Name directory("d", 1, 3);
  Name parent("p", 2, 3);
  for (const Name* name : {&directory, &parent}) {
    ASSERT_TRUE(at(1).run(fs(1).mkdir(name->path(), 0755)));
  }
  ASSERT_EQ(stat_errno(0, parent.path() + "/new"), ENOENT);
  cluster_->freeze(2);
  rename_beside(1, directory.path(), parent.path() + "/new");
  expect_renames_locked();
  while (!lock_renames(60'000)) {
  }
  cluster_->thaw(2);
  std::uint64_t before = requests(0, "lock_renames");
  Deadline deadline = Deadline::after(std::chrono::seconds(10));
  while (requests(0, "lock_renames") < before + 3 && !deadline.passed()) {
  }
  EXPECT_FALSE(deadline.passed()) << "it did not ask again";
  EXPECT_FALSE(is_renamed_);
  EXPECT_EQ(stat_errno(0, directory.path()), 0);
  EXPECT_EQ(stat_errno(0, parent.path() + "/new"), ENOENT);
  unlock_renames();
  EXPECT_EQ(join_rename(), 0);
  EXPECT_EQ(stat_errno(0, directory.path()), ENOENT);
  EXPECT_EQ(stat_errno(0, parent.path() + "/new"), 0);
}

TEST_F(Renames, ADirectoryThatMovesSlowlyKeepsTheLeaseOnRenames) {
  constexpr Nanos kLease = std::chrono::seconds(2);
  start({.servers = 3, .tweak = [=](server::ShardConfig& c) { c.rename_lease = kLease; }}, 2);
  connect(1, 2);
  Name directory("d", 1, 3);
  Name to("to", 2, 3);
  ASSERT_TRUE(at(1).run(fs(1).mkdir(directory.path(), 0755)));
  ASSERT_EQ(stat_errno(1, to.path()), ENOENT);
  cluster_->freeze(2);
  rename_beside(1, directory.path(), to.path());
  expect_renames_locked();
  Deadline deadline = Deadline::after(3 * kLease / 2);
  while (!deadline.passed()) {
    ASSERT_FALSE(lock_renames(1));
    std::this_thread::sleep_for(kLease / 50);  // lint: allow sleep the lease would end meanwhile
  }
  cluster_->thaw(2);
  EXPECT_EQ(join_rename(), 0) << renamed_.error().message();
  EXPECT_EQ(stat_errno(0, directory.path()), ENOENT);
  EXPECT_EQ(stat_errno(0, to.path()), 0);
  EXPECT_TRUE(lock_renames(1));
}

}  // namespace
}  // namespace benchfs
