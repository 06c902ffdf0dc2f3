// What the kernel caches for a mount under leases: warm calls ask nobody, and what another mount or
// client changed is never seen as it was before.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "cluster/placement.h"
#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

class MountCache : public MountTest {
 protected:
  static constexpr std::uint32_t kCreateFlags =
      wire::kOpenWrite | wire::kOpenCreate | wire::kOpenExclusive;

  // A name in the root whose shard is that of the root: its changes call no attributes of the root
  // back from who makes them.
  std::string name_beside_root() {
    for (;;) {
      std::string name = std::to_string(++names_);
      if (cluster::entry_shard(wire::kRootInode, name, 2) == wire::kRootInode.home()) {
        return name;
      }
    }
  }
  // How often a client was told to forget attributes.
  std::uint64_t recalled(client::Client& client) {
    std::uint64_t sum = 0;
    for (std::uint32_t shard = 0; shard < client.fs().shard_count(); ++shard) {
      Result<std::string> text = client.run(client.fs().shard_stats(wire::ShardId{shard}));
      EXPECT_TRUE(text) << message(text);
      nlohmann::json stats = nlohmann::json::parse(text.value_or("{}"), nullptr, false);
      sum += stats["leases"]["attributes"]["recalled"].get<std::uint64_t>();
    }
    return sum;
  }
  // Calls until one makes no request: a directory comes to rest with the questions about it.
  bool is_warm(client::Client& client, const std::function<void()>& call) {
    for (int i = 0; i < 20; ++i) {
      std::uint64_t before = requests(client);
      call();
      if (requests(client) == before) {
        return true;
      }
    }
    return false;
  }
  static int exchange(const std::string& from, const std::string& to) {
    return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE);
  }
  static int exists(const std::string& path) { return error_of(::access(path.c_str(), F_OK)); }

  int names_ = 0;
};

TEST_F(MountCache, AWarmStatAsksNobody) {
  Mounted m = mount();
  auto client = connect();
  ASSERT_EQ(::mkdir((m / "d").c_str(), 0755), 0);
  put(m / "d/f", "text");
  ASSERT_TRUE(is_warm(*client, [&] { stat_of(m / "d/f"); }));
  std::uint64_t before = requests(*client);
  ASSERT_GT(before, 0U);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(stat_of(m / "d/f").st_size, 4);
  }
  EXPECT_EQ(requests(*client), before);
  // Nor is the mount asked.
  ASSERT_EQ(::kill(m.process, SIGSTOP), 0);
  auto warm = std::async(std::launch::async, [&] { return stat_of(m / "d/f").st_size; });
  EXPECT_EQ(warm.wait_for(std::chrono::seconds(8)), std::future_status::ready);
  ASSERT_EQ(::kill(m.process, SIGCONT), 0);
  EXPECT_EQ(warm.get(), 4);
}

TEST_F(MountCache, AStatOfAFileThatTheMountHasJustMadeAsksNobody) {
  Mounted m = mount();
  auto client = connect();
  ASSERT_EQ(::mkdir((m / "d").c_str(), 0755), 0);
  put(m / "d/f", "");
  ASSERT_TRUE(is_warm(*client, [&] { stat_of(m / "d"); }));
  std::uint64_t before = requests(*client);
  EXPECT_EQ(stat_of(m / "d/f").st_size, 0);
  EXPECT_EQ(requests(*client), before);
  // It is told of what others and the mount itself do with the file.
  wire::SetAttrRequest request;
  request.mask = wire::kSetMode;
  request.mode = 0640;
  ASSERT_TRUE(client->run(client->fs().set_attr("/d/f", request)));
  EXPECT_EQ(stat_of(m / "d/f").st_mode & 07777U, 0640U);
  put(m / "d/g", "text");
  EXPECT_EQ(stat_of(m / "d/g").st_size, 4);
  ASSERT_TRUE(client->run(client->fs().unlink("/d/f")));
  EXPECT_EQ(exists(m / "d/f"), ENOENT);
}

