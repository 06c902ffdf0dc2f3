#include "cluster/server_list_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace benchfs::cluster {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t kRun = 0x1122334455667788;

class ServerListFile : public testing::Test {
 protected:
  void SetUp() override {
    std::string form = (fs::temp_directory_path() / "benchfs-list-XXXXXX").string();
    ASSERT_NE(mkdtemp(form.data()), nullptr);
    dir_ = form;
  }
  void TearDown() override { fs::remove_all(dir_); }

  [[nodiscard]] fs::path list() const { return dir_ / "server_list.txt"; }
  [[nodiscard]] std::string text() const {
    std::ostringstream out;
    out << std::ifstream(list()).rdbuf();
    return std::move(out).str();
  }
  void write(std::string_view content) const { std::ofstream(list()) << content; }
  void add_raw(std::string_view content) const { std::ofstream(list(), std::ios::app) << content; }
  [[nodiscard]] Result<std::uint64_t> append(int node,
                                             std::uint32_t expected,
                                             std::uint64_t run = kRun,
                                             std::uint16_t port = 1000) const {
    return append_server(dir_,
                         Server{fmt::format("node_{}", node), "127.0.0.1", port},
                         {run, expected},
                         Deadline::after(seconds(60)));
  }
  void fill(std::uint32_t expected, std::uint64_t run = kRun) const {
    for (std::uint32_t node = 0; node < expected; ++node) {
      ASSERT_TRUE(append(static_cast<int>(node), expected, run));
    }
  }
  // The problem of a read that must fail.
  [[nodiscard]] ServerListError problem(std::uint64_t wanted = 0) const {
    auto read = read_server_list(dir_, wanted);
    EXPECT_FALSE(read.has_value());
    return read ? ServerListError{} : read.error();
  }

  fs::path dir_;
};

TEST_F(ServerListFile, TheFirstServerWritesTheHeader) {
  ASSERT_EQ(append(0, 2).value(), kRun);
  EXPECT_EQ(text(),
            "# BenchFS Server List\n# Format: node_id ip:port\n# run_id: 1122334455667788\n"
            "# expected_servers: 2\nnode_0 127.0.0.1:1000\n");
}

TEST_F(ServerListFile, ACompleteListIsReadInNaturalOrder) {
  for (int node = 11; node >= 0; --node) {
    ASSERT_TRUE(append(node, 12));
  }
  auto read = read_server_list(dir_, kRun);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->run_id, kRun);
  EXPECT_EQ(read->recovered, "");
  for (std::size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(read->servers[i].node_id, fmt::format("node_{}", i));
  }
}

TEST_F(ServerListFile, WithoutARunIdTheFirstServerMakesOneAndTheOthersAdoptIt) {
  auto first = append(0, 2, 0);
  ASSERT_TRUE(first);
  EXPECT_NE(*first, 0U);
  EXPECT_EQ(append(1, 2, 0).value(), *first);
  EXPECT_EQ(read_server_list(dir_).value().run_id, *first);
}

TEST_F(ServerListFile, ARestartedServerReplacesItsAddress) {
  fill(2);
  ASSERT_TRUE(append(0, 2, kRun, 2000));
  auto read = read_server_list(dir_);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->servers.size(), 2U);
  EXPECT_EQ(read->servers[0].port, 2000);
}

TEST_F(ServerListFile, AListOfAnotherRunIsNotTouched) {
  fill(2);
  std::string before = text();
  auto other = append(0, 2, 0x99);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Errc::kStaleRun);
  for (const char* part :
       {"1122334455667788", "0000000000000099", "remove", "another registry directory"}) {
    EXPECT_NE(other.error().context.find(part), std::string::npos) << other.error().context;
  }
  EXPECT_NE(other.error().context.find(list().native()), std::string::npos);
  auto wrong_count = append(1, 3);
  ASSERT_FALSE(wrong_count);
  EXPECT_EQ(wrong_count.error().code, Errc::kStaleRun);
  EXPECT_EQ(text(), before);
}

