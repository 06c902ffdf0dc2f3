// The options that define what an RPC benchmark measures, shared by `benchfs bench rpc` and the MPI
// program benchfs_rpc_bench.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/rpc_bench.h"

namespace benchfs::args {
class Command;
}

namespace benchfs::cli {

class RpcOptions {
 public:
  // Adds the options; `clients_help` is about --clients. `app` borrows this.
  void define(args::Command& app, const std::string& clients_help);
  // Returns what was chosen. Call once, after parsing.
  [[nodiscard]] bench::RpcConfig settle();
  // Help text; "The last three are UCX alone, " + `where` + …
  [[nodiscard]] std::string about_paths(const std::string& where) const;

  // Defaults may be set before define().
  std::vector<std::uint32_t> client_counts;
  bool has_node_path = true;

 private:
  void define_load(args::Command& app);
  void define_conduct(args::Command& app);

  bench::RpcConfig config_;
  std::string servers_ = "all";
};

}  // namespace benchfs::cli