TEST_F(MountCache, TheAttributesOfAFileThatEndsAreNotTakenBackFromWhoEndsIt) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  auto client = connect();
  std::string f = name_beside_root();
  for (const std::string& name : {f, std::string("g"), std::string("h")}) {
    put(a / name, "text");
    stat_of(a / name);
  }
  std::uint64_t before = recalled(*client);
  ASSERT_EQ(::unlink((a / f).c_str()), 0);
  EXPECT_EQ(recalled(*client), before);
  // But from others, and while it has another name or is open.
  stat_of(b / "g");
  ASSERT_EQ(::link((a / "g").c_str(), (a / "other").c_str()), 0);
  EXPECT_EQ(stat_of(b / "g").st_nlink, 2U);
  EXPECT_EQ(stat_of(a / "other").st_nlink, 2U);
  ASSERT_EQ(::unlink((a / "g").c_str()), 0);
  EXPECT_EQ(stat_of(a / "other").st_nlink, 1U);
  EXPECT_EQ(stat_of(b / "other").st_nlink, 1U);
  Fd open(::open((a / "h").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(open.is_open());
  stat_of(a / "h");
  ASSERT_EQ(::unlink((a / "h").c_str()), 0);
  struct stat attr{};
  ASSERT_EQ(::fstat(open.get(), &attr), 0);
  EXPECT_EQ(attr.st_nlink, 0U);
  EXPECT_GT(recalled(*client), before);
}

// The old name goes when everybody has forgotten the attributes of its directory: the rename is
// answered long after the replacement is there.
TEST_F(MountCache, AReplacedFileIsNotSeenThroughTheMountThatReplacesItEither) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  Mounted stopped = mount("c");
  ASSERT_EQ(::mkdir((a / "d").c_str(), 0755), 0);
  wire::InodeId directory{stat_of(a / "d").st_ino};
  auto name_on = [&](bool is_home) {
    for (int i = 0;; ++i) {
      std::string name = std::to_string(i);
      if ((cluster::entry_shard(directory, name, 2) == directory.home()) == is_home) {
        return "d/" + name;
      }
    }
  };
  std::string from = name_on(true);
  std::string to = name_on(false);
  put(a / from, "new");
  put(a / to, "older");
  ino_t installed = stat_of(a / from).st_ino;
  auto client = connect();
  ASSERT_TRUE(is_warm(*client, [&] { stat_of(stopped / "d"); }));
  ASSERT_TRUE(is_warm(*client, [&] { stat_of(a / to); }));
  ASSERT_EQ(::kill(stopped.process, SIGSTOP), 0);
  auto renamed = std::async(std::launch::async,
                            [&] { return ::rename((a / from).c_str(), (a / to).c_str()); });
  Deadline end = Deadline::after(std::chrono::seconds(8));
  while (stat_of(b / to).st_ino != installed && !end.passed()) {
  }
  ASSERT_FALSE(end.passed());
  EXPECT_EQ(stat_of(a / to).st_ino, installed);
  ASSERT_EQ(::kill(stopped.process, SIGCONT), 0);
  EXPECT_EQ(renamed.get(), 0);
}

TEST_F(MountCache, AttributesComeWithTheName) {
  Mounted m = mount();
  put(m / "f", "text");
  auto client = connect();
  for (int i = 0; i < 10; ++i) {
    auto file = client->run(client->fs().open(fmt::format("/{}", i), kCreateFlags, 0600));
    ASSERT_TRUE(file) << message(file);
    ASSERT_TRUE(client->run(client->fs().close(*file)));
  }
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(stat_of(m / std::to_string(i)).st_mode & 07777U, 0600U);
  }
  ASSERT_EQ(::kill(m.process, SIGSTOP), 0);
  auto again = std::async(std::launch::async, [&] {
    for (int i = 0; i < 10; ++i) {
      stat_of(m / std::to_string(i));
    }
  });
  EXPECT_EQ(again.wait_for(std::chrono::seconds(8)), std::future_status::ready);
  ASSERT_EQ(::kill(m.process, SIGCONT), 0);
}

// The first look-up and a change meet: the kernel may be told to forget what it has not taken up.
TEST_F(MountCache, AttributesThatComeWithANameWhileTheyChangeAreNotOld) {
  Mounted m = mount();
  auto client = connect();
  for (int i = 0; i < 300; ++i) {
    std::string name = std::to_string(i);
    auto file = client->run(client->fs().open("/" + name, kCreateFlags, 0600));
    ASSERT_TRUE(file) << message(file);
    ASSERT_TRUE(client->run(client->fs().close(*file)));
    std::atomic<bool> begin{false};
    auto look = std::async(std::launch::async, [&] {
      begin = true;
      stat_of(m / name);
    });
    while (!begin) {
    }
    for (volatile int wait = 0; wait < i * 200; wait = wait + 1) {
    }
    wire::SetAttrRequest request;
    request.mask = wire::kSetMode;
    request.mode = 0640;
    ASSERT_TRUE(client->run(client->fs().set_attr("/" + name, request)));
    look.get();
    EXPECT_EQ(stat_of(m / name).st_mode & 07777U, 0640U) << i;
  }
}

