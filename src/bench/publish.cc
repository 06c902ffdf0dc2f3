#include "bench/publish.h"

#include <cstdio>
#include <map>
#include <utility>

namespace benchfs::bench {

using nlohmann::json;
using nlohmann::ordered_json;

namespace {

Status write_text(const std::string& text, const std::string& path) {
  if (path == "-") {
    std::fputs(text.c_str(), stdout);
    return {};
  }
  std::FILE* file = std::fopen(path.c_str(), "we");
  if (file == nullptr) {
    return fail_system(errno, path);
  }
  bool written = std::fputs(text.c_str(), file) >= 0;
  if (std::fclose(file) != 0 || !written) {
    return fail_system(errno, path);
  }
  return {};
}

}  // namespace

Status publish(const Report& report, const ReportFiles& files) {
  if (files.json != "-") {
    std::fputs(to_table(report).c_str(), stdout);
  }
  if (!files.json.empty()) {
    BENCHFS_TRY_VOID(write_text(to_json(report).dump(2) + '\n', files.json));
  }
  if (!files.html.empty()) {
    BENCHFS_TRY_VOID(write_text(to_html(report), files.html));
  }
  return {};
}

void describe_clients(ordered_json& system, const std::vector<json>& hellos) {
  std::vector<double> init;
  std::vector<double> resident;
  for (const json& hello : hellos) {
    init.push_back(hello.value("init_ms", 0.0));
    resident.push_back(hello.value("rss_mib", 0.0));
  }
  system["client_init_ms"] = spread_of(std::move(init)).median;
  system["client_rss_mib"] = spread_of(std::move(resident)).median;
}

void describe_cluster(ordered_json& system, const json& shards) {
  system["servers"] = nullptr;
  system["shards"] = shards.size();
  system["engine"] = nullptr;
  std::map<std::string, double> resident_mib;  // all shards of a node say that of their process
  for (const json& shard : shards) {
    // "node_3.1" is a shard of node_3.
    std::string node_id = shard.value("node_id", "");
    resident_mib[node_id.substr(0, node_id.find('.'))] =
        shard.value("memory_bytes", 0.0) / (1 << 20);
    system["engine"] = shard.value("storage", json::object()).value("engine", "?");
  }
  system["servers"] = resident_mib.size();
  double total = 0;
  for (const auto& [node, mib] : resident_mib) {
    total += mib;
  }
  system["server_rss_mib"] = total;
}

}  // namespace benchfs::bench