TEST_F(ServerListFile, AHandWrittenListIsNotAppendedTo) {
  write("node_7 10.0.0.1:1\n");
  auto result = append(0, 2);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kStaleRun);
}

TEST_F(ServerListFile, AListWithoutServersIsTakenOver) {
  write(format_server_list_header(0x99, 7));
  ASSERT_TRUE(append(0, 1));
  auto read = read_server_list(dir_, kRun);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->expected, 1U);
}

TEST_F(ServerListFile, AServerWithAnotherCommonSettingIsRefused) {
  auto join = [&](int node, std::vector<CommonSetting> common) {
    return append_server(dir_,
                         Server{fmt::format("node_{}", node), "127.0.0.1", 1000},
                         {.run_id = kRun, .expected = 3, .common = std::move(common)},
                         Deadline::after(seconds(60)));
  };
  ASSERT_TRUE(join(0, {{"version", "1"}, {"storage.chunk_bytes", "1MiB"}}));
  std::string before = text();
  EXPECT_NE(before.find("# common storage.chunk_bytes: 1MiB\n"), std::string::npos) << before;
  auto other = join(1, {{"version", "1"}, {"storage.chunk_bytes", "4MiB"}});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Errc::kConfig);
  for (const char* part : {"storage.chunk_bytes", "4MiB here", "1MiB on the servers", "node_1"}) {
    EXPECT_NE(other.error().context.find(part), std::string::npos) << other.error().context;
  }
  EXPECT_FALSE(join(1, {{"version", "2"}, {"storage.chunk_bytes", "1MiB"}}));
  EXPECT_FALSE(join(1, {{"something.new", "1"}}));
  EXPECT_EQ(text(), before);
  ASSERT_TRUE(join(1, {{"version", "1"}, {"storage.chunk_bytes", "1MiB"}}));
  ASSERT_TRUE(join(2, {{"version", "1"}, {"storage.chunk_bytes", "1MiB"}}));
  EXPECT_EQ(parse_common_settings(text()).size(), 2U);
}

TEST_F(ServerListFile, AListThatSomebodyElsePlantedIsRefused) {
  fill(1);
  if (geteuid() == 0) {
    constexpr uid_t kStranger = 65534;
    ASSERT_EQ(::chown(list().c_str(), kStranger, kStranger), 0);
    auto error = problem();
    EXPECT_EQ(error.problem, ServerListProblem::kUnreadable);
    EXPECT_EQ(error.to_error().code, Errc::kConfig);
    EXPECT_NE(error.to_error().message().find("belongs to user 65534"), std::string::npos)
        << error.to_error().message();
    EXPECT_FALSE(error.is_transient());
    EXPECT_FALSE(append(0, 1));
    ASSERT_EQ(::chown(list().c_str(), 0, 0), 0);
    ASSERT_EQ(::chown(dir_.c_str(), kStranger, kStranger), 0);
    EXPECT_EQ(problem().to_error().code, Errc::kConfig);
    EXPECT_FALSE(append(0, 1));
    ASSERT_EQ(::chown(dir_.c_str(), 0, 0), 0);
  }
  EXPECT_TRUE(read_server_list(dir_));
  fs::permissions(dir_, fs::perms::group_write, fs::perm_options::add);
  EXPECT_EQ(problem().to_error().code, Errc::kConfig);
  EXPECT_FALSE(append(0, 1));
}

TEST_F(ServerListFile, ALinkInPlaceOfTheListIsRefused) {
  fs::path target = dir_ / "precious.txt";
  std::ofstream(target) << format_server_list_header(kRun, 1);
  fs::create_symlink(target, list());
  std::uintmax_t size = fs::file_size(target);
  EXPECT_EQ(problem().to_error().code, Errc::kConfig);
  EXPECT_FALSE(append(0, 1));
  EXPECT_EQ(fs::file_size(target), size);
}