// The kernel tries a path twice, and both times the file may be replaced between look-up and use.
TEST_F(MountCache, ANameThatIsReplacedAllTheTimeIsNeverStale) {
  Mounted m = mount();
  auto client = connect();
  put(m / "f", "text");
  ASSERT_EQ(::symlink("f", (m / "link").c_str()), 0);
  std::atomic<bool> ends{false};
  auto repeat = [&](auto call) {
    return std::async(std::launch::async, [&ends, call] {
      while (!ends) {
        call();
      }
    });
  };
  std::vector<std::future<void>> readers;
  readers.push_back(repeat([&] { stat_of(m / "f"); }));
  readers.push_back(repeat([&] { stat_of(m / "link"); }));
  readers.push_back(repeat([&] {
    Fd file(::open((m / "link").c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_TRUE(file.is_open()) << std::strerror(errno);
  }));
  readers.push_back(repeat([&] {
    std::string target(8, 0);
    EXPECT_EQ(::readlink((m / "link").c_str(), target.data(), target.size()), 1)
        << std::strerror(errno);
  }));
  readers.push_back(
      repeat([&] { EXPECT_EQ(::chmod((m / "f").c_str(), 0640), 0) << std::strerror(errno); }));
  for (int i = 0; i < 300; ++i) {
    MonoTime before = mono_now();
    auto file = client->run(client->fs().open("/new", kCreateFlags, 0600));
    ASSERT_TRUE(file) << message(file);
    ASSERT_TRUE(client->run(client->fs().close(*file)));
    ASSERT_TRUE(client->run(client->fs().rename("/new", "/f")));
    ASSERT_TRUE(client->run(client->fs().symlink("f", "/new link")));
    ASSERT_TRUE(client->run(client->fs().rename("/new link", "/link")));
    EXPECT_LT(mono_now() - before, std::chrono::seconds(8)) << i;  // the lease: 10
  }
  ends = true;
  for (std::future<void>& reader : readers) {
    reader.get();
  }
}

// The new name is looked up while the attributes are taken back that came with the old one.
TEST_F(MountCache, ANewLinkOfAFileThatIsLookedUpIsThereAtOnce) {
  Mounted m = mount();
  auto client = connect();
  std::atomic<bool> ends{false};
  std::vector<std::future<void>> readers;
  for (const char* name : {"f", "link", "link"}) {
    readers.push_back(std::async(std::launch::async, [&ends, path = m / name] {
      while (!ends) {
        (void)exists(path);
      }
    }));
  }
  for (int i = 0; i < 300; ++i) {
    MonoTime before = mono_now();
    ASSERT_TRUE(client->run(client->fs().symlink("target", "/f")));
    ASSERT_TRUE(client->run(client->fs().link("/f", "/link")));
    ASSERT_TRUE(client->run(client->fs().unlink("/f")));
    ASSERT_TRUE(client->run(client->fs().unlink("/link")));
    EXPECT_LT(mono_now() - before, std::chrono::seconds(8)) << i;  // the lease: 10
  }
  ends = true;
  for (std::future<void>& reader : readers) {
    reader.get();
  }
}

// The kernel has forgotten the inode, so that it cannot be told to forget its attributes.
TEST_F(MountCache, AChangeDoesNotWaitForAKernelThatHasForgottenTheFile) {
  Fd drop_caches(::open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC));
  if (!drop_caches.is_open()) {
    GTEST_SKIP() << "only root makes the kernel forget";
  }
  Mounted m = mount();
  auto client = connect();
  put(m / "f", "text");
  stat_of(m / "f");
  ASSERT_EQ(::write(drop_caches.get(), "2", 1), 1);
  wire::SetAttrRequest request;
  request.mask = wire::kSetMode;
  request.mode = 0640;
  MonoTime before = mono_now();
  ASSERT_TRUE(client->run(client->fs().set_attr("/f", request)));
  EXPECT_LT(mono_now() - before, std::chrono::seconds(8));  // the lease: 10
  EXPECT_EQ(stat_of(m / "f").st_mode & 07777U, 0640U);
}

TEST_F(MountCache, AWarmLookupOfAMissingNameAsksNobody) {
  Mounted m = mount();
  auto client = connect();
  ASSERT_EQ(::mkdir((m / "d").c_str(), 0755), 0);
  ASSERT_TRUE(is_warm(*client, [&] { EXPECT_EQ(exists(m / "d/f"), ENOENT); }));
  std::uint64_t before = requests(*client);
  ASSERT_GT(before, 0U);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(exists(m / "d/f"), ENOENT);
    EXPECT_EQ(error_of(::open((m / "d/f").c_str(), O_RDWR)), ENOENT);
  }
  EXPECT_EQ(requests(*client), before);
  // Nor is the mount asked.
  ASSERT_EQ(::kill(m.process, SIGSTOP), 0);
  auto warm = std::async(std::launch::async, [&] { return exists(m / "d/f"); });
  EXPECT_EQ(warm.wait_for(std::chrono::seconds(8)), std::future_status::ready);
  ASSERT_EQ(::kill(m.process, SIGCONT), 0);
  EXPECT_EQ(warm.get(), ENOENT);
}

