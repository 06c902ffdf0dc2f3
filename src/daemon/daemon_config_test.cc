#include "daemon/daemon_config.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

namespace benchfs::daemon {
namespace {

Status load(DaemonConfig& config, std::string_view text) {
  BENCHFS_TRY(std::vector<ConfigEntry> entries, parse_config(text, "benchfs.toml"));
  return config.load("", entries);
}

TEST(DaemonConfig, WhatItPrintsReadsBackTheSame) {
  DaemonConfig first;
  ASSERT_TRUE(load(first,
                   "[node]\nid = \"node_3\"\nshards = 2\n"
                   "[storage]\nengine = \"memory\"\nmemory_bytes = \"1GiB\"\n"
                   "[idle]\nspin_us = 0\n"));
  std::string printed = format_config(first.settings());
  DaemonConfig second;
  Status loaded = load(second, printed);
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(second.node_id, "node_3");
  EXPECT_EQ(second.memory_bytes, std::uint64_t{1} << 30);
  EXPECT_EQ(format_config(second.settings()).size(), printed.size());
}

TEST(DaemonConfig, DefaultsAreThoseOfAShard) {
  DaemonConfig config;
  ASSERT_TRUE(load(config, "[node]\nid = \"n\"\n[registry]\ndir = \"/r\"\n"));
  server::ShardConfig shard = config.shard_config(0);
  server::ShardConfig standard;
  EXPECT_EQ(shard.node_id, "n");
  EXPECT_EQ(shard.expected_servers, 1U);
  EXPECT_EQ(shard.engine, standard.engine);
  EXPECT_EQ(shard.memory_bytes, standard.memory_bytes);
  EXPECT_EQ(shard.chunk_bytes, standard.chunk_bytes);
  EXPECT_EQ(shard.buffer_bytes, standard.buffer_bytes);
  EXPECT_EQ(shard.buffer_count, standard.buffer_count);
  EXPECT_EQ(shard.max_inodes, standard.max_inodes);
  EXPECT_EQ(shard.client_grace, standard.client_grace);
  EXPECT_EQ(shard.directory_lease, standard.directory_lease);
  EXPECT_EQ(shard.list_timeout, standard.list_timeout);
  EXPECT_EQ(shard.listen_ip, standard.listen_ip);
  EXPECT_EQ(shard.rpc.max_clients, standard.rpc.max_clients);
  EXPECT_EQ(shard.rpc.client_turn, standard.rpc.client_turn);
  EXPECT_EQ(shard.rpc.window, standard.rpc.window);
  EXPECT_EQ(shard.rpc.window_bytes, standard.rpc.window_bytes);
  EXPECT_EQ(shard.auth, standard.auth);
  EXPECT_EQ(shard.rpc.max_unregistered, standard.rpc.max_unregistered);
  EXPECT_EQ(shard.rpc.register_timeout, standard.rpc.register_timeout);
  EXPECT_EQ(shard.idle.spin, standard.idle.spin);
  EXPECT_EQ(shard.idle.yield, standard.idle.yield);
}

TEST(DaemonConfig, ShardsOfOneDaemonGetNamesPortsAndDirectoriesOfTheirOwn) {
  DaemonConfig config;
  ASSERT_TRUE(load(config,
                   "[node]\nid = \"n\"\nshards = 3\n[network]\nport = 7000\n"
                   "[storage]\ndata_dir = \"/d\"\n"));
  std::set<std::string> ids;
  for (std::uint64_t i = 0; i < 3; ++i) {
    server::ShardConfig shard = config.shard_config(i);
    EXPECT_EQ(shard.node_id, fmt::format("n.{}", i));
    EXPECT_EQ(shard.listen_port, 7000 + i);
    EXPECT_EQ(shard.data_dir, fmt::format("/d/n.{}", i));
    EXPECT_EQ(shard.expected_servers, 3U);
  }
}

TEST(DaemonConfig, ClustersWithoutADataDirectoryDoNotShareOne) {
  DaemonConfig one;
  DaemonConfig two;
  ASSERT_TRUE(load(one, "[registry]\ndir = \"/one\"\n"));
  ASSERT_TRUE(load(two, "[registry]\ndir = \"/two\"\n"));
  EXPECT_NE(one.effective_data_dir(), two.effective_data_dir());
}

TEST(DaemonConfig, TheCommandLineWins) {
  DaemonConfig config;
  std::vector<ConfigEntry> entries = {
      {"storage", "engine", {ConfigValue::Kind::kUntyped, "memory"}, "--engine"}};
  ASSERT_TRUE(config.load("", entries));
  EXPECT_EQ(config.shard_config(0).engine, server::Engine::kMemory);
}

TEST(DaemonConfig, ClientsProveTheSecretUnlessToldOtherwise) {
  DaemonConfig config;
  EXPECT_EQ(config.shard_config(0).auth, server::Auth::kSecret);
  ASSERT_TRUE(load(config, "[clients]\nauth = \"none\"\n"));
  EXPECT_EQ(config.shard_config(0).auth, server::Auth::kNone);
}

TEST(DaemonConfig, RefusesValuesThatCannotWork) {
  struct Case {
    const char* text;
    const char* part;
  };
  const Case cases[] = {
      {"[node]\nid = \"a b\"\n", "benchfs.toml:2:1: node.id"},
      {"[node]\nid = \"\"\n", "benchfs.toml:2:1: node.id"},
      {"[node]\nshards = 0\n", "benchfs.toml:2:1: node.shards"},
      {"[network]\nlisten = \"localhost\"\n", "benchfs.toml:2:1: network.listen"},
      {"[network]\nlisten = \"\"\n", "benchfs.toml:2:1: network.listen"},
      {"[network]\nadvertise = \"a.b\"\n", "benchfs.toml:2:1: network.advertise"},
      {"[network]\nport = 65536\n", "benchfs.toml:2:1: network.port"},
      {"[storage]\nchunk_bytes = \"3MiB\"\n", "benchfs.toml:2:1: storage.chunk_bytes"},
      {"[storage]\nchunk_bytes = \"128MiB\"\n", "benchfs.toml:2:1: storage.chunk_bytes"},
      {"[storage]\nbuffer_bytes = 100000\n", "benchfs.toml:2:1: storage.buffer_bytes"},
      {"[storage]\nengine = \"disk\"\n", "benchfs.toml:2:1: storage.engine"},
      {"[storage]\nchunk_bytes = \"64KiB\"\n", "storage.buffer_bytes"},
      {"[node]\nshards = 4\n[registry]\nexpected_servers = 3\n", "registry.expected_servers"},
      {"[node]\nshards = 4\n[network]\nport = 65533\n", "network.port"},
      {"[clients]\nauth = \"no\"\n", "benchfs.toml:2:1: clients.auth"},
      {"[log]\nlevel = \"loud\"\n", "benchfs.toml:2:1: log.level"},
  };
  for (const Case& bad : cases) {
    DaemonConfig config;
    Status loaded = load(config, bad.text);
    ASSERT_FALSE(loaded) << bad.text;
    EXPECT_EQ(loaded.error().code, Errc::kConfig) << bad.text;
    EXPECT_TRUE(loaded.error().context.starts_with(bad.part)) << loaded.error().context;
  }
}

TEST(DaemonConfig, TheDocumentHoldsWhatTheProgramPrints) {
  std::ifstream file(BENCHFS_SOURCE_DIR "/docs/configuration.md");
  std::stringstream text;
  text << file.rdbuf();
  DaemonConfig config;
  std::string block = "```toml\n" + format_config(config.settings()) + "```\n";
  EXPECT_NE(text.str().find(block), std::string::npos)
      << "replace the block in docs/configuration.md by the output of benchfsd --print-config";
}

}  // namespace
}  // namespace benchfs::daemon
