#include "rpc/request.h"

#include <cstring>

#include "base/check.h"
#include "rpc/server.h"

namespace benchfs::rpc {

rt::CoStatus Request::receive(std::span<std::byte> into, const net::MemoryRegion* region) {
  BENCHFS_CHECK(into.size() == data_bytes_);
  if (data_bytes_ == 0) {
    co_return Status{};
  }
  if (!is_rendezvous_) {
    std::memcpy(into.data(), data_, data_bytes_);
    co_return Status{};
  }
  Session* session = server_->registry_.peek(session_);
  if (session == nullptr) {
    co_return fail(Errc::kDisconnected, "the client is gone");
  }
  BENCHFS_CHECK(holds_descriptor_);
  holds_descriptor_ = false;
  begin_transfer();
  ucs_status_t status = co_await server_->worker_.receive(*session->endpoint, data_, into, region);
  transferring_ = false;
  if (status != UCS_OK) {
    co_return std::unexpected(net::ucx_error(status, "receiving the data of a request"));
  }
  co_return Status{};
}

void Request::drop_data() {
  if (holds_descriptor_) {
    holds_descriptor_ = false;
    server_->worker_.release(data_);
  }
}

rt::Task<void> Request::reply_error(const Error& error) {
  if (error.code == Errc::kPosix || error.code == Errc::kSystem) {
    return send_reply(Errc::kOk, error.to_errno(), {}, {}, nullptr);
  }
  return send_reply(error.code, 0, {}, {}, nullptr);
}

rt::Task<void> Request::send_reply(Errc transport,
                                   int status,
                                   std::span<const std::byte> body,
                                   std::span<const std::byte> data,
                                   const net::MemoryRegion* region) {
  BENCHFS_CHECK(!answered_);
  answered_ = true;
  wire::ReplyHeader header;
  header.request_id = header_.request_id;
  header.transport = static_cast<std::uint16_t>(transport);
  header.status = status;
  std::memcpy(reply_.data(), &header, sizeof header);
  if (!body.empty()) {
    std::memcpy(reply_.data() + sizeof header, body.data(), body.size());
  }
  reply_bytes_ = sizeof header + body.size();
  Session* session = server_->registry_.peek(session_);
  if (session == nullptr) {
    ++server_->stats_.replies_dropped;
    co_return;
  }
  begin_transfer();
  ucs_status_t sent = co_await session->endpoint->send({
      .id = wire::reply_am_id(opcode()),
      .header = std::span(reply_).first(reply_bytes_),
      .data = data,
      .protocol = data.empty()                                       ? net::Protocol::kAuto
                  : data.size() > server_->config_.eager_reply_bytes ? net::Protocol::kRendezvous
                                                                     : net::Protocol::kEager,
      .region = region,
  });
  transferring_ = false;
  if (sent != UCS_OK) {
    ++server_->stats_.replies_dropped;
  }
}

}  // namespace benchfs::rpc
