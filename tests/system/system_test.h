// The common parts of the system tests beyond processes: clusters started with `benchfs up`, and
// clients inside the test.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "client/client.h"
#include "support/cluster.h"
#include "system/daemon_fixture.h"

namespace benchfs::test {

class SystemTest : public DaemonFixture {
 protected:
  // benchfs up --json, with a data directory of the test's own; fails the test if it fails.
  nlohmann::json up(std::vector<std::string> arguments = {});
  static pid_t pid_of(const nlohmann::json& cluster, std::size_t daemon) {
    return cluster["daemons"][daemon]["pid"].get<pid_t>();
  }
  // Runs a command that must succeed and say nothing on standard error; returns its output.
  std::string ok(std::vector<std::string> arguments);
  // Runs a command that must fail with this on standard error.
  void fails(std::vector<std::string> arguments, const std::string& message, int exit_code = 1);
  [[nodiscard]] client::Options client_options() const;
  std::unique_ptr<client::Client> connect();
};

// The message of a failed Result or Status.
template <typename T>
std::string message(const Result<T>& result) {
  return result ? "no error" : result.error().message();
}

std::vector<std::byte> pattern(std::size_t size, std::uint64_t seed);
Status write_whole(client::Client& client,
                   const std::string& path,
                   std::span<const std::byte> data);
Result<std::vector<std::byte>> read_whole(client::Client& client, const std::string& path);

}  // namespace benchfs::test
