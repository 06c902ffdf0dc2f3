// The configuration of benchfsd: its settings with their defaults, and what they mean for a shard.
//
// Order of precedence: command line, file, default. docs/configuration.md is printed from the table
// in daemon_config.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "server/config.h"

namespace benchfs::daemon {

struct DaemonConfig {
  std::string node_id;
  std::uint64_t shards = 1;
  std::string cpus;  // a CpuList

  std::string registry_dir;
  std::uint64_t expected_servers = 0;  // 0: `shards`
  std::uint64_t run_id = 0;
  Nanos list_timeout = std::chrono::seconds(120);

  std::string listen_ip = "0.0.0.0";
  std::uint64_t listen_port = 0;
  std::string advertise_ip;
  std::string interface_name;
  std::string devices;
  bool shared_memory = false;

  std::size_t engine = 0;  // index of server::Engine
  std::string data_dir;
  bool direct_io = true;
  std::size_t disk_io = 0;         // index of rt::Uring::Backend
  std::uint64_t memory_bytes = 0;  // 0: "auto"
  std::uint64_t chunk_bytes = wire::kDefaultChunkBytes;
  std::uint64_t buffer_bytes = 1U << 20;
  std::uint64_t buffer_count = 32;

  std::uint64_t max_inodes = std::uint64_t{64} << 20;

  std::uint64_t max_clients = 1000;
  Nanos client_turn = std::chrono::milliseconds(250);
  std::uint64_t window_bytes = 64U << 20;
  std::size_t auth = 0;  // index of server::Auth
  std::uint64_t max_unregistered = 1024;
  Nanos register_timeout = std::chrono::seconds(10);
  Nanos client_grace = std::chrono::seconds(30);
  Nanos directory_lease = std::chrono::seconds(10);

  Nanos idle_spin = rt::IdleConfig{}.spin;
  Nanos idle_yield = rt::IdleConfig{}.yield;

  std::size_t log_level = 2;  // index of LogLevel

  DaemonConfig() = default;
  DaemonConfig(const DaemonConfig&) = delete;
  DaemonConfig& operator=(const DaemonConfig&) = delete;

  // The table. Borrows this.
  [[nodiscard]] std::vector<Setting> settings();
  // Reads `path` (unless empty), then applies `overrides`, then checks what settings say together.
  // Errors: kSystem (the file cannot be read), kConfig.
  Status load(const std::string& path, std::span<const ConfigEntry> overrides);

  // "ID" of an only shard, else "ID.0", "ID.1", …
  [[nodiscard]] std::string shard_id(std::uint64_t index) const;
  // data_dir, or the default for this registry directory.
  [[nodiscard]] std::string effective_data_dir() const;
  [[nodiscard]] server::ShardConfig shard_config(std::uint64_t index) const;
};

}  // namespace benchfs::daemon
