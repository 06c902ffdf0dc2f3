#include "system/system_test.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <filesystem>

#include "base/pid_file.h"
#include "base/random.h"

namespace benchfs::test {

namespace fs = std::filesystem;

SystemTest::SystemTest() {
  // Daemons that `benchfs up` left behind become children of the test, which takes their zombies.
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

SystemTest::~SystemTest() {
  std::error_code ignored;
  for (fs::directory_iterator it(registry() + "/pid", ignored), end; it != end;
       it.increment(ignored)) {
    Result<ProcessRecord> process = PidFile::read(it->path().native());
    if (process && is_running(*process)) {
      ::kill(process->pid, SIGKILL);
      wait_for_end(process->pid, patience());
    }
  }
  while (::waitpid(-1, nullptr, WNOHANG) > 0) {
  }
}

Ended SystemTest::benchfs(std::vector<std::string> arguments) {
  std::vector<std::string> all = {BENCHFS_PROGRAM, "--registry-dir", registry()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return Process(all, dir_.path()).wait(patience());
}

Process SystemTest::start_daemon(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), BENCHFSD_PROGRAM);
  return {std::move(arguments), dir_.path()};
}

Ended SystemTest::benchfsd(std::vector<std::string> arguments) {
  return start_daemon(std::move(arguments)).wait(patience());
}

Process SystemTest::start_node(const std::string& node_id,
                               int servers,
                               std::vector<std::string> arguments) {
  std::vector<std::string> all = {"--node-id",
                                  node_id,
                                  "--registry-dir",
                                  registry(),
                                  "--expected-servers",
                                  fmt::to_string(servers),
                                  "--listen",
                                  "127.0.0.1",
                                  "--set",
                                  "network.devices=lo",
                                  "--engine",
                                  "memory"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return start_daemon(std::move(all));
}

nlohmann::json SystemTest::up(std::vector<std::string> arguments) {
  std::vector<std::string> all = {"up", "--json", "--data-dir", path("data"), "--timeout", "25"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  Ended ended = benchfs(all);
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  nlohmann::json cluster = nlohmann::json::parse(ended.out, nullptr, false);
  EXPECT_TRUE(cluster.is_object()) << ended.out;
  return cluster;
}

client::Options SystemTest::client_options() const {
  client::Options options;
  options.registry_dir = registry();
  options.list_timeout = kPatience;
  options.connect_timeout = kPatience;
  return options;
}

std::unique_ptr<client::Client> SystemTest::connect() {
  Result<std::unique_ptr<client::Client>> client = client::Client::connect(client_options());
  EXPECT_TRUE(client) << message(client);
  return client ? std::move(*client) : nullptr;
}

std::vector<std::byte> pattern(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::byte> data(size);
  for (std::byte& byte : data) {
    byte = static_cast<std::byte>(random.next());
  }
  return data;
}

Status write_whole(client::Client& client,
                   const std::string& path,
                   std::span<const std::byte> data) {
  BENCHFS_TRY(auto file,
              client.run(client.fs().open(
                  path, wire::kOpenWrite | wire::kOpenCreate | wire::kOpenTruncate, 0644)));
  Status written = client.run(client.fs().write(*file, 0, data));
  Status closed = client.run(client.fs().close(std::move(file)));
  return written ? closed : written;
}

Result<std::vector<std::byte>> read_whole(client::Client& client, const std::string& path) {
  BENCHFS_TRY(auto file, client.run(client.fs().open(path, wire::kOpenRead, 0)));
  BENCHFS_TRY(wire::Attr attr, client.run(client.fs().fstat(*file)));
  std::vector<std::byte> data(attr.size);
  BENCHFS_TRY(std::size_t size, client.run(client.fs().read(*file, 0, data)));
  data.resize(size);
  BENCHFS_TRY_VOID(client.run(client.fs().close(std::move(file))));
  return data;
}

}  // namespace benchfs::test
