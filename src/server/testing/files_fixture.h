// The home of files under test, and its chunk shards, which are scripted.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "server/testing/shard_under_test.h"

namespace benchfs::server::testing {

inline constexpr std::uint32_t kWrite = wire::kOpenCreate | wire::kOpenWrite;

class FilesTest : public ::testing::Test {
 protected:
  wire::Attr create(const std::string& name, std::uint64_t number, std::uint32_t flags = kWrite) {
    auto reply = open(name, number, flags);
    EXPECT_TRUE(reply.has_value()) << reply.error().message();
    return reply.value_or(wire::EntryReply{}).attr;
  }
  Result<wire::EntryReply> open(const std::string& name,
                                std::uint64_t number,
                                std::uint32_t flags = kWrite) {
    wire::OpenRequest body;
    body.parent = wire::kRootInode.value;
    body.flags = flags;
    body.mode = 0644;
    body.name_bytes = static_cast<std::uint16_t>(name.size());
    body.open_number = number;
    return shard_.call(body, name);
  }
  bool close(std::uint64_t number) {
    wire::CloseNotice notice;
    notice.open_number = number;
    return shard_.notify(notice);
  }
  Result<wire::UnlinkReply> unlink(const std::string& name, std::uint16_t flags = 0) {
    wire::UnlinkRequest body;
    body.flags = flags;
    body.parent = wire::kRootInode.value;
    body.name_bytes = static_cast<std::uint16_t>(name.size());
    return shard_.call(body, name);
  }
  Result<wire::EntryReply> stat(wire::Attr of, Nanos patience = std::chrono::seconds(10)) {
    wire::GetAttrRequest body;
    body.inode = of.inode;
    return shard_.call(body, {}, Deadline::after(patience));
  }
  std::uint64_t size(wire::Attr of) {
    auto reply = stat(of);
    EXPECT_TRUE(reply.has_value()) << reply.error().message();
    return reply ? reply->attr.size : UINT64_MAX;
  }
  Result<wire::EntryReply> truncate(wire::Attr of,
                                    std::uint64_t size,
                                    Nanos patience = std::chrono::seconds(10)) {
    wire::SetAttrRequest body;
    body.inode = of.inode;
    body.mask = wire::kSetSize;
    body.size = size;
    return shard_.call(body, {}, Deadline::after(patience));
  }
  // A truncation of which shard 1 has heard, and whose caller gives up while it is held up. One
  // that is given up before it began has changed nothing.
  void begin_truncation(wire::Attr of, std::uint64_t size) {
    std::size_t before = cuts(1);
    do {
      EXPECT_FALSE(truncate(of, size, std::chrono::milliseconds(300)).has_value());
    } while (cuts(1) == before && !HasFailure());
  }
  // The shard does what it can do.
  void pass_time() {
    for (int i = 0; i < 10; ++i) {
      shard_.stats();
    }
  }
  // Whether the client may take the attributes for known from now on. Until it pings it hears of
  // nothing.
  static bool takes_lease(rpc::testing::Client& client, wire::Attr of) {
    wire::GetAttrRequest body{.inode = of.inode, .flags = wire::kGetAttrLease};
    Result<rpc::Reply> reply = client.call(rpc::make_call(body));
    return reply && (reply->as<wire::EntryReply>()->flags & wire::kAttrLeased) != 0;
  }
  // Until the call has ended, with the client giving back what the shard wants back; false after
  // five seconds, in which no lease ends.
  bool ends_with(const rpc::testing::Client::Pending& pending, rpc::testing::Client& client) {
    Deadline end = Deadline::after(std::chrono::seconds(5));
    while (!pending->has_value() && !end.passed()) {
      (void)client.ping();
      shard_.stats();
    }
    return pending->has_value();
  }
  // Whether the call is answered only when a client that has the attributes cached has forgotten
  // them.
  bool waits_for_a_holder(wire::Attr of, const rpc::Call& call) {
    rpc::testing::Client holder("holder", {shard_.address()});
    bool is_leased = takes_lease(holder, of);
    auto pending = shard_.client().start(call, Deadline::after(std::chrono::hours(1)));
    pass_time();
    bool waits = !pending->has_value();
    return ends_with(pending, holder) && is_leased && waits && (**pending).has_value();
  }
  // What a chunk shard sends before it stores a byte.
  Result<wire::MarkReply> mark(std::uint32_t shard,
                               wire::Attr file,
                               std::uint64_t stamp,
                               std::uint32_t flags = 0) {
    wire::MarkRequest body;
    body.inode = file.inode;
    body.stamp = stamp;
    body.shard = shard;
    body.flags = flags;
    return shard_.call(body);
  }
  // What it answers from now on.
  void stores(std::uint32_t shard, std::uint64_t end, std::uint64_t stamp = 0) {
    wire::QueryChunksReply reply;
    reply.end = end;
    reply.mtime_ns = 1;
    reply.chunk_count = 1;
    reply.stamp = stamp;
    shard_.peer(shard).answer<wire::QueryChunksRequest>(reply);
  }
  std::size_t queries(std::uint32_t shard) {
    return shard_.peer(shard).count(wire::Opcode::kQueryChunks);
  }
  std::size_t cuts(std::uint32_t shard) {
    return shard_.peer(shard).count(wire::Opcode::kTruncateChunks);
  }

  // Before the first test of a suite.
  static inline Nanos forgotten_ = std::chrono::hours(24);
  static inline Nanos client_grace_ = std::chrono::seconds(30);
  static inline ShardUnderTest::Options options_{};

  ShardUnderTest shard_{[] {
    ShardUnderTest::Options options = options_;
    options.tweak = [](ShardConfig& config) {
      config.mark_times.forgotten = forgotten_;
      config.client_grace = client_grace_;
    };
    return options;
  }()};
};

}  // namespace benchfs::server::testing
