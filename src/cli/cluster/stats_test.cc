// Tests how `stats` and `status --in-flight` show the answers of servers.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "cli/cluster/in_flight.h"
#include "cli/cluster/prometheus.h"
#include "cli/cluster/stats_table.h"

namespace benchfs::cli {
namespace {

using nlohmann::json;

json stage(std::uint64_t count, std::vector<std::uint64_t> octaves) {
  return {{"count", count},
          {"sum_ns", 1500},
          {"p50_ns", 600},
          {"p99_ns", 2500},
          {"max_ns", 3000},
          {"octaves", std::move(octaves)}};
}

// Times of three requests: one below 512 ns, one below 1 us, one below 4 us.
std::vector<std::uint64_t> three_octaves() {
  std::vector<std::uint64_t> octaves(13, 0);
  octaves[9] = octaves[10] = octaves[12] = 1;
  return octaves;
}

json answer(double uptime_s, std::uint64_t pings) {
  json ping = {{"operation", "ping"},
               {"requests", pings},
               {"errors", 0},
               {"failures", 1},
               {"bytes_in", 1024 * pings},
               {"bytes_out", 0},
               {"stages", {{"served", stage(3, three_octaves())}}}};
  return {{"uptime_s", uptime_s},
          {"registry", {{"clients", 2}, {"capacity", 1000}, {"hits", pings}, {"misses", 0}}},
          {"rpc", {{"requests", pings}, {"bytes_in", 1024 * pings}}},
          {"operations", {ping}}};
}

ServerStatus server(const std::string& node_id, std::uint32_t shard, json given) {
  ServerStatus status{.server = {node_id, "127.0.0.1", 4000}, .problem = {}, .answer = {}};
  status.shard = wire::ShardId{shard};
  status.answer = std::move(given);
  return status;
}

ServerStatus dead_server(const std::string& node_id, std::uint32_t shard) {
  ServerStatus status = server(node_id, shard, {});
  status.state = ServerState::kDead;
  status.problem = "process 7 is gone";
  return status;
}

// --- Prometheus ----------------------------------------------------------------------------------

// A strict reader of the text format: throws nothing, remembers the first complaint.
class MetricsReader {
 public:
  struct Series {
    std::map<std::string, std::string> labels;
    double value = 0;
  };

  explicit MetricsReader(std::string_view text) {
    if (!text.ends_with('\n')) {
      complain("no newline at the end");
    }
    while (!text.empty() && complaint.empty()) {
      std::size_t end = std::min(text.find('\n'), text.size() - 1);
      read_line(text.substr(0, end));
      text.remove_prefix(end + 1);
    }
  }

  std::string complaint;
  std::map<std::string, std::string> types;            // metric family -> type
  std::map<std::string, std::vector<Series>> samples;  // sample name -> series

 private:
  void complain(const std::string& what) {
    complaint = complaint.empty() ? fmt::format("{}: {}", what, line_) : complaint;
  }

  static bool is_name(std::string_view name) {
    return !name.empty() && (name[0] < '0' || name[0] > '9') &&
           name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_0123456789") == name.npos;
  }

  void read_line(std::string_view line) {
    line_ = line;
    if (line.starts_with("# HELP ")) {
      line.remove_prefix(7);
      family_ = line.substr(0, line.find(' '));
      if (!is_name(family_) || !family_.starts_with("benchfs_") ||
          !helped_.insert(family_).second) {
        complain("bad or second HELP");
      }
      if (line.size() < family_.size() + 2) {
        complain("HELP without text");
      }
    } else if (line.starts_with("# TYPE ")) {
      line.remove_prefix(7);
      std::size_t space = line.find(' ');
      std::string type(line.substr(std::min(line.size(), space + 1)));
      if (line.substr(0, space) != family_ || !types.emplace(family_, type).second) {
        complain("TYPE without its HELP before it");
      }
      if (type != "counter" && type != "gauge" && type != "histogram") {
        complain("unknown type");
      }
      if ((type == "counter") != family_.ends_with("_total")) {
        complain("counters, and only they, are named _total");
      }
    } else {
      read_sample(line);
    }
  }

