// When several errors are possible, rename, mkdir, rmdir, unlink, link and symlink return the one
// that Linux returns.

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "model/door.h"
#include "model/fixture.h"

namespace benchfs::test {
namespace {

const std::vector<std::string> kPaths = {
    "/absent", "/absent/", "/absent/.", "/absent/x", "/f",         "/f/",         "/f/.",
    "/f/x",    "/same",    "/g",        "/d",        "/d/",        "/d/.",        "/d/..",
    "/d/new",  "/full",    "/full/",    "/full/f",   "/full/sub",  "/full/sub/x", "/full/sub/new",
    "/link",   "/link/",   "/dlink",    "/dlink/",   "/dlink/new", "/dangling",   "/dangling/"};

class ErrnoOrder : public ::testing::Test {
 protected:
  void SetUp() override {
    BENCHFS_TEST_ASSIGN(cluster, Cluster::start({.servers = 2}));
    cluster_ = std::move(cluster);
    context_ = connect(*cluster_);
    ASSERT_NE(context_, nullptr);
  }
  static void make_tree(Door& door) {
    for (const char* file : {"/f", "/g"}) {
      ASSERT_EQ(
          door.close(static_cast<int>(door.open(file, O_CREAT | O_WRONLY, 0644).result)).result, 0);
    }
    for (const char* directory : {"/d", "/full", "/full/sub", "/full/sub/x"}) {
      ASSERT_EQ(door.mkdir(directory, 0755).result, 0);
    }
    ASSERT_EQ(
        door.close(static_cast<int>(door.open("/full/f", O_CREAT | O_WRONLY, 0644).result)).result,
        0);
    ASSERT_EQ(door.link("/f", "/same").result, 0);
    ASSERT_EQ(door.symlink("f", "/link").result, 0);
    ASSERT_EQ(door.symlink("d", "/dlink").result, 0);
    ASSERT_EQ(door.symlink("nowhere", "/dangling").result, 0);
  }
  // Calls on a fresh tree of both file systems.
  template <typename Call>
  void compare(const std::string& what, Call call) {
    std::string root = "/t" + std::to_string(++trees_);
    ASSERT_EQ(benchfs_mkdir(context_.get(), root.c_str(), 0755), 0);
    std::string kernel_root = reference_.path() + root;
    ASSERT_EQ(::mkdir(kernel_root.c_str(), 0755), 0);
    ApiDoor api({context_.get()}, root);
    SystemDoor kernel(kernel_root);
    make_tree(api);
    make_tree(kernel);
    EXPECT_EQ(to_string(call(api)), to_string(call(kernel))) << what;
  }

  TempDir reference_{"/dev/shm"};
  std::unique_ptr<Cluster> cluster_;
  ContextPtr context_;
  int trees_ = 0;
};

TEST_F(ErrnoOrder, OfOnePath) {
  for (const std::string& path : kPaths) {
    compare("mkdir " + path, [&](Door& door) { return door.mkdir(path, 0755); });
    compare("rmdir " + path, [&](Door& door) { return door.rmdir(path); });
    compare("unlink " + path, [&](Door& door) { return door.unlink(path); });
    compare("symlink " + path, [&](Door& door) { return door.symlink("target", path); });
  }
}

TEST_F(ErrnoOrder, OfLink) {
  for (const std::string& from : kPaths) {
    for (const std::string& to : kPaths) {
      compare("link " + from + " " + to, [&](Door& door) { return door.link(from, to); });
    }
  }
}

TEST_F(ErrnoOrder, OfRename) {
  for (const std::string& from : kPaths) {
    for (const std::string& to : kPaths) {
      compare("rename " + from + " " + to, [&](Door& door) { return door.rename(from, to); });
    }
  }
}

TEST_F(ErrnoOrder, OfExchange) {
  for (const std::string& from : kPaths) {
    for (const std::string& to : kPaths) {
      compare("exchange " + from + " " + to, [&](Door& door) { return door.exchange(from, to); });
    }
  }
}

// RENAME_NOREPLACE, which `benchfs mv -n` uses.
TEST_F(ErrnoOrder, OfRenameWithoutReplacing) {
  for (const std::string& from : kPaths) {
    for (const std::string& to : kPaths) {
      compare("rename without replacing " + from + " " + to,
              [&](Door& door) { return door.rename_without_replacing(from, to); });
    }
  }
}

}  // namespace
}  // namespace benchfs::test