TEST_F(ServerListFile, ALinkInPlaceOfTheCopiesIsNotWrittenThrough) {
  fs::path target = dir_ / "project";
  fs::create_directory(target);
  fs::create_directory_symlink(target, dir_ / "server_list.d");
  ASSERT_TRUE(append(0, 1));
  EXPECT_TRUE(fs::is_empty(target));
}

TEST_F(ServerListFile, AFullListTakesNoOtherNode) {
  fill(2);
  auto third = append(2, 2);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, Errc::kConfig);
  EXPECT_NE(third.error().context.find("node_2"), std::string::npos);
  EXPECT_TRUE(read_server_list(dir_));
}

TEST_F(ServerListFile, BadServersAndNumbersAreRefused) {
  Deadline deadline = Deadline::after(seconds(60));
  for (const Server& server : std::vector<Server>{{"", "127.0.0.1", 1},
                                                  {"../evil", "127.0.0.1", 1},
                                                  {"a b", "127.0.0.1", 1},
                                                  {"n", "0.0.0.0", 1},
                                                  {"n", "host", 1},
                                                  {"n", "127.0.0.1", 0}}) {
    auto result = append_server(dir_, server, {kRun, 1}, deadline);
    ASSERT_FALSE(result) << server.node_id;
    EXPECT_EQ(result.error().code, Errc::kConfig);
  }
  EXPECT_FALSE(append(0, 0));
  EXPECT_FALSE(append(0, 4097));
  EXPECT_FALSE(fs::exists(list()));
}

TEST_F(ServerListFile, AnUnfinishedLineOfAKilledWriterIsCutOff) {
  ASSERT_TRUE(append(0, 2));
  add_raw("node_1 127.0.0.1:45");
  auto torn = problem();
  EXPECT_EQ(torn.problem, ServerListProblem::kMalformed);
  EXPECT_TRUE(torn.unfinished);
  EXPECT_EQ(torn.line, 6U);
  EXPECT_EQ(torn.content, "node_1 127.0.0.1:45");
  ASSERT_TRUE(append(1, 2));
  auto read = read_server_list(dir_);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->servers[1].port, 1000);
  EXPECT_EQ(text().find("node_1 127.0.0.1:45"), std::string::npos);
}

TEST_F(ServerListFile, AnUnfinishedHeaderIsReplaced) {
  write("# BenchFS Server List\n# run_id: 1122");
  ASSERT_TRUE(append(0, 1));
  EXPECT_TRUE(read_server_list(dir_, kRun));
}

TEST_F(ServerListFile, AnUnfinishedLineAfterACompleteListIsIgnoredWithANote) {
  fill(2);
  add_raw("node_0 127.0.0.1:45");
  auto read = read_server_list(dir_, kRun);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->servers[0].port, 1000);
  EXPECT_NE(read->recovered.find("line 7"), std::string::npos) << read->recovered;
}

TEST_F(ServerListFile, MissingIsToldFromUnreadable) {
  auto missing = problem();
  EXPECT_EQ(missing.problem, ServerListProblem::kMissing);
  EXPECT_EQ(missing.path, list().native());
  // A directory in place of the file fails for root too.
  fs::create_directory(list());
  auto unreadable = problem();
  EXPECT_EQ(unreadable.problem, ServerListProblem::kUnreadable);
  EXPECT_EQ(unreadable.system_errno, EISDIR);
  auto appended = append(0, 1);
  ASSERT_FALSE(appended);
  EXPECT_EQ(appended.error().posix, EISDIR);
}

TEST_F(ServerListFile, APipeInPlaceOfTheFileDoesNotHangTheReader) {
  ASSERT_EQ(mkfifo(list().c_str(), 0600), 0);
  EXPECT_EQ(problem().problem, ServerListProblem::kUnreadable);
}

