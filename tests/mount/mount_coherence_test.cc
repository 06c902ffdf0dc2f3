// What is written through one door is seen through every other at once: a client of the C API's
// core and two mounts.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/random.h"
#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

class MountCoherence : public MountTest {
 protected:
  static std::vector<std::byte> bytes(std::string_view text) {
    std::span<const std::byte> view = std::as_bytes(std::span(text));
    return {view.begin(), view.end()};
  }
};

TEST_F(MountCoherence, NamesOfOneClientAreSeenThroughTheMountAtOnce) {
  Mounted m = mount();
  auto client = connect();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(error_of(::access((m / "d").c_str(), F_OK)), ENOENT);
    ASSERT_TRUE(client->run(client->fs().mkdir("/d", 0755)));
    EXPECT_EQ(::access((m / "d").c_str(), F_OK), 0);
    ASSERT_TRUE(write_whole(*client, "/d/f", bytes("one")));
    EXPECT_EQ(get(m / "d/f"), "one");
    ASSERT_TRUE(client->run(client->fs().rename("/d", "/e")));
    EXPECT_EQ(error_of(::access((m / "d/f").c_str(), F_OK)), ENOENT);
    EXPECT_EQ(get(m / "e/f"), "one");
    ASSERT_EQ(::unlink((m / "e/f").c_str()), 0);
    EXPECT_FALSE(client->run(client->fs().stat("/e/f")));
    ASSERT_EQ(::rmdir((m / "e").c_str()), 0);
    EXPECT_FALSE(client->run(client->fs().stat("/e")));
  }
}

// A name that is replaced all the time exists at every moment.
TEST_F(MountCoherence, AFileIsReplacedUnderTheNamesOfAMount) {
  Mounted m = mount();
  auto client = connect();
  for (int i = 0; i < 50; ++i) {
    std::string text = "version " + std::to_string(i);
    ASSERT_TRUE(write_whole(*client, "/new", bytes(text)));
    ASSERT_TRUE(client->run(client->fs().rename("/new", "/f")));
    EXPECT_EQ(get(m / "f"), text);
  }
}

TEST_F(MountCoherence, DataOfOneDoorIsSeenThroughTheOthersAtOnce) {
  Mounted direct = mount("direct");
  Mounted cached = mount("cached", {"--page-cache"});
  auto client = connect();
  constexpr std::size_t kBytes = 200'000;
  std::vector<std::byte> expected(kBytes);
  ASSERT_TRUE(write_whole(*client, "/f", expected));
  auto open = client->run(client->fs().open("/f", wire::kOpenRead | wire::kOpenWrite, 0));
  ASSERT_TRUE(open) << message(open);
  std::vector<Fd> files;
  files.emplace_back(::open((direct / "f").c_str(), O_RDWR));
  files.emplace_back(::open((cached / "f").c_str(), O_RDWR));
  Random random(11);
  for (int round = 0; round < 150; ++round) {
    std::size_t at = random.next() % kBytes;
    std::size_t length = 1 + random.next() % std::min<std::size_t>(kBytes - at, 9000);
    std::vector<std::byte> data = pattern(length, random.next());
    std::copy(data.begin(), data.end(), expected.begin() + static_cast<std::ptrdiff_t>(at));
    std::size_t writer = random.next() % 3;
    if (writer == 2) {
      ASSERT_TRUE(client->run(client->fs().write(**open, at, data)));
    } else {
      ASSERT_EQ(::pwrite(files[writer].get(), data.data(), length, static_cast<off_t>(at)),
                static_cast<ssize_t>(length));
    }
    for (const Fd& file : files) {
      std::vector<std::byte> back(kBytes);
      ASSERT_EQ(::pread(file.get(), back.data(), kBytes, 0), static_cast<ssize_t>(kBytes));
      ASSERT_TRUE(back == expected) << "round " << round << " writer " << writer;
    }
    std::vector<std::byte> back(kBytes);
    ASSERT_TRUE(client->run(client->fs().read(**open, 0, back)));
    ASSERT_TRUE(back == expected) << "round " << round << " writer " << writer;
  }
  ASSERT_TRUE(client->run(client->fs().close(*open)));
}

TEST_F(MountCoherence, ATruncationOfOneDoorIsSeenThroughTheOthers) {
  Mounted direct = mount("direct");
  Mounted cached = mount("cached", {"--page-cache"});
  auto client = connect();
  for (const Mounted& m : {direct, cached}) {
    ASSERT_TRUE(write_whole(*client, "/f", bytes("0123456789")));
    Fd file(::open((m / "f").c_str(), O_RDWR));
    std::array<char, 16> text{};
    ASSERT_EQ(::pread(file.get(), text.data(), text.size(), 0), 10);
    wire::SetAttrRequest cut;
    cut.mask = wire::kSetSize;
    cut.size = 3;
    ASSERT_TRUE(client->run(client->fs().set_attr("/f", cut)));
    EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0), 3);
    EXPECT_EQ(stat_of(m / "f").st_size, 3);
    ASSERT_EQ(::pwrite(file.get(), "x", 1, 5), 1);
    Result<std::vector<std::byte>> whole = read_whole(*client, "/f");
    ASSERT_TRUE(whole) << message(whole);
    EXPECT_EQ(*whole, bytes(std::string_view("012\0\0x", 6)));
  }
}

}  // namespace
}  // namespace benchfs::test
