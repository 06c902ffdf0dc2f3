#include "bench/phase.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace benchfs::bench {
namespace {

using nlohmann::json;

std::int64_t count_of(MonoTime time) {
  return time.time_since_epoch().count();
}

// Calls `read`, whose json accesses throw when a message is not as expected.
template <typename T, typename Read>
Result<T> guarded(Read read) {
  try {
    return read();
  } catch (const json::exception& error) {
    return fail(Errc::kMalformed, error.what());
  }
}

}  // namespace

void Measurement::merge(const Measurement& other) {
  if (other.start == MonoTime{}) {
    return;
  }
  if (start == MonoTime{}) {
    start = other.start;
    end = other.end;
  }
  operations += other.operations;
  bytes += other.bytes;
  start = std::min(start, other.start);
  end = std::max(end, other.end);
  cpu_s += other.cpu_s;
  latency.merge(other.latency);
  requests += other.requests;
  mismatches += other.mismatches;
  if (first_mismatch.empty()) {
    first_mismatch = other.first_mismatch;
  }
}

void Measurement::on_mismatch(std::string what) {
  ++mismatches;
  if (first_mismatch.empty()) {
    first_mismatch = std::move(what);
  }
}

json to_message(const Phase& phase) {
  return {{"name", phase.name},
          {"depth", phase.depth},
          {"payload_bytes", phase.payload_bytes},
          {"path", phase.path},
          {"clients", phase.clients},
          {"round", phase.round},
          {"reported", phase.reported}};
}

Result<Phase> phase_from(const json& message) {
  return guarded<Phase>([&] {
    return Phase{.name = message.at("name"),
                 .depth = message.at("depth"),
                 .payload_bytes = message.at("payload_bytes"),
                 .path = message.at("path"),
                 .clients = message.at("clients"),
                 .round = message.at("round"),
                 .reported = message.at("reported")};
  });
}

json to_message(const Measurement& measurement) {
  return {{"operations", measurement.operations},
          {"bytes", measurement.bytes},
          {"start", count_of(measurement.start)},
          {"end", count_of(measurement.end)},
          {"cpu_s", measurement.cpu_s},
          {"latency", measurement.latency.serialise()},
          {"requests", measurement.requests},
          {"mismatches", measurement.mismatches},
          {"first_mismatch", measurement.first_mismatch}};
}

Result<Measurement> measurement_from(const json& message) {
  return guarded<Measurement>([&]() -> Result<Measurement> {
    BENCHFS_TRY(Histogram latency,
                Histogram::parse(message.at("latency").get_ref<const std::string&>()));
    Measurement measurement;
    measurement.latency = latency;
    measurement.operations = message.at("operations");
    measurement.bytes = message.at("bytes");
    measurement.start = MonoTime(Nanos(message.at("start").get<std::int64_t>()));
    measurement.end = MonoTime(Nanos(message.at("end").get<std::int64_t>()));
    measurement.cpu_s = message.at("cpu_s");
    measurement.requests = message.at("requests");
    measurement.mismatches = message.at("mismatches");
    measurement.first_mismatch = message.at("first_mismatch");
    return measurement;
  });
}

}  // namespace benchfs::bench
