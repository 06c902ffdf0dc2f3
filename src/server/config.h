// What one shard needs to know. The daemon fills it from its TOML file (daemon/daemon_config.h).
#pragma once

#include <cstdint>
#include <string>

#include "base/cpu_list.h"
#include "net/context.h"
#include "rpc/server.h"
#include "rpc/transport.h"
#include "rt/idle.h"
#include "rt/uring.h"
#include "server/chunks/mark_times.h"

namespace benchfs::server {

// What a client must prove to register: that it knows the cluster secret, or nothing.
enum class Auth : std::uint8_t { kSecret, kNone };
enum class Engine : std::uint8_t { kFile, kMemory };

struct ShardConfig {
  std::string node_id;                 // unique; shards of one daemon are "node_3.0", "node_3.1", …
  std::string registry_dir;            // holds the server list
  std::uint32_t expected_servers = 1;  // shards of the whole file system
  std::uint64_t run_id = 0;            // 0: adopt the list's, or make one
  CpuList cpus;                        // where its thread runs; empty: anywhere
  Auth auth = Auth::kSecret;
  std::string listen_ip = "0.0.0.0";
  std::uint16_t listen_port = 0;  // 0: any free port
  std::string advertise_ip;       // written to the list; empty: the listen address, or found out
  std::string interface_name;     // where to find it when listening on 0.0.0.0

  Engine engine = Engine::kFile;
  std::string data_dir;  // file engine: this shard's own directory
  bool direct_io = true;
  rt::Uring::Backend disk_io = rt::Uring::Backend::kAuto;
  std::uint64_t memory_bytes =
      0;  // memory engine: limit of chunk memory; 0: a share of what is left
  std::uint32_t daemon_shards = 1;  // shards of this daemon, which share that memory
  rpc::Transport to_peers = rpc::Transport::kAuto;

  std::uint32_t chunk_bytes = wire::kDefaultChunkBytes;
  std::uint32_t buffer_bytes = 1U << 20;  // = largest transfer
  std::uint32_t buffer_count = 32;
  std::uint32_t ring_entries = 256;

  std::uint64_t max_inodes = std::uint64_t{64} << 20;
  Nanos client_grace = std::chrono::seconds(30);  // opens of a vanished client are kept this long
  MarkTimes mark_times;                           // the same on every shard; for tests
  Nanos rename_lease = std::chrono::seconds(10);  // within which a directory is renamed
  Nanos directory_lease =
      std::chrono::seconds(10);                    // a client may use a directory's name this long
  Nanos list_timeout = std::chrono::seconds(120);  // for the other servers to appear in the list
  rpc::Server::Config rpc;
  net::ContextConfig network;
  rt::IdleConfig idle;
};

}  // namespace benchfs::server
