#include "cluster/secret.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace benchfs::cluster {
namespace {

namespace fs = std::filesystem;

std::vector<std::byte> bytes(std::string_view text) {
  auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

class SecretFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string form = (fs::temp_directory_path() / "benchfs-secret-XXXXXX").string();
    ASSERT_NE(mkdtemp(form.data()), nullptr);
    dir_ = form;
  }
  void TearDown() override { fs::remove_all(dir_); }

  [[nodiscard]] fs::path path() const { return dir_ / "secret"; }
  // The error of reading, which is the same for servers and clients.
  std::string problem() const {
    Result<Secret> server = Secret::read_or_make(dir_);
    Result<Secret> client = Secret::read(dir_);
    if (server || client) {
      return "";
    }
    EXPECT_EQ(client.error().message(), server.error().message());
    return client.error().context;
  }
  void expect_problem(std::string_view part) const {
    std::string text = problem();
    EXPECT_TRUE(text.starts_with(fmt::format("cluster secret {} ", path().native()))) << text;
    EXPECT_NE(text.find(part), std::string::npos) << text;
  }

  fs::path dir_;
};

TEST_F(SecretFile, IsMadeOnceAndForItsOwnerAlone) {
  Result<Secret> made = Secret::read_or_make(dir_);
  ASSERT_TRUE(made) << made.error().message();
  struct stat info{};
  ASSERT_EQ(::stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  EXPECT_EQ(info.st_size, 32);
  EXPECT_EQ(made->path(), path().native());
  // Nothing else is left behind, and the next one gets the same secret.
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), fs::directory_iterator()), 1);
  Result<Secret> again = Secret::read_or_make(dir_);
  Result<Secret> read = Secret::read(dir_);
  ASSERT_TRUE(again && read);
  EXPECT_TRUE(made->verify(again->prove(bytes("m")), bytes("m")));
  EXPECT_TRUE(made->verify(read->prove(bytes("m")), bytes("m")));
}

TEST_F(SecretFile, ServersThatStartTogetherAgree) {
  for (int round = 0; round < 20; ++round) {
    fs::remove(path());
    std::vector<std::thread> servers;
    std::vector<std::string> proofs(8);
    for (std::string& proof : proofs) {
      servers.emplace_back([this, &proof] {
        Result<Secret> secret = Secret::read_or_make(dir_);
        ASSERT_TRUE(secret) << secret.error().message();
        Secret::Proof made = secret->prove(bytes("m"));
        proof.assign(reinterpret_cast<const char*>(made.data()), made.size());
      });
    }
    for (std::thread& server : servers) {
      server.join();
    }
    EXPECT_EQ(std::set(proofs.begin(), proofs.end()).size(), 1U);
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), fs::directory_iterator()), 1);
}

TEST_F(SecretFile, IsNotMadeByAClient) {
  Result<Secret> secret = Secret::read(dir_);
  ASSERT_FALSE(secret);
  EXPECT_EQ(secret.error().code, Errc::kConfig);
  EXPECT_EQ(secret.error().context,
            fmt::format("cluster secret {} is missing; is this the registry directory of servers "
                        "that run?",
                        path().native()));
  EXPECT_FALSE(fs::exists(path()));
}

TEST_F(SecretFile, ThatOthersMayReadIsRefused) {
  ASSERT_TRUE(Secret::read_or_make(dir_));
  for (unsigned mode : {0644U, 0640U, 0604U, 0660U}) {
    ASSERT_EQ(::chmod(path().c_str(), mode), 0);
    expect_problem(fmt::format("has mode {:04o}: others may know it", mode));
    expect_problem("remove it and start the servers again");
  }
  ASSERT_EQ(::chmod(path().c_str(), 0400), 0);
  EXPECT_EQ(problem(), "");
}

TEST_F(SecretFile, OfAnotherLengthIsRefused) {
  ASSERT_TRUE(Secret::read_or_make(dir_));
  for (std::uintmax_t size : {0U, 31U, 33U}) {
    fs::resize_file(path(), size);
    expect_problem(fmt::format("has {} bytes and not 32", size));
  }
}

TEST_F(SecretFile, OfAnotherUserIsRefused) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can give files away";
  }
  ASSERT_TRUE(Secret::read_or_make(dir_));
  ASSERT_EQ(::chown(path().c_str(), 12345, static_cast<gid_t>(-1)), 0);
  expect_problem("belongs to user 12345, and this process runs as user 0");
}

TEST_F(SecretFile, ThatIsNoFileIsRefused) {
  fs::create_directory(path());
  expect_problem("is not a regular file");
  fs::remove(path());
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  expect_problem("is not a regular file");
  fs::remove(path());
  fs::create_symlink("/dev/zero", path());
  expect_problem("is a symbolic link");
}

TEST_F(SecretFile, InADirectoryThatIsNotThereIsAnError) {
  Result<Secret> secret = Secret::read_or_make(dir_ / "missing");
  ASSERT_FALSE(secret);
  EXPECT_TRUE(secret.error().posix == ENOENT) << secret.error().message();
  EXPECT_NE(secret.error().context.find("missing/secret"), std::string::npos);
}

TEST_F(SecretFile, ProvesOneMessageAndNoOther) {
  Secret secret = Secret::read_or_make(dir_).value();
  Secret::Proof proof = secret.prove(bytes("message"));
  EXPECT_TRUE(secret.verify(proof, bytes("message")));
  EXPECT_FALSE(secret.verify(proof, bytes("messagf")));
  EXPECT_FALSE(secret.verify(proof, bytes("message ")));
  EXPECT_FALSE(secret.verify(proof, {}));
  for (std::byte& byte : proof) {
    byte ^= std::byte{1};
    EXPECT_FALSE(secret.verify(proof, bytes("message")));
    byte ^= std::byte{1};
  }
  fs::remove(path());
  Secret other = Secret::read_or_make(dir_).value();
  EXPECT_FALSE(other.verify(proof, bytes("message")));
}

}  // namespace
}  // namespace benchfs::cluster