TEST_F(ServerListFile, AFileThatMayNotBeReadIsUnreadable) {
  fill(1);
  fs::permissions(dir_, fs::perms::owner_all | fs::perms::others_exec);
  fs::permissions(list(), fs::perms::none);
  constexpr uid_t kNobody = 65534;
  bool is_root = geteuid() == 0;  // whom permissions do not stop
  ASSERT_TRUE(!is_root || seteuid(kNobody) == 0);
  auto error = problem();
  ASSERT_TRUE(!is_root || seteuid(0) == 0);
  EXPECT_EQ(error.problem, ServerListProblem::kUnreadable);
  EXPECT_EQ(error.system_errno, EACCES);
}

TEST_F(ServerListFile, AHugeFileIsRefused) {
  std::string line = "# " + std::string(200, 'x') + "\n";
  std::string content;
  while (content.size() <= kMaxServerListBytes) {
    content += line;
  }
  write(content);
  EXPECT_EQ(problem().system_errno, EFBIG);
}

TEST_F(ServerListFile, AnEmptyListIsToldFromAnIncompleteOne) {
  write("");
  EXPECT_EQ(problem().problem, ServerListProblem::kEmpty);
  EXPECT_EQ(problem(kRun).problem, ServerListProblem::kEmpty);
  write(format_server_list_header(kRun, 3));
  EXPECT_EQ(problem().problem, ServerListProblem::kEmpty);
  EXPECT_EQ(problem().expected, 3U);
  ASSERT_TRUE(append(0, 3));
  EXPECT_EQ(problem().problem, ServerListProblem::kIncomplete);
  EXPECT_EQ(problem().have, 1U);
  EXPECT_EQ(problem().expected, 3U);
}

TEST_F(ServerListFile, AListOfAnotherRunIsStale) {
  fill(1);
  auto stale = problem(0x99);
  EXPECT_EQ(stale.problem, ServerListProblem::kStale);
  EXPECT_EQ(stale.found_run, kRun);
  EXPECT_EQ(stale.wanted_run, 0x99U);
  write("node_0 10.0.0.1:1\n");
  EXPECT_EQ(problem(0x99).problem, ServerListProblem::kStale);
  EXPECT_TRUE(read_server_list(dir_));
}

TEST_F(ServerListFile, ADamagedListIsRebuiltFromTheCopies) {
  fill(11);
  std::string damaged = text();
  damaged.replace(damaged.find("node_4 127"), 10, "node_4 ???");
  write(damaged);
  auto read = read_server_list(dir_, kRun);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->servers.size(), 11U);
  EXPECT_EQ(read->servers[10].node_id, "node_10");
  EXPECT_EQ(read->servers[4], (Server{"node_4", "127.0.0.1", 1000}));
  EXPECT_NE(read->recovered.find("line 9"), std::string::npos) << read->recovered;
  EXPECT_NE(read->recovered.find("node_4 ???.0.0.1:1000"), std::string::npos) << read->recovered;
}

TEST_F(ServerListFile, CopiesOfAnEarlierRunDoNotDisturbTheRebuilding) {
  fill(3, 0x99);
  fs::remove(list());
  fill(2);
  add_raw("garbage\n");
  auto read = read_server_list(dir_, kRun);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->run_id, kRun);
  EXPECT_EQ(read->servers.size(), 2U);
}

TEST_F(ServerListFile, CopiesThatDisagreeAreNotUsedWhenTheHeaderIsGone) {
  fill(3, 0x99);
  fs::remove(list());
  fill(2);
  write("garbage\n");
  EXPECT_EQ(problem().problem, ServerListProblem::kMalformed);
  EXPECT_TRUE(read_server_list(dir_, kRun));
}

