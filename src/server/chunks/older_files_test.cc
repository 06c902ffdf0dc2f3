#include "server/chunks/older_files.h"

#include <gtest/gtest.h>

#include "rt/reactor.h"

namespace benchfs::server {
namespace {

TEST(OlderFiles, OfTheShardItselfAreOnlyThoseThatItDidNotMake) {
  constexpr std::uint64_t kSpan = 4;
  auto reactor = rt::Reactor::create({});
  ASSERT_TRUE(reactor);
  Peers peers;
  meta::InodeTable own(peers.self, 1000);
  OlderFiles older(peers, kSpan);
  older.begin(own);
  for (int i = 0; i < 100; ++i) {
    wire::InodeId made = own.make().attr.id();
    Status taken = (*reactor)->block_on(older.check_or_ask(made));
    EXPECT_TRUE(taken) << i;
  }
  Status refused = (*reactor)->block_on(older.check_or_ask(wire::InodeId::make(peers.self, 999)));
  EXPECT_FALSE(refused);
  refused = (*reactor)->block_on(older.check_or_ask(wire::InodeId::make(peers.self, 1200)));
  EXPECT_FALSE(refused);
}

}  // namespace
}  // namespace benchfs::server