  void read_sample(std::string_view line) {
    std::size_t brace = line.find('{');
    std::size_t end = line.rfind("} ");
    if (brace == line.npos || end == line.npos) {
      return complain("not a sample");
    }
    std::string name(line.substr(0, brace));
    bool is_part =
        types[family_] == "histogram" &&
        (name == family_ + "_bucket" || name == family_ + "_sum" || name == family_ + "_count");
    if (!is_name(name) || (name != family_ && !is_part)) {
      return complain("a sample of another family");
    }
    Series series;
    if (!read_labels(line.substr(brace + 1, end - brace - 1), series.labels)) {
      return complain("bad labels");
    }
    std::string_view value = line.substr(end + 2);
    auto [rest, error] = std::from_chars(value.data(), value.data() + value.size(), series.value);
    if (error != std::errc() || rest != value.data() + value.size()) {
      return complain("bad value");
    }
    if (!seen_.insert(std::string(line.substr(0, end))).second) {
      return complain("the same series twice");
    }
    samples[name].push_back(std::move(series));
  }

  static bool read_labels(std::string_view text, std::map<std::string, std::string>& labels) {
    while (!text.empty()) {
      std::size_t equals = text.find("=\"");
      std::size_t quote = text.find('"', std::min(text.size(), equals + 2));
      if (equals == text.npos || quote == text.npos || !is_name(text.substr(0, equals))) {
        return false;
      }
      std::string value(text.substr(equals + 2, quote - equals - 2));
      if (!labels.emplace(text.substr(0, equals), value).second) {
        return false;
      }
      text.remove_prefix(quote + 1);
      if (text.starts_with(',') && text.size() > 1) {
        text.remove_prefix(1);
      } else if (!text.empty()) {
        return false;
      }
    }
    return true;
  }

