// Takes the requests of one shard to the service that serves them, and answers the administrative
// ones itself.
#pragma once

#include "rpc/server.h"
#include "rt/reactor.h"
#include "server/away_clients.h"
#include "server/chunks/chunk_service.h"
#include "server/config.h"
#include "server/files/files.h"
#include "server/names/names.h"

namespace benchfs::server {

class ShardService final : public rpc::Service, private AwayClients::Ends {
 public:
  struct Parts {
    const ShardConfig& config;
    rt::Reactor& reactor;
    chunk::BufferPool& buffers;
    chunk::BufferPool& large_pings;  // of kMaxPingBytes, for pings above a transfer
    Peers& peers;
    rt::Scope& background;
  };
  explicit ShardService(const Parts& parts);

  void set_server(rpc::Server& server) { server_ = &server; }
  void set_door(const door::Door& door) { door_ = &door; }
  // For the statistics: an earlier life of this shard was in the file system.
  void set_restarted() { is_restarted_ = true; }
  // What serves the requests; made when the shard knows its place, before the first client can
  // register.
  void set_services(meta::MetaStore& metadata, Names& names, Files& files, ChunkService& chunks);
  // Asked for by a Shutdown request.
  [[nodiscard]] bool shutdown_requested() const { return shutdown_requested_; }

  bool serve_at_once(rpc::Request& request) override;
  rt::Task<void> handle(rpc::Request& request) override;
  void on_client_registered(wire::SessionId session, std::uint64_t client_uid) override;
  void on_client_gone(std::uint64_t client_uid, rpc::Departure departure, pid_t process) override;
  void on_client_died(std::uint64_t client_uid) override;
  bool on_notice(wire::SessionId session,
                 std::uint64_t client_uid,
                 wire::Opcode opcode,
                 wire::Reader body) override;
  void on_invalidate_ack(wire::SessionId session, std::uint64_t sequence) override;
  void on_stopping() override { parts_.peers.pool->close(); }

  // Background: closes what clients that stayed away had open, forgets expired leases.
  rt::Task<void> housekeeping();

 private:
  bool may_end_locks(std::uint64_t client_uid) override;
  void end_locks(std::uint64_t client_uid) override;
  void end_opens(std::uint64_t client_uid) override;
  rt::Task<void> dispatch(rpc::Request& request);
  // Begins when the shard serves its own inodes and names.
  rt::Task<void> hold_back(rpc::Request& request);
  rt::Task<void> refuse(rpc::Request& request);
  // Another shard has started again.
  rt::Task<void> new_life(rpc::Request& request);
  // Answers a ping whose reply is in its request.
  static bool ping_at_once(rpc::Request& request);
  rt::Task<void> ping(rpc::Request& request);
  rt::Task<void> set_capacity(rpc::Request& request);
  rt::Task<void> statfs(rpc::Request& request);
  rt::Task<void> stats(rpc::Request& request);
  rt::Task<void> inode_range(rpc::Request& request);
  rt::Task<void> shutdown(rpc::Request& request);

  Parts parts_;
  rpc::Server* server_ = nullptr;
  const door::Door* door_ = nullptr;
  meta::MetaStore* metadata_ = nullptr;
  Names* names_ = nullptr;
  Files* files_ = nullptr;
  ChunkService* chunks_ = nullptr;
  MonoTime started_at_;
  bool is_restarted_ = false;
  bool shutdown_requested_ = false;
  AwayClients away_;
};

}  // namespace benchfs::server
