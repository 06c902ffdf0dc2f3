// benchfs bench md: names made, looked up, listed and removed, as mdtest does.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/worker.h"

namespace benchfs::bench {

struct MdConfig {
  std::uint64_t files = 10'000;  // per client, and as many directories
  std::uint32_t depth = 1;
  bool shared_dir = false;  // all clients in one directory; else one each
  std::string directory;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(MdConfig, files, depth, shared_dir, directory)

Status run_md(const MdConfig& config, Worker& worker);

}  // namespace benchfs::bench
