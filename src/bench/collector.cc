#include "bench/collector.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace benchfs::bench {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::array kCounters = {"hits", "misses", "evictions", "replaced", "rejected"};

bool is_same_but_round(const Phase& a, const Phase& b) {
  return a.name == b.name && a.depth == b.depth && a.payload_bytes == b.payload_bytes &&
         a.path == b.path && a.clients == b.clients && a.round != b.round;
}

double hit_rate(const ordered_json& totals) {
  double hits = totals["hits"].get<double>();
  double all = hits + totals["misses"].get<double>();
  return all > 0 ? hits / all : 0.0;
}

}  // namespace

void Collector::add(const Phase& phase, Measurement total, std::optional<double> server_cpu_s) {
  bool verified = total.mismatches == 0;
  if (!verified && mismatch_.empty()) {
    mismatch_ =
        fmt::format("{}: {}, the first: {}",
                    phase.name,
                    total.mismatches == 1 ? "1 answer was wrong"
                                          : fmt::format("{} answers were wrong", total.mismatches),
                    total.first_mismatch);
  }
  if (!phase.reported) {
    all_verified_ = all_verified_ && verified;
    return;
  }
  auto& results = report_.results;
  auto found = std::ranges::find_if(
      results, [&](const PhaseResult& result) { return is_same_but_round(result.phase, phase); });
  if (found == results.end()) {
    results.push_back({.phase = phase,
                       .clients = phase.clients == 0 ? clients_ : phase.clients,
                       .rounds = {},
                       .verified = true});
    found = results.end() - 1;
  }
  found->verified = found->verified && verified;
  found->rounds.push_back({std::move(total), server_cpu_s});
}

void Collector::finish() {
  for (PhaseResult& result : report_.results) {
    result.verified = result.verified && all_verified_;
  }
}

ordered_json registry_totals(const json& shards) {
  ordered_json totals;
  auto sum = [&](const char* key) {
    std::uint64_t value = 0;
    for (const json& shard : shards) {
      value += shard.value("registry", json::object()).value(key, std::uint64_t{0});
    }
    return value;
  };
  for (const char* key : kCounters) {
    totals[key] = sum(key);
  }
  totals["high_water"] = sum("high_water");
  totals["hit_rate"] = hit_rate(totals);
  return totals;
}

ordered_json registry_between(const ordered_json& before, const ordered_json& after) {
  ordered_json between;
  for (const char* key : kCounters) {
    between[key] = after.at(key).get<std::uint64_t>() - before.at(key).get<std::uint64_t>();
  }
  between["high_water"] = after.at("high_water");
  between["hit_rate"] = hit_rate(between);
  return between;
}

}  // namespace benchfs::bench