  std::string line_;
  std::string family_;
  std::set<std::string> helped_;
  std::set<std::string> seen_;
};

std::optional<double> value_of(const MetricsReader& reader,
                               const std::string& name,
                               const std::map<std::string, std::string>& labels) {
  auto found = reader.samples.find(name);
  if (found == reader.samples.end()) {
    return std::nullopt;
  }
  for (const MetricsReader::Series& series : found->second) {
    if (series.labels == labels) {
      return series.value;
    }
  }
  return std::nullopt;
}

TEST(Prometheus, TheTextIsValidForAliveAndDeadServers) {
  std::vector<ServerStatus> servers = {server("node_0", 0, answer(12.5, 1000)),
                                       dead_server("node_1", 1),
                                       server("node_2.0", 2, answer(1, 7)),
                                       server("older", 3, json::object())};
  MetricsReader reader(prometheus_text(servers));
  EXPECT_EQ(reader.complaint, "");
  std::map<std::string, std::string> first = {{"node", "node_0"}, {"shard", "0"}};
  EXPECT_EQ(value_of(reader, "benchfs_up", first), 1);
  EXPECT_EQ(value_of(reader, "benchfs_up", {{"node", "node_1"}, {"shard", "1"}}), 0);
  EXPECT_EQ(value_of(reader, "benchfs_clients", {{"node", "node_1"}, {"shard", "1"}}),
            std::nullopt);
  EXPECT_EQ(value_of(reader, "benchfs_clients", first), 2);
  EXPECT_EQ(value_of(reader, "benchfs_uptime_seconds", first), 12.5);
  first["op"] = "ping";
  EXPECT_EQ(value_of(reader, "benchfs_requests_total", first), 1000);
  EXPECT_EQ(value_of(reader, "benchfs_request_received_bytes_total", first), 1'024'000);
}

TEST(Prometheus, BucketsAreCumulativeAndEndAtTheCount) {
  std::vector<ServerStatus> servers = {server("node_0", 0, answer(12.5, 1000))};
  MetricsReader reader(prometheus_text(servers));
  ASSERT_EQ(reader.complaint, "");
  const auto& buckets = reader.samples["benchfs_request_stage_seconds_bucket"];
  ASSERT_GT(buckets.size(), 2U);
  double last = 0;
  for (const MetricsReader::Series& bucket : buckets) {
    EXPECT_GE(bucket.value, last);
    last = bucket.value;
  }
  EXPECT_EQ(buckets.back().labels.at("le"), "+Inf");
  std::map<std::string, std::string> labels = {
      {"node", "node_0"}, {"shard", "0"}, {"op", "ping"}, {"stage", "served"}};
  EXPECT_EQ(value_of(reader, "benchfs_request_stage_seconds_count", labels), last);
  EXPECT_EQ(value_of(reader, "benchfs_request_stage_seconds_sum", labels), 1500 * 1e-9);
  labels["le"] = "0.000000256";
  EXPECT_EQ(value_of(reader, "benchfs_request_stage_seconds_bucket", labels), 0);
  labels["le"] = "0.000001024";
  EXPECT_EQ(value_of(reader, "benchfs_request_stage_seconds_bucket", labels), 2);
  labels["le"] = "0.000004096";
  EXPECT_EQ(value_of(reader, "benchfs_request_stage_seconds_bucket", labels), 3);
}

// --- Tables --------------------------------------------------------------------------------------

TEST(OctavePercentile, LiesInTheOctaveOfItsRank) {
  std::vector<std::uint64_t> octaves(12, 0);
  EXPECT_EQ(octave_percentile(octaves, 50), 0U);
  octaves[4] = 90;   // 8 to 15
  octaves[11] = 10;  // 1024 to 2047
  std::uint64_t median = octave_percentile(octaves, 50);
  EXPECT_GE(median, 8U);
  EXPECT_LT(median, 16U);
  std::uint64_t p99 = octave_percentile(octaves, 99);
  EXPECT_GE(p99, 1024U);
  EXPECT_LE(p99, 2048U);
}

TEST(Difference, SubtractsCountersAndKeepsStates) {
  json before = answer(10, 100);
  json after = answer(15, 350);
  after["registry"]["clients"] = 9;
  std::vector<std::uint64_t> octaves = three_octaves();
  octaves[12] += 40;
  after["operations"][0]["stages"]["served"] = stage(43, octaves);
  after["operations"].push_back(
      {{"operation", "lookup"}, {"requests", 5}, {"stages", json::object()}});
  json between = difference(before, after);
  EXPECT_EQ(number(between, "/uptime_s"), 5);
  EXPECT_EQ(number(between, "/rpc/requests"), 250);
  EXPECT_EQ(number(between, "/registry/clients"), 9);
  EXPECT_EQ(number(between, "/registry/hit_rate"), 1);
  EXPECT_EQ(number(between, "/operations/0/requests"), 250);
  EXPECT_EQ(number(between, "/operations/0/stages/served/count"), 40);
  EXPECT_GE(number(between, "/operations/0/stages/served/p50_ns"), 2048);
  EXPECT_EQ(number(between, "/operations/1/requests"), 5) << "new in the interval";
}

TEST(StatsTable, ShowsRatesOfAnInterval) {
  ServerStatus status = server("node_0", 0, difference(answer(10, 100), answer(15, 350)));
  std::string text = stats_table(status, true);
  EXPECT_NE(text.find("250 (50.0/s)"), std::string::npos) << text;
  text = stats_table(server("node_0", 0, answer(10, 100)), false);
  EXPECT_EQ(text.find("/s)"), std::string::npos) << text;
  EXPECT_NE(text.find("600 ns / 2.50 us"), std::string::npos) << text;
  EXPECT_NE(stats_table(dead_server("node_1", 1), false).find("process 7 is gone"),
            std::string::npos);
}

// --- Requests under way --------------------------------------------------------------------------

json waiting(const std::string& client, int age_ms) {
  return {{"client", client},
          {"operation", "rename"},
          {"phase", "serving"},
          {"age_ms", age_ms},
          {"deadline_ms", 1000}};
}

TEST(InFlight, RequestsOfAllServersAreMergedOldestFirstAndCut) {
  json first = {{"in_flight", 5}, {"requests", {waiting("a", 900), waiting("b", 20)}}};
  json second = {{"in_flight", 2}, {"requests", {waiting("c", 1000), waiting("d", 30)}}};
  std::vector<ServerStatus> servers = {
      server("node_0", 0, first), dead_server("node_1", 1), server("node_2", 2, second)};
  InFlight merged = merge_requests(servers, 3);
  EXPECT_EQ(merged.total, 7U);
  ASSERT_EQ(merged.requests.size(), 3U);
  EXPECT_EQ(merged.requests[0]["client"], "c");
  EXPECT_EQ(merged.requests[0]["server"], "node_2");
  EXPECT_EQ(merged.requests[1]["client"], "a");
  EXPECT_EQ(merged.requests[2]["client"], "d");
  std::string text = in_flight_table(merged);
  EXPECT_NE(text.find("and 4 more"), std::string::npos) << text;
}

}  // namespace
}  // namespace benchfs::cli
