// benchfs bench io: writes, reads and compares large files, as IOR does.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/worker.h"

namespace benchfs::bench {

struct IoConfig {
  std::uint64_t size_bytes = std::uint64_t{256} << 20;  // per client, in whole requests
  std::uint64_t request_bytes = 4U << 20;
  std::uint32_t depth = 1;
  std::uint32_t rewrites = 0;  // how often the file is rewritten with other data
  bool shared = false;         // one file for all clients; otherwise one each
  bool interleaved = false;    // shared file: requests of the clients alternate; otherwise segments
  bool random = false;         // requests in a random order
  bool fsync = false;          // part of the write phase
  std::uint64_t seed = 1;
  std::string directory;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(IoConfig,
                                   size_bytes,
                                   request_bytes,
                                   depth,
                                   rewrites,
                                   shared,
                                   interleaved,
                                   random,
                                   fsync,
                                   seed,
                                   directory)

Status run_io(const IoConfig& config, Worker& worker);

}  // namespace benchfs::bench
