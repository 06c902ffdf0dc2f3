// Open files and their data through the kernel.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "base/fd.h"
#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

// Both ways in which the kernel treats data.
class MountFiles : public MountTest, public testing::WithParamInterface<bool> {
 protected:
  Mounted mount_it(const std::string& name = "mnt") {
    return mount(
        name, GetParam() ? std::vector<std::string>{"--page-cache"} : std::vector<std::string>{});
  }
};

INSTANTIATE_TEST_SUITE_P(Modes, MountFiles, testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "PageCache" : "Direct");
});

TEST_P(MountFiles, LargeReadsAndWritesAtAnyOffset) {
  Mounted m = mount_it();
  std::vector<std::byte> data = pattern(11'000'003, 7);
  Fd file(::open((m / "f").c_str(), O_RDWR | O_CREAT | O_EXCL, 0644));
  ASSERT_TRUE(file.is_open());
  ASSERT_EQ(::pwrite(file.get(), data.data(), data.size(), 12345),
            static_cast<ssize_t>(data.size()));
  EXPECT_EQ(stat_of(m / "f").st_size, 12345 + 11'000'003);
  std::vector<std::byte> back(data.size() + 100'000);
  ASSERT_EQ(::pread(file.get(), back.data(), back.size(), 12345),
            static_cast<ssize_t>(data.size()));
  back.resize(data.size());
  EXPECT_EQ(back, data);
  std::vector<std::byte> hole(12345, std::byte{1});
  ASSERT_EQ(::pread(file.get(), hole.data(), hole.size(), 0), 12345);
  EXPECT_EQ(hole, std::vector<std::byte>(12345));
  EXPECT_EQ(::fsync(file.get()), 0);
  EXPECT_EQ(::fdatasync(file.get()), 0);
}

TEST_P(MountFiles, HolesAreMadeAndFound) {
  Mounted m = mount_it();
  Mounted other = mount_it("other");
  constexpr off_t kChunk = off_t{4} << 20;
  std::vector<std::byte> data = pattern(2 * kChunk, 7);
  Fd file(::open((m / "f").c_str(), O_RDWR | O_CREAT, 0644));
  ASSERT_EQ(::pwrite(file.get(), data.data(), data.size(), 2 * kChunk), 2 * kChunk);
  ASSERT_EQ(::fallocate(file.get(), 0, 0, 6 * kChunk), 0) << std::strerror(errno);
  EXPECT_EQ(stat_of(other / "f").st_size, 6 * kChunk);
  ASSERT_EQ(::fallocate(file.get(), FALLOC_FL_KEEP_SIZE, 0, 9 * kChunk), 0);
  EXPECT_EQ(stat_of(m / "f").st_size, 6 * kChunk);
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_DATA), 2 * kChunk);
  EXPECT_EQ(::lseek(file.get(), 3 * kChunk, SEEK_HOLE), 4 * kChunk);
  EXPECT_EQ(::lseek(file.get(), 4 * kChunk, SEEK_DATA), -1);
  EXPECT_EQ(errno, ENXIO);
  ASSERT_EQ(::fallocate(
                file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * kChunk + 1000, kChunk),
            0)
      << std::strerror(errno);
  std::fill_n(data.begin() + 1000, kChunk, std::byte{0});
  for (const std::string& path : {m / "f", other / "f"}) {
    Fd reader(::open(path.c_str(), O_RDONLY));
    std::vector<std::byte> back(data.size());
    ASSERT_EQ(::pread(reader.get(), back.data(), back.size(), 2 * kChunk),
              static_cast<ssize_t>(data.size()));
    EXPECT_TRUE(back == data) << path;
  }
  EXPECT_EQ(error_of(::fallocate(file.get(), FALLOC_FL_COLLAPSE_RANGE, 0, kChunk)), EOPNOTSUPP);
}

TEST_P(MountFiles, CopiesInTheFileSystem) {
  Mounted m = mount_it();
  std::vector<std::byte> data = pattern(9'000'001, 3);
  Fd from(::open((m / "from").c_str(), O_RDWR | O_CREAT, 0644));
  Fd to(::open((m / "to").c_str(), O_RDWR | O_CREAT, 0644));
  ASSERT_EQ(::write(from.get(), data.data(), data.size()), static_cast<ssize_t>(data.size()));
  off_t at = 1;
  std::size_t copied = 1;
  ssize_t bytes = 0;
  while ((bytes = ::copy_file_range(from.get(), &at, to.get(), nullptr, data.size(), 0)) > 0) {
    copied += static_cast<std::size_t>(bytes);
  }
  ASSERT_EQ(bytes, 0) << std::strerror(errno);
  EXPECT_EQ(copied, data.size());
  std::vector<std::byte> back(data.size() - 1);
  ASSERT_EQ(::pread(to.get(), back.data(), back.size(), 0), static_cast<ssize_t>(back.size()));
  EXPECT_TRUE(std::equal(back.begin(), back.end(), data.begin() + 1));
}