TEST_F(ServerListFile, WithACopyMissingOrDamagedTheListStaysMalformed) {
  fill(2);
  add_raw("garbage\n");
  ASSERT_TRUE(read_server_list(dir_));
  fs::path copy = dir_ / "server_list.d" / "node_1";
  std::ofstream(copy) << "garbage\n";
  auto error = problem();
  EXPECT_EQ(error.problem, ServerListProblem::kMalformed);
  EXPECT_EQ(error.line, 7U);
  EXPECT_EQ(error.content, "garbage");
  EXPECT_FALSE(error.is_transient());
  fs::remove(copy);
  EXPECT_EQ(problem().problem, ServerListProblem::kMalformed);
}

TEST_F(ServerListFile, AServerMayJoinADamagedListOfItsRunButNoOther) {
  ASSERT_TRUE(append(0, 2));
  add_raw("garbage\n");
  ASSERT_TRUE(append(1, 2));
  EXPECT_EQ(read_server_list(dir_).value().servers.size(), 2U);
  write("garbage\n");
  auto refused = append(1, 2);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().context.find("line 1"), std::string::npos) << refused.error().context;
}

TEST_F(ServerListFile, TheLockIsWaitedForUntilTheDeadline) {
  int fd = ::open(list().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::flock(fd, LOCK_EX), 0);
  auto result =
      append_server(dir_, {"node_0", "127.0.0.1", 1}, {kRun, 1}, Deadline::after(milliseconds(20)));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Errc::kDeadline);
  EXPECT_EQ(text(), "");
  ::close(fd);
  EXPECT_TRUE(append(0, 1));
}

TEST_F(ServerListFile, BegunAnewItHoldsNobodyOfAnEarlierRun) {
  fill(3);
  ASSERT_TRUE(begin_server_list(dir_, {0x99, 2}, Deadline::after(seconds(60))));
  EXPECT_EQ(problem().problem, ServerListProblem::kEmpty);
  EXPECT_EQ(problem().expected, 2U);
  EXPECT_TRUE(append(0, 2, 0x99));
}

TEST_F(ServerListFile, AMissingDirectoryIsAnError) {
  auto result = append_server(
      dir_ / "no", {"node_0", "127.0.0.1", 1}, {kRun, 1}, Deadline::after(seconds(60)));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().posix, ENOENT);
}

TEST_F(ServerListFile, NoLineIsLostWhenManyProcessesAppend) {
  constexpr int kProcesses = 16;
  std::vector<pid_t> children;
  for (int node = 0; node < kProcesses; ++node) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      bool added = append(node, kProcesses, 0).has_value();
      _exit(added ? 0 : 1);
    }
    children.push_back(child);
  }
  auto read = read_server_list_until_complete(dir_, 0, Deadline::after(seconds(60)));
  for (pid_t child : children) {
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  ASSERT_TRUE(read) << read.error().to_error().message();
  EXPECT_EQ(read->servers.size(), 16U);
  EXPECT_EQ(text().find('#', text().find("node_0")), std::string::npos) << "one header only";
  add_raw("garbage\n");
  auto rebuilt = read_server_list(dir_);
  ASSERT_TRUE(rebuilt);
  EXPECT_EQ(rebuilt->servers, read->servers);
}

TEST_F(ServerListFile, WaitingEndsWhenTheListIsComplete) {
  std::expected<ServerList, ServerListError> read;
  std::thread reader(
      [&] { read = read_server_list_until_complete(dir_, kRun, Deadline::after(seconds(60))); });
  fill(3);
  reader.join();
  ASSERT_TRUE(read);
  EXPECT_EQ(read->servers.size(), 3U);
}

TEST_F(ServerListFile, WaitingReturnsTheLastErrorAtTheDeadline) {
  ASSERT_TRUE(append(0, 2));
  auto read = read_server_list_until_complete(dir_, kRun, Deadline::after(milliseconds(10)));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().problem, ServerListProblem::kIncomplete);
}

TEST_F(ServerListFile, WaitingDoesNotOutlastAnErrorThatStays) {
  fill(1);
  auto read = read_server_list_until_complete(dir_, 0x99, Deadline::never());
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().problem, ServerListProblem::kStale);
}

}  // namespace
}  // namespace benchfs::cluster
