#include "cli/cluster/launch_record.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "cli/cluster/registry.h"

namespace benchfs::cli {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;

}  // namespace

std::vector<std::string> LaunchPlan::node_ids() const {
  std::vector<std::string> ids;
  for (std::uint32_t i = 0; i < servers; ++i) {
    ids.push_back(fmt::format("node_{}", i));
  }
  return ids;
}

Status write_launch_record(const SafeDir& dir, const LaunchPlan& plan) {
  json record = {{"program", plan.program},
                 {"servers", plan.servers},
                 {"shards", plan.shards},
                 {"run_id", plan.run_id},
                 {"arguments", plan.arguments}};
  BENCHFS_TRY(Fd file, dir.open_file(kLaunchName, O_WRONLY | O_CREAT | O_TRUNC, 0600));
  return write_all(file.get(), record.dump(2) + "\n", dir.path_of(kLaunchName));
}

Result<LaunchPlan> read_launch_record(const SafeDir& dir) {
  BENCHFS_TRY(std::string text, dir.read_file(kLaunchName, kMaxBytes));
  try {
    json record = json::parse(text);
    LaunchPlan plan;
    plan.registry_dir = dir.path();
    record.at("program").get_to(plan.program);
    record.at("servers").get_to(plan.servers);
    record.at("shards").get_to(plan.shards);
    record.at("run_id").get_to(plan.run_id);
    record.at("arguments").get_to(plan.arguments);
    return plan;
  } catch (const json::exception& error) {
    return fail(Errc::kConfig,
                fmt::format("{} is damaged: {}", dir.path_of(kLaunchName), error.what()));
  }
}

}  // namespace benchfs::cli