// Whatever makes the name, through the mount itself, another one or the C API.
TEST_F(MountCache, ANameThatWasMissingIsSeenAtOnce) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  auto client = connect();
  ASSERT_EQ(::mkdir((a / "d").c_str(), 0755), 0);
  put(a / "from", "");
  using Make = std::function<int(const std::string& path, const std::string& from)>;
  const std::vector<Make> ways = {
      [](auto& path, auto&) { return ::close(::open(path.c_str(), O_CREAT | O_RDWR, 0644)); },
      [](auto& path, auto&) {
        return ::close(::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR, 0644));
      },
      [](auto& path, auto&) { return ::mkdir(path.c_str(), 0755); },
      [](auto& path, auto&) { return ::symlink("d", path.c_str()); },
      [](auto& path, auto&) { return ::mkfifo(path.c_str(), 0644); },
      [](auto& path, auto&) { return ::mknod(path.c_str(), S_IFREG | 0644, 0); },
      [](auto& path, auto& from) { return ::link(from.c_str(), path.c_str()); },
      [](auto& path, auto& from) { return ::rename(from.c_str(), path.c_str()); },
  };
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < ways.size(); ++i) {
      std::string name = "d/f" + std::to_string(round) + "_" + std::to_string(i);
      for (const Mounted& m : {a, b, a, b}) {
        EXPECT_EQ(exists(m / name), ENOENT);
      }
      const Mounted& maker = round == 0 ? a : b;
      if (round < 2) {
        EXPECT_EQ(ways[i](maker / name, maker / "from"), 0) << i;
      } else {
        ASSERT_TRUE(client->run(client->fs().mkdir("/" + name, 0755)));
      }
      struct stat attr{};
      EXPECT_EQ(error_of(::lstat((a / name).c_str(), &attr)), 0) << i;
      EXPECT_EQ(error_of(::lstat((b / name).c_str(), &attr)), 0) << i;
      if (exists(a / "from") == ENOENT) {
        put(b / "from", "");
      }
    }
  }
}

// Each change of one mount is seen by the other in the next call, which had all in its cache.
TEST_F(MountCache, ChangesOfNamesAreSeenAtOnce) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  ASSERT_EQ(::mkdir((a / "d").c_str(), 0755), 0);
  for (int i = 0; i < 30; ++i) {
    std::string f = "d/f" + std::to_string(i);
    std::string g = "d/g" + std::to_string(i);
    EXPECT_EQ(exists(b / f), ENOENT);
    put(a / f, "one");
    EXPECT_EQ(get(b / f), "one");
    EXPECT_EQ(stat_of(b / f).st_size, 3);
    ASSERT_EQ(::rename((a / f).c_str(), (a / g).c_str()), 0);
    EXPECT_EQ(exists(b / f), ENOENT);
    EXPECT_EQ(get(b / g), "one");
    put(a / f, "other");
    EXPECT_EQ(get(b / f), "other");
    ASSERT_EQ(::rename((a / f).c_str(), (a / g).c_str()), 0);
    EXPECT_EQ(get(b / g), "other");
    EXPECT_EQ(stat_of(b / g).st_size, 5);
    EXPECT_EQ(stat_of(a / g).st_nlink, 1U);
    ASSERT_EQ(::link((b / g).c_str(), (b / f).c_str()), 0);
    EXPECT_EQ(stat_of(a / g).st_nlink, 2U);
    EXPECT_EQ(stat_of(a / f).st_ino, stat_of(a / g).st_ino);
    EXPECT_EQ(stat_of(b / g).st_nlink, 2U);
    ASSERT_EQ(::unlink((a / f).c_str()), 0);
    EXPECT_EQ(stat_of(b / g).st_nlink, 1U);
    EXPECT_EQ(exists(b / f), ENOENT);
    ASSERT_EQ(::unlink((b / g).c_str()), 0);
    EXPECT_EQ(exists(a / g), ENOENT);
  }
}

