// Listings with attributes through a mount: the calls that follow ask nobody, and nothing that a
// listing brought into the kernel outlives a change.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <future>
#include <memory>
#include <set>
#include <string>

#include "base/clock.h"
#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

class MountListing : public MountTest {
 protected:
  static void make(client::Client& client, const std::string& path) {
    constexpr std::uint32_t kFlags = wire::kOpenWrite | wire::kOpenCreate | wire::kOpenExclusive;
    auto file = client.run(client.fs().open(path, kFlags, 0600));
    ASSERT_TRUE(file) << message(file);
    ASSERT_TRUE(client.run(client.fs().close(*file)));
  }
  static void change_mode(client::Client& client, const std::string& path, std::uint32_t mode) {
    wire::SetAttrRequest request;
    request.mask = wire::kSetMode;
    request.mode = mode;
    ASSERT_TRUE(client.run(client.fs().set_attr(path, request)));
  }
  static std::set<std::string> names_in(const std::string& path) {
    std::set<std::string> names;
    std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
    EXPECT_NE(directory, nullptr) << path;
    while (const dirent* entry = directory ? ::readdir(directory.get()) : nullptr) {
      EXPECT_TRUE(names.insert(entry->d_name).second) << entry->d_name << " is there twice";
    }
    return names;
  }
  static int exists(const std::string& path) { return error_of(::access(path.c_str(), F_OK)); }
};

TEST_F(MountListing, StatsAfterAListingAskNobody) {
  constexpr int kFiles = 300;
  Mounted m = mount();
  auto client = connect();
  ASSERT_TRUE(client->run(client->fs().mkdir("/d", 0755)));
  for (int i = 0; i < kFiles; ++i) {
    make(*client, fmt::format("/d/{}", i));
  }
  std::uint64_t before = requests(*client);
  EXPECT_EQ(names_in(m / "d").size(), kFiles + 2U);
  for (int i = 0; i < kFiles; ++i) {
    EXPECT_EQ(stat_of(m / fmt::format("d/{}", i)).st_mode & 07777U, 0600U);
  }
  EXPECT_LT(requests(*client), before + kFiles / 10);
}

TEST_F(MountListing, TheKernelKnowsWhatWasListed) {
  Mounted m = mount();
  auto client = connect();
  put(m / "f", "text");
  stat_of(m / "f");  // so the root is known, too
  for (int i = 0; i < 10; ++i) {
    make(*client, fmt::format("/{}", i));
  }
  names_in(m.path);
  stat_of(m / "f");
  ASSERT_EQ(::kill(m.process, SIGSTOP), 0);
  auto stats = std::async(std::launch::async, [&] {
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(stat_of(m / std::to_string(i)).st_mode & 07777U, 0600U);
    }
  });
  EXPECT_EQ(stats.wait_for(std::chrono::seconds(8)), std::future_status::ready);
  ASSERT_EQ(::kill(m.process, SIGCONT), 0);
}

TEST_F(MountListing, ChangesAfterAListingAreSeenAtOnce) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  auto client = connect();
  for (int i = 0; i < 20; ++i) {
    make(*client, "/f");
    make(*client, "/g");
    EXPECT_TRUE(names_in(b.path).contains("f"));
    change_mode(*client, "/f", 0640);
    EXPECT_EQ(stat_of(b / "f").st_mode & 07777U, 0640U);
    names_in(b.path);
    put(a / "f", "text");
    EXPECT_EQ(stat_of(b / "f").st_size, 4);
    EXPECT_EQ(get(b / "f"), "text");
    names_in(b.path);
    ASSERT_EQ(::rename((a / "f").c_str(), (a / "g").c_str()), 0);
    EXPECT_EQ(exists(b / "f"), ENOENT);
    EXPECT_EQ(get(b / "g"), "text");
    names_in(b.path);
    ASSERT_TRUE(client->run(client->fs().unlink("/g")));
    EXPECT_EQ(exists(b / "g"), ENOENT);
    EXPECT_FALSE(names_in(b.path).contains("g"));
  }
}

// The listing and a change meet: the kernel may be told to forget what it has not taken up.
TEST_F(MountListing, WhatChangesDuringAListingIsNotOld) {
  Mounted m = mount();
  auto client = connect();
  ASSERT_TRUE(client->run(client->fs().mkdir("/d", 0755)));
  for (int i = 0; i < 20; ++i) {
    make(*client, fmt::format("/d/other{}", i));
  }
  for (int i = 0; i < 150; ++i) {
    std::string name = fmt::format("d/{}", i);
    std::string gone = fmt::format("d/{}.gone", i);
    make(*client, "/" + name);
    make(*client, "/" + gone);
    std::atomic<bool> begin{false};
    auto list = std::async(std::launch::async, [&] {
      begin = true;
      names_in(m / "d");
    });
    while (!begin) {
    }
    for (volatile int wait = 0; wait < i * 6000; wait = wait + 1) {
    }
    change_mode(*client, "/" + name, 0640);
    ASSERT_TRUE(client->run(client->fs().unlink("/" + gone)));
    list.get();
    EXPECT_EQ(stat_of(m / name).st_mode & 07777U, 0640U) << i;
    EXPECT_EQ(exists(m / gone), ENOENT) << i;
  }
}

TEST_F(MountListing, FilesThatStayAreListedOnceWhileOthersComeAndGo) {
  constexpr int kStay = 100;
  Mounted a = mount("a");
  Mounted b = mount("b");
  ASSERT_EQ(::mkdir((a / "d").c_str(), 0755), 0);
  for (int i = 0; i < kStay; ++i) {
    put(a / fmt::format("d/stay{}", i), "");
  }
  std::atomic<bool> is_over{false};
  auto change = [&](const Mounted& m, char kind) {
    for (int i = 0; !is_over; ++i) {
      std::string path = m / fmt::format("d/{}{}", kind, i % 50);
      put(path, "x");
      EXPECT_EQ(::unlink(path.c_str()), 0);
    }
  };
  auto at_a = std::async(std::launch::async, [&] { change(a, 'a'); });
  auto at_b = std::async(std::launch::async, [&] { change(b, 'b'); });
  for (int i = 0; i < 30; ++i) {
    std::set<std::string> names = names_in(b / "d");
    for (int j = 0; j < kStay; ++j) {
      std::string name = fmt::format("stay{}", j);
      EXPECT_TRUE(names.contains(name)) << name;
      EXPECT_EQ(stat_of(b / ("d/" + name)).st_size, 0);
    }
  }
  is_over = true;
  at_a.get();
  at_b.get();
}

// The mount counts what it tells and what the kernel forgets: with a wrong count a change would
// wait for the end of the lease for a kernel that knows nothing.
TEST_F(MountListing, WhatTheKernelForgetsIsNotWaitedFor) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root makes the kernel forget";
  }
  Mounted m = mount();
  auto client = connect();
  for (int i = 0; i < 10; ++i) {
    make(*client, fmt::format("/{}", i));
  }
  for (int i = 0; i < 3; ++i) {
    names_in(m.path);
  }
  std::ofstream("/proc/sys/vm/drop_caches") << 2 << std::flush;
  MonoTime start = mono_now();
  for (int i = 0; i < 10; ++i) {
    change_mode(*client, fmt::format("/{}", i), 0640);
  }
  EXPECT_LT(mono_now() - start, std::chrono::seconds(8));  // each lease would be waited for
}

}  // namespace
}  // namespace benchfs::test
