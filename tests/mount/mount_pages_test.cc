// Pages that the kernel caches under the leases of attributes: a file that is read again asks
// nobody, and what anybody else wrote, cut or punched is never read as it was before, whether its
// size and times show it or not.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <future>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/fd.h"
#include "base/random.h"
#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

using Bytes = std::vector<std::byte>;

class MountPages : public MountTest {
 protected:
  static constexpr std::size_t kBytes = 1'500'000;

  // Bytes that the process of the mount has handed over, most of them to the kernel.
  static std::uint64_t handed_over(const Mounted& m) {
    std::istringstream text(read_file("/proc/" + std::to_string(m.process) + "/io"));
    std::string name;
    std::uint64_t value = 0;
    while (text >> name >> value) {
      if (name == "wchar:") {
        return value;
      }
    }
    ADD_FAILURE() << "no wchar of process " << m.process;
    return 0;
  }
  // Requests for data that all daemons have served.
  static std::uint64_t chunk_reads(client::Client& client) {
    std::uint64_t sum = 0;
    for (std::uint32_t shard = 0; shard < client.fs().shard_count(); ++shard) {
      Result<std::string> text = client.run(client.fs().shard_stats(wire::ShardId{shard}));
      EXPECT_TRUE(text) << message(text);
      nlohmann::json stats = nlohmann::json::parse(text.value_or("{}"), nullptr, false);
      for (const auto& operation : stats["operations"]) {
        if (operation["operation"] == "read_chunk") {
          sum += operation["requests"].get<std::uint64_t>();
        }
      }
    }
    return sum;
  }
  static Bytes read_fd(int fd, std::size_t most = 2 * kBytes) {
    Bytes data(most);
    std::size_t end = 0;
    ssize_t got = 0;
    while ((got = ::pread(fd, data.data() + end, most - end, static_cast<off_t>(end))) > 0) {
      end += static_cast<std::size_t>(got);
    }
    EXPECT_EQ(got, 0) << std::strerror(errno);
    data.resize(end);
    return data;
  }
  static Bytes read_path(const std::string& path) {
    Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_TRUE(file.is_open()) << path << ": " << std::strerror(errno);
    return read_fd(file.get());
  }
  // Reads the file until the kernel has all of it: what was written must come to rest first.
  static void warm(const Mounted& m, const std::string& name) {
    Deadline end = patience();
    for (;;) {
      std::uint64_t before = handed_over(m);
      std::size_t bytes = read_path(m / name).size();
      if (handed_over(m) - before < bytes / 2) {
        return;
      }
      ASSERT_FALSE(end.passed()) << "the kernel keeps no pages of " << name;
    }
  }
  // Changes without a trace in the times.
  void set_times(client::Client& client, const std::string& name) {
    wire::SetAttrRequest times;
    times.mask = wire::kSetMtime;
    times.mtime_ns = 1'000'000'000;
    ASSERT_TRUE(client.run(client.fs().set_attr("/" + name, times)));
  }
  void write(client::Client& client, const std::string& name, std::size_t at, const Bytes& data) {
    auto open = client.run(client.fs().open("/" + name, wire::kOpenWrite, 0));
    ASSERT_TRUE(open) << message(open);
    auto written = client.run(client.fs().write(**open, at, data));
    ASSERT_TRUE(written) << message(written);
    ASSERT_TRUE(client.run(client.fs().close(*open)));
  }
  void cut(client::Client& client, const std::string& name, std::uint64_t size) {
    wire::SetAttrRequest request;
    request.mask = wire::kSetSize;
    request.size = size;
    ASSERT_TRUE(client.run(client.fs().set_attr("/" + name, request)));
  }
};

