// Makes a request's trace show that its handler waits for a buffer, and counts the buffer in the
// share of its client. Lives in the handler's frame.
#pragma once

#include "chunk/buffer_pool.h"
#include "rpc/request.h"

namespace benchfs::server {

class BufferWait final : public chunk::WaitObserver {
 public:
  explicit BufferWait(rpc::Request& request) : request_(request) {}
  void on_wait_begins() override { request_.trace().on_buffer_wait(); }
  void on_wait_ends() override { request_.trace().on_buffer(); }
  [[nodiscard]] std::uint64_t owner() const override { return request_.client_uid(); }

 private:
  rpc::Request& request_;
};

}  // namespace benchfs::server
