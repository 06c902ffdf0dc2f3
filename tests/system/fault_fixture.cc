#include "system/fault_fixture.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string_view>

namespace benchfs::test {
namespace {

// Suites that show what is known and not mended yet.
struct Off {
  const char* suite;
  const char* because;
};
const std::vector<Off> kOff = {};

constexpr timespec kPoll{.tv_sec = 0, .tv_nsec = 20'000'000};

}  // namespace

const char* FaultFixture::off_because() {
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string suite = test->test_suite_name();
  for (const Off& off : kOff) {
    if (suite.ends_with(off.suite) && std::getenv("BENCHFS_FAULTS_ALL") == nullptr) {
      return off.because;
    }
  }
  return nullptr;
}

FaultFixture::Variable::Variable(const char* name, const char* value) : name_(name) {
  if (const char* before = std::getenv(name)) {
    before_ = before;
  }
  ::setenv(name, value, 1);
}

FaultFixture::Variable::~Variable() {
  before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_);
}

FaultFixture::FaultFixture(const char* transport)
    : transport_("BENCHFS_TRANSPORT", std::string_view(transport) == "nodes" ? "auto" : transport) {
  if (std::string_view(transport) == "nodes") {
    doors_.emplace("BENCHFS_DOOR_DIR", path("").c_str());
  }
}
FaultFixture::~FaultFixture() = default;

void FaultFixture::start_daemons(std::size_t count, std::vector<std::string> arguments) {
  arguments_ = std::move(arguments);
  arguments_.insert(arguments_.begin(),
                    {"--set",
                     "storage.chunk_bytes=64KiB",
                     "--set",
                     "storage.buffer_bytes=64KiB",
                     "--set",
                     "storage.memory_bytes=512MiB"});
  daemons_.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    stand_on_node(i);
    daemons_[i] = std::make_unique<Process>(
        start_node(fmt::format("node_{}", i), static_cast<int>(count), arguments_));
  }
  for (auto& daemon : daemons_) {
    ASSERT_TRUE(daemon->wait_for_line("is ready", patience())) << daemon->err();
  }
  stand_on_node(0);
}

void FaultFixture::stand_on_node(std::size_t index) {
  if (doors_) {
    std::string directory = path(fmt::format("doors_of_node_{}", index));
    std::filesystem::create_directory(directory);
    ::setenv("BENCHFS_DOOR_DIR", directory.c_str(), 1);
  }
}

void FaultFixture::start_daemon_again(std::size_t index) {
  stand_on_node(index);
  daemons_[index] = std::make_unique<Process>(
      start_node(fmt::format("node_{}", index), static_cast<int>(daemons_.size()), arguments_));
  ASSERT_TRUE(daemons_[index]->wait_for_line("is ready", patience())) << daemons_[index]->err();
}

std::unique_ptr<ClientProcess> FaultFixture::client(Nanos timeout) {
  auto client = std::make_unique<ClientProcess>(TEST_CLIENT_PROGRAM, registry(), timeout);
  EXPECT_TRUE(client->connected().ok()) << client->connected().error;
  return client;
}

std::ptrdiff_t FaultFixture::threads_of(pid_t process) {
  std::filesystem::directory_iterator tasks(fmt::format("/proc/{}/task", process));
  return std::distance(begin(tasks), end(tasks));
}

std::unique_ptr<ClientProcess> FaultFixture::client_over_network() {
  Variable ucx("BENCHFS_TRANSPORT", "ucx");
  return client();
}

void FaultFixture::stop_daemon(std::size_t index) {
  daemon(index).signal(SIGSTOP);
  int status = 0;
  ::waitpid(daemon(index).pid(), &status, WUNTRACED);
}

bool FaultFixture::cut_connections(pid_t process) {
  Ended listed =
      Process({"/usr/bin/ss", "-tnpH", "state", "established"}, path("")).wait(patience());
  std::istringstream lines(listed.out);
  bool worked = listed.exit_code == 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.find(fmt::format("pid={},", process)) == std::string::npos) {
      continue;
    }
    std::istringstream words(line);
    std::string received;
    std::string sent;
    std::string local;
    std::string peer;
    words >> received >> sent >> local >> peer;
    Ended cut = Process({"/usr/bin/ss",
                         "-K",
                         "sport",
                         "=",
                         local.substr(local.rfind(':')),
                         "dport",
                         "=",
                         peer.substr(peer.rfind(':'))},
                        path(""))
                    .wait(patience());
    worked = worked && cut.exit_code == 0;
  }
  return worked;
}

FaultFixture::Held FaultFixture::held() {
  Ended ended = benchfs({"stats", "--json", "--timeout", "20"});
  nlohmann::json stats = nlohmann::json::parse(ended.out, nullptr, false);
  Held sum;
  Held unknown{.inodes = -1, .open = -1, .orphans = -1, .used_bytes = -1};
  if (!stats.is_object()) {
    return unknown;
  }
  for (const nlohmann::json& server : stats["servers"]) {
    if (!server.contains("stats") || !server["stats"].contains("metadata")) {
      return unknown;
    }
    const nlohmann::json& metadata = server["stats"]["metadata"];
    const nlohmann::json& storage = server["stats"]["storage"];
    sum.inodes += metadata["inodes"].get<std::int64_t>();
    sum.open += metadata["open"].get<std::int64_t>();
    sum.orphans += metadata["orphans"].get<std::int64_t>();
    sum.used_bytes +=
        storage["total_bytes"].get<std::int64_t>() - storage["free_bytes"].get<std::int64_t>();
  }
  return sum;
}

void PrintTo(const FaultFixture::Held& held, std::ostream* out) {
  *out << fmt::format("{} inodes, {} open, {} orphans, {} bytes used",
                      held.inodes,
                      held.open,
                      held.orphans,
                      held.used_bytes);
}

bool FaultFixture::wait_until(const std::function<bool()>& condition, Deadline deadline) {
  while (!condition()) {
    if (deadline.passed()) {
      return false;
    }
    nanosleep(&kPoll, nullptr);  // lint: allow sleep the state of other processes
  }
  return true;
}

std::vector<std::string> FaultFixture::names(const std::string& stem, int count) {
  std::vector<std::string> all;
  for (int i = 0; i < count; ++i) {
    all.push_back(fmt::format("{}{}", stem, i));
  }
  return all;
}

}  // namespace benchfs::test
