// What a shard answers to a Stats request: one JSON object, to which each of its components
// contributes a section. The names are explained in docs/operations.md.
//
// Thread: the shard's.
#pragma once

#include <string>

#include "base/clock.h"
#include "chunk/buffer_pool.h"
#include "chunk/chunk_store.h"
#include "door/door.h"
#include "meta/meta_store.h"
#include "rpc/server.h"
#include "rt/reactor.h"
#include "server/config.h"
#include "server/files/files.h"
#include "server/names/names.h"

namespace benchfs::server {

// Where the numbers come from; all borrowed.
struct StatsSources {
  const ShardConfig& config;
  wire::ShardId shard;
  MonoTime started_at;
  bool is_restarted;  // it was in the file system before, and lost what it held
  rpc::Server& server;
  const door::Door* door;  // null: the shard has none
  const meta::MetaStore& metadata;
  const Files& files;
  const Names& names;
  const Peers& peers;
  const chunk::BufferPool& buffers;
  const rt::Reactor& reactor;
};

// All counters. `space` is the chunk store's.
std::string counters_json(const StatsSources& from, const chunk::Space& space);

// The requests under way but `asking`, oldest first, at most `limit` of them.
std::string requests_json(const StatsSources& from,
                          const rpc::Request& asking,
                          std::uint32_t limit);

}  // namespace benchfs::server
