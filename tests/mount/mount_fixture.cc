#include "mount/mount_fixture.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/fd.h"

namespace benchfs::test {

void MountTest::SetUp() {
  if (::access("/dev/fuse", F_OK) != 0) {
    const char* skip = std::getenv("BENCHFS_SKIP");
    if (skip != nullptr && std::string(skip).contains("mount")) {
      GTEST_SKIP() << "BENCHFS_SKIP names mount";
    }
    FAIL() << "there is no /dev/fuse; BENCHFS_SKIP=mount leaves these tests out";
  }
  if (const char* options = std::getenv("LSAN_OPTIONS")) {
    leak_options_ = options;
  }
  ::setenv("LSAN_OPTIONS", "detect_leaks=0", 1);
  cluster_ = up({"--servers", "2", "--engine", "memory"});
}

void MountTest::TearDown() {
  ::setenv("LSAN_OPTIONS", leak_options_.c_str(), 1);
  for (const Mounted& mounted : mounts_) {
    take_away(mounted);
  }
}

MountTest::Mounted MountTest::mount(const std::string& name,
                                    const std::vector<std::string>& options) {
  Mounted mounted{.path = path(name)};
  std::filesystem::create_directories(mounted.path);
  std::vector<std::string> words = {
      "mount", mounted.path, "--timeout", "25", "--log", path(name + ".log")};
  words.insert(words.end(), options.begin(), options.end());
  Ended ended = benchfs(words);
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  std::size_t at = ended.out.find("process ");
  if (at != std::string::npos) {
    mounted.process = std::atoi(ended.out.c_str() + at + 8);
  }
  EXPECT_TRUE(is_mounted(mounted.path)) << ended.out;
  mounts_.push_back(mounted);
  return mounted;
}

void MountTest::take_away(const Mounted& mounted) {
  while (is_mounted(mounted.path) && ::umount2(mounted.path.c_str(), MNT_DETACH) == 0) {
  }
  if (mounted.process > 0 && runs(mounted.process)) {
    ::kill(mounted.process, SIGCONT);
    EXPECT_TRUE(wait_for_end(mounted.process, patience())) << read_file(mounted.path + ".log");
    if (runs(mounted.process)) {
      ::kill(mounted.process, SIGKILL);
    }
  }
}

bool MountTest::is_mounted(const std::string& path) {
  return read_file("/proc/self/mountinfo").contains(" " + path + " ");
}

void MountTest::run_script(const std::string& directory, const std::string& script) {
  Ended ended = Process({"/bin/bash", "-c", "set -eu; cd " + directory + "; " + script}, path("."))
                    .wait(Deadline::after(std::chrono::seconds(120)));
  EXPECT_EQ(ended.exit_code, 0) << ended.out << ended.err;
}

std::uint64_t MountTest::requests(client::Client& client) {
  std::uint64_t sum = 0;
  for (std::uint32_t shard = 0; shard < client.fs().shard_count(); ++shard) {
    Result<std::string> text = client.run(client.fs().shard_stats(wire::ShardId{shard}));
    EXPECT_TRUE(text) << message(text);
    nlohmann::json stats = nlohmann::json::parse(text.value_or("{}"), nullptr, false);
    for (const auto& operation : stats["operations"]) {
      std::string name = operation["operation"];
      if (name != "stats" && name != "ping" && name != "close_notice") {
        sum += operation["requests"].get<std::uint64_t>();
      }
    }
  }
  return sum;
}

void put(const std::string& path, std::string_view text) {
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  ASSERT_TRUE(file.is_open()) << path << ": " << std::strerror(errno);
  ASSERT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()))
      << path << ": " << std::strerror(errno);
}

std::string get(const std::string& path) {
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(file.is_open()) << path << ": " << std::strerror(errno);
  std::string text;
  std::array<char, 65536> part{};
  ssize_t got = 0;
  while ((got = ::read(file.get(), part.data(), part.size())) > 0) {
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  EXPECT_EQ(got, 0) << path << ": " << std::strerror(errno);
  return text;
}

struct stat stat_of(const std::string& path) {
  struct stat attr{};
  EXPECT_EQ(::lstat(path.c_str(), &attr), 0) << path << ": " << std::strerror(errno);
  return attr;
}

int error_of(int result) {
  return result < 0 ? errno : 0;
}

}  // namespace benchfs::test