TEST_F(MountCache, ChangesOfDirectoriesAreSeenAtOnce) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  auto client = connect();
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(::mkdir((a / "d").c_str(), 0755), 0);
    ASSERT_EQ(::mkdir((a / "d/e").c_str(), 0755), 0);
    put(a / "d/e/f", "one");
    EXPECT_EQ(get(b / "d/e/f"), "one");
    EXPECT_EQ(stat_of(b / "d").st_nlink, 3U);
    ASSERT_EQ(::rename((a / "d").c_str(), (a / "x").c_str()), 0);
    EXPECT_EQ(exists(b / "d/e/f"), ENOENT);
    EXPECT_EQ(get(b / "x/e/f"), "one");
    ASSERT_TRUE(client->run(client->fs().rename("/x/e", "/x/y")));
    EXPECT_EQ(exists(b / "x/e/f"), ENOENT);
    EXPECT_EQ(get(b / "x/y/f"), "one");
    ASSERT_EQ(::unlink((a / "x/y/f").c_str()), 0);
    EXPECT_EQ(exists(b / "x/y/f"), ENOENT);
    ASSERT_EQ(::rmdir((a / "x/y").c_str()), 0);
    EXPECT_EQ(exists(b / "x/y"), ENOENT);
    EXPECT_EQ(stat_of(b / "x").st_nlink, 2U);
    ASSERT_TRUE(client->run(client->fs().rmdir("/x")));
    EXPECT_EQ(exists(a / "x"), ENOENT);
    EXPECT_EQ(exists(b / "x"), ENOENT);
  }
}

TEST_F(MountCache, ChangesOfAttributesAreSeenAtOnce) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  auto client = connect();
  put(a / "f", "0123456789");
  for (int i = 0; i < 20; ++i) {
    stat_of(b / "f");
    mode_t mode = 0600 + static_cast<mode_t>(i % 8) * 8;
    ASSERT_EQ(::chmod((a / "f").c_str(), mode), 0);
    EXPECT_EQ(stat_of(b / "f").st_mode & 07777U, mode);
    ASSERT_EQ(::truncate((a / "f").c_str(), 100 + i), 0);
    EXPECT_EQ(stat_of(b / "f").st_size, 100 + i);
    ASSERT_EQ(::truncate((a / "f").c_str(), 10), 0);
    EXPECT_EQ(stat_of(b / "f").st_size, 10);
    Fd file(::open((a / "f").c_str(), O_WRONLY | O_APPEND));
    ASSERT_EQ(::write(file.get(), "abc", 3), 3);
    EXPECT_EQ(stat_of(b / "f").st_size, 13);
    ASSERT_EQ(::write(file.get(), "abc", 3), 3);
    EXPECT_EQ(stat_of(b / "f").st_size, 16);
    file.reset();
    stat_of(b / "f");
    auto open = client->run(client->fs().open("/f", wire::kOpenWrite, 0));
    ASSERT_TRUE(open) << message(open);
    std::vector<std::byte> data(20);
    ASSERT_TRUE(client->run(client->fs().write(**open, 5'000'000, data)));
    EXPECT_EQ(stat_of(b / "f").st_size, 5'000'020);
    EXPECT_EQ(stat_of(a / "f").st_size, 5'000'020);
    ASSERT_TRUE(client->run(client->fs().close(*open)));
    ASSERT_EQ(::truncate((a / "f").c_str(), 10), 0);
    timespec times[2] = {{.tv_sec = 1000 + i, .tv_nsec = 5}, {.tv_sec = 2000 + i, .tv_nsec = 7}};
    stat_of(b / "f");
    ASSERT_EQ(::utimensat(AT_FDCWD, (a / "f").c_str(), times, 0), 0);
    EXPECT_EQ(stat_of(b / "f").st_mtim.tv_sec, 2000 + i);
  }
}

