#include "system/system_test.h"

#include "base/check.h"
#include "base/random.h"
#include "client/environment.h"

namespace benchfs::test {

nlohmann::json SystemTest::up(std::vector<std::string> arguments) {
  std::vector<std::string> all = {"up", "--json", "--data-dir", path("data"), "--timeout", "25"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  Ended ended = benchfs(all);
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  nlohmann::json cluster = nlohmann::json::parse(ended.out, nullptr, false);
  EXPECT_TRUE(cluster.is_object()) << ended.out;
  return cluster;
}

std::string SystemTest::ok(std::vector<std::string> arguments) {
  std::string name = arguments.front();
  Ended ended = benchfs(std::move(arguments));
  EXPECT_EQ(ended.exit_code, 0) << name << ": " << ended.err;
  EXPECT_EQ(ended.err, "") << name;
  return ended.out;
}

void SystemTest::fails(std::vector<std::string> arguments,
                       const std::string& message,
                       int exit_code) {
  std::string name = arguments.front();
  Ended ended = benchfs(std::move(arguments));
  EXPECT_EQ(ended.exit_code, exit_code) << name << ": " << ended.err;
  EXPECT_EQ(ended.err, message) << name;
}

client::Options SystemTest::client_options() const {
  client::Options options;
  options.registry_dir = registry();
  options.list_timeout = kPatience;
  options.connect_timeout = kPatience;
  BENCHFS_CHECK(client::apply_environment(options).has_value());
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
