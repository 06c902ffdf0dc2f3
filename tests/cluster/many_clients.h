// Some clients on a file system of this process.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "support/cluster.h"

namespace benchfs {

inline constexpr std::uint32_t kReadWriteCreate =
    wire::kOpenRead | wire::kOpenWrite | wire::kOpenCreate;

class ManyClients : public testing::Test {
 protected:
  void start(test::ClusterConfig config, std::size_t clients) {
    auto cluster = test::Cluster::start(config);
    ASSERT_TRUE(cluster) << cluster.error().message();
    cluster_ = std::move(*cluster);
    for (std::size_t i = 0; i < clients; ++i) {
      add_client();
    }
  }
  // Its operations take at most `timeout`, if that is given.
  void add_client(Nanos timeout = {}) {
    client::Options options = cluster_->client_options();
    if (timeout > Nanos::zero()) {
      options.file_system.timeouts = client::Timeouts::all(timeout);
    }
    auto client = client::Client::connect(options);
    ASSERT_TRUE(client) << client.error().message();
    clients_.push_back(std::move(*client));
  }
  client::Client& at(std::size_t i) { return *clients_[i]; }
  client::FileSystem& fs(std::size_t i) { return clients_[i]->fs(); }

  std::shared_ptr<client::OpenFile> open(std::size_t i, std::string path, std::uint32_t flags) {
    auto file = at(i).run(fs(i).open(std::move(path), flags, 0644));
    EXPECT_TRUE(file) << file.error().message();
    return file ? *file : nullptr;
  }
  void make_file(std::size_t i, const std::string& path, std::string_view text) {
    auto file = open(i, path, kReadWriteCreate);
    ASSERT_NE(file, nullptr);
    ASSERT_TRUE(at(i).run(fs(i).write(*file, 0, std::as_bytes(std::span(text)))));
    ASSERT_TRUE(at(i).run(fs(i).close(file)));
  }
  std::string read_file(std::size_t i, const std::string& path) {
    auto file = open(i, path, wire::kOpenRead);
    if (file == nullptr) {
      return "?";
    }
    std::string text(1 << 20, '\0');
    auto got = at(i).run(fs(i).read(*file, 0, std::as_writable_bytes(std::span(text))));
    EXPECT_TRUE(got) << got.error().message();
    text.resize(got.value_or(0));
    EXPECT_TRUE(at(i).run(fs(i).close(file)));
    return text;
  }
  int stat_errno(std::size_t i, const std::string& path) {
    auto attr = at(i).run(fs(i).stat(path));
    return attr ? 0 : attr.error().to_errno();
  }

  std::unique_ptr<test::Cluster> cluster_;
  std::vector<std::unique_ptr<client::Client>> clients_;

  void TearDown() override {
    clients_.clear();
    if (cluster_ != nullptr) {
      EXPECT_TRUE(cluster_->stop());
    }
  }
};

}  // namespace benchfs
