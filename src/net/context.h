// The UCX context: one a process side (daemon shard or client), configured by one function so that
// daemons and clients cannot disagree. The reasons for each setting are beside it in context.cc.
//
// Thread: one at a time.
#pragma once

#include <ucp/api/ucp.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/error.h"
#include "link/link.h"
#include "net/memory_access.h"

namespace benchfs::net {

struct ContextConfig {
  // Network devices for tcp, as UCX_NET_DEVICES ("eth0", "mlx5_0:1,eth0"); empty = all. One device
  // is best: every active tcp device costs an epoll_wait of 0.25 us in each progress call.
  std::string devices;
  // The resources that peers on this host may share; the connecting side decides.
  Sharing sharing = Sharing::kMemory;
};

// Memory that UCX knows, so that it need not register it for each transfer. Unmapped when
// destroyed; must not outlive its Context.
class MemoryRegion {
 public:
  MemoryRegion(ucp_context_h context, ucp_mem_h handle) : context_(context), handle_(handle) {}
  MemoryRegion(MemoryRegion&& other) noexcept
      : context_(other.context_), handle_(std::exchange(other.handle_, nullptr)) {}
  MemoryRegion& operator=(MemoryRegion&& other) noexcept;
  ~MemoryRegion();
  [[nodiscard]] ucp_mem_h handle() const { return handle_; }

 private:
  ucp_context_h context_;
  ucp_mem_h handle_;
};

class Context {
 public:
  // Errors: kTransport; kSystem with EMFILE (no descriptors) or ENOTSUP (in the child of a process
  // that used UCX when it forked: its threads and connections do not exist there).
  static Result<std::unique_ptr<Context>> create(const ContextConfig& config);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

  [[nodiscard]] ucp_context_h handle() const { return handle_; }
  Result<MemoryRegion> register_memory(std::span<std::byte> memory);

 private:
  explicit Context(ucp_context_h handle);
  ucp_context_h handle_;
};

// UCX aborts where it cannot open a descriptor that it needs. So each of our operations that makes
// it open some asks first whether there are `wanted`. The error says what to do.
Status need_descriptors(std::size_t wanted, std::string what);

// The version of the library in use, such as "1.13.1".
std::string ucx_version();

// The status with Errc::kTransport, or kDisconnected, kUnreachable or kRefused where it says so.
link::Outcome outcome_of(ucs_status_t status);
// The same, with "what" before UCX's text.
Error ucx_error(ucs_status_t status, std::string what);

}  // namespace benchfs::net
