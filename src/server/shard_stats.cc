#include "server/shard_stats.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <map>
#include <utility>

#include "base/json_writer.h"
#include "net/closed_sockets.h"
#include "rpc/stats_json.h"
#include "rt/frame_pool.h"

namespace benchfs::server {
namespace {

// Left for what follows the list of requests.
constexpr std::size_t kTailBytes = 64;

std::uint64_t resident_bytes() {
  std::uint64_t total = 0;
  std::uint64_t resident = 0;
  if (FILE* file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%lu %lu", &total, &resident) != 2) {
      resident = 0;
    }
    std::fclose(file);
  }
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

void write_identity(JsonWriter& json, const StatsSources& from) {
  json.field("node_id", from.config.node_id);
  json.field("shard", from.shard.value);
  json.field("pid", getpid());
}

void write_process(JsonWriter& json, const StatsSources& from) {
  json.field("restarted", from.is_restarted);
  json.field("uptime_s", std::chrono::duration<double>(mono_now() - from.started_at).count());
  json.field("memory_bytes", resident_bytes());
  json.field("cpu_s", cpu_seconds());
}

// Endpoints: of clients, unregistered connections, other shards, and those still closing.
void write_network(JsonWriter& json, const rpc::Server& server) {
  std::error_code ignored;
  std::filesystem::directory_iterator descriptors("/proc/self/fd", ignored);
  json.begin_object("net");
  json.field("endpoints", server.endpoint_count());
  std::int64_t open = std::distance(descriptors, {});
  json.field("descriptors", open - static_cast<std::int64_t>(net::kept_numbers()));
  json.end_object();
}

// Programs of this node that came through its door, and why others did not get in.
void write_door(JsonWriter& json, const door::Door* door) {
  json.begin_object("door");
  json.field("open", door != nullptr);
  if (door != nullptr) {
    const door::Door::Stats& stats = door->stats();
    json.field("programs", door->sessions());
    json.field("unattached", door->unattached());
    json.field("attached", stats.attached);
    json.field("refused", stats.refused);
    json.field("dropped", stats.dropped);
    json.field("calls", stats.calls);
    json.field("malformed", stats.malformed);
    json.field("rings", stats.rings);
    link::CopyTotals copies = door->copies();
    json.field("direct_reads", copies.reads);
    json.field("direct_bytes_out", copies.bytes_read);
    json.field("direct_overwrites", copies.overwrites);
    json.field("direct_bytes_in", copies.bytes_overwritten);
  }
  json.end_object();
}

void write_metadata(JsonWriter& json, const meta::MetaStore::Stats& stats) {
  json.begin_object("metadata");
  json.field("inodes", stats.inode_count);
  json.field("entries", stats.entry_count);
  json.field("open", stats.open_count);
  json.field("orphans", stats.orphan_count);
  json.end_object();
}

void write_locks(JsonWriter& json, const FileLocks::Stats& stats) {
  json.begin_object("locks");
  json.field("held", stats.held);
  json.field("waiting", stats.waiting);
  json.end_object();
}

// What clients may use without asking.
void write_leases(JsonWriter& json, const Names& names) {
  json.begin_object("leases");
  auto write = [&](const char* name, LeaseKind kind) {
    const LeaseTable::Stats& stats = names.lease_stats(kind);
    json.begin_object(name);
    json.field("held", stats.held);
    json.field("recalled", stats.recalled);
    json.field("run_out", stats.run_out);
    json.end_object();
  };
  write("directories", LeaseKind::kDirectory);
  write("names", LeaseKind::kName);
  write("missing_names", LeaseKind::kMissingName);
  write("attributes", LeaseKind::kAttributes);
  json.end_object();
}

void write_storage(JsonWriter& json, Engine engine, const chunk::Space& space) {
  json.begin_object("storage");
  json.field("engine", engine == Engine::kFile ? "file" : "memory");
  json.field("total_bytes", space.total_bytes);
  json.field("free_bytes", space.free_bytes);
  json.end_object();
}

void write_buffers(JsonWriter& json, const chunk::BufferPool& pool) {
  json.begin_object("buffers");
  json.field("count", pool.count());
  json.field("free", pool.available());
  json.field("bytes", pool.count() * pool.buffer_bytes());
  json.field("waiting", pool.stats().waiting);
  json.field("waits", pool.stats().waits);
  json.field("timeouts", pool.stats().timeouts);
  json.end_object();
}

// What this shard owes to others and tries until it is done.
void write_owed(JsonWriter& json, const StatsSources& from) {
  auto seconds = [](Nanos span) { return std::chrono::duration<double>(span).count(); };
  Files::Owed owed = from.files.owed();
  json.begin_object("owed");
  json.field("files_to_free", owed.files_to_free);
  json.field("truncations", owed.truncations);
  json.field("sizes_to_settle", owed.sizes_to_settle);
  json.field("names", owed.names);
  std::array<std::uint64_t, OwedCalls::kKinds> calls{};
  Nanos oldest = owed.works.oldest;
  std::map<wire::ShardId, Nanos> silent;
  for (const Reclaimer::Silent& shard : owed.works.silent) {
    silent[shard.shard] = shard.age;
  }
  for (const OwedCalls::Summary& shard : from.names.owed()) {
    for (std::size_t kind = 0; kind < calls.size(); ++kind) {
      calls[kind] += shard.counts[kind];
    }
    Nanos age = mono_now() - shard.oldest;
    oldest = std::max(oldest, age);
    if (shard.is_silent) {
      silent[shard.shard] = std::max(silent[shard.shard], age);
    }
  }
  auto count = [&](OwedCalls::Kind kind) { return calls[static_cast<std::size_t>(kind)]; };
  json.field("removed_directories", count(OwedCalls::Kind::kThaw));
  json.field("moved_directories", count(OwedCalls::Kind::kParent));
  json.field("renames", count(OwedCalls::Kind::kRename));
  json.field("directory_times", count(OwedCalls::Kind::kMark));
  json.field("oldest_s", seconds(oldest));
  json.begin_array("silent");
  for (const auto& [shard, age] : silent) {
    json.begin_object();
    json.field("node_id", from.peers.pool->at(shard).name());
    json.field("seconds", seconds(age));
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void write_reactor(JsonWriter& json, const rt::Reactor::Stats& stats) {
  json.begin_object("reactor");
  json.field("passes", stats.passes);
  json.field("sleeps", stats.sleeps);
  json.field("resumed", stats.resumed);
  json.field("frames", rt::frame_pool_stats().live);
  json.end_object();
}

}  // namespace

std::string counters_json(const StatsSources& from, const chunk::Space& space) {
  JsonWriter json;
  json.begin_object();
  write_identity(json, from);
  write_process(json, from);
  rpc::write_counters(json, from.server);
  write_network(json, from.server);
  write_door(json, from.door);
  write_metadata(json, from.metadata.stats());
  write_locks(json, from.files.locks());
  write_leases(json, from.names);
  write_owed(json, from);
  write_storage(json, from.config.engine, space);
  write_buffers(json, from.buffers);
  write_reactor(json, from.reactor.stats());
  json.end_object();
  return std::move(json).take();
}

std::string requests_json(const StatsSources& from,
                          const rpc::Request& asking,
                          std::uint32_t limit) {
  JsonWriter json;
  json.begin_object();
  write_identity(json, from);
  rpc::write_requests(json, from.server, asking, limit, wire::kMaxStatsBytes - kTailBytes);
  json.end_object();
  return std::move(json).take();
}

}  // namespace benchfs::server
