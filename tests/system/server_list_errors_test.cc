// Tests the messages that a user sees when the server list is not as it should be.
#include <fmt/format.h>

#include <filesystem>

#include "system/system_test.h"

namespace benchfs::test {
namespace {

namespace fs = std::filesystem;

class ServerListErrors : public SystemTest {
 protected:
  ServerListErrors() { fs::create_directories(registry()); }

  [[nodiscard]] std::string list() const { return registry() + "/server_list.txt"; }
  void expect_message(const std::string& text) {
    Ended ended = benchfs({"status"});
    EXPECT_EQ(ended.exit_code, 1);
    EXPECT_NE(ended.err.find(text), std::string::npos) << ended.err;
    EXPECT_NE(ended.err.find(list()), std::string::npos) << ended.err;

    client::Options options = client_options();
    options.list_timeout = Nanos::zero();
    Result<std::unique_ptr<client::Client>> client = client::Client::connect(options);
    ASSERT_FALSE(client);
    EXPECT_NE(message(client).find(text), std::string::npos) << message(client);
  }
};

TEST_F(ServerListErrors, AMissingListIsNamed) {
  expect_message("No such file");
}

TEST_F(ServerListErrors, AnUnreadableListIsNamed) {
  fs::create_directory(list());
  expect_message("Is a directory");
}

TEST_F(ServerListErrors, AMalformedLineIsQuotedWithItsNumber) {
  write_file(list(), "# benchfs server list\nnode_0 127.0.0.1:4000\nnode_1 nonsense\n");
  expect_message("3");
  expect_message("node_1 nonsense");
}

TEST_F(ServerListErrors, AnIncompleteListSaysHowManyAreMissing) {
  Process daemon = start_node("node_0", 3);
  ASSERT_TRUE(daemon.wait_for_line("listens on", patience())) << daemon.err();
  expect_message("1 of 3");
}

TEST_F(ServerListErrors, AStaleListIsRecognised) {
  Process daemon = start_node("node_0", 1, {"--run-id", "1234"});
  ASSERT_TRUE(daemon.wait_for_line("is ready", patience())) << daemon.err();
  client::Options options = client_options();
  options.run_id = 0x5678;
  options.list_timeout = Nanos::zero();
  Result<std::unique_ptr<client::Client>> client = client::Client::connect(options);
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, Errc::kStaleRun) << message(client);
}

TEST_F(ServerListErrors, ServersThatAreGoneAreReportedByStatus) {
  Process daemon = start_node("node_0", 1);
  ASSERT_TRUE(daemon.wait_for_line("is ready", patience())) << daemon.err();
  daemon.signal(SIGTERM);
  EXPECT_EQ(daemon.wait(patience()).exit_code, 0);
  Ended ended = benchfs({"status"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_NE(ended.out.find("dead"), std::string::npos) << ended.out;
}

}  // namespace
}  // namespace benchfs::test