// The kernel asks for security.capability before writes that go through its page cache.
TEST_P(MountFiles, AWriteAsksNoServerForAttributes) {
  Mounted m = mount_it();
  Fd file(::open((m / "f").c_str(), O_RDWR | O_CREAT, 0644));
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(::pwrite(file.get(), "abc", 3, i * 3), 3);
  }
  EXPECT_EQ(::getxattr((m / "f").c_str(), "security.capability", nullptr, 0), -1);
  EXPECT_FALSE(ok({"stats", "--json"}).contains("get_xattr"));
  EXPECT_EQ(::getxattr((m / "f").c_str(), "user.a", nullptr, 0), -1);
  EXPECT_TRUE(ok({"stats", "--json"}).contains("get_xattr"));
}

TEST_P(MountFiles, AnUnlinkedFileLivesUntilItIsClosed) {
  Mounted m = mount_it();
  Fd file(::open((m / "f").c_str(), O_RDWR | O_CREAT, 0644));
  ASSERT_EQ(::write(file.get(), "abc", 3), 3);
  ASSERT_EQ(::unlink((m / "f").c_str()), 0);
  put(m / "f", "another");
  struct stat attr{};
  ASSERT_EQ(::fstat(file.get(), &attr), 0) << std::strerror(errno);
  EXPECT_EQ(attr.st_size, 3);
  EXPECT_EQ(attr.st_nlink, 0U);
  ASSERT_EQ(::ftruncate(file.get(), 2), 0);
  ASSERT_EQ(::fchmod(file.get(), 0600), 0);
  std::array<char, 8> text{};
  EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0), 2);
  EXPECT_STREQ(text.data(), "ab");
  EXPECT_EQ(get(m / "f"), "another");
}

TEST_P(MountFiles, AppendsOfTwoMountsDoNotOverlap) {
  Mounted first = mount_it("first");
  Mounted second = mount_it("second");
  Fd a(::open((first / "log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644));
  Fd b(::open((second / "log").c_str(), O_WRONLY | O_APPEND));
  ASSERT_TRUE(a.is_open() && b.is_open());
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(::write(a.get(), "aaaa\n", 5), 5);
    ASSERT_EQ(::pwrite(b.get(), "bbbb\n", 5, 0), 5);  // at the end all the same, as on Linux
  }
  std::string text = get(first / "log");
  ASSERT_EQ(text.size(), 500U);
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(text.substr(i * 5, 5), i % 2 == 0 ? "aaaa\n" : "bbbb\n") << i;
  }
  EXPECT_EQ(get(second / "log"), text);
}

TEST_P(MountFiles, TruncationByOpenAndThroughAnOpenFile) {
  Mounted m = mount_it();
  put(m / "f", "0123456789");
  Fd file(::open((m / "f").c_str(), O_RDWR));
  ASSERT_EQ(::ftruncate(file.get(), 4), 0);
  EXPECT_EQ(get(m / "f"), "0123");
  ASSERT_EQ(::ftruncate(file.get(), 6), 0);
  EXPECT_EQ(get(m / "f"), std::string("0123\0\0", 6));
  Fd again(::open((m / "f").c_str(), O_WRONLY | O_TRUNC));
  struct stat attr{};
  ASSERT_EQ(::fstat(file.get(), &attr), 0);
  EXPECT_EQ(attr.st_size, 0);
  std::array<char, 8> text{};
  EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0), 0);
  Fd reader(::open((m / "f").c_str(), O_RDONLY));
  EXPECT_EQ(error_of(static_cast<int>(::write(reader.get(), "x", 1))), EBADF);
}

