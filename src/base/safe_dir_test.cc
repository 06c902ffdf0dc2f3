#include "base/safe_dir.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace benchfs {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kStranger = 65534;

class SafeDirTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string form = (fs::temp_directory_path() / "benchfs-dir-XXXXXX").string();
    ASSERT_NE(mkdtemp(form.data()), nullptr);
    top_ = form;
    dir_ = top_ + "/registry";
    ASSERT_EQ(::mkdir(dir_.c_str(), 0755), 0);
  }
  void TearDown() override {
    unsetenv("BENCHFS_REGISTRY_OWNER");
    fs::remove_all(top_);
  }
  static bool is_root() { return geteuid() == 0; }
  void write(const std::string& name, mode_t mode = 0644) const {
    std::string path = dir_ + "/" + name;
    std::ofstream(path) << "text";
    ::chmod(path.c_str(), mode);
  }
  static void expect_refused(const Error& error, const std::string& part) {
    EXPECT_EQ(error.code, Errc::kConfig) << error.message();
    EXPECT_NE(error.context.find(part), std::string::npos) << error.context;
  }

  std::string top_;
  std::string dir_;
};

TEST_F(SafeDirTest, ADirectoryOfOursIsOpenedAndItsFilesAreRead) {
  write("file");
  auto dir = SafeDir::open(dir_ + "/");
  ASSERT_TRUE(dir) << dir.error().message();
  EXPECT_EQ(dir->path(), dir_);
  EXPECT_EQ(dir->read_file("file", 100).value(), "text");
  EXPECT_EQ(dir->names(), std::vector<std::string>{"file"});
  EXPECT_TRUE(dir->exists("file"));
  EXPECT_FALSE(dir->exists("other"));
}

TEST_F(SafeDirTest, ADirectoryThatOthersMayWriteToIsRefused) {
  for (mode_t mode : {0775U, 0757U, 01777U}) {
    ASSERT_EQ(::chmod(dir_.c_str(), mode), 0);
    auto dir = SafeDir::open(dir_);
    ASSERT_FALSE(dir);
    expect_refused(dir.error(), "chmod go-w");
  }
  EXPECT_TRUE(SafeDir::open(dir_, Owner::kSelfOrSticky));
}

