#include "net/endpoint.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "net/worker.h"
#include "rt/frame_pool.h"
#include "wire/opcode.h"

namespace benchfs::net {

Endpoint::Endpoint(Worker& worker, link::Owner& owner)
    : Link(worker.reactor()), worker_(worker), owner_(&owner) {}

// On an endpoint that has just failed, UCX 1.13 completes a receive before the function that begins
// it returns. The request is freed then.
void Endpoint::started(link::Operation& operation, ucs_status_ptr_t request) {
  if (UCS_PTR_IS_PTR(request)) {
    leave_pending(operation);
  } else {
    end(operation, outcome_of(UCS_PTR_STATUS(request)));
  }
}

void Endpoint::on_over(void* request, ucs_status_t status, void* pointer) {
  auto& operation = *static_cast<link::Operation*>(pointer);
  auto& self = static_cast<Endpoint&>(operation.link());
  ucp_request_free(request);
  self.end(operation, outcome_of(status));
  self.finish_if_drained();
}

void Endpoint::on_received(void* request, ucs_status_t status, std::size_t, void* operation) {
  on_over(request, status, operation);
}

void Endpoint::begin_send(link::Operation& operation, const link::Message& message) {
  begin(operation);
  if (!is_open()) {
    return end(operation, outcome_of(UCS_ERR_CONNECTION_RESET));
  }
  BENCHFS_CHECK(message.header.size() <= kMaxHeader);
  send_gathered();
  ucp_request_param_t param;
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.send = on_over;
  param.user_data = &operation;
  std::uint32_t flags = message.shows_sender ? UCP_AM_SEND_FLAG_REPLY : 0U;
  if (message.protocol == link::Protocol::kEager) {
    flags |= UCP_AM_SEND_FLAG_EAGER;
  } else if (message.protocol == link::Protocol::kRendezvous) {
    flags |= UCP_AM_SEND_FLAG_RNDV;
  }
  if (flags != 0) {
    param.op_attr_mask |= UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = flags;
  }
  if (message.region != nullptr) {
    param.op_attr_mask |= UCP_OP_ATTR_FIELD_MEMH;
    param.memh = message.region->handle();
  }
  started(operation,
          ucp_am_send_nbx(handle_,
                          message.id,
                          message.header.data(),
                          message.header.size(),
                          message.data.data(),
                          message.data.size(),
                          &param));
}

void Endpoint::begin_receive(link::Operation& operation,
                             const link::Held& held,
                             std::span<std::byte> into,
                             const MemoryRegion* region) {
  begin(operation);
  if (!is_open()) {
    worker_.release(held.data);
    return end(operation, outcome_of(UCS_ERR_CONNECTION_RESET));
  }
  ucp_request_param_t param;
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.recv_am = on_received;
  param.user_data = &operation;
  if (region != nullptr) {
    param.op_attr_mask |= UCP_OP_ATTR_FIELD_MEMH;
    param.memh = region->handle();
  }
  started(operation,
          ucp_am_recv_data_nbx(worker_.handle(), held.data, into.data(), into.size(), &param));
}

void Endpoint::begin_flush(link::Operation& operation) {
  begin(operation);
  if (!is_open()) {
    return end(operation, outcome_of(UCS_ERR_CONNECTION_RESET));
  }
  send_gathered();
  ucp_request_param_t param;
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.send = on_over;
  param.user_data = &operation;
  started(operation, ucp_ep_flush_nbx(handle_, &param));
}

// A message nobody waits for, with its header and data behind it, until UCX has sent it. UCX reads
// them later when the message cannot leave at once.
struct Endpoint::Forgotten {
  Endpoint* endpoint;
  std::size_t header_bytes;
  std::size_t data_bytes;

