#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

#include "bench/report.h"

namespace benchfs::bench {
namespace {

using nlohmann::ordered_json;

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

}  // namespace

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

std::string bandwidth_text(double mib_per_s) {
  return scaled(mib_per_s, {"MiB/s", "GiB/s"}, 1024);
}

namespace {

std::string cpu_text(double seconds, const Measurement& total) {
  double operations = std::max(1.0, static_cast<double>(total.operations));
  return time_text(seconds * 1e9 / operations);
}

using Row = std::vector<std::string>;

bool counts_requests(const Report& report) {
  return std::ranges::any_of(report.results,
                             [](const PhaseResult& result) { return result.total().requests > 0; });
}

Row header_of(const Report& report) {
  Row row = {"phase"};
  if (is_about_connections(report)) {
    row.emplace_back("path");
  }
  for (const char* name : {"payload",
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
                           "data"}) {
    row.emplace_back(name);
  }
  if (counts_requests(report)) {
    row.emplace_back("requests/op");
  }
  return row;
}

Row row_of(const Report& report, const PhaseResult& result) {
  Measurement total = result.total();
  std::optional<double> server = result.server_cpu_s();
  auto percentile = [&](double percent) { return time_text(result.percentile_ns(percent).median); };
  Row row = {result.phase.name};
  if (is_about_connections(report)) {
    row.push_back(result.phase.path);
  }
  row.insert(row.end(),
             {result.phase.payload_bytes == 0 ? "-" : size_text(result.phase.payload_bytes),
              fmt::format("{}", result.clients),
              fmt::format("{}", result.phase.depth),
              fmt::format("{}", total.operations),
              fmt::format("{:.0f}", result.ops_per_s().median),
              total.bytes == 0 ? "-" : bandwidth_text(result.mib_per_s().median),
              time_text(result.mean_ns().median),
              percentile(50),
              percentile(99),
              percentile(99.9),
              time_text(static_cast<double>(total.latency.max())),
              cpu_text(total.cpu_s, total),
              server ? cpu_text(*server, total) : "-",
              result.verified ? "ok" : "WRONG"});
  if (counts_requests(report)) {
    row.push_back(fmt::format("{:.2f}", requests_per_op(total)));
  }
  return row;
}

// Aligns the first column to the left and the others to the right.
std::string align(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const Row& row : rows) {
    text += fmt::format("{:<{}}", row[0], widths[0]);
    for (std::size_t i = 1; i < row.size(); ++i) {
      text += fmt::format("  {:>{}}", row[i], widths[i]);
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
  auto counted = [&](const std::string& what) {
    std::string count = text((what + "s").c_str());
    return fmt::format("{} {}{}", count, what, count == "1" ? "" : "s");
  };
  return fmt::format(
      "{}: {} cores, {}, Linux {}, UCX {}, transports {}\n"
      "{}, {}, {} engine; BenchFS {} ({}, {})\n",
      text("host"),
      text("cores"),
      text("cpu"),
      text("kernel"),
      text("ucx_version"),
      text("transports"),
      counted("server"),
      counted("shard"),
      text("engine"),
      text("version"),
      text("commit"),
      text("build_type"));
}

// "registry: 120034 hits, …"
std::string registry_text(const ordered_json& registry) {
  return fmt::format(
      "registry: {} requests found their session ({:.4f} %), {} did not; {} evictions, {} "
      "replaced, "
      "{} rejected, at most {} clients\n",
      registry.value("hits", 0),
      100 * registry.value("hit_rate", 0.0),
      registry.value("misses", 0),
      registry.value("evictions", 0),
      registry.value("replaced", 0),
      registry.value("rejected", 0),
      registry.value("high_water", 0));
}

}  // namespace

std::string to_table(const Report& report) {
  std::vector<Row> rows = {header_of(report)};
  std::ranges::transform(report.results, std::back_inserter(rows), [&](const PhaseResult& result) {
    return row_of(report, result);
  });
  std::string text = fmt::format("{}\n{}", system_text(report.system), align(rows));
  if (is_about_connections(report)) {
    text += '\n' + registry_text(report.registry);
  }
  for (const std::string& sentence : summary(report)) {
    text += "- " + sentence + '\n';
  }
  return report.command.empty() ? text : fmt::format("{}measured with: {}\n", text, report.command);
}

}  // namespace benchfs::bench
