// benchfs bench md: names and small files created, looked up, read, listed and removed, as mdtest
// does.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/worker.h"

namespace benchfs::bench {

struct MdConfig {
  std::uint64_t files = 10'000;  // per client, and as many directories
  std::uint32_t depth = 1;
  std::uint32_t bytes = 0;  // written to each file when it is created, read back later
  bool shared_dir = false;  // all clients in one directory; otherwise one each
  std::uint64_t seed = 1;   // of the data
  std::string directory;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(MdConfig, files, depth, bytes, shared_dir, seed, directory)

Status run_md(const MdConfig& config, Worker& worker);

}  // namespace benchfs::bench
