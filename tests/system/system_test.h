// What the system tests share: a directory of their own, the programs, and an end without
// leftovers.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "client/client.h"
#include "support/cluster.h"
#include "system/process.h"

namespace benchfs::test {

// No operation of these tests takes longer unless something is wrong.
inline constexpr Nanos kPatience = std::chrono::seconds(30);
inline Deadline patience() {
  return Deadline::after(kPatience);
}

class SystemTest : public testing::Test {
 protected:
  SystemTest();
  // Kills the daemons that are still known to the registry.
  ~SystemTest() override;

  [[nodiscard]] std::string path(const std::string& name) const { return dir_.path() + "/" + name; }
  [[nodiscard]] std::string registry() const { return path("registry"); }

  // benchfs --registry-dir registry() ARGUMENTS…, to its end.
  Ended benchfs(std::vector<std::string> arguments);
  // benchfsd ARGUMENTS…
  Process start_daemon(std::vector<std::string> arguments);
  Ended benchfsd(std::vector<std::string> arguments);
  // One daemon of a cluster of `servers`, listening on loopback, memory engine.
  Process start_node(const std::string& node_id,
                     int servers,
                     std::vector<std::string> arguments = {});

  // benchfs up --json, with a data directory of the test's own; fails the test if it fails.
  nlohmann::json up(std::vector<std::string> arguments = {});
  static pid_t pid_of(const nlohmann::json& cluster, std::size_t daemon) {
    return cluster["daemons"][daemon]["pid"].get<pid_t>();
  }
  [[nodiscard]] client::Options client_options() const;
  std::unique_ptr<client::Client> connect();

 private:
  TempDir dir_;
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