  static Forgotten* make(Endpoint& endpoint,
                         std::span<const std::byte> header,
                         std::span<const std::byte> data) {
    void* memory = rt::allocate_frame(sizeof(Forgotten) + header.size() + data.size());
    auto* message = new (memory)  // lint: allow new (in place)
        Forgotten{&endpoint, header.size(), data.size()};
    std::ranges::copy(data, std::ranges::copy(header, message->header()).out);
    return message;
  }
  std::byte* header() { return reinterpret_cast<std::byte*>(this + 1); }
  std::byte* data() { return header() + header_bytes; }
  void free() { rt::free_frame(this, sizeof(Forgotten) + header_bytes + data_bytes); }
};

void Endpoint::send_and_forget(std::uint16_t id, std::span<const std::byte> header) {
  send_gathered();
  if (is_open()) {
    BENCHFS_CHECK(header.size() <= kMaxHeader);
    post(id, Forgotten::make(*this, header, {}));
  }
}

bool Endpoint::send_soon(const link::Message& message) {
  bool is_small = message.header.size() + message.data.size() <= Bundle::kMaxMessage &&
                  message.protocol != link::Protocol::kRendezvous;
  if (!is_open() || !is_small || message.shows_sender) {
    return false;
  }
  if (!gathered_.add(message.id, message.header, message.data)) {
    send_gathered();
    BENCHFS_CHECK(gathered_.add(message.id, message.header, message.data));
  }
  if (gathered_.count() == 1) {
    worker_.gathering_.push_back(this);
  }
  return true;
}

void Endpoint::send_gathered() {
  if (gathered_.count() == 0) [[likely]] {
    return;
  }
  std::erase(worker_.gathering_, this);
  Forgotten* bundle = is_open() ? Forgotten::make(*this, {}, gathered_.bytes()) : nullptr;
  gathered_.clear();  // before it leaves: who hears it at once may send soon, too
  if (bundle != nullptr) {
    post(wire::kBundleAmId, bundle);
  }
}

// What the transport refuses must not be missing among what it takes: the link fails.
void Endpoint::post(std::uint16_t id, Forgotten* message) {
  ucp_request_param_t param;
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
  param.cb.send = [](void* request, ucs_status_t, void* arg) {
    auto* sent = static_cast<Forgotten*>(arg);
    Endpoint& self = *sent->endpoint;
    sent->free();
    --self.operations_;
    ucp_request_free(request);
    self.finish_if_drained();
  };
  param.user_data = message;
  param.flags = UCP_AM_SEND_FLAG_EAGER;
  ucs_status_ptr_t request = ucp_am_send_nbx(handle_,
                                             id,
                                             message->header(),
                                             message->header_bytes,
                                             message->data(),
                                             message->data_bytes,
                                             &param);
  if (UCS_PTR_IS_PTR(request)) {
    ++operations_;
    return;
  }
  message->free();
  if (UCS_PTR_IS_ERR(request)) {
    Worker::on_error(this, handle_, UCS_PTR_STATUS(request));
  }
}

void Endpoint::close(Nanos flush) {
  if (state_ == State::kClosing || state_ == State::kClosed) {
    return;
  }
  send_gathered();
  flush_ = state_ == State::kOpen ? flush : Nanos::zero();
  state_ = State::kClosing;
  owner_ = nullptr;
  worker_.by_handle_.erase(handle_);
  worker_.defer(worker_.closing_, this);
}

void Endpoint::begin_close() {
  Nanos flush = std::exchange(flush_, Nanos::zero());
  if (flush > Nanos::zero()) {
    ucp_request_param_t param;
    param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
    param.cb.send = on_flushed;
    param.user_data = this;
    is_flushing_ = true;
    ++operations_;
    if (!UCS_PTR_IS_PTR(ucp_ep_flush_nbx(handle_, &param))) {
      is_flushing_ = false;
      --operations_;
    }
    if (is_flushing_) {
      reactor_.arm(*this, mono_now() + flush);
      return;
    }
  }
  force_close();
}

void Endpoint::on_timer() {
  force_close();
}

void Endpoint::force() {
  close();
  flush_ = Nanos::zero();
  if (is_armed()) {
    disarm();
    force_close();
  }
}

void Endpoint::on_flushed(void* request, ucs_status_t, void* self) {
  auto* endpoint = static_cast<Endpoint*>(self);
  ucp_request_free(request);
  --endpoint->operations_;
  endpoint->is_flushing_ = false;
  if (endpoint->is_armed()) {
    endpoint->disarm();
    endpoint->worker_.defer(endpoint->worker_.closing_, endpoint);
  } else {  // on_timer() closed by force, which completed the flush
    endpoint->finish_if_drained();
  }
}

void Endpoint::force_close() {
  ucp_request_param_t param;
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  param.cb.send = on_closed;
  param.user_data = this;
  ucs_status_ptr_t request = ucp_ep_close_nbx(handle_, &param);
  if (UCS_PTR_IS_PTR(request)) {
    return;
  }
  if (UCS_PTR_IS_ERR(request)) {
    BENCHFS_LOG(kWarn,
                "closing an endpoint failed ({}), its memory may be lost",
                ucs_status_string(UCS_PTR_STATUS(request)));
  }
  handle_closed_ = true;
  finish_if_drained();
}

void Endpoint::on_closed(void* request, ucs_status_t, void* self) {
  auto* endpoint = static_cast<Endpoint*>(self);
  ucp_request_free(request);
  endpoint->handle_closed_ = true;
  endpoint->finish_if_drained();
}

void Endpoint::finish_if_drained() {
  if (state_ == State::kClosing && handle_closed_ && operations_ == 0) {
    state_ = State::kClosed;
    worker_.defer(worker_.closed_, this);  // poll() frees it, outside UCX
  }
}

}  // namespace benchfs::net
