#include "system/mpi_job.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/process_record.h"

namespace benchfs::test {

namespace fs = std::filesystem;

void MpiTest::SetUp() {
  // mpirun puts its session files where TMPDIR says, and leaves them when it is killed.
  fs::create_directory(path("tmp"));
  setenv("TMPDIR", path("tmp").c_str(), 1);
  fs::create_directory(registry());
  // Open MPI never frees some of what its plugins allocate, and unloads them before LeakSanitizer
  // looks, so that no suppression can name them. All other checks stay on.
  const char* options = std::getenv("ASAN_OPTIONS");
  asan_options_ = options == nullptr ? "" : options;
  setenv("ASAN_OPTIONS", (asan_options_ + ":detect_leaks=0").c_str(), 1);
}

void MpiTest::TearDown() {
  unsetenv("TMPDIR");
  setenv("ASAN_OPTIONS", asan_options_.c_str(), 1);
}

Process MpiTest::start_ranks(int count, std::vector<std::string> arguments) {
  std::vector<std::string> all = {
      MPIRUN_PROGRAM, "--oversubscribe", "--bind-to", "none", "-np", fmt::to_string(count)};
  if (geteuid() == 0) {
    all.insert(all.begin() + 1, "--allow-run-as-root");
  }
  all.insert(all.end(), arguments.begin(), arguments.end());
  all.insert(all.end(),
             {"--engine", "memory", "--listen", "127.0.0.1", "--set", "network.devices=lo"});
  return {std::move(all), path("tmp")};
}

pid_t MpiTest::pid_of_rank(int rank) const {
  std::string file = fmt::format("{}/pid/node_{}", registry(), rank);
  Result<ProcessRecord> process = parse_process_line(read_file(file), file);
  return process ? process->pid : 0;
}

void MpiTest::expect_clean_registry() const {
  EXPECT_TRUE(fs::is_empty(registry())) << "something was left behind";
}

int occurrences(const std::string& all, const std::string& text) {
  int found = 0;
  for (std::size_t at = all.find(text); at != std::string::npos; at = all.find(text, at + 1)) {
    ++found;
  }
  return found;
}

}  // namespace benchfs::test
