#include "bench/baseline_worker.h"

#include <fmt/format.h>
#include <poll.h>

#include <array>

namespace benchfs::bench {
namespace {

constexpr int kSleepMs = 100;

}  // namespace

Result<std::unique_ptr<BaselineWorker>> BaselineWorker::create(const std::string& devices) {
  std::unique_ptr<BaselineWorker> worker(
      new BaselineWorker());  // lint: allow new private constructor
  BENCHFS_TRY(worker->context_, net::Context::create({.devices = devices}));
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SINGLE;
  ucs_status_t status = ucp_worker_create(worker->context_->handle(), &params, &worker->handle_);
  if (status != UCS_OK) {
    worker->handle_ = nullptr;
    return std::unexpected(net::ucx_error(status, "creating the UCX worker of a baseline"));
  }
  status = ucp_worker_get_efd(worker->handle_, &worker->event_fd_);
  if (status != UCS_OK) {
    return std::unexpected(net::ucx_error(status, "the event descriptor of a baseline"));
  }
  return worker;
}

BaselineWorker::~BaselineWorker() {
  if (handle_ != nullptr) {
    ucp_worker_destroy(handle_);
  }
}

Status BaselineWorker::set_handler(BaselineMessage id,
                                   ucp_am_recv_callback_t callback,
                                   void* argument) {
  ucp_am_handler_param_t param{};
  param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                     UCP_AM_HANDLER_PARAM_FIELD_ARG | UCP_AM_HANDLER_PARAM_FIELD_FLAGS;
  param.id = id;
  param.cb = callback;
  param.arg = argument;
  param.flags = UCP_AM_FLAG_WHOLE_MSG;
  ucs_status_t status = ucp_worker_set_am_recv_handler(handle_, &param);
  if (status != UCS_OK) {
    return std::unexpected(net::ucx_error(status, "registering a message of the baselines"));
  }
  return {};
}

Result<std::vector<std::uint8_t>> BaselineWorker::address() const {
  ucp_address_t* address = nullptr;
  std::size_t length = 0;
  ucs_status_t status = ucp_worker_get_address(handle_, &address, &length);
  if (status != UCS_OK) {
    return std::unexpected(net::ucx_error(status, "the worker address of a baseline"));
  }
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(address);
  std::vector<std::uint8_t> copy(bytes, bytes + length);
  ucp_worker_release_address(handle_, address);
  return copy;
}

bool BaselineWorker::progress_or_wait(int other_fd) {
  if (ucp_worker_progress(handle_) != 0) {
    idle_.on_work();
    return true;
  }
  return idle_.on_idle() ? sleep(other_fd) : true;
}

bool BaselineWorker::sleep(int other_fd) {
  // Busy: something came since; then the poll only looks at the other descriptor.
  bool armed = ucp_worker_arm(handle_) == UCS_OK;
  std::array<pollfd, 2> entries = {{{event_fd_, POLLIN, 0}, {other_fd, POLLIN, 0}}};
  (void)poll(entries.data(), entries.size(), armed ? kSleepMs : 0);
  idle_.on_work();
  return !armed || entries[0].revents != 0;
}

ucs_status_t BaselineWorker::wait_for(ucs_status_ptr_t request, Deadline deadline) {
  if (!UCS_PTR_IS_PTR(request)) {
    return UCS_PTR_STATUS(request);
  }
  ucs_status_t status = UCS_INPROGRESS;
  while ((status = ucp_request_check_status(request)) == UCS_INPROGRESS && !deadline.passed()) {
    (void)progress_or_wait(-1);
  }
  ucp_request_free(request);
  return status == UCS_INPROGRESS ? UCS_ERR_TIMED_OUT : status;
}

void BaselineWorker::close(ucp_ep_h endpoint, Nanos patience) {
  ucp_request_param_t param{};
  (void)wait_for(ucp_ep_flush_nbx(endpoint, &param), Deadline::after(patience));
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  (void)wait_for(ucp_ep_close_nbx(endpoint, &param), Deadline::after(patience));
}

ucp_ep_params_t endpoint_params(ucp_err_handler_cb_t on_error, void* argument) {
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler.cb = on_error;
  params.err_handler.arg = argument;
  return params;
}

}  // namespace benchfs::bench
