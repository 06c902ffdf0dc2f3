#include "rpc/stats_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace benchfs::rpc {
namespace {

// No request takes more: the longest client id with every byte escaped.
constexpr std::size_t kMaxRequestText = 6 * wire::kMaxClientIdBytes + 512;

// The name of an operation as a word: "write_chunk".
std::string name_of(wire::Opcode opcode) {
  std::string name(wire::to_string(opcode));
  std::ranges::replace(name, ' ', '_');
  return name;
}

std::int64_t milliseconds(Nanos time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

std::string_view name_of(wire::NoDoor why) {
  using wire::NoDoor;
  switch (why) {
    case NoDoor::kUnsaid:
      break;
    case NoDoor::kNotWanted:
      return "not_wanted";
    case NoDoor::kNone:
      return "none";
    case NoDoor::kOtherUser:
      return "other_user";
    case NoDoor::kNotPrivate:
      return "not_private";
    case NoDoor::kNotHere:
      return "not_here";
    case NoDoor::kRefused:
      return "refused";
    case NoDoor::kNoRoom:
      return "no_room";
    case NoDoor::kSilent:
      return "silent";
    case NoDoor::kOtherVersion:
      return "other_version";
    case NoDoor::kOwnLack:
      return "own_lack";
  }
  return "unsaid";
}

// Which way the clients came that are registered now, and why not through the node door.
void write_ways(JsonWriter& json, ClientRegistry& registry) {
  std::array<std::uint32_t, wire::kNoDoorReasons> by_network{};
  std::uint32_t by_door = 0;
  std::uint32_t servers = 0;
  registry.for_each([&](const Session& session) {
    link::Way way = session.link->way();
    if (session.is_server) {
      ++servers;
    } else if (way == link::Way::kDoor) {
      ++by_door;
    } else if (way == link::Way::kNetwork) {
      auto why = static_cast<std::size_t>(session.no_door);
      ++by_network[why < by_network.size() ? why : 0];
    }
  });
  json.field("servers", servers);
  json.field("by_door", by_door);
  json.field("by_network", std::accumulate(by_network.begin(), by_network.end(), std::uint32_t{0}));
  json.begin_object("no_door");
  for (std::size_t why = 0; why < by_network.size(); ++why) {
    if (by_network[why] > 0) {
      json.field(name_of(static_cast<wire::NoDoor>(why)), by_network[why]);
    }
  }
  json.end_object();
}

void write_registry(JsonWriter& json, ClientRegistry& registry) {
  const ClientRegistry::Stats& stats = registry.stats();
  json.begin_object("registry");
  json.field("clients", registry.size() - registry.forwarded());
  json.field("forwarded", registry.forwarded());
  json.field("capacity", registry.capacity());
  json.field("hits", stats.hits);
  json.field("misses", stats.misses);
  json.field("hit_rate", stats.hit_rate());
  json.field("evictions", stats.evictions);
  json.field("replaced", stats.replaced);
  json.field("rejected", stats.rejected);
  json.field("high_water", stats.high_water);
  write_ways(json, registry);
  json.end_object();
}

void write_rpc(JsonWriter& json, const Server& server) {
  OperationStats sum;
  server.request_stats().for_each([&](wire::Opcode opcode, const OperationStats& operation) {
    sum.requests += wire::is_notice(opcode) ? 0 : operation.requests;
    sum.bytes_in += operation.bytes_in;
    sum.bytes_out += operation.bytes_out;
    sum.errors += operation.errors;
    sum.failures += operation.failures;
  });
  const Server::Stats& stats = server.stats();
  json.begin_object("rpc");
  json.field("requests", sum.requests);
  json.field("in_flight", stats.in_flight);
  json.field("bytes_in", sum.bytes_in);
  json.field("bytes_out", sum.bytes_out);
  json.field("errors", sum.errors);
  json.field("failures", sum.failures);
  json.field("notices", stats.notices);
  json.field("heartbeats", stats.heartbeats);
  json.field("malformed", stats.malformed);
  json.field("unattributed", stats.unattributed);
  json.field("overloaded", stats.overloaded);
  json.field("repeated", stats.repeated);
  json.field("replies_dropped", stats.replies_dropped);
  json.field("unresponsive", stats.unresponsive);
  json.end_object();
}

void write_admission(JsonWriter& json, const Admission& admission) {
  json.begin_object("admission");
  json.field("unregistered", admission.size());
  json.field("accepted", admission.stats().accepted);
  json.field("register_timeouts", admission.stats().register_timeouts);
  json.field("turned_away", admission.stats().turned_away);
  json.field("no_descriptors", admission.stats().no_descriptors);
  json.field("silent", admission.stats().silent);
  json.field("malformed", admission.stats().malformed);
  json.field("challenged", admission.stats().challenged);
  json.field("wrong_proofs", admission.stats().wrong_proofs);
  json.end_object();
}

void write_forwarding(JsonWriter& json, const Forwarder& forwarder) {
  const Forwarder::Stats& stats = forwarder.stats();
  json.begin_object("forwarding");
  json.field("programs", forwarder.programs());
  json.field("channels", forwarder.channels());
  json.field("calls", stats.calls);
  json.field("notices", stats.notices);
  json.field("bytes_in", stats.bytes_in);
  json.field("bytes_out", stats.bytes_out);
  json.field("late", stats.late);
  json.field("ended", stats.ended);
  json.end_object();
}

void write_stage(JsonWriter& json, std::string_view name, const Histogram& histogram) {
  json.begin_object(name);
  json.field("count", histogram.count());
  json.field("sum_ns", histogram.sum());
  json.field("p50_ns", histogram.percentile(50));
  json.field("p99_ns", histogram.percentile(99));
  json.field("max_ns", histogram.max());
  Histogram::Octaves octaves = histogram.octaves();
  auto last = std::ranges::find_if(octaves.rbegin(), octaves.rend(), [](auto n) { return n > 0; });
  json.begin_array("octaves");
  for (auto octave = octaves.begin(); octave != last.base(); ++octave) {
    json.element(*octave);
  }
  json.end_array();
  json.end_object();
}

void write_operation(JsonWriter& json, wire::Opcode opcode, const OperationStats& stats) {
  json.begin_object();
  json.field("operation", name_of(opcode));
  json.field("requests", stats.requests);
  json.field("errors", stats.errors);
  json.field("failures", stats.failures);
  json.field("bytes_in", stats.bytes_in);
  json.field("bytes_out", stats.bytes_out);
  json.field("timed_one_in", stats.sample_every);
  json.begin_object("stages");
  for (std::size_t i = 0; stats.stages != nullptr && i < kStages; ++i) {
    if ((*stats.stages)[i].count() > 0) {
      write_stage(json, to_string(static_cast<Stage>(i)), (*stats.stages)[i]);
    }
  }
  json.end_object();
  json.end_object();
}

void write_request(JsonWriter& json, Server& server, const Request& request, MonoTime now) {
  const Session* session = server.registry().peek(request.session_id());
  json.begin_object();
  if (session != nullptr) {
    json.field("client", session->client_id);
  }
  json.field("client_uid", fmt::format("{:016x}", request.client_uid()));
  json.field("operation", name_of(request.opcode()));
  json.field("phase", to_string(request.trace().phase()));
  json.field("age_ms", milliseconds(std::max(now - request.trace().arrived(), Nanos::zero())));
  json.field("deadline_ms", milliseconds(request.deadline().when() - now));
  json.field("data_bytes", request.data_bytes());
  json.end_object();
}

}  // namespace

void write_counters(JsonWriter& json, Server& server) {
  write_registry(json, server.registry());
  write_admission(json, server.admission());
  write_rpc(json, server);
  if (server.forwarder() != nullptr) {
    write_forwarding(json, *server.forwarder());
  }
  json.begin_array("operations");
  server.request_stats().for_each([&](wire::Opcode opcode, const OperationStats& stats) {
    write_operation(json, opcode, stats);
  });
  json.end_array();
}

void write_requests(JsonWriter& json,
                    Server& server,
                    const Request& asking,
                    std::uint32_t limit,
                    std::size_t max_bytes) {
  std::vector<const Request*> requests;
  server.for_each_request([&](const Request& request) {
    if (&request != &asking) {
      requests.push_back(&request);
    }
  });
  std::size_t listed = std::min<std::size_t>(limit, requests.size());
  auto end = requests.begin() + static_cast<std::ptrdiff_t>(listed);
  std::ranges::partial_sort(
      requests, end, {}, [](const Request* request) { return request->trace().arrived(); });
  MonoTime now = mono_now();
  json.field("in_flight", requests.size());
  json.begin_array("requests");
  for (auto request = requests.begin();
       request != end && json.size() + kMaxRequestText <= max_bytes;
       ++request) {
    write_request(json, server, **request, now);
  }
  json.end_array();
}

}  // namespace benchfs::rpc
