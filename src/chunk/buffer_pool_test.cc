#include "chunk/buffer_pool.h"

#include "chunk/store_fixture.h"

namespace benchfs::chunk {
namespace {

TEST(BufferPool, BuffersArePageAlignedDisjointAndInOneRegion) {
  auto pool = BufferPool::create(5000, 3).value();
  EXPECT_EQ(pool->buffer_bytes(), 8192U);
  EXPECT_EQ(pool->region().size(), 3 * 8192U);
  std::vector<BufferPool::Lease> leases;
  while (auto lease = pool->try_acquire()) {
    std::byte* start = lease->span().data();
    EXPECT_EQ(start, pool->region().data() + lease->index() * 8192);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(start) % 4096, 0U);
    leases.push_back(*std::move(lease));
  }
  EXPECT_EQ(leases.size(), 3U);
  leases.clear();
  EXPECT_EQ(pool->available(), 3U);
}

TEST(BufferPool, AnEmptyPoolIsRefused) {
  EXPECT_FALSE(BufferPool::create(4096, 0));
  EXPECT_FALSE(BufferPool::create(0, 1));
}

TEST(BufferPool, ExhaustionEndsAtTheDeadline) {
  Shard shard(1);
  auto held = shard.pool().try_acquire();
  auto late =
      shard.reactor().block_on(shard.pool().acquire(Deadline::after(std::chrono::milliseconds(2))));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Errc::kDeadline);
  held.reset();
  EXPECT_TRUE(shard.reactor().block_on(shard.pool().acquire(soon())));
}

class Listener final : public WaitObserver {
 public:
  void on_wait_begins() override { ++begun; }
  void on_wait_ends() override { ++ended; }
  int begun = 0;
  int ended = 0;
};

TEST(BufferPool, OnlyWaitsAreCountedAndObserved) {
  Shard shard(1);
  Listener listener;
  auto held = shard.reactor().block_on(shard.pool().acquire(soon(), &listener));
  ASSERT_TRUE(held);
  EXPECT_EQ(listener.begun + listener.ended, 0);
  EXPECT_EQ(shard.pool().stats().waits, 0U);
  EXPECT_FALSE(shard.reactor().block_on(
      shard.pool().acquire(Deadline::after(std::chrono::milliseconds(2)), &listener)));
  EXPECT_EQ(listener.begun, 1);
  EXPECT_EQ(listener.ended, 1);
  EXPECT_EQ(shard.pool().stats().waits, 1U);
  EXPECT_EQ(shard.pool().stats().timeouts, 1U);
  EXPECT_EQ(shard.pool().stats().waiting, 0U);
}

rt::Task<void> take_turn(BufferPool* pool, int id, std::vector<int>* order) {
  auto lease = co_await pool->acquire(soon());
  EXPECT_TRUE(lease);
  order->push_back(id);
  co_await rt::Yield{};
}

rt::Task<void> contend(rt::Scope* scope, BufferPool* pool, std::vector<int>* order) {
  auto held = pool->try_acquire();
  for (int id = 0; id < 5; ++id) {
    scope->spawn(take_turn(pool, id, order));
  }
  co_await rt::Yield{};
  held.reset();
  EXPECT_FALSE(pool->try_acquire()) << "a newcomer overtook those who wait";
  co_await scope->join();
}

TEST(BufferPool, WaitersAreServedInTheirOrder) {
  Shard shard(1);
  rt::Scope scope;
  std::vector<int> order;
  shard.reactor().block_on(contend(&scope, &shard.pool(), &order));
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

class Owner final : public WaitObserver {
 public:
  explicit Owner(std::uint64_t id) : id_(id) {}
  void on_wait_begins() override { is_waiting = true; }
  void on_wait_ends() override { is_waiting = false; }
  [[nodiscard]] std::uint64_t owner() const override { return id_; }
  bool is_waiting = false;

 private:
  std::uint64_t id_;
};

// Takes buffers until none is given any more.
std::vector<BufferPool::Lease> take_all(Shard& shard, Owner& owner) {
  std::vector<BufferPool::Lease> leases;
  for (;;) {
    auto lease = shard.reactor().block_on(
        shard.pool().acquire(Deadline::after(std::chrono::milliseconds(2)), &owner));
    if (!lease) {
      return leases;
    }
    leases.push_back(*std::move(lease));
  }
}

TEST(BufferPool, WhoTakesAllItGetsLeavesAShareToOthers) {
  constexpr std::size_t kCount = 32;
  Shard shard(kCount);
  Owner greedy(1);
  Owner other(2);
  Owner third(3);
  std::vector<BufferPool::Lease> held = take_all(shard, greedy);
  EXPECT_GE(held.size(), kCount / 2) << "one alone should have most";
  EXPECT_GE(shard.pool().available(), kCount / 4);
  std::vector<BufferPool::Lease> also_held = take_all(shard, other);
  EXPECT_FALSE(also_held.empty());
  EXPECT_FALSE(take_all(shard, third).empty());
}

rt::Task<void> wait_over_share(Shard* shard, Owner* greedy, bool* has_it) {
  auto lease = co_await shard->pool().acquire(soon(), greedy);
  EXPECT_TRUE(lease);
  *has_it = true;
}

rt::Task<void> others_pass(rt::Scope* scope, Shard* shard, std::vector<BufferPool::Lease>* held) {
  Owner greedy(1);
  Owner other(2);
  bool has_it = false;
  scope->spawn(wait_over_share(shard, &greedy, &has_it));
  while (!greedy.is_waiting) {
    co_await rt::Yield{};
  }
  EXPECT_TRUE(co_await shard->pool().acquire(soon(), &other)) << "it waits behind a full share";
  co_await rt::Yield{};
  EXPECT_FALSE(has_it);
  held->clear();
  co_await scope->join();
  EXPECT_TRUE(has_it);
}

TEST(BufferPool, InASmallPoolTwoThatTakeAllTheyGetLeaveOneToAThird) {
  for (std::size_t count : {5U, 6U, 7U, 8U, 12U}) {
    Shard shard(count);
    Owner greedy(1);
    Owner other(2);
    Owner third(3);
    std::vector<BufferPool::Lease> held = take_all(shard, greedy);
    std::vector<BufferPool::Lease> also_held = take_all(shard, other);
    EXPECT_FALSE(take_all(shard, third).empty()) << count;
  }
}

TEST(BufferPool, WhoHasItsShareWaitsWithoutHoldingUpOthers) {
  Shard shard(8);
  rt::Scope scope;
  Owner greedy(1);
  std::vector<BufferPool::Lease> held = take_all(shard, greedy);
  shard.reactor().block_on(others_pass(&scope, &shard, &held));
  EXPECT_EQ(shard.pool().available(), 8U);
}

}  // namespace
}  // namespace benchfs::chunk
