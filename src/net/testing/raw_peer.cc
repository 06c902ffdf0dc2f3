#include "net/testing/raw_peer.h"

#include <thread>

#include "base/check.h"
#include "base/clock.h"

namespace benchfs::net::testing {
namespace {
constexpr auto kPatience = std::chrono::seconds(5);
}

RawPeer::RawPeer(const SocketAddress& address, unsigned handled_ids)
    : context_(Context::create({}).value()) {
  start(context_->handle(), address, handled_ids);
}

RawPeer::RawPeer(const SocketAddress& address, const char* name, const char* value) {
  ucp_config_t* config = nullptr;
  BENCHFS_CHECK(ucp_config_read(nullptr, nullptr, &config) == UCS_OK);
  BENCHFS_CHECK(name == nullptr || ucp_config_modify(config, name, value) == UCS_OK);
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES;
  params.features = UCP_FEATURE_AM;
  ucp_context_h context = nullptr;  // left to the end of the process
  BENCHFS_CHECK(ucp_init(&params, config, &context) == UCS_OK);
  ucp_config_release(config);
  start(context, address, 256);
}

void RawPeer::start(ucp_context_h context, const SocketAddress& address, unsigned handled_ids) {
  ucp_worker_params_t worker_params{};
  worker_params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  worker_params.thread_mode = UCS_THREAD_MODE_SINGLE;
  BENCHFS_CHECK(ucp_worker_create(context, &worker_params, &worker_) == UCS_OK);
  for (unsigned id = 0; id < handled_ids; ++id) {
    slots_.push_back(std::make_unique<Slot>(Slot{this, id}));
    ucp_am_handler_param_t param{};
    param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                       UCP_AM_HANDLER_PARAM_FIELD_ARG;
    param.id = id;
    param.arg = slots_.back().get();
    param.cb = [](void* arg,
                  const void* header,
                  std::size_t header_length,
                  void*,
                  std::size_t length,
                  const ucp_am_recv_param_t*) {
      auto* slot = static_cast<Slot*>(arg);
      const auto* bytes = static_cast<const std::byte*>(header);
      slot->peer->messages_.push_back({slot->id, {bytes, bytes + header_length}, length});
      return UCS_OK;
    };
    BENCHFS_CHECK(ucp_worker_set_am_recv_handler(worker_, &param) == UCS_OK);
  }
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR |
                      UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
  params.sockaddr.addr = address.get();
  params.sockaddr.addrlen = address.length;
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler.arg = this;
  params.err_handler.cb = [](void* arg, ucp_ep_h, ucs_status_t) {
    static_cast<RawPeer*>(arg)->broken_ = true;
  };
  BENCHFS_CHECK(ucp_ep_create(worker_, &params, &endpoint_) == UCS_OK);
  ucp_request_param_t param{};
  ucs_status_ptr_t request = ucp_ep_flush_nbx(endpoint_, &param);  // see Endpoint::flush
  if (UCS_PTR_IS_PTR(request)) {
    (void)wait([&] { return ucp_request_check_status(request) != UCS_INPROGRESS; });
    ucp_request_free(request);
  }
}

RawPeer::~RawPeer() {
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  ucs_status_ptr_t request = ucp_ep_close_nbx(endpoint_, &param);
  if (UCS_PTR_IS_PTR(request)) {
    (void)wait([&] { return ucp_request_check_status(request) != UCS_INPROGRESS; });
    ucp_request_free(request);
  }
  ucp_worker_destroy(worker_);
}

ucs_status_t RawPeer::send(unsigned id,
                           std::span<const std::byte> header,
                           std::span<const std::byte> data,
                           unsigned flags) {
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = flags;
  ucs_status_ptr_t request = ucp_am_send_nbx(
      endpoint_, id, header.data(), header.size(), data.data(), data.size(), &param);
  if (!UCS_PTR_IS_PTR(request)) {
    return UCS_PTR_STATUS(request);
  }
  if (!wait([&] { return ucp_request_check_status(request) != UCS_INPROGRESS; })) {
    return UCS_ERR_TIMED_OUT;
  }
  ucs_status_t status = ucp_request_check_status(request);
  ucp_request_free(request);
  return status;
}

bool RawPeer::wait(const std::function<bool()>& condition) {
  Deadline deadline = Deadline::after(kPatience);
  while (!condition() && !deadline.passed()) {
    if (ucp_worker_progress(worker_) == 0) {
      std::this_thread::yield();
    }
  }
  return condition();
}

}  // namespace benchfs::net::testing
