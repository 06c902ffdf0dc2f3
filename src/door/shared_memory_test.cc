#include "door/shared_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/testing/deny.h"
#include "door/attach.h"
#include "door/layout.h"

namespace benchfs::door {
namespace {

TEST(SharedMemory, OnlyItsMakerWritesWhatIsPublished) {
  auto memory = create_published_memory(kPage);
  ASSERT_TRUE(memory.has_value()) << memory.error().message();
  int fd = memory->fd.get();
  EXPECT_EQ(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
  auto seen = map_received(fd, kPage, Mapping::Access::kRead);
  ASSERT_TRUE(seen.has_value());
  EXPECT_EQ(mprotect(seen->data(), kPage, PROT_READ | PROT_WRITE), -1);
  memory->mapping.data()[5] = std::byte{7};
  EXPECT_EQ(seen->data()[5], std::byte{7});
}

TEST(SharedMemory, MemoryThatCouldShrinkOrIsTooSmallIsNotMapped) {
  Fd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(fd.get(), kPage), 0);
  EXPECT_EQ(map_received(fd.get(), kPage, Mapping::Access::kReadWrite).error().code,
            Errc::kMalformed);
  auto memory = create_session_memory(kPage, kPage);
  ASSERT_TRUE(memory.has_value());
  EXPECT_EQ(map_received(memory->fd.get(), 2 * kPage, Mapping::Access::kRead).error().code,
            Errc::kMalformed);
  EXPECT_EQ(ftruncate(memory->fd.get(), 0), -1);
  EXPECT_EQ(ftruncate(memory->fd.get(), 2 * kPage), -1);
}

// A program that locks all that it maps from then on pays for what it touches, not for windows.
TEST(SharedMemory, AProgramThatLocksItsMemoryDoesNotFillHoles) {
  constexpr std::size_t kBytes = std::size_t{4} << 20;
  pid_t child = fork();
  if (child == 0) {
    Fd fd(memfd_create("test", MFD_CLOEXEC));
    struct stat info{};
    if (ftruncate(fd.get(), kBytes) != 0) {
      _exit(1);
    }
    if (mlockall(MCL_FUTURE) != 0) {
      _exit(2);
    }
    for (Mapping::Access access : {Mapping::Access::kRead, Mapping::Access::kReadWrite}) {
      auto mapping = Mapping::map(fd.get(), kBytes, access);
      if (!mapping || fstat(fd.get(), &info) != 0 || info.st_blocks != 0) {
        _exit(3);
      }
    }
    auto mapping = Mapping::map(fd.get(), kBytes, Mapping::Access::kReadWrite);
    mapping->data()[0] = std::byte{1};
    _exit(fstat(fd.get(), &info) == 0 && info.st_blocks > 0 && info.st_blocks * 512 <= 64 << 10
              ? 0
              : 4);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) {
    GTEST_SKIP() << "this user may not lock memory";
  }
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(SharedMemory, NobodyWritesOnceNoMappingIsLeft) {
  auto memory = create_session_memory(kPage, kPage);
  ASSERT_TRUE(memory.has_value());
  int fd = memory->fd.get();
  EXPECT_EQ(prove_no_writer(fd), WriterProof::kSomebody);
  memory->mapping = Mapping();
  EXPECT_EQ(prove_no_writer(fd), WriterProof::kNobody);
  EXPECT_FALSE(Mapping::map(fd, kPage, Mapping::Access::kReadWrite).has_value());
}

TEST(SharedMemory, AProofThatTheClientPreventedIsToldApart) {
  auto memory = create_session_memory(kPage, kPage);
  ASSERT_TRUE(memory.has_value());
  ASSERT_EQ(fcntl(memory->fd.get(), F_ADD_SEALS, F_SEAL_SEAL), 0);
  memory->mapping = Mapping();
  EXPECT_EQ(prove_no_writer(memory->fd.get()), WriterProof::kRefused);
}

TEST(SharedMemory, AChildHasNeitherTheMappingNorTheMark) {
  auto memory = create_session_memory(kPage, kPage);
  auto mark = ForkMark::create();
  ASSERT_TRUE(memory.has_value() && mark.has_value());
  EXPECT_TRUE(mark->is_set());
  EXPECT_FALSE(ForkMark().is_set());
  pid_t child = fork();
  if (child == 0) {
    // A page that is not there cannot be looked at by the kernel either.
    unsigned char resident = 0;
    bool is_mapped = mincore(memory->mapping.data(), kPage, &resident) == 0 || errno != ENOMEM;
    _exit((mark->is_set() ? 1 : 0) + (is_mapped ? 2 : 0));
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

std::size_t pages_there(const SharedMemory& memory) {
  struct stat info{};
  EXPECT_EQ(fstat(memory.fd.get(), &info), 0);
  return static_cast<std::size_t>(info.st_blocks) * 512 / kPage;
}

TEST(SharedMemory, WhatIsBackedIsThereBeforeItIsTouched) {
  auto memory = create_session_memory(6 * kPage, 2 * kPage);
  ASSERT_TRUE(memory.has_value());
  EXPECT_EQ(pages_there(*memory), 2U);
  ASSERT_TRUE(back(memory->fd.get(), 4 * kPage - 1, 2).has_value());
  EXPECT_EQ(pages_there(*memory), 4U);
  ASSERT_TRUE(back(memory->fd.get(), 0, 5 * kPage).has_value());
  EXPECT_EQ(pages_there(*memory), 5U);
  auto published = create_published_memory(kPage);
  ASSERT_TRUE(published.has_value());
  EXPECT_EQ(pages_there(*published), 1U);
}

TEST(SharedMemory, AClientBacksWhatItWillTouchThroughItsMapping) {
  auto memory = create_session_memory(4 * kPage, 0);
  ASSERT_TRUE(memory.has_value());
  if (madvise(memory->mapping.data(), kPage, 23 /* MADV_POPULATE_WRITE */) != 0) {
    GTEST_SKIP() << "this kernel has no MADV_POPULATE_WRITE";
  }
  ASSERT_TRUE(back(memory->mapping, 2 * kPage - 1, 2).has_value());
  EXPECT_EQ(pages_there(*memory), 3U);
}

int exit_status(pid_t child) {
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + status;
}

TEST(SharedMemory, WhatTheMachineHasNoMemoryForIsNotMade) {
  pid_t child = fork();
  if (child == 0) {
    if (!benchfs::testing::deny(SYS_fallocate, ENOMEM)) {
      _exit(2);
    }
    auto memory = create_session_memory(2 * kPage, kPage);
    bool is_clear = !memory && memory.error().code == Errc::kSystem &&
                    memory.error().posix == ENOMEM &&
                    memory.error().message().find("no memory left") != std::string::npos;
    _exit(is_clear && !create_published_memory(kPage) ? 0 : 1);
  }
  int status = exit_status(child);
  if (status == 2) {
    GTEST_SKIP() << "seccomp filters are not permitted here";
  }
  EXPECT_EQ(status, 0);
}

// Before Linux 5.14 EINVAL: the pages come when they are touched.
TEST(SharedMemory, AnOldKernelBacksNothingThroughAMapping) {
  for (int error : {EINVAL, EFAULT}) {
    pid_t child = fork();
    if (child == 0) {
      auto own = create_session_memory(kPage, kPage);
      if (!own || !benchfs::testing::deny(SYS_madvise, error)) {
        _exit(2);
      }
      _exit(back(own->mapping, 0, 1).has_value() == (error == EINVAL) ? 0 : 1);
    }
    int status = exit_status(child);
    if (status == 2) {
      GTEST_SKIP() << "seccomp filters are not permitted here";
    }
    EXPECT_EQ(status, 0) << error;
  }
}

class DoorDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "benchfs-door-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    base_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(base_); }
  [[nodiscard]] std::string user() const {
    return base_ + "/benchfs-door-" + std::to_string(geteuid());
  }

  std::string base_;
};

TEST_F(DoorDirectoryTest, OthersMayNotEvenLookIn) {
  ASSERT_TRUE(DoorDirectory::create(1, base_).has_value());
  struct stat info{};
  ASSERT_EQ(stat(user().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
  ASSERT_EQ(chmod(user().c_str(), 0750), 0);
  EXPECT_EQ(DoorDirectory::open(1, base_).error().code, Errc::kConfig);
  EXPECT_EQ(DoorDirectory::create(1, base_).error().code, Errc::kConfig);
}

TEST_F(DoorDirectoryTest, ASymbolicLinkLeadsNowhere) {
  ASSERT_TRUE(DoorDirectory::create(1, base_).has_value());
  std::filesystem::rename(user(), base_ + "/moved");
  std::filesystem::create_symlink(base_ + "/moved", user());
  EXPECT_FALSE(DoorDirectory::open(1, base_).has_value());
  EXPECT_FALSE(DoorDirectory::create(1, base_).has_value());
}

TEST_F(DoorDirectoryTest, ALinkInPlaceOfTheSocketIsNotFollowed) {
  auto directory = DoorDirectory::create(1, base_);
  ASSERT_TRUE(directory.has_value());
  auto listener = directory->listen(0);
  ASSERT_TRUE(listener.has_value()) << listener.error().message();
  EXPECT_TRUE(directory->connect(0).has_value());
  std::string run = user() + "/0000000000000001";
  std::filesystem::create_symlink(run + "/0", run + "/1");
  EXPECT_EQ(directory->connect(1).error().code, Errc::kConfig);
}

TEST_F(DoorDirectoryTest, WhatAKilledDaemonLeftIsReplaced) {
  auto directory = DoorDirectory::create(1, base_);
  ASSERT_TRUE(directory.has_value());
  ASSERT_TRUE(directory->listen(0).has_value());  // and is closed
  EXPECT_EQ(directory->connect(0).error().code, Errc::kUnreachable);
  auto listener = directory->listen(0);
  ASSERT_TRUE(listener.has_value());
  EXPECT_TRUE(directory->connect(0).has_value());
  directory->remove(0);
  EXPECT_FALSE(std::filesystem::exists(user() + "/0000000000000001"));
}

// The directory above belongs to root, as /tmp does.
class UserNamespaces : public DoorDirectoryTest {
 protected:
  static constexpr uid_t kUser = 12345;
  static constexpr int kSkipped = 77;

  void SetUp() override {
    DoorDirectoryTest::SetUp();
    if (geteuid() != 0) {
      GTEST_SKIP() << "needs root";
    }
    ASSERT_EQ(chmod(base_.c_str(), 01777), 0);
  }
  // What `check` returns in a process of an ordinary user who has a door, in a namespace in which
  // the user has the number `inside`; empty: none.
  template <typename Check>
  static int run(const std::string& base, const std::string& inside, Check check) {
    pid_t child = fork();
    if (child == 0) {
      if (setresgid(kUser, kUser, kUser) != 0 || setresuid(kUser, kUser, kUser) != 0 ||
          prctl(PR_SET_DUMPABLE, 1) != 0) {
        _exit(kSkipped);
      }
      auto made = DoorDirectory::create(1, base);
      auto listener = made ? made->listen(0) : std::unexpected(made.error());
      if (!listener) {
        _exit(1);
      }
      if (unshare(CLONE_NEWUSER) != 0) {
        _exit(kSkipped);
      }
      if (!inside.empty()) {
        std::ofstream("/proc/self/uid_map") << inside << " " << kUser << " 1";
      }
      _exit(check());
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};

TEST_F(UserNamespaces, AUserFindsItsDoorUnderAnyNumber) {
  for (const char* inside : {"12345", "0", "7"}) {
    int result = run(base_, inside, [&] {
      auto found = DoorDirectory::open(1, base_);
      return found && found->has(0) && found->connect(0) ? 0 : 2;
    });
    if (result == kSkipped) {
      GTEST_SKIP() << "no user namespaces here";
    }
    EXPECT_EQ(result, 0) << inside;
  }
}

// It could be anybody, and anybody could be it.
TEST_F(UserNamespaces, AUserWithoutANumberHasNoDoor) {
  int result = run(base_, "", [&] {
    auto found = DoorDirectory::open(1, base_);
    return !found && found.error().code == Errc::kConfig && !SafeDir::open(base_) ? 0 : 2;
  });
  if (result == kSkipped) {
    GTEST_SKIP() << "no user namespaces here";
  }
  EXPECT_EQ(result, 0);
}

TEST_F(UserNamespaces, RootEntersTheDoorOfAUserItTrusts) {
  std::string own = user();
  ASSERT_TRUE(DoorDirectory::create(1, base_));
  std::string theirs = base_ + "/benchfs-door-" + std::to_string(kUser);
  std::filesystem::rename(own, theirs);
  for (const std::string& path : {theirs, theirs + "/0000000000000001"}) {
    ASSERT_EQ(chown(path.c_str(), kUser, kUser), 0);
  }
  EXPECT_FALSE(DoorDirectory::open(1, base_));
  ::setenv("BENCHFS_REGISTRY_OWNER", std::to_string(kUser).c_str(), 1);
  EXPECT_TRUE(DoorDirectory::open(1, base_));
  ::unsetenv("BENCHFS_REGISTRY_OWNER");
}

}  // namespace
}  // namespace benchfs::door