TEST_F(MountCache, ExchangesAreSeenAtOnce) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  ASSERT_EQ(::mkdir((a / "d").c_str(), 0755), 0);
  put(a / "d/in", "below");
  put(a / "f", "one");
  put(a / "g", "other");
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(get(b / "f"), i % 2 == 0 ? "one" : "other");
    EXPECT_EQ(stat_of(a / "g").st_size, i % 2 == 0 ? 5 : 3);
    ASSERT_EQ(exchange(a / "f", a / "g"), 0);
    for (const Mounted& m : {a, b}) {
      EXPECT_EQ(get(m / "f"), i % 2 == 0 ? "other" : "one");
      EXPECT_EQ(get(m / "g"), i % 2 == 0 ? "one" : "other");
    }
  }
  for (int i = 0; i < 10; ++i) {
    std::string directory = i % 2 == 0 ? "d" : "f";
    std::string file = i % 2 == 0 ? "f" : "d";
    EXPECT_EQ(get(b / (directory + "/in")), "below");
    ASSERT_EQ(exchange(a / "d", a / "f"), 0);
    for (const Mounted& m : {a, b}) {
      EXPECT_EQ(get(m / (file + "/in")), "below");
      EXPECT_TRUE(S_ISREG(stat_of(m / directory).st_mode));
    }
  }
}

TEST_F(MountCache, LongerFilesAndExtendedAttributesAreSeenAtOnce) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  put(a / "f", "text");
  for (int i = 1; i <= 20; ++i) {
    stat_of(b / "f");
    Fd file(::open((a / "f").c_str(), O_RDWR));
    ASSERT_EQ(::fallocate(file.get(), 0, 0, 100 * i), 0);
    file.reset();
    EXPECT_EQ(stat_of(b / "f").st_size, 100 * i);
    struct stat before = stat_of(b / "f");
    ASSERT_EQ(::setxattr((a / "f").c_str(), "user.n", &i, sizeof i, 0), 0);
    struct stat after = stat_of(b / "f");
    EXPECT_TRUE(after.st_ctim.tv_sec != before.st_ctim.tv_sec ||
                after.st_ctim.tv_nsec != before.st_ctim.tv_nsec)
        << i;
  }
}

// The times of a directory, whichever shard its entries are on.
TEST_F(MountCache, EntriesThatComeAndGoShowInTheTimesOfTheirDirectory) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  ASSERT_EQ(::mkdir((a / "d").c_str(), 0755), 0);
  for (int i = 0; i < 30; ++i) {
    struct stat before = stat_of(b / "d");
    before = stat_of(b / "d");
    put(a / ("d/f" + std::to_string(i)), "");
    struct stat after = stat_of(b / "d");
    EXPECT_TRUE(after.st_mtim.tv_sec > before.st_mtim.tv_sec ||
                after.st_mtim.tv_nsec != before.st_mtim.tv_nsec)
        << i;
  }
}