TEST_F(MountPages, AFileThatIsReadAgainAsksNobody) {
  ::setenv("BENCHFS_TRANSPORT", "ucx", 1);  // else the mount reads without requests
  Mounted m = mount();
  ::unsetenv("BENCHFS_TRANSPORT");
  auto client = connect();
  Bytes data = pattern(kBytes, 1);
  ASSERT_TRUE(write_whole(*client, "/f", data));
  warm(m, "f");
  std::uint64_t requests = chunk_reads(*client);
  ASSERT_GT(requests, 0U);
  std::uint64_t bytes = handed_over(m);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(read_path(m / "f") == data);
  }
  EXPECT_EQ(chunk_reads(*client), requests);
  EXPECT_LT(handed_over(m) - bytes, 100'000U);
  // Who has it open does not even ask the mount, while the lease lasts.
  Fd file(::open((m / "f").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(read_fd(file.get()) == data);
  ASSERT_EQ(::kill(m.process, SIGSTOP), 0);
  auto again = std::async(std::launch::async, [&] { return read_fd(file.get(), kBytes); });
  EXPECT_EQ(again.wait_for(std::chrono::seconds(8)), std::future_status::ready);
  ASSERT_EQ(::kill(m.process, SIGCONT), 0);
  EXPECT_TRUE(again.get() == data);
}

// Through a handle that was open before, through a new one, and after all handles were closed.
TEST_F(MountPages, WhatOthersWriteIsReadAtOnce) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  auto client = connect();
  Bytes data = pattern(kBytes, 1);
  ASSERT_TRUE(write_whole(*client, "/f", data));
  for (std::uint64_t i = 0; i < 12; ++i) {
    warm(b, "f");
    Fd before;
    if (i % 2 == 0) {
      before = Fd(::open((b / "f").c_str(), O_RDONLY | O_CLOEXEC));
      ASSERT_TRUE(read_fd(before.get()) == data);
    }
    std::size_t at = i * 100'000 % (kBytes - 9000);
    Bytes part = pattern(9000, i + 100);
    std::copy(part.begin(), part.end(), data.begin() + static_cast<std::ptrdiff_t>(at));
    if (i % 4 < 2) {
      write(*client, "f", at, part);
    } else {
      Fd file(::open((a / "f").c_str(), O_WRONLY | O_CLOEXEC));
      ASSERT_EQ(::pwrite(file.get(), part.data(), part.size(), static_cast<off_t>(at)), 9000);
    }
    if (i % 3 != 0) {
      set_times(*client, "f");
    }
    if (before.is_open()) {
      ASSERT_TRUE(read_fd(before.get()) == data) << i;
    }
    ASSERT_TRUE(read_path(b / "f") == data) << i;
    ASSERT_TRUE(read_path(a / "f") == data) << i;
  }
}

TEST_F(MountPages, WhatOthersCutAppendAndPunchIsReadAtOnce) {
  Mounted b = mount("b");
  auto client = connect();
  Bytes data = pattern(kBytes, 1);
  ASSERT_TRUE(write_whole(*client, "/f", data));
  for (std::size_t i = 0; i < 8; ++i) {
    warm(b, "f");
    Fd before;
    if (i >= 4) {
      before = Fd(::open((b / "f").c_str(), O_RDONLY | O_CLOEXEC));
      ASSERT_TRUE(read_fd(before.get()) == data);
    }
    auto open = client->run(client->fs().open("/f", wire::kOpenRead | wire::kOpenWrite, 0));
    ASSERT_TRUE(open) << message(open);
    if (i % 4 == 0) {  // of the same size again, but with zeros at the end
      cut(*client, "f", kBytes / 2);
      cut(*client, "f", kBytes);
      data.resize(kBytes / 2);
      data.resize(kBytes);
    } else if (i % 4 == 1) {
      int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
      ASSERT_TRUE(client->run(client->fs().holes().allocate(**open, mode, 5000 * i, 70'000)));
      std::fill_n(data.begin() + static_cast<std::ptrdiff_t>(5000 * i), 70'000, std::byte{0});
    } else if (i % 4 == 2) {
      Bytes part = pattern(5000, i);
      ASSERT_TRUE(client->run(client->fs().append(**open, part)));
      data.insert(data.end(), part.begin(), part.end());
    } else {
      cut(*client, "f", kBytes);
      data.resize(kBytes);
    }
    ASSERT_TRUE(client->run(client->fs().close(*open)));
    set_times(*client, "f");
    if (before.is_open()) {
      ASSERT_TRUE(read_fd(before.get()) == data) << i;
    }
    ASSERT_TRUE(read_path(b / "f") == data) << i;
  }
}

// What was not read through calls is dropped as well before the writer goes on.
TEST_F(MountPages, WhatOthersWroteIsInAMappingThatIsMadeAfterIt) {
  Mounted b = mount("b");
  auto client = connect();
  Bytes data = pattern(kBytes, 1);
  ASSERT_TRUE(write_whole(*client, "/f", data));
  for (std::uint64_t i = 0; i < 10; ++i) {
    warm(b, "f");
    Fd file(::open((b / "f").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(read_fd(file.get()) == data);
    data = pattern(kBytes, i + 10);
    write(*client, "f", 0, data);
    void* pages = ::mmap(nullptr, kBytes, PROT_READ, MAP_PRIVATE, file.get(), 0);
    ASSERT_NE(pages, MAP_FAILED);
    EXPECT_EQ(std::memcmp(pages, data.data(), kBytes), 0) << i;
    ASSERT_EQ(::munmap(pages, kBytes), 0);
    // sendfile(2) copies pages, too, and asks for no attributes.
    file.reset();
    warm(b, "f");
    file = Fd(::open((b / "f").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(read_fd(file.get()) == data);
    data = pattern(kBytes, i + 20);
    write(*client, "f", 0, data);
    Fd copy(::memfd_create("copy", MFD_CLOEXEC));
    off_t from = 0;
    while (::sendfile(copy.get(), file.get(), &from, kBytes) > 0) {
    }
    EXPECT_TRUE(read_fd(copy.get()) == data) << i;
  }
}

// A mount that is stopped keeps its writers waiting for its lease; then its kernel asks it. One
// file grows, the other shows nothing of its change.
TEST_F(MountPages, AStoppedMountShowsNothingOldOnceItsLeaseIsOver) {
  Mounted b = mount("b");
  auto client = connect();
  std::vector<Fd> files;
  for (const char* name : {"f", "g"}) {
    ASSERT_TRUE(write_whole(*client, std::string("/") + name, pattern(kBytes, 1)));
    set_times(*client, name);
    warm(b, name);
    files.emplace_back(::open((b / name).c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(read_fd(files.back().get()) == pattern(kBytes, 1));
  }
  ASSERT_EQ(::kill(b.process, SIGSTOP), 0);
  std::vector<Bytes> data = {pattern(kBytes, 2), pattern(kBytes + 50'000, 3)};
  write(*client, "f", 0, data[0]);
  write(*client, "g", 0, data[1]);
  set_times(*client, "f");
  set_times(*client, "g");
  std::promise<void> begins;
  auto again = std::async(std::launch::async, [&] {
    begins.set_value();
    return std::vector<Bytes>{read_fd(files[0].get()), read_fd(files[1].get())};
  });
  begins.get_future().wait();
  EXPECT_EQ(again.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);
  ASSERT_EQ(::kill(b.process, SIGCONT), 0);
  EXPECT_TRUE(again.get() == data);
  EXPECT_TRUE(read_path(b / "f") == data[0]);
  EXPECT_TRUE(read_path(b / "g") == data[1]);
}

// Pages that a mapping reads are leased, too, though others have the file open for writing: when
// they write again, the pages go.
TEST_F(MountPages, WhatAMappingReadsIsNotReadWhenItHasChanged) {
  Mounted b = mount("b");
  auto client = connect();
  Bytes data = pattern(kBytes, 1);
  ASSERT_TRUE(write_whole(*client, "/f", data));
  set_times(*client, "f");
  warm(b, "f");
  Fd file(::open((b / "f").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(read_fd(file.get()) == data);
  auto open = client->run(client->fs().open("/f", wire::kOpenWrite, 0));
  ASSERT_TRUE(open) << message(open);
  for (std::uint64_t i = 0; i < 10; ++i) {
    Bytes part = pattern(4096, 2 * i + 5);
    ASSERT_TRUE(client->run(client->fs().write(**open, 0, part)));
    void* pages = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, file.get(), 0);
    ASSERT_NE(pages, MAP_FAILED);
    EXPECT_EQ(std::memcmp(pages, part.data(), part.size()), 0) << i;
    part = pattern(4096, 2 * i + 6);
    ASSERT_TRUE(client->run(client->fs().write(**open, 0, part)));
    ASSERT_EQ(::munmap(pages, 4096), 0);
    set_times(*client, "f");
    std::copy(part.begin(), part.end(), data.begin());
    EXPECT_TRUE(read_fd(file.get()) == data) << i;
  }
  ASSERT_TRUE(client->run(client->fs().close(*open)));
}

// Writers of the same mount, who write past the cache, through calls and mappings, do not wait for
// themselves.
TEST_F(MountPages, AFileThatIsReadAndWrittenThroughOneMountIsExact) {
  Mounted m = mount();
  auto client = connect();
  Bytes data = pattern(kBytes, 1);
  ASSERT_TRUE(write_whole(*client, "/f", data));
  MonoTime begin = mono_now();
  for (std::uint64_t i = 0; i < 6; ++i) {
    warm(m, "f");
    Fd reader(::open((m / "f").c_str(), O_RDONLY | O_CLOEXEC));
    ASSERT_TRUE(read_fd(reader.get()) == data);
    Fd writer(::open((m / "f").c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(writer.is_open());
    Bytes part = pattern(5000, i + 30);
    if (i % 2 == 0) {  // else the file is leased when its pages become dirty
      std::copy(part.begin(), part.end(), data.begin() + 70'000);
      ASSERT_EQ(::pwrite(writer.get(), part.data(), part.size(), 70'000), 5000);
      ASSERT_TRUE(read_fd(reader.get()) == data) << i;
    }
    void* pages = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, writer.get(), 0);
    ASSERT_NE(pages, MAP_FAILED);
    part = pattern(9000, i + 40);
    std::memcpy(static_cast<std::byte*>(pages) + 200'000, part.data(), part.size());
    std::copy(part.begin(), part.end(), data.begin() + 200'000);
    // Another client, while pages wait to be written.
    Bytes other = pattern(4096, i + 50);
    write(*client, "f", 409'600, other);
    std::copy(other.begin(), other.end(), data.begin() + 409'600);
    ASSERT_TRUE(read_fd(reader.get()) == data) << i;
    ASSERT_EQ(::munmap(pages, kBytes), 0);
    writer.reset();
    ASSERT_TRUE(read_fd(reader.get()) == data) << i;
    ASSERT_TRUE(read_path(m / "f") == data) << i;
  }
  // A single wait for a lease takes longer.
  EXPECT_LT(mono_now() - begin, std::chrono::seconds(8));
}

// Random changes by two mounts and a client, all of which read after each.
TEST_F(MountPages, RandomChangesOfThreeDoorsAreReadByAll) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  auto client = connect();
  constexpr std::size_t kSize = 300'000;
  Bytes data = pattern(kSize, 1);
  ASSERT_TRUE(write_whole(*client, "/f", data));
  Random random(67);
  std::vector<Fd> handles(4);
  for (int round = 0; round < 250; ++round) {
    const Mounted& m = random.next() % 2 == 0 ? a : b;
    Fd& handle = handles[random.next() % handles.size()];
    handle = random.next() % 3 == 0 ? Fd() : Fd(::open((m / "f").c_str(), O_RDONLY | O_CLOEXEC));
    // Where nobody has an older version open, it comes to rest and is cached.
    bool is_open = std::ranges::any_of(handles, &Fd::is_open);
    if (!is_open && random.next() % 2 == 0) {
      warm(m, "f");
    }
    if (is_open && random.next() % 8 == 0) {
      handles = std::vector<Fd>(4);
    }
    std::size_t at = random.next() % kSize;
    std::size_t length = 1 + random.next() % 20'000;
    Bytes part = pattern(length, random.next());
    std::uint64_t kind = random.next() % 6;
    if (kind == 0) {
      std::uint64_t size = random.next() % kSize;
      if (random.next() % 2 == 0) {
        cut(*client, "f", size);
      } else {
        ASSERT_EQ(::truncate((m / "f").c_str(), static_cast<off_t>(size)), 0);
      }
      data.resize(size);
    } else {
      if (kind < 3) {
        write(*client, "f", at, part);
      } else {
        Fd file(::open((m / "f").c_str(), O_WRONLY | O_CLOEXEC));
        ASSERT_EQ(::pwrite(file.get(), part.data(), length, static_cast<off_t>(at)),
                  static_cast<ssize_t>(length));
      }
      data.resize(std::max(data.size(), at + length));
      std::copy(part.begin(), part.end(), data.begin() + static_cast<std::ptrdiff_t>(at));
    }
    if (random.next() % 2 == 0) {
      set_times(*client, "f");
    }
    for (const Fd& open : handles) {
      if (open.is_open()) {
        ASSERT_TRUE(read_fd(open.get()) == data) << "round " << round;
      }
    }
    ASSERT_TRUE(read_path(a / "f") == data) << "round " << round;
    ASSERT_TRUE(read_path(b / "f") == data) << "round " << round;
  }
}

// A read that begins after a write has returned sees it, whatever is on its way.
TEST_F(MountPages, ReadsBesideWritesNeverGoBack) {
  Mounted a = mount("a");
  Mounted b = mount("b");
  Mounted w = mount("w");
  auto client = connect();
  std::uint64_t zero = 0;
  put(w / "f", std::string_view(reinterpret_cast<const char*>(&zero), sizeof zero));
  std::atomic<std::uint64_t> written{0};
  std::atomic<bool> is_over{false};
  std::vector<std::thread> readers;
  for (bool reopens : {false, true}) {
    const Mounted& m = reopens ? b : a;
    readers.emplace_back([&written, &is_over, m, reopens] {
      Fd file(::open((m / "f").c_str(), O_RDONLY | O_CLOEXEC));
      while (!is_over.load()) {
        if (reopens) {
          file = Fd(::open((m / "f").c_str(), O_RDONLY | O_CLOEXEC));
        }
        for (int i = 0; i < 20; ++i) {
          std::uint64_t least = written.load();
          std::uint64_t value = 0;
          EXPECT_EQ(::pread(file.get(), &value, sizeof value, 0), 8);
          EXPECT_GE(value, least);
          EXPECT_EQ(::pread(file.get(), &value, sizeof value, static_cast<off_t>(least * 8)), 8)
              << least << " " << reopens;
        }
      }
    });
  }
  auto open = client->run(client->fs().open("/f", wire::kOpenWrite, 0));
  ASSERT_TRUE(open) << message(open);
  for (std::uint64_t value = 1; value <= 200; ++value) {
    std::span<const std::byte> bytes = std::as_bytes(std::span(&value, 1));
    if (value % 2 == 0) {  // of a client that keeps the file open
      EXPECT_TRUE(client->run(client->fs().write(**open, 8 * value, bytes)));
      EXPECT_TRUE(client->run(client->fs().write(**open, 0, bytes)));
    } else {
      Fd file(::open((w / "f").c_str(), O_WRONLY | O_CLOEXEC));
      EXPECT_EQ(::pwrite(file.get(), &value, sizeof value, static_cast<off_t>(8 * value)), 8);
      EXPECT_EQ(::pwrite(file.get(), &value, sizeof value, 0), 8);
    }
    written.store(value);
    if (value % 10 == 0) {  // time to be cached again
      std::uint64_t seen = 0;
      Fd file(::open((w / "f").c_str(), O_RDONLY | O_CLOEXEC));
      for (int i = 0; i < 200; ++i) {
        EXPECT_EQ(::pread(file.get(), &seen, sizeof seen, 0), 8);
        EXPECT_EQ(seen, value);
      }
    }
  }
  EXPECT_TRUE(client->run(client->fs().close(*open)));
  is_over.store(true);
  for (std::thread& reader : readers) {
    reader.join();
  }
}

// Its lease is renewed, so that its pages stay good.
TEST_F(MountPages, AFileThatStaysOpenKeepsItsPages) {
  Mounted m = mount();
  auto client = connect();
  Bytes data = pattern(kBytes, 1);
  ASSERT_TRUE(write_whole(*client, "/f", data));
  warm(m, "f");
  Fd file(::open((m / "f").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(read_fd(file.get()) == data);
  std::uint64_t bytes = handed_over(m);
  ::sleep(11);  // lint: allow sleep the time of a lease
  ASSERT_TRUE(read_fd(file.get()) == data);
  EXPECT_LT(handed_over(m) - bytes, 100'000U);
}

// Pages are of no use without a server that could take them back.
TEST_F(MountPages, NothingIsReadWhenTheServersAreGone) {
  Mounted m = mount();
  auto client = connect();
  ASSERT_TRUE(write_whole(*client, "/f", pattern(kBytes, 1)));
  client.reset();
  warm(m, "f");
  Fd file(::open((m / "f").c_str(), O_RDONLY | O_CLOEXEC));
  char byte = 0;
  ASSERT_EQ(::pread(file.get(), &byte, 1, 0), 1);
  for (std::size_t daemon : {0U, 1U}) {
    ASSERT_EQ(::kill(pid_of(cluster_, daemon), SIGKILL), 0);
    ASSERT_TRUE(wait_for_end(pid_of(cluster_, daemon), patience()));
  }
  MonoTime end = mono_now() + std::chrono::seconds(20);
  while (::pread(file.get(), &byte, 1, 0) == 1 && mono_now() < end) {
    ::usleep(1000);  // lint: allow sleep the kernel tells nobody
  }
  EXPECT_LT(::pread(file.get(), &byte, 1, 0), 0);
}

}  // namespace
}  // namespace benchfs::test
