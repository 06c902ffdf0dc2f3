#include "cli/bench/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

namespace benchfs::cli::bench {
namespace {

using nlohmann::ordered_json;

double per_second(double amount, double seconds) {
  return seconds > 0 ? amount / seconds : 0.0;
}

double mib_per_s(const PhaseResult& result) {
  return per_second(static_cast<double>(result.measurement.bytes) / (1 << 20), result.seconds());
}

double ops_per_s(const PhaseResult& result) {
  return per_second(static_cast<double>(result.measurement.operations), result.seconds());
}

double rounded(double value, int digits) {
  double scale = std::pow(10.0, digits);
  return std::round(value * scale) / scale;
}

ordered_json latency_json(const Histogram& latency) {
  return {{"avg", std::llround(latency.mean())},
          {"p50", latency.percentile(50)},
          {"p99", latency.percentile(99)},
          {"p999", latency.percentile(99.9)},
          {"max", latency.max()}};
}

ordered_json result_json(const PhaseResult& result) {
  ordered_json json;
  json["phase"] = result.phase.name;
  json["clients"] = result.clients;
  json["depth"] = result.phase.depth;
  json["payload_bytes"] = result.phase.payload_bytes;
  json["operations"] = result.measurement.operations;
  json["seconds"] = rounded(result.seconds(), 6);
  json["ops_per_s"] = rounded(ops_per_s(result), 1);
  json["mib_per_s"] = rounded(mib_per_s(result), 3);
  json["latency_ns"] = latency_json(result.measurement.latency);
  json["cpu_s"]["client"] = rounded(result.measurement.cpu_s, 6);
  json["cpu_s"]["server"] =
      result.server_cpu_s ? ordered_json(rounded(*result.server_cpu_s, 6)) : ordered_json(nullptr);
  json["verified"] = result.verified;
  if (!result.phase.path.empty()) {
    json["path"] = result.phase.path;
  }
  return json;
}

// Three significant digits and a unit.
std::string scaled(double value, std::initializer_list<const char*> units, double step) {
  const char* const* unit = units.begin();
  while (value >= step && unit + 1 != units.end()) {
    value /= step;
    ++unit;
  }
  int digits = value < 10 ? 2 : value < 100 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, digits, *unit);
}

std::string time_text(double nanoseconds) {
  return scaled(nanoseconds, {"ns", "us", "ms", "s"}, 1000);
}

std::string size_text(std::uint64_t bytes) {
  std::uint64_t value = bytes;
  std::array<const char*, 4> units = {"B", "KiB", "MiB", "GiB"};
  std::size_t unit = 0;
  while (value >= 1024 && value % 1024 == 0 && unit + 1 < units.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{} {}", value, units[unit]);
}

std::string bandwidth_text(const PhaseResult& result) {
  return result.measurement.bytes == 0 ? "-" : scaled(mib_per_s(result), {"MiB/s", "GiB/s"}, 1024);
}

std::string cpu_text(double seconds, const PhaseResult& result) {
  double operations = std::max(1.0, static_cast<double>(result.measurement.operations));
  return time_text(seconds * 1e9 / operations);
}

using Row = std::vector<std::string>;

const Row kHeader = {"phase",
                     "payload",
                     "clients",
                     "depth",
                     "operations",
                     "ops/s",
                     "bandwidth",
                     "avg",
                     "p50",
                     "p99",
                     "p99.9",
                     "max",
                     "cpu/op client",
                     "server",
                     "data"};

Row row_of(const PhaseResult& result) {
  const Histogram& latency = result.measurement.latency;
  auto percentile = [&](double percent) {
    return time_text(static_cast<double>(latency.percentile(percent)));
  };
  return {result.phase.name,
          result.phase.payload_bytes == 0 ? "-" : size_text(result.phase.payload_bytes),
          fmt::format("{}", result.clients),
          fmt::format("{}", result.phase.depth),
          fmt::format("{}", result.measurement.operations),
          fmt::format("{:.0f}", ops_per_s(result)),
          bandwidth_text(result),
          time_text(latency.mean()),
          percentile(50),
          percentile(99),
          percentile(99.9),
          time_text(static_cast<double>(latency.max())),
          cpu_text(result.measurement.cpu_s, result),
          result.server_cpu_s ? cpu_text(*result.server_cpu_s, result) : "-",
          result.verified ? "ok" : "WRONG"};
}

// The first column to the left, the others to the right.
std::string align(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(kHeader.size(), 0);
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const Row& row : rows) {
    text += fmt::format("{:<{}}", row[0], widths[0]);
    for (std::size_t i = 1; i < row.size(); ++i) {
      fmt::format_to(std::back_inserter(text), "  {:>{}}", row[i], widths[i]);
    }
    text += '\n';
  }
  return text;
}

std::string system_text(const ordered_json& system) {
  auto text = [&](const char* key) {
    auto found = system.find(key);
    if (found == system.end() || found->is_null()) {
      return std::string("?");
    }
    return found->is_string() ? found->get<std::string>() : found->dump();
  };
  return fmt::format(
      "{}: {} cores, {}, Linux {}, UCX {}, transports {}\n"
      "{} servers, {} shards, {} engine; BenchFS {} ({}, {})\n",
      text("host"),
      text("cores"),
      text("cpu"),
      text("kernel"),
      text("ucx_version"),
      text("transports"),
      text("servers"),
      text("shards"),
      text("engine"),
      text("version"),
      text("commit"),
      text("build_type"));
}

}  // namespace

double PhaseResult::seconds() const {
  return std::chrono::duration<double>(measurement.end - measurement.start).count();
}

ordered_json to_json(const Report& report) {
  ordered_json results = ordered_json::array();
  for (const PhaseResult& result : report.results) {
    results.push_back(result_json(result));
  }
  return {{"benchmark", report.benchmark},
          {"system", report.system},
          {"config", report.config},
          {"results", std::move(results)}};
}

std::string to_table(const Report& report) {
  std::vector<Row> rows = {kHeader};
  std::ranges::transform(report.results, std::back_inserter(rows), row_of);
  return fmt::format("{}\n{}", system_text(report.system), align(rows));
}

}  // namespace benchfs::cli::bench