// Nor does the mount ask for them when it made the change.
TEST_F(MountCache, TheTimesOfADirectoryAreKnownAfterChangesThroughTheMount) {
  Mounted m = mount();
  auto client = connect();
  auto told = [&] {
    Result<wire::Attr> attr = client->run(client->fs().stat("/"));
    EXPECT_TRUE(attr) << message(attr);
    return attr.value_or(wire::Attr{});
  };
  auto expect_same = [&] {
    struct stat seen = stat_of(m.path);
    wire::Attr is = told();
    EXPECT_EQ(seen.st_mtim.tv_sec * 1'000'000'000 + seen.st_mtim.tv_nsec, is.mtime_ns);
    EXPECT_EQ(seen.st_ctim.tv_sec * 1'000'000'000 + seen.st_ctim.tv_nsec, is.ctime_ns);
    EXPECT_EQ(seen.st_nlink, is.nlink);
  };
  for (bool is_set_later : {false, true}) {
    if (is_set_later) {  // by hand: the next change sets them to its time all the same
      std::array<timespec, 2> times{{{.tv_nsec = UTIME_OMIT}, {.tv_sec = 4'000'000'000}}};
      ASSERT_EQ(::utimensat(AT_FDCWD, m.path.c_str(), times.data(), 0), 0);
    }
    ASSERT_TRUE(is_warm(*client, [&] { stat_of(m.path); }));
    for (int i = 0; i < 10; ++i) {
      std::string name = name_beside_root();
      std::uint64_t before = requests(*client);
      Fd made(::open((m / name).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
      ASSERT_TRUE(made.is_open());
      stat_of(m.path);
      ASSERT_EQ(::unlink((m / name).c_str()), 0);
      stat_of(m.path);
      // A look-up before the file is made, and the two changes.
      EXPECT_LE(requests(*client), before + 3);
      expect_same();
    }
  }
  // Others change it, too.
  put(m / name_beside_root(), "");
  ASSERT_TRUE(client->run(client->fs().mkdir("/by another", 0755)));
  expect_same();
}

// Two mounts that make and remove names of one directory, which both have cached, do not wait for
// each other's kernels.
TEST_F(MountCache, ChangesOfOneDirectoryByTwoMountsDoNotWaitForEachOther) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  constexpr int kFiles = 100;
  for (int i = 0; i < 2 * kFiles; ++i) {
    put(a / ("f" + std::to_string(i)), "");
  }
  for (const Mounted& m : {a, b}) {
    for (int i = 0; i < 2 * kFiles; ++i) {
      stat_of(m / ("f" + std::to_string(i)));
    }
  }
  MonoTime begin = mono_now();
  auto remove = [&](const Mounted& m, int odd) {
    for (int i = 0; i < kFiles; ++i) {
      std::string name = "f" + std::to_string(2 * i + odd);
      EXPECT_EQ(::unlink((m / name).c_str()), 0) << name;
    }
  };
  std::thread other([&] { remove(b, 1); });
  remove(a, 0);
  other.join();
  // A single wait for a lease takes longer.
  EXPECT_LT(mono_now() - begin, std::chrono::seconds(8));
  for (int i = 0; i < 2 * kFiles; ++i) {
    EXPECT_EQ(exists(a / ("f" + std::to_string(i))), ENOENT);
    EXPECT_EQ(exists(b / ("f" + std::to_string(i))), ENOENT);
  }
}

// A change waits for a mount that does not answer until its leases have ended.
TEST_F(MountCache, AStoppedMountHoldsUpAChangeNoLongerThanItsLease) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  put(a / "f", "one");
  EXPECT_EQ(get(b / "f"), "one");
  stat_of(b / "f");
  ASSERT_EQ(::kill(b.process, SIGSTOP), 0);
  MonoTime begin = mono_now();
  put(a / "g", "other");
  ASSERT_EQ(::rename((a / "g").c_str(), (a / "f").c_str()), 0);
  EXPECT_LT(mono_now() - begin, std::chrono::seconds(20));
  ASSERT_EQ(::kill(b.process, SIGCONT), 0);
  EXPECT_EQ(get(b / "f"), "other");
  EXPECT_EQ(stat_of(b / "f").st_size, 5);
}

TEST_F(MountCache, AKilledMountHoldsUpAChangeNoLongerThanItsLease) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  put(a / "f", "one");
  stat_of(b / "f");
  stat_of(b / "f");
  ASSERT_EQ(::kill(b.process, SIGKILL), 0);
  MonoTime begin = mono_now();
  ASSERT_EQ(::unlink((a / "f").c_str()), 0);
  EXPECT_LT(mono_now() - begin, std::chrono::seconds(20));
  EXPECT_EQ(exists(a / "f"), ENOENT);
}

// The kernel forgets what servers said that are gone, and programs are told.
TEST_F(MountCache, NothingIsKnownWhenTheServersAreGone) {
  Mounted m = mount();
  put(m / "f", "one");
  stat_of(m / "f");
  stat_of(m / "f");
  for (std::size_t daemon : {0U, 1U}) {
    ASSERT_EQ(::kill(pid_of(cluster_, daemon), SIGKILL), 0);
    ASSERT_TRUE(wait_for_end(pid_of(cluster_, daemon), patience()));
  }
  MonoTime end = mono_now() + std::chrono::seconds(20);
  while (exists(m / "f") == 0 && mono_now() < end) {
    ::usleep(1000);  // lint: allow sleep the kernel tells nobody
  }
  EXPECT_NE(exists(m / "f"), 0);
}

}  // namespace
}  // namespace benchfs::test