TEST_F(SafeDirTest, NewDirectoriesAreTheOwnersWhateverTheUmask) {
  mode_t before = ::umask(0777);
  auto made = SafeDir::open_or_create(dir_ + "/a/b");
  auto below = made ? made->create_subdirectory("c", 0700) : std::unexpected(made.error());
  ::umask(before);
  ASSERT_TRUE(below) << below.error().message();
  struct stat info{};
  ASSERT_EQ(::stat((dir_ + "/a/b/c").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
}

TEST_F(SafeDirTest, ADirectoryOfAStrangerIsRefusedUnlessTheReaderTrustsHim) {
  if (!is_root()) {
    GTEST_SKIP() << "needs root";
  }
  write("file");
  ASSERT_EQ(::chown(dir_.c_str(), kStranger, kStranger), 0);
  ASSERT_EQ(::chown((dir_ + "/file").c_str(), kStranger, kStranger), 0);
  for (Owner owner : {Owner::kSelf, Owner::kTrusted, Owner::kSelfOrSticky}) {
    auto dir = SafeDir::open(dir_, owner);
    ASSERT_FALSE(dir);
    expect_refused(dir.error(), "belongs to user 65534");
  }
  setenv("BENCHFS_REGISTRY_OWNER", "65534", 1);
  EXPECT_FALSE(SafeDir::open(dir_));
  auto dir = SafeDir::open(dir_, Owner::kTrusted);
  ASSERT_TRUE(dir);
  EXPECT_TRUE(dir->read_file("file", 100));
  EXPECT_FALSE(dir->remove_file("file"));
}

TEST_F(SafeDirTest, AFileOfAStrangerIsRefused) {
  if (!is_root()) {
    GTEST_SKIP() << "needs root";
  }
  write("file");
  ASSERT_EQ(::chown((dir_ + "/file").c_str(), kStranger, kStranger), 0);
  SafeDir dir = SafeDir::open(dir_).value();
  auto text = dir.read_file("file", 100);
  ASSERT_FALSE(text);
  expect_refused(text.error(), "belongs to user 65534");
  EXPECT_FALSE(dir.remove_file("file"));
  EXPECT_TRUE(dir.exists("file"));
}

TEST_F(SafeDirTest, AFileThatOthersMayWriteToIsRefused) {
  write("file", 0664);
  auto text = SafeDir::open(dir_).value().read_file("file", 100);
  ASSERT_FALSE(text);
  expect_refused(text.error(), "mode 0664");
  EXPECT_FALSE(SafeDir::open(dir_).value().open_file("file", O_WRONLY | O_TRUNC));
  EXPECT_EQ(fs::file_size(dir_ + "/file"), 4U) << "cut before it was looked at";
}

TEST_F(SafeDirTest, ADirectoryOfAllIsAcceptedWithTheStickyBitWhereThatIsAskedFor) {
  ASSERT_EQ(::chmod(dir_.c_str(), 01777), 0);
  EXPECT_TRUE(SafeDir::open(dir_, Owner::kSelfOrSticky));
  ASSERT_EQ(::chmod(dir_.c_str(), 0777), 0);
  auto dir = SafeDir::open(dir_, Owner::kSelfOrSticky);
  ASSERT_FALSE(dir);
  expect_refused(dir.error(), "mode 0777");
}

TEST_F(SafeDirTest, ASubdirectoryFollowsTheSameRules) {
  SafeDir dir = SafeDir::open(dir_).value();
  ASSERT_TRUE(dir.create_subdirectory("pid", 0700));
  ASSERT_EQ(::chmod((dir_ + "/pid").c_str(), 0777), 0);
  auto inner = dir.subdirectory("pid");
  ASSERT_FALSE(inner);
  expect_refused(inner.error(), "mode 0777");
  EXPECT_EQ(dir.read_file("pid", 100).error().posix, EISDIR);
}

TEST_F(SafeDirTest, NoFileIsReachedOrRemovedThroughALink) {
  std::string target = top_ + "/precious";
  std::ofstream(target) << "text";
  ASSERT_EQ(::symlink(target.c_str(), (dir_ + "/link").c_str()), 0);
  SafeDir dir = SafeDir::open(dir_).value();
  for (int flags : {O_RDONLY, O_RDWR | O_CREAT, O_WRONLY | O_TRUNC}) {
    auto file = dir.open_file("link", flags, 0644);
    ASSERT_FALSE(file);
    expect_refused(file.error(), "symbolic link");
  }
  EXPECT_FALSE(dir.remove_file("link"));
  EXPECT_EQ(fs::file_size(target), 4U);
}

TEST_F(SafeDirTest, NoDirectoryIsEnteredThroughALink) {
  std::string target = top_ + "/project";
  ASSERT_EQ(::mkdir(target.c_str(), 0755), 0);
  ASSERT_EQ(::symlink(target.c_str(), (dir_ + "/pid").c_str()), 0);
  SafeDir dir = SafeDir::open(dir_).value();
  auto inner = dir.subdirectory("pid");
  ASSERT_FALSE(inner);
  expect_refused(inner.error(), "not a directory but a link");
  EXPECT_FALSE(dir.create_subdirectory("pid", 0700));
}

TEST_F(SafeDirTest, ALinkInPlaceOfTheDirectoryIsFollowedOnlyIfItIsOurs) {
  std::string link = top_ + "/link";
  ASSERT_EQ(::symlink("registry", link.c_str()), 0);
  EXPECT_TRUE(SafeDir::open(link));
  if (is_root()) {
    ASSERT_EQ(::lchown(link.c_str(), kStranger, kStranger), 0);
    auto dir = SafeDir::open(link);
    ASSERT_FALSE(dir);
    expect_refused(dir.error(), "symbolic link that user 65534 made");
  }
}

TEST_F(SafeDirTest, LinksInACircleEnd) {
  ASSERT_EQ(::symlink("b", (top_ + "/a").c_str()), 0);
  ASSERT_EQ(::symlink("a", (top_ + "/b").c_str()), 0);
  auto dir = SafeDir::open(top_ + "/a");
  ASSERT_FALSE(dir);
  EXPECT_EQ(dir.error().posix, ELOOP);
}

TEST_F(SafeDirTest, APipeDoesNotHangAndIsRefused) {
  ASSERT_EQ(::mkfifo((dir_ + "/file").c_str(), 0600), 0);
  SafeDir dir = SafeDir::open(dir_).value();
  auto text = dir.read_file("file", 100);
  ASSERT_FALSE(text);
  expect_refused(text.error(), "not a regular file");
  EXPECT_FALSE(dir.remove_file("file"));
}

TEST_F(SafeDirTest, APlaceThatCannotBeReachedIsAnError) {
  fs::create_symlink("loop", top_ + "/loop");
  auto made = SafeDir::open_or_create(top_ + "/loop/a");
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().posix, ELOOP) << made.error().message();
}

TEST_F(SafeDirTest, ADirectoryBelowOneOfSomebodyElseIsFine) {
  ASSERT_EQ(::chmod(top_.c_str(), 0777), 0);
  EXPECT_TRUE(SafeDir::open(dir_));
  auto made = SafeDir::open_or_create(top_ + "/a/b/c");
  ASSERT_TRUE(made) << made.error().message();
  struct stat info{};
  ASSERT_EQ(::stat((top_ + "/a/b").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700U);
}

TEST_F(SafeDirTest, AFileInPlaceOfTheDirectoryIsRefused) {
  write("file");
  auto dir = SafeDir::open(dir_ + "/file");
  ASSERT_FALSE(dir);
  expect_refused(dir.error(), "not a directory");
  EXPECT_EQ(SafeDir::open(top_ + "/missing").error().posix, ENOENT);
}

TEST_F(SafeDirTest, ItRemovesItselfOnlyWhereItsPathStillLeadsToIt) {
  SafeDir dir = SafeDir::open(dir_).value();
  ASSERT_EQ(std::rename(dir_.c_str(), (top_ + "/moved").c_str()), 0);
  ASSERT_EQ(::mkdir(dir_.c_str(), 0700), 0);
  EXPECT_FALSE(dir.remove_self());
  EXPECT_TRUE(fs::exists(dir_));
  EXPECT_TRUE(SafeDir::open(dir_).value().remove_self());
}

}  // namespace
}  // namespace benchfs
