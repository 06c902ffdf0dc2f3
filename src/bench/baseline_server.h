// The server of the baselines: a UCX echo that replies in the old ways and in the barest one.
//
// It waits like a shard does (rt/idle.h: spin, yield, sleep), so that reply paths are compared and
// not ways to wait. Replies return the request's data, zeros beyond it, like our ping.
//
// Limits: kMemoryBytes for payloads of one size class; requests beyond it wait. A client that dies
// leaves its endpoint behind until the server ends. kNewEndpoint leaks in UCX 1.13: over tcp two
// descriptors a request, until the client's worker is gone.
//
// Thread: one, whichever calls serve().
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
