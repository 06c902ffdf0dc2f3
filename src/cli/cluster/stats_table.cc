#include "cli/cluster/stats_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>

#include "cli/files/format.h"

namespace benchfs::cli {
namespace {

using nlohmann::json;

// The counters; the other numbers of an answer are states.
constexpr const char* kServerCounters[] = {"/uptime_s",
                                           "/cpu_s",
                                           "/registry/hits",
                                           "/registry/misses",
                                           "/registry/evictions",
                                           "/registry/replaced",
                                           "/registry/rejected",
                                           "/rpc/requests",
                                           "/rpc/bytes_in",
                                           "/rpc/bytes_out",
                                           "/rpc/errors",
                                           "/rpc/failures",
                                           "/rpc/malformed",
                                           "/rpc/overloaded",
                                           "/rpc/repeated",
                                           "/rpc/unattributed",
                                           "/rpc/replies_dropped",
                                           "/admission/accepted",
                                           "/rpc/unresponsive",
                                           "/admission/register_timeouts",
                                           "/door/attached",
                                           "/door/refused",
                                           "/door/dropped",
                                           "/door/calls",
                                           "/door/malformed",
                                           "/door/rings",
                                           "/leases/directories/recalled",
                                           "/leases/directories/run_out",
                                           "/leases/names/recalled",
                                           "/leases/names/run_out",
                                           "/leases/missing_names/recalled",
                                           "/leases/missing_names/run_out",
                                           "/leases/attributes/recalled",
                                           "/leases/attributes/run_out",
                                           "/buffers/waits",
                                           "/buffers/timeouts",
                                           "/reactor/passes",
                                           "/reactor/sleeps",
                                           "/reactor/resumed"};
constexpr const char* kOperationCounters[] = {
    "/requests", "/errors", "/failures", "/bytes_in", "/bytes_out"};
constexpr const char* kStageNames[] = {"decoded", "queued", "buffer_wait", "served", "sent"};

std::uint64_t count(const json& answer, const char* pointer) {
  return static_cast<std::uint64_t>(std::max(0.0, number(answer, pointer)));
}

void subtract(json& after, const json& before, const char* pointer) {
  json::json_pointer path(pointer);
  if (after.contains(path)) {
    after[path] = std::max(0.0, number(after, pointer) - number(before, pointer));
  }
}

std::vector<std::uint64_t> octaves_of(const json& stage) {
  return stage.value("octaves", std::vector<std::uint64_t>());
}

void subtract_stage(json& after, const json& before) {
  subtract(after, before, "/count");
  subtract(after, before, "/sum_ns");
  std::vector<std::uint64_t> octaves = octaves_of(after);
  std::vector<std::uint64_t> earlier = octaves_of(before);
  for (std::size_t i = 0; i < std::min(octaves.size(), earlier.size()); ++i) {
    octaves[i] -= std::min(octaves[i], earlier[i]);
  }
  after["p50_ns"] = octave_percentile(octaves, 50);
  after["p99_ns"] = octave_percentile(octaves, 99);
  after["octaves"] = octaves;
}

void subtract_operation(json& after, const json& before) {
  for (const char* pointer : kOperationCounters) {
    subtract(after, before, pointer);
  }
  for (auto& [name, stage] : after["stages"].items()) {
    subtract_stage(stage, before.value("stages", json::object()).value(name, json::object()));
  }
}

json operation_named(const json& answer, const std::string& name) {
  for (const json& operation : answer.value("operations", json::array())) {
    if (operation.value("operation", "") == name) {
      return operation;
    }
  }
  return json::object();
}

// Three significant digits.
std::string short_time(double ns) {
  constexpr std::string_view kUnits[] = {"ns", "us", "ms", "s"};
  std::size_t unit = 0;
  while (ns >= 999.5 && unit + 1 < std::size(kUnits)) {
    ns /= 1000;
    ++unit;
  }
  int digits = unit == 0 || ns >= 99.95 ? 0 : ns >= 9.995 ? 1 : 2;
  return fmt::format("{:.{}f} {}", ns, digits, kUnits[unit]);
}

// "12345", or "12345 (67.8/s)" for an interval.
std::string rated(const json& answer, const char* pointer, double seconds) {
  std::uint64_t n = count(answer, pointer);
  return seconds > 0 ? fmt::format("{} ({:.1f}/s)", n, static_cast<double>(n) / seconds)
                     : fmt::to_string(n);
}

std::string rated_bytes(const json& answer, const char* pointer, double seconds) {
  std::uint64_t n = count(answer, pointer);
  return seconds > 0 ? fmt::format("{} ({}/s)",
                                   format_bytes(n),
                                   format_bytes(static_cast<std::uint64_t>(
                                       std::llround(static_cast<double>(n) / seconds))))
                     : format_bytes(n);
}

std::string stage_text(const json& operation, const char* stage) {
  const json found = operation.value("stages", json::object()).value(stage, json::object());
  if (count(found, "/count") == 0) {
    return "-";
  }
  return fmt::format(
      "{} / {}", short_time(number(found, "/p50_ns")), short_time(number(found, "/p99_ns")));
}

void add_operations(std::string& text, const json& answer) {
  constexpr std::string_view kRow =
      "  {:<18} {:>12} {:>8} {:>8}  {:>17} {:>17} {:>17} {:>17} {:>17}\n";
  text += fmt::format(kRow,
                      "OPERATION",
                      "REQUESTS",
                      "ERRORS",
                      "FAILURES",
                      "DECODED p50/p99",
                      "QUEUED",
                      "BUFFER WAIT",
                      "SERVED",
                      "SENT");
  for (const json& operation : answer.value("operations", json::array())) {
    if (count(operation, "/requests") == 0) {
      continue;
    }
    text += fmt::format(kRow,
                        operation.value("operation", "?"),
                        count(operation, "/requests"),
                        count(operation, "/errors"),
                        count(operation, "/failures"),
                        stage_text(operation, kStageNames[0]),
                        stage_text(operation, kStageNames[1]),
                        stage_text(operation, kStageNames[2]),
                        stage_text(operation, kStageNames[3]),
                        stage_text(operation, kStageNames[4]));
  }
}

// "3/2/1": held, recalled, run out.
std::string lease_text(const json& answer, const char* kind) {
  json leases = answer.value("leases", json::object()).value(kind, json::object());
  return fmt::format(
      "{}/{}/{}", count(leases, "/held"), count(leases, "/recalled"), count(leases, "/run_out"));
}

void add_summary(std::string& text, const json& a, double seconds) {
  text += fmt::format(
      "  clients   {} of {}, {} at most; {} evicted, {} replaced, {} refused; hit rate "
      "{:.4f} % ({} misses)\n",
      count(a, "/registry/clients"),
      count(a, "/registry/capacity"),
      count(a, "/registry/high_water"),
      count(a, "/registry/evictions"),
      count(a, "/registry/replaced"),
      count(a, "/registry/rejected"),
      100 * number(a, "/registry/hit_rate"),
      count(a, "/registry/misses"));
  text += fmt::format(
      "  node door {} programs attached, {} since the start; {} refused, {} malformed; {} "
      "rings\n",
      count(a, "/door/programs"),
      rated(a, "/door/attached", seconds),
      count(a, "/door/refused"),
      count(a, "/door/malformed"),
      rated(a, "/door/rings", seconds));
  if (std::string why = no_door_text(a); !why.empty()) {
    text += fmt::format("  network   {}\n", why);
  }
  text += fmt::format(
      "  requests  {}, {} in flight; {} errors, {} failures; {} overloaded, {} malformed, "
      "{} unattributed, {} replies dropped\n",
      rated(a, "/rpc/requests", seconds),
      count(a, "/rpc/in_flight"),
      count(a, "/rpc/errors"),
      count(a, "/rpc/failures"),
      count(a, "/rpc/overloaded"),
      count(a, "/rpc/malformed"),
      count(a, "/rpc/unattributed"),
      count(a, "/rpc/replies_dropped"));
  text += fmt::format("  data      {} in, {} out\n",
                      rated_bytes(a, "/rpc/bytes_in", seconds),
                      rated_bytes(a, "/rpc/bytes_out", seconds));
  text +=
      fmt::format("  direct    {} overwrites, {} in; {} reads, {} out (by programs of the node)\n",
                  rated(a, "/door/direct_overwrites", seconds),
                  rated_bytes(a, "/door/direct_bytes_in", seconds),
                  rated(a, "/door/direct_reads", seconds),
                  rated_bytes(a, "/door/direct_bytes_out", seconds));
  text += fmt::format(
      "  leases    held/recalled/run out: names {}, missing names {}, attributes {}, "
      "directories {}\n",
      lease_text(a, "names"),
      lease_text(a, "missing_names"),
      lease_text(a, "attributes"),
      lease_text(a, "directories"));
  text += fmt::format("  buffers   {} of {} free, {} waiting; {} waits, {} in vain\n",
                      count(a, "/buffers/free"),
                      count(a, "/buffers/count"),
                      count(a, "/buffers/waiting"),
                      count(a, "/buffers/waits"),
                      count(a, "/buffers/timeouts"));
  text += fmt::format("  memory    {}; storage {} of {} free\n",
                      format_bytes(count(a, "/memory_bytes")),
                      format_bytes(count(a, "/storage/free_bytes")),
                      format_bytes(count(a, "/storage/total_bytes")));
  text += fmt::format("  reactor   {} passes, {} sleeps; {:.3f} s of CPU\n",
                      rated(a, "/reactor/passes", seconds),
                      rated(a, "/reactor/sleeps", seconds),
                      number(a, "/cpu_s"));
}

}  // namespace

std::uint64_t octave_percentile(const std::vector<std::uint64_t>& octaves, double percent) {
  std::uint64_t all = 0;
  for (std::uint64_t n : octaves) {
    all += n;
  }
  double rank = percent / 100 * static_cast<double>(all);
  double seen = 0;
  for (std::size_t i = 0; i < octaves.size(); ++i) {
    auto here = static_cast<double>(octaves[i]);
    if (here > 0 && seen + here >= rank) {
      double end = std::ldexp(1.0, static_cast<int>(i));
      double begin = i == 0 ? 0 : end / 2;
      return static_cast<std::uint64_t>(begin + (end - begin) * (rank - seen) / here);
    }
    seen += here;
  }
  return 0;
}

json difference(const json& before, const json& after) {
  json result = after;
  for (const char* pointer : kServerCounters) {
    subtract(result, before, pointer);
  }
  double asked = number(result, "/registry/hits") + number(result, "/registry/misses");
  if (asked > 0) {
    result["registry"]["hit_rate"] = number(result, "/registry/hits") / asked;
  }
  if (result.contains("operations")) {
    for (json& operation : result["operations"]) {
      subtract_operation(operation, operation_named(before, operation.value("operation", "")));
    }
  }
  return result;
}

std::string stats_table(const ServerStatus& status, bool is_interval) {
  std::string text = fmt::format(
      "{} (shard {}, {})", status.server.node_id, status.shard.value, status.server.address());
  if (!status.is_alive()) {
    return fmt::format("{}: {}, {}\n", text, to_string(status.state), status.problem);
  }
  double seconds = number(status.answer, "/uptime_s");
  text += fmt::format(", {} {}\n", is_interval ? "the last" : "up", human_time(seconds));
  add_summary(text, status.answer, is_interval ? seconds : 0);
  add_operations(text, status.answer);
  return text;
}

}  // namespace benchfs::cli