TEST_P(MountFiles, ASharedMappingIsTheFile) {
  Mounted m = mount_it();
  constexpr std::size_t kBytes = 3 * 4096 + 100;
  Fd file(::open((m / "f").c_str(), O_RDWR | O_CREAT, 0644));
  ASSERT_EQ(::ftruncate(file.get(), kBytes), 0);
  ASSERT_EQ(::pwrite(file.get(), "before", 6, 4096), 6);
  void* memory = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  ASSERT_NE(memory, MAP_FAILED) << std::strerror(errno);
  auto* text = static_cast<char*>(memory);
  EXPECT_EQ(std::string(text + 4096), "before");
  std::strcpy(text + 8192, "mapped");
  ASSERT_EQ(::msync(memory, kBytes, MS_SYNC), 0);
  // On the servers, and in the file as the same mount reads it.
  auto client = connect();
  Result<std::vector<std::byte>> whole = read_whole(*client, "/f");
  ASSERT_TRUE(whole) << message(whole);
  ASSERT_EQ(whole->size(), kBytes);
  EXPECT_STREQ(reinterpret_cast<const char*>(whole->data()) + 8192, "mapped");
  std::array<char, 7> part{};
  ASSERT_EQ(::pread(file.get(), part.data(), part.size(), 8192), 7);
  EXPECT_STREQ(part.data(), "mapped");
  // A write through the file is seen in the mapping.
  ASSERT_EQ(::pwrite(file.get(), "written", 8, 0), 8);
  EXPECT_STREQ(text, "written");
  // What a mapping changed and nobody synchronised reaches the file when it is unmapped and closed.
  std::strcpy(text + 12288, "late");
  ASSERT_EQ(::munmap(memory, kBytes), 0);
  file.reset();
  whole = read_whole(*client, "/f");
  ASSERT_TRUE(whole) << message(whole);
  EXPECT_STREQ(reinterpret_cast<const char*>(whole->data()) + 12288, "late");
}

TEST_P(MountFiles, APrivateMappingLeavesTheFile) {
  Mounted m = mount_it();
  put(m / "f", "file");
  Fd file(::open((m / "f").c_str(), O_RDONLY));
  void* memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* text = static_cast<char*>(memory);
  EXPECT_STREQ(text, "file");
  text[0] = 'm';
  EXPECT_EQ(get(m / "f"), "file");
  ::munmap(memory, 4096);
}

// --- Files without a name ------------------------------------------------------------------------

TEST_F(MountFiles, AFileWithoutANameGetsOneByALink) {
  Mounted m = mount();
  Mounted other = mount("other");
  Fd file(::open(m.path.c_str(), O_TMPFILE | O_RDWR, 0640));
  ASSERT_GE(file.get(), 0) << std::strerror(errno);
  EXPECT_EQ(::write(file.get(), "unnamed", 7), 7);
  struct stat info{};
  EXPECT_EQ(::fstat(file.get(), &info), 0);
  EXPECT_EQ(info.st_nlink, 0U);
  EXPECT_EQ(info.st_size, 7);
  EXPECT_TRUE(S_ISREG(info.st_mode));
  std::string in_proc = "/proc/self/fd/" + std::to_string(file.get());
  EXPECT_EQ(get(in_proc), "unnamed") << "opened once more";
  put(m / "there", "x");
  auto link_to = [&](const std::string& path) {
    return ::linkat(AT_FDCWD, in_proc.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW);
  };
  EXPECT_EQ(error_of(link_to(m / "there")), EEXIST);
  EXPECT_EQ(link_to(m / "named"), 0) << std::strerror(errno);
  EXPECT_EQ(get(other / "named"), "unnamed");
  EXPECT_EQ(stat_of(m / "named").st_nlink, 1U);
  EXPECT_EQ(stat_of(m / "named").st_ino, info.st_ino);
  EXPECT_EQ(::unlink((other / "named").c_str()), 0);
  EXPECT_EQ(error_of(link_to(m / "again")), ENOENT);
  EXPECT_EQ(::pwrite(file.get(), "U", 1, 0), 1);
  EXPECT_EQ(get(in_proc), "Unnamed");
}

TEST_F(MountFiles, AnExclusiveFileWithoutANameGetsNone) {
  Mounted m = mount();
  Fd file(::open(m.path.c_str(), O_TMPFILE | O_EXCL | O_RDWR, 0600));
  ASSERT_GE(file.get(), 0) << std::strerror(errno);
  std::string in_proc = "/proc/self/fd/" + std::to_string(file.get());
  EXPECT_EQ(
      error_of(::linkat(AT_FDCWD, in_proc.c_str(), AT_FDCWD, (m / "f").c_str(), AT_SYMLINK_FOLLOW)),
      ENOENT);
  EXPECT_EQ(error_of(::open((m / "none").c_str(), O_TMPFILE | O_RDWR, 0600)), ENOENT);
}

}  // namespace
}  // namespace benchfs::test
