// Pages under leases, against a scripted shard and with a pipe in the place of the kernel's
// session: what the kernel is told of them, and when.
#include "mount/kernel_pages.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "client/testing/scripted_shard.h"
#include "mount/kernel_cache.h"

namespace benchfs::mount {
namespace {

using client::testing::ClientUnderTest;
using client::testing::kFile;
using client::testing::ScriptedShard;
using wire::Opcode;

class KernelPagesTest : public ::testing::Test {
 protected:
  explicit KernelPagesTest(Nanos lease = std::chrono::seconds(10)) : shard_(lease) {}
  void SetUp() override {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
    told_ = Fd(ends[0]);
    device_ = Fd(ends[1]);
    answer(1);
    kernel_ = std::make_unique<KernelCache>(client_.fs(), client_.reactor(), device_.get());
    pages_ = std::make_unique<KernelPages>(client_.fs(), *kernel_, "");
  }
  void TearDown() override {
    shard_.release();
    client_.run(pages_->close());
    client_.run(kernel_->close());
    pages_.reset();
    kernel_.reset();
  }
  // The attributes of the file, leased, from now on.
  void answer(std::uint64_t size) {
    wire::Attr attr = client::testing::file_attr(kFile, size);
    shard_.script(Opcode::kOpenInode, {client::testing::entry(attr)});
    shard_.script(Opcode::kGetAttr, {client::testing::entry(attr, wire::kAttrLeased)});
  }
  // Opens the file so that the kernel may use its pages.
  void open() {
    auto file = client_.run(client_.fs().nodes().open(kFile, wire::kOpenRead));
    ASSERT_TRUE(file) << file.error().message();
    ASSERT_TRUE(client_.run(client_.fs().nodes().renew_attr(kFile)));
    ASSERT_EQ(client_.run(pages_->opened(**file, true)), KernelPages::Use::kCached);
  }
  // How often the kernel has been told to drop all pages of the file.
  std::size_t drops() {
    struct {
      fuse_out_header header;
      fuse_notify_inval_inode_out body;
    } message{};
    while (::read(told_.get(), &message, sizeof message) == sizeof message) {
      EXPECT_EQ(message.header.error, FUSE_NOTIFY_INVAL_INODE);
      EXPECT_EQ(message.body.ino, kFile.value);
      EXPECT_EQ(message.body.off, 0);
      ++drops_;
    }
    return drops_;
  }

  Fd told_;
  Fd device_;
  ScriptedShard shard_;
  ClientUnderTest client_{{&shard_}};
  std::unique_ptr<KernelCache> kernel_;
  std::unique_ptr<KernelPages> pages_;

 private:
  std::size_t drops_ = 0;
};

// Else it ignores the answer, and a program reads up to the size of before.
TEST_F(KernelPagesTest, TheKernelIsToldNothingBeforeItCanHaveUsedANewSize) {
  constexpr Nanos kTakeUp = std::chrono::milliseconds(1);
  open();
  for (std::uint64_t size = 1; size <= 20; ++size) {
    answer(size);
    MonoTime asked_at = mono_now();
    ASSERT_TRUE(client_.run(pages_->prepare_read(kFile)));
    shard_.invalidate(kFile, "");
    ASSERT_TRUE(client_.eventually([&] { return drops() == size; }));
    EXPECT_GE(mono_now() - asked_at, kTakeUp) << size;
    ASSERT_TRUE(client_.eventually([&] { return shard_.count("acknowledged") == size; }));
  }
}

// Told while it uses an answer, it would ignore that.
TEST_F(KernelPagesTest, OfWhatItDoesNotTrustTheKernelIsToldNothing) {
  open();
  shard_.invalidate(kFile, "");
  ASSERT_TRUE(client_.eventually([&] { return shard_.count("acknowledged") == 1; }));
  EXPECT_EQ(drops(), 1U);
  ASSERT_TRUE(client_.run(client_.fs().nodes().renew_attr(kFile)));  // the kernel has not asked
  shard_.invalidate(kFile, "");
  ASSERT_TRUE(client_.eventually([&] { return shard_.count("acknowledged") == 2; }));
  EXPECT_EQ(drops(), 1U);
}

// The server goes on when it is answered.
TEST_F(KernelPagesTest, ALeaseIsGivenBackWhenThePagesHaveBeenDropped) {
  open();
  // The kernel waits for a program that reads them.
  std::vector<std::byte> full(1 << 20);
  ASSERT_GT(::write(device_.get(), full.data(), full.size()), 0);
  ASSERT_EQ(::fcntl(device_.get(), F_SETFL, 0), 0);
  shard_.invalidate(kFile, "");
  ASSERT_TRUE(
      client_.eventually([&] { return client_.fs().nodes().cache().find_attr(kFile) == nullptr; }));
  for (int i = 0; i < 10; ++i) {
    (void)client_.run(client_.fs().ping({}));
  }
  EXPECT_EQ(shard_.count("acknowledged"), 0U);
  while (::read(told_.get(), full.data(), full.size()) > 0) {
  }
  EXPECT_TRUE(client_.eventually([&] { return shard_.count("acknowledged") == 1; }));
}

class ShortLeaseOfPagesTest : public KernelPagesTest {
 protected:
  ShortLeaseOfPagesTest() : KernelPagesTest(std::chrono::seconds(1)) {}
};

// A mapping asks nobody before it uses them.
TEST_F(ShortLeaseOfPagesTest, PagesAreDroppedBeforeALeaseThatIsNotRenewedEnds) {
  open();
  // Once is enough, but this process may not have run when it was time.
  for (int i = 0; i < 10 && drops() == 0; ++i) {
    answer(1);
    ASSERT_TRUE(client_.run(pages_->prepare_read(kFile)));
    shard_.script(Opcode::kGetAttr, {shard_.late(client::testing::fail_with(EIO))});
    EXPECT_TRUE(client_.eventually(
        [&] { return drops() > 0 || client_.fs().nodes().cache().find_attr(kFile) == nullptr; }));
  }
  EXPECT_GT(drops(), 0U);
}

}  // namespace
}  // namespace benchfs::mount
