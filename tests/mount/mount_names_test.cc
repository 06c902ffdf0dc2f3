// Names, attributes and directories through the kernel.
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "mount/mount_fixture.h"

namespace benchfs::test {
namespace {

class MountNames : public MountTest {};

TEST_F(MountNames, EachOperation) {
  Mounted m = mount();
  EXPECT_EQ(::mkdir((m / "d").c_str(), 0751), 0);
  EXPECT_EQ(stat_of(m / "d").st_mode, static_cast<mode_t>(S_IFDIR | 0751));
  put(m / "d/f", "hello");
  EXPECT_EQ(get(m / "d/f"), "hello");
  EXPECT_EQ(stat_of(m / "d/f").st_size, 5);
  EXPECT_EQ(::symlink("d/f", (m / "l").c_str()), 0);
  EXPECT_EQ(get(m / "l"), "hello");
  std::array<char, 64> target{};
  EXPECT_EQ(::readlink((m / "l").c_str(), target.data(), target.size()), 3);
  EXPECT_STREQ(target.data(), "d/f");
  EXPECT_EQ(::mknod((m / "n").c_str(), S_IFREG | 0600, 0), 0);
  EXPECT_EQ(error_of(::mknod((m / "n").c_str(), S_IFREG | 0600, 0)), EEXIST);
  EXPECT_EQ(stat_of(m / "n").st_mode, static_cast<mode_t>(S_IFREG | 0600));
  EXPECT_EQ(::chmod((m / "d/f").c_str(), 0604), 0);
  EXPECT_EQ(stat_of(m / "d/f").st_mode, static_cast<mode_t>(S_IFREG | 0604));
  std::array<timespec, 2> times = {timespec{.tv_sec = -5, .tv_nsec = 7},
                                   timespec{.tv_sec = 5'000'000'000, .tv_nsec = 999'999'999}};
  EXPECT_EQ(::utimensat(AT_FDCWD, (m / "d/f").c_str(), times.data(), 0), 0);
  EXPECT_EQ(stat_of(m / "d/f").st_atim.tv_sec, -5);
  EXPECT_EQ(stat_of(m / "d/f").st_atim.tv_nsec, 7);
  EXPECT_EQ(stat_of(m / "d/f").st_mtim.tv_sec, 5'000'000'000);
  EXPECT_EQ(stat_of(m / "d/f").st_mtim.tv_nsec, 999'999'999);
  times[0].tv_sec = -1'000'000'000'000'000;
  times[1].tv_sec = 1'000'000'000'000'000;
  EXPECT_EQ(::utimensat(AT_FDCWD, (m / "d/f").c_str(), times.data(), 0), 0);
  EXPECT_LT(stat_of(m / "d/f").st_atim.tv_sec, -9'000'000'000);
  EXPECT_GT(stat_of(m / "d/f").st_mtim.tv_sec, 9'000'000'000);
  EXPECT_EQ(::truncate((m / "d/f").c_str(), 2), 0);
  EXPECT_EQ(get(m / "d/f"), "he");
  EXPECT_EQ(error_of(::rmdir((m / "d").c_str())), ENOTEMPTY);
  EXPECT_EQ(error_of(::unlink((m / "d").c_str())), EISDIR);
  EXPECT_EQ(::rename((m / "d/f").c_str(), (m / "g").c_str()), 0);
  EXPECT_EQ(error_of(::access((m / "d/f").c_str(), F_OK)), ENOENT);
  EXPECT_EQ(get(m / "g"), "he");
  EXPECT_EQ(::rmdir((m / "d").c_str()), 0);
  EXPECT_EQ(::unlink((m / "g").c_str()), 0);
  EXPECT_EQ(error_of(::open((m / "g").c_str(), O_RDONLY)), ENOENT);
  struct statvfs whole{};
  EXPECT_EQ(::statvfs(m.path.c_str(), &whole), 0);
  EXPECT_GT(whole.f_blocks, 0U);
  EXPECT_GE(whole.f_blocks, whole.f_bavail);
  EXPECT_EQ(whole.f_namemax, 255U);
  EXPECT_GT(whole.f_ffree, 0U);
  EXPECT_GT(whole.f_files, whole.f_ffree);
  Fd directory(::open(m.path.c_str(), O_RDONLY | O_DIRECTORY));
  EXPECT_EQ(::fsync(directory.get()), 0);
}

TEST_F(MountNames, WhatIsNotSupportedSaysSo) {
  Mounted m = mount();
  put(m / "f", "x");
  EXPECT_EQ(error_of(::renameat2(AT_FDCWD,
                                 (m / "f").c_str(),
                                 AT_FDCWD,
                                 (m / "f").c_str(),
                                 RENAME_EXCHANGE | RENAME_NOREPLACE)),
            EINVAL);
  EXPECT_EQ(error_of(::mkdir((m / std::string(256, 'n')).c_str(), 0700)), ENAMETOOLONG);
}

TEST_F(MountNames, NamesOfOneInode) {
  Mounted m = mount();
  ASSERT_EQ(::mkdir((m / "d").c_str(), 0755), 0);
  put(m / "f", "hello");
  for (int i = 0; i < 8; ++i) {  // on both servers
    ASSERT_EQ(::link((m / "f").c_str(), (m / ("d/" + std::to_string(i))).c_str()), 0);
  }
  EXPECT_EQ(stat_of(m / "f").st_nlink, 9U);
  EXPECT_EQ(stat_of(m / "d/3").st_nlink, 9U);
  EXPECT_EQ(stat_of(m / "d/3").st_ino, stat_of(m / "f").st_ino);
  EXPECT_EQ(error_of(::link((m / "d/1").c_str(), (m / "d/2").c_str())), EEXIST);
  EXPECT_EQ(error_of(::link((m / "d").c_str(), (m / "e").c_str())), EPERM);
  EXPECT_EQ(::rename((m / "d/1").c_str(), (m / "d/2").c_str()), 0);  // two names of one inode
  EXPECT_EQ(stat_of(m / "d/1").st_nlink, 9U);
  put(m / "g", "other");
  EXPECT_EQ(::rename((m / "g").c_str(), (m / "d/4").c_str()), 0);
  EXPECT_EQ(get(m / "d/4"), "other");
  EXPECT_EQ(stat_of(m / "d/4").st_nlink, 1U);
  EXPECT_EQ(stat_of(m / "f").st_nlink, 8U);
  Fd open(::open((m / "f").c_str(), O_RDWR));
  EXPECT_EQ(::unlink((m / "f").c_str()), 0);
  for (int i = 0; i < 8; ++i) {
    if (i != 4) {
      EXPECT_EQ(get(m / ("d/" + std::to_string(i))), "hello") << i;
      EXPECT_EQ(::unlink((m / ("d/" + std::to_string(i))).c_str()), 0);
    }
  }
  struct stat last{};
  EXPECT_EQ(::fstat(open.get(), &last), 0);
  EXPECT_EQ(last.st_nlink, 0U);
  std::array<char, 5> bytes{};
  EXPECT_EQ(::pread(open.get(), bytes.data(), bytes.size(), 0), 5);
}

TEST_F(MountNames, SpecialFilesAreTheKernels) {
  Mounted m = mount();
  ASSERT_EQ(::mkfifo((m / "fifo").c_str(), 0640), 0);
  EXPECT_EQ(stat_of(m / "fifo").st_mode, static_cast<mode_t>(S_IFIFO | 0640));
  EXPECT_EQ(error_of(::mkfifo((m / "fifo").c_str(), 0640)), EEXIST);
  Fd reader(::open((m / "fifo").c_str(), O_RDONLY | O_NONBLOCK));
  Fd writer(::open((m / "fifo").c_str(), O_WRONLY | O_NONBLOCK));
  ASSERT_EQ(::write(writer.get(), "through", 7), 7);
  std::array<char, 8> text{};
  EXPECT_EQ(::read(reader.get(), text.data(), text.size()), 7);
  Fd server(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, (m / "s").c_str());
  ASSERT_EQ(::bind(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0)
      << std::strerror(errno);
  ASSERT_EQ(::listen(server.get(), 1), 0);
  EXPECT_EQ(stat_of(m / "s").st_mode & S_IFMT, static_cast<mode_t>(S_IFSOCK));
  Fd peer(::socket(AF_UNIX, SOCK_STREAM, 0));
  EXPECT_EQ(::connect(peer.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::rename((m / "fifo").c_str(), (m / "p").c_str()), 0);
  EXPECT_EQ(::unlink((m / "p").c_str()), 0);
  EXPECT_EQ(::unlink((m / "s").c_str()), 0);
  if (::geteuid() == 0) {
    ASSERT_EQ(::mknod((m / "null").c_str(), S_IFCHR | 0666, ::makedev(1, 3)), 0);
    EXPECT_EQ(stat_of(m / "null").st_rdev, ::makedev(1, 3));
  }
}

TEST_F(MountNames, RenameFlags) {
  Mounted m = mount();
  put(m / "a", "a");
  put(m / "b", "b");
  auto rename = [&](const char* from, const char* to, unsigned flags) {
    return error_of(::renameat2(AT_FDCWD, (m / from).c_str(), AT_FDCWD, (m / to).c_str(), flags));
  };
  EXPECT_EQ(rename("a", "b", RENAME_NOREPLACE), EEXIST);
  EXPECT_EQ(rename("a", "c", RENAME_NOREPLACE), 0);
  EXPECT_EQ(rename("c", "b", 0), 0);
  EXPECT_EQ(get(m / "b"), "a");
  EXPECT_EQ(rename("b", "b", 0), 0);
  ASSERT_EQ(::mkdir((m / "d").c_str(), 0755), 0);
  ASSERT_EQ(::mkdir((m / "d/e").c_str(), 0755), 0);
  EXPECT_EQ(rename("d", "d/e/f", 0), EINVAL);
  EXPECT_EQ(rename("d/e", "d", 0), ENOTEMPTY);
  EXPECT_EQ(rename("b", "d", 0), EISDIR);
  EXPECT_EQ(rename("d", "b", 0), ENOTDIR);
  EXPECT_EQ(rename("b", "d", RENAME_EXCHANGE), 0);
  EXPECT_EQ(get(m / "d"), "a");
  EXPECT_TRUE(S_ISDIR(stat_of(m / "b/e").st_mode));
  EXPECT_EQ(rename("b/e", "b", RENAME_EXCHANGE), EINVAL);
  EXPECT_EQ(rename("b", "b/e", RENAME_EXCHANGE), EINVAL);
  EXPECT_EQ(rename("b", "none", RENAME_EXCHANGE), ENOENT);
}

// What the other mount's kernel knew by the old names.
TEST_F(MountNames, AnExchangeIsSeenByAnotherMountAtOnce) {
  Mounted first = mount("first");
  Mounted second = mount("second");
  for (const char* name : {"d", "e"}) {
    ASSERT_EQ(::mkdir((first / name).c_str(), 0755), 0);
    put(first / name + "/f", name);
  }
  for (int round = 0; round < 20; ++round) {
    EXPECT_EQ(get(second / "d/f"), round % 2 == 0 ? "d" : "e");
    EXPECT_EQ(get(second / "e/f"), round % 2 == 0 ? "e" : "d");
    ASSERT_EQ(
        ::renameat2(
            AT_FDCWD, (first / "d").c_str(), AT_FDCWD, (first / "e").c_str(), RENAME_EXCHANGE),
        0);
  }
}

// The kernel of the first knows it at its old place, and renames onto the new one.
TEST_F(MountNames, ADirectoryThatAnotherMountMovedIsInTheWayOfARename) {
  Mounted first = mount("first");
  Mounted second = mount("second");
  auto rename = [&](const std::string& from, const std::string& to, unsigned flags = 0) {
    return error_of(::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags));
  };
  for (const char* name : {"a", "a/b", "a/b/c", "d"}) {
    ASSERT_EQ(::mkdir((first / name).c_str(), 0755), 0);
  }
  put(first / "f", "f");
  ASSERT_EQ(rename(second / "a/b/c", second / "a/c"), 0);
  EXPECT_EQ(rename(first / "d", first / "a/c", RENAME_NOREPLACE), EEXIST);
  ASSERT_EQ(rename(second / "a/c", second / "a/b/c"), 0);
  EXPECT_EQ(rename(first / "f", first / "a/b/c"), EISDIR);
  ASSERT_EQ(rename(second / "a/b/c", second / "c"), 0);
  EXPECT_EQ(rename(first / "a/b", first / "c"), 0);
  EXPECT_EQ(::access((second / "c").c_str(), F_OK), 0);
  EXPECT_EQ(error_of(::access((second / "a/b").c_str(), F_OK)), ENOENT);
}

TEST_F(MountNames, ExtendedAttributes) {
  Mounted first = mount("first");
  Mounted second = mount("second");
  put(first / "f", "x");
  ASSERT_EQ(::mkdir((first / "d").c_str(), 0755), 0);
  std::array<char, 64> text{};
  for (const char* name : {"f", "d"}) {
    std::string here = first / name;
    std::string there = second / name;
    EXPECT_EQ(error_of(::setxattr(here.c_str(), "user.a", "1", 1, XATTR_REPLACE)), ENODATA);
    EXPECT_EQ(error_of(::setxattr(here.c_str(), "user.a", "123", 3, XATTR_CREATE)), 0);
    EXPECT_EQ(error_of(::setxattr(there.c_str(), "user.a", "1", 1, XATTR_CREATE)), EEXIST);
    EXPECT_EQ(::getxattr(there.c_str(), "user.a", nullptr, 0), 3);
    EXPECT_EQ(::getxattr(there.c_str(), "user.a", text.data(), 2), -1);
    EXPECT_EQ(errno, ERANGE);
    EXPECT_EQ(::getxattr(there.c_str(), "user.a", text.data(), text.size()), 3);
    EXPECT_STREQ(text.data(), "123");
    EXPECT_EQ(::listxattr(there.c_str(), text.data(), text.size()), 7);
    EXPECT_STREQ(text.data(), "user.a");
    EXPECT_EQ(error_of(::removexattr(there.c_str(), "user.a")), 0);
    EXPECT_EQ(::getxattr(here.c_str(), "user.a", nullptr, 0), -1);
    EXPECT_EQ(errno, ENODATA);
    EXPECT_EQ(::listxattr(here.c_str(), nullptr, 0), 0);
    text = {};
  }
  std::string large(64 << 10, 'v');
  EXPECT_EQ(
      error_of(::setxattr((first / "f").c_str(), "user.large", large.data(), large.size(), 0)), 0);
  std::string read(large.size(), '\0');
  EXPECT_EQ(::getxattr((second / "f").c_str(), "user.large", read.data(), read.size()),
            static_cast<ssize_t>(large.size()));
  EXPECT_EQ(read, large);
  EXPECT_EQ(error_of(::setxattr((first / "f").c_str(), "trusted.a", "1", 1, 0)), EOPNOTSUPP);
}

// What exists throughout is seen exactly once, however the directory changes in between.
TEST_F(MountNames, AListingOfThousandsOfNamesThatChange) {
  Mounted m = mount();
  ASSERT_EQ(::mkdir((m / "d").c_str(), 0755), 0);
  constexpr int kNames = 10'000;
  auto client = connect();
  for (int i = 0; i < kNames; ++i) {
    std::string name = "/d/stays_" + std::to_string(i);
    auto file = client->run(client->fs().open(name, wire::kOpenWrite | wire::kOpenCreate, 0644));
    ASSERT_TRUE(file) << message(file);
    ASSERT_TRUE(client->run(client->fs().close(*file)));
  }
  DIR* directory = ::opendir((m / "d").c_str());
  ASSERT_NE(directory, nullptr);
  std::map<std::string, int> seen;
  int count = 0;
  while (dirent* entry = ::readdir(directory)) {
    ++seen[entry->d_name];
    if (++count % 100 == 0) {
      std::string other = m / "d/" + std::to_string(count % 700);
      if (count % 200 == 0) {
        put(other + "_comes", "");
      } else {
        ::unlink((other + "_comes").c_str());
      }
    }
  }
  for (int i = 0; i < kNames; ++i) {
    ASSERT_EQ(seen["stays_" + std::to_string(i)], 1) << i;
  }
  EXPECT_EQ(seen["."], 1);
  EXPECT_EQ(seen[".."], 1);
  for (const auto& [name, times] : seen) {
    ASSERT_EQ(times, 1) << name;
  }
  ::closedir(directory);
}

TEST_F(MountNames, PlacesInADirectoryStayValid) {
  Mounted m = mount();
  ASSERT_EQ(::mkdir((m / "d").c_str(), 0755), 0);
  constexpr int kNames = 500;
  for (int i = 0; i < kNames; ++i) {
    put(m / "d/name_" + std::to_string(1000 + i), "");
  }
  DIR* directory = ::opendir((m / "d").c_str());
  ASSERT_NE(directory, nullptr);
  std::vector<std::string> names;
  std::vector<long> places;  // before the name
  long place = ::telldir(directory);
  while (dirent* entry = ::readdir(directory)) {
    names.emplace_back(entry->d_name);
    places.push_back(place);
    place = ::telldir(directory);
  }
  ASSERT_EQ(names.size(), kNames + 2U);
  ASSERT_EQ(::unlink((m / "d/name_1000").c_str()), 0);
  put(m / "d/name_0999", "");
  for (std::size_t i = names.size() - 1; i > 5; i -= 7) {
    ::seekdir(directory, places[i]);
    dirent* entry = ::readdir(directory);
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->d_name, names[i]);
  }
  ::rewinddir(directory);
  std::set<std::string> again;
  while (dirent* entry = ::readdir(directory)) {
    again.insert(entry->d_name);
  }
  EXPECT_TRUE(again.contains("name_0999"));
  EXPECT_FALSE(again.contains("name_1000"));
  EXPECT_EQ(again.size(), names.size());
  ::closedir(directory);
}

TEST_F(MountNames, ARemovedDirectoryThatIsOpenIsEmpty) {
  Mounted m = mount();
  ASSERT_EQ(::mkdir((m / "d").c_str(), 0755), 0);
  Fd directory(::open((m / "d").c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_TRUE(directory.is_open());
  ASSERT_EQ(::rmdir((m / "d").c_str()), 0);
  struct stat attr{};
  EXPECT_EQ(::fstat(directory.get(), &attr), 0) << std::strerror(errno);
  EXPECT_EQ(attr.st_nlink, 0U);
  EXPECT_EQ(error_of(::openat(directory.get(), "f", O_WRONLY | O_CREAT, 0644)), ENOENT);
}

}  // namespace
}  // namespace benchfs::test
