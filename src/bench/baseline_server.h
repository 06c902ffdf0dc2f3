// The server of the baselines: a UCX echo that replies over every path but ours.
//
// It waits as a shard does (rt/idle.h: spin, yield, sleep), so that the comparison is between reply
// paths and not between idle strategies. A reply returns the request's data, padded with zeros, as
// our ping does.
//
// Limits: payloads of one size class use at most kMemoryBytes; further requests wait. The endpoint
// of a client that died stays until the server ends. kNewEndpoint leaks in UCX 1.13: over tcp two
// descriptors per request, until the client's worker is gone.
//
// Thread: the one that calls serve().
#pragma once

#include <memory>

#include "base/error.h"
#include "bench/baseline_messages.h"

namespace benchfs::bench {

class BaselineServer {
 public:
  static constexpr std::size_t kMemoryBytes = std::size_t{256} << 20;

  // Listens on a free port of `ip`. `devices`: as in net::ContextConfig.
  static Result<std::unique_ptr<BaselineServer>> start(const std::string& ip,
                                                       const std::string& devices);
  BaselineServer(const BaselineServer&) = delete;
  BaselineServer& operator=(const BaselineServer&) = delete;
  ~BaselineServer();

  [[nodiscard]] const BaselineAddress& address() const;
  // Serves until `stop_fd` is readable or closed at its other end.
  Status serve(int stop_fd);

  struct State;  // baseline_server.cc

 private:
  explicit BaselineServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace benchfs::bench
