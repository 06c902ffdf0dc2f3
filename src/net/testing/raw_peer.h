// A peer that speaks UCX and nothing else: it can send what our own code never would.
//
// Uses the same UCX configuration as everybody, unless told otherwise. Thread: one; every call
// progresses the peer's worker.
#pragma once

#include <ucp/api/ucp.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "net/address.h"
#include "net/context.h"

namespace benchfs::net::testing {

class RawPeer {
 public:
  struct Message {
    unsigned id = 0;
    std::vector<std::byte> header;
    std::size_t data_bytes = 0;  // the data itself is dropped
  };

  // Connects; the other side must be driven during this. Messages with an id below `handled_ids`
  // are kept in messages().
  explicit RawPeer(const SocketAddress& address, unsigned handled_ids = 256);
  // With UCX's own defaults, but for the setting `name` (none if nullptr). May abort: for processes
  // of their own.
  RawPeer(const SocketAddress& address, const char* name, const char* value);
  RawPeer(const RawPeer&) = delete;
  RawPeer& operator=(const RawPeer&) = delete;
  ~RawPeer();

  // Sends and waits for the completion, five seconds at most (then UCS_ERR_TIMED_OUT, and header
  // and data must stay until the peer is gone).
  ucs_status_t send(unsigned id,
                    std::span<const std::byte> header,
                    std::span<const std::byte> data = {},
                    unsigned flags = 0);
  // Progresses until `condition` holds; false after five seconds.
  bool wait(const std::function<bool()>& condition);

  [[nodiscard]] std::vector<Message>& messages() { return messages_; }
  // The connection failed or was closed by the other side.
  [[nodiscard]] bool is_broken() const { return broken_; }

 private:
  struct Slot {
    RawPeer* peer;
    unsigned id;
  };
  void start(ucp_context_h context, const SocketAddress& address, unsigned handled_ids);
  std::unique_ptr<Context> context_;
  ucp_worker_h worker_ = nullptr;
  ucp_ep_h endpoint_ = nullptr;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Message> messages_;
  bool broken_ = false;
};

}  // namespace benchfs::net::testing
