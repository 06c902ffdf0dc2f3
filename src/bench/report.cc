#include "bench/report.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

namespace benchfs::bench {
namespace {

using nlohmann::ordered_json;

double per_second(double amount, double seconds) {
  return seconds > 0 ? amount / seconds : 0.0;
}

double rounded(double value, int digits) {
  double scale = std::pow(10.0, digits);
  return std::round(value * scale) / scale;
}

template <typename Value>
Spread over_rounds(const PhaseResult& result, Value value) {
  std::vector<double> values;
  std::ranges::transform(result.rounds, std::back_inserter(values), value);
  return spread_of(std::move(values));
}

ordered_json range_json(const Spread& spread, int digits) {
  return {rounded(spread.low, digits), rounded(spread.high, digits)};
}

ordered_json latency_json(const PhaseResult& result) {
  auto percentile = [&](double percent) {
    return std::llround(result.percentile_ns(percent).median);
  };
  return {{"avg", std::llround(result.mean_ns().median)},
          {"p50", percentile(50)},
          {"p99", percentile(99)},
          {"p999", percentile(99.9)},
          {"max", result.total().latency.max()}};
}

ordered_json optional_json(std::optional<double> value) {
  return value ? ordered_json(rounded(*value, 6)) : ordered_json(nullptr);
}

void add_rpc(ordered_json& json, const PhaseResult& result, const Measurement& total) {
  json["path"] = result.phase.path;
  double millions = static_cast<double>(total.operations) / 1e6;
  std::optional<double> server = result.server_cpu_s();
  bool any = total.operations > 0;
  json["cpu_s_per_million"]["client"] = optional_json(any ? total.cpu_s / millions : 0.0);
  json["cpu_s_per_million"]["server"] =
      optional_json(server && any ? std::optional(*server / millions) : std::nullopt);
  json["rounds"] = result.rounds.size();
  json["range"] = {{"ops_per_s", range_json(result.ops_per_s(), 1)},
                   {"avg", range_json(result.mean_ns(), 0)},
                   {"p50", range_json(result.percentile_ns(50), 0)},
                   {"p99", range_json(result.percentile_ns(99), 0)},
                   {"p999", range_json(result.percentile_ns(99.9), 0)}};
}

ordered_json result_json(const PhaseResult& result) {
  Measurement total = result.total();
  ordered_json json;
  json["phase"] = result.phase.name;
  json["clients"] = result.clients;
  json["depth"] = result.phase.depth;
  json["payload_bytes"] = result.phase.payload_bytes;
  json["operations"] = total.operations;
  json["seconds"] = rounded(result.seconds(), 6);
  json["ops_per_s"] = rounded(result.ops_per_s().median, 1);
  json["mib_per_s"] = rounded(result.mib_per_s().median, 3);
  json["latency_ns"] = latency_json(result);
  json["cpu_s"]["client"] = rounded(total.cpu_s, 6);
  json["cpu_s"]["server"] = optional_json(result.server_cpu_s());
  if (total.requests > 0) {
    json["requests_per_op"] = rounded(requests_per_op(total), 3);
  }
  json["verified"] = result.verified;
  if (!result.phase.path.empty()) {
    add_rpc(json, result, total);
  }
  return json;
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  if (values.empty()) {
    return {};
  }
  std::ranges::sort(values);
  std::size_t middle = values.size() / 2;
  double median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {.median = median, .low = values.front(), .high = values.back()};
}

double requests_per_op(const Measurement& measurement) {
  return measurement.operations == 0 ? 0.0
                                     : static_cast<double>(measurement.requests) /
                                           static_cast<double>(measurement.operations);
}

double Round::seconds() const {
  return std::chrono::duration<double>(measurement.end - measurement.start).count();
}

Measurement PhaseResult::total() const {
  Measurement total;
  for (const Round& round : rounds) {
    total.merge(round.measurement);
  }
  return total;
}

double PhaseResult::seconds() const {
  return std::accumulate(rounds.begin(), rounds.end(), 0.0, [](double sum, const Round& round) {
    return sum + round.seconds();
  });
}

std::optional<double> PhaseResult::server_cpu_s() const {
  double sum = 0;
  for (const Round& round : rounds) {
    if (!round.server_cpu_s) {
      return std::nullopt;
    }
    sum += *round.server_cpu_s;
  }
  return sum;
}

Spread PhaseResult::ops_per_s() const {
  return over_rounds(*this, [](const Round& round) {
    return per_second(static_cast<double>(round.measurement.operations), round.seconds());
  });
}

Spread PhaseResult::mib_per_s() const {
  return over_rounds(*this, [](const Round& round) {
    return per_second(static_cast<double>(round.measurement.bytes) / (1 << 20), round.seconds());
  });
}

Spread PhaseResult::mean_ns() const {
  return over_rounds(*this, [](const Round& round) { return round.measurement.latency.mean(); });
}

Spread PhaseResult::percentile_ns(double percent) const {
  return over_rounds(*this, [percent](const Round& round) {
    return static_cast<double>(round.measurement.latency.percentile(percent));
  });
}

bool is_about_connections(const Report& report) {
  return report.benchmark == "rpc" || report.benchmark == "connect";
}

ordered_json to_json(const Report& report) {
  ordered_json results = ordered_json::array();
  for (const PhaseResult& result : report.results) {
    results.push_back(result_json(result));
  }
  ordered_json json = {{"benchmark", report.benchmark},
                       {"command", report.command},
                       {"system", report.system},
                       {"config", report.config}};
  if (is_about_connections(report)) {
    json["registry"] = report.registry;
    json["summary"] = summary(report);
  }
  json["results"] = std::move(results);
  return json;
}

}  // namespace benchfs::bench
