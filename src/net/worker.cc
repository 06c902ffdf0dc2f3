#include "net/worker.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/log.h"
#include "net/incoming_sockets.h"
#include "net/ucx_calls.h"
#include "wire/opcode.h"

namespace benchfs::net {
namespace {

// UCX 1.13 uses the id of a message as an index before it checks it, and leaves the entries between
// registered ids as malloc gave them: a peer that sends such an id crashes the process. A listener
// registers them all; the highest first, so that the table (1.5 MiB) is allocated once.
constexpr unsigned kTopMessageId = 65535;
// A failure is reported after the messages that came before it, so it waits for a poll that finds
// no more messages; but under load for this many polls at most.
constexpr std::uint32_t kMaxPostponedPolls = 1024;
// Passes in which UCX may release endpoints that were closed by force. It needs a handful.
constexpr int kForcePasses = 1000;
// Descriptors that UCX opens for a worker, with the devices of a usual node.
constexpr std::size_t kWorkerDescriptors = 32;

ucs_status_t ignore_message(
    void*, const void*, std::size_t, void*, std::size_t, const ucp_am_recv_param_t*) {
  return UCS_OK;
}

Result<SocketAddress> address_of(ucp_listener_h listener) {
  ucp_listener_attr_t attr{};
  attr.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR;
  ucs_status_t status = ucp_listener_query(listener, &attr);
  if (status != UCS_OK) {
    return std::unexpected(ucx_error(status, "asking the listener for its address"));
  }
  return SocketAddress{.storage = attr.sockaddr, .length = sizeof attr.sockaddr};
}

// Takes the place of a handler that was removed.
class DroppingHandler final : public link::Handler {
 public:
  link::Disposition on_message(const link::Incoming&) override { return link::Disposition::kDone; }
};
DroppingHandler dropping_handler;

}  // namespace

Result<std::unique_ptr<Worker>> Worker::create(Context& context,
                                               rt::Reactor& reactor,
                                               Threads threads) {
  BENCHFS_TRY_VOID(need_descriptors(kWorkerDescriptors, "creating a UCX worker"));
  std::unique_ptr<Worker> worker(new Worker(reactor));  // lint: allow new private constructor
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode =
      threads == Threads::kSingle ? UCS_THREAD_MODE_SINGLE : UCS_THREAD_MODE_SERIALIZED;
  PortScope port(Port::kTransport);
  ucs_status_t status = ucp_worker_create(context.handle(), &params, &worker->handle_);
  if (status != UCS_OK) {
    worker->handle_ = nullptr;
    return std::unexpected(ucx_error(status, "creating a UCX worker"));
  }
  status = ucp_worker_get_efd(worker->handle_, &worker->event_fd_);
  if (status != UCS_OK) {
    return std::unexpected(ucx_error(status, "getting the event descriptor of the UCX worker"));
  }
  BENCHFS_TRY_VOID(worker->set_handler(wire::kBundleAmId, worker->unbundler_, false));
  reactor.add_poller(*worker);
  return worker;
}

Worker::~Worker() {
  stop_listening();
  force_endpoints();
  if (event_fd_ >= 0) {
    reactor_.remove_poller(*this);
  }
  if (handle_ != nullptr) {
    ucp_worker_destroy(handle_);
  }
}

// Endpoints that drain() left: their sends end with errors that nobody hears any more. Memory that
// UCX still does not release goes with its worker.
void Worker::force_endpoints() {
  if (endpoints_.empty()) {
    return;
  }
  BENCHFS_LOG(kWarn, "{} connections did not close in time, forcing them", endpoints_.size());
  for (auto& [endpoint, owned] : endpoints_) {
    endpoint->force();
  }
  for (int pass = 0; pass < kForcePasses && !endpoints_.empty(); ++pass) {
    ucp_worker_progress(handle_);
    deliver_events();
  }
}

Status Worker::set_handler(std::uint16_t id, link::Handler& handler, bool persistent) {
  slots_.push_back(std::make_unique<Slot>(Slot{this, &handler, id}));
  by_id_.resize(std::max<std::size_t>(by_id_.size(), id + 1U));
  by_id_[id] = slots_.back().get();
  ucp_am_handler_param_t param{};
  param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB |
                     UCP_AM_HANDLER_PARAM_FIELD_ARG | UCP_AM_HANDLER_PARAM_FIELD_FLAGS;
  param.id = id;
  param.cb = on_active_message;
  param.arg = slots_.back().get();
  param.flags = UCP_AM_FLAG_WHOLE_MSG;
  if (persistent) {
    param.flags |= UCP_AM_FLAG_PERSISTENT_DATA;
  }
  ucs_status_t status = ucp_worker_set_am_recv_handler(handle_, &param);
  if (status != UCS_OK) {
    return std::unexpected(ucx_error(status, fmt::format("registering message id {}", id)));
  }
  return {};
}

void Worker::remove_handler(link::Handler& handler) {
  for (auto& slot : slots_) {
    if (slot->handler == &handler) {
      slot->handler = &dropping_handler;
    }
  }
}

ucs_status_t Worker::on_active_message(void* arg,
                                       const void* header,
                                       std::size_t header_length,
                                       void* data,
                                       std::size_t length,
                                       const ucp_am_recv_param_t* param) {
  auto* slot = static_cast<Slot*>(arg);
  link::Incoming message;
  message.id = slot->id;
  message.header = {static_cast<const std::byte*>(header), header_length};
  message.data = data;
  message.length = length;
  message.is_rendezvous = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
  message.can_hold = message.is_rendezvous || (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_DATA) != 0;
  if ((param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP) != 0) {
    message.sender = slot->worker->find(param->reply_ep);
  }
  message.keeper = slot->worker;
  link::Disposition what = slot->handler->on_message(message);
  return what == link::Disposition::kHold ? UCS_INPROGRESS : UCS_OK;
}

// It has no bundles inside, and its data cannot be held. A handler may close the sender.
link::Disposition Worker::Unbundler::on_message(const link::Incoming& message) {
  if (message.is_rendezvous) {
    return link::Disposition::kDone;
  }
  BundleReader bundle({static_cast<std::byte*>(message.data), message.length});
  while (bundle.next()) {
    Slot* slot = bundle.id() < worker_.by_id_.size() ? worker_.by_id_[bundle.id()] : nullptr;
    if (slot == nullptr || slot->handler == this) {
      continue;
    }
    link::Incoming inner;
    inner.id = bundle.id();
    inner.header = bundle.header();
    inner.data = bundle.data().data();
    inner.length = bundle.data().size();
    bool is_known = message.sender != nullptr && message.sender->is_open();
    inner.sender = is_known ? message.sender : nullptr;
    inner.keeper = message.keeper;
    (void)slot->handler->on_message(inner);
  }
  return link::Disposition::kDone;
}

Status Worker::guard_message_ids() {
  std::vector<bool> in_use(kTopMessageId + 1);
  for (auto& slot : slots_) {
    in_use[slot->id] = true;
  }
  ucp_am_handler_param_t param{};
  param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB;
  param.cb = ignore_message;
  for (unsigned id = kTopMessageId + 1; id-- > 0;) {
    if (in_use[id]) {
      continue;
    }
    param.id = id;
    ucs_status_t status = ucp_worker_set_am_recv_handler(handle_, &param);
    if (status != UCS_OK) {
      return std::unexpected(ucx_error(status, "registering the unused message ids"));
    }
  }
  return {};
}

Result<SocketAddress> Worker::listen(const SocketAddress& address, ConnectionAcceptor& acceptor) {
  BENCHFS_CHECK(listener_ == nullptr);
  BENCHFS_CHECK(has_overrides());
  BENCHFS_TRY_VOID(guard_message_ids());
  acceptor_ = &acceptor;
  ucp_listener_params_t params{};
  params.field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER;
  params.sockaddr.addr = address.get();
  params.sockaddr.addrlen = address.length;
  params.conn_handler.cb = on_connection;
  params.conn_handler.arg = this;
  PortScope port(Port::kListener);
  ucs_status_t status = ucp_listener_create(handle_, &params, &listener_);
  if (status != UCS_OK) {
    listener_ = nullptr;
    return std::unexpected(ucx_error(status, fmt::format("listening on {}", address.to_string())));
  }
  Result<SocketAddress> bound = address_of(listener_);
  if (!bound) {
    stop_listening();
    return bound;
  }
  bound->length = address.length;
  return bound;
}

void Worker::stop_listening() {
  if (listener_ == nullptr) {
    return;
  }
  for (ucp_conn_request_h request : requests_) {
    reject(request);
  }
  requests_.clear();
  if (Result<SocketAddress> address = address_of(listener_)) {
    incoming::end_listener(address->port());
  }
  // Takes UCX's lock, and refuses what has been complete before.
  ucp_listener_destroy(listener_);
  listener_ = nullptr;
}

void Worker::on_connection(ucp_conn_request_h request, void* arg) {
  auto* worker = static_cast<Worker*>(arg);
  worker->requests_.push_back(request);
  worker->has_events_ = true;
}

void Worker::on_error(void* arg, ucp_ep_h, ucs_status_t status) {
  auto* endpoint = static_cast<Endpoint*>(arg);
  if (endpoint->state_ == Endpoint::State::kOpen) {
    endpoint->state_ = Endpoint::State::kFailed;
    endpoint->failure_ = status;
    endpoint->worker_.defer(endpoint->worker_.failed_, endpoint);
  }
}

Result<Endpoint*> Worker::make_endpoint(ucp_ep_params_t& params,
                                        link::Owner& owner,
                                        const char* what) {
  auto endpoint = std::make_unique<Endpoint>(*this, owner);
  params.field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler.cb = on_error;
  params.err_handler.arg = endpoint.get();
  ucs_status_t status = ucp_ep_create(handle_, &params, &endpoint->handle_);
  if (status != UCS_OK) {
    std::erase(failed_, endpoint.get());
    return std::unexpected(ucx_error(status, what));
  }
  Endpoint* made = endpoint.get();
  endpoints_.emplace(made, std::move(endpoint));
  by_handle_.emplace(made->handle_, made);
  return made;
}

Result<Endpoint*> Worker::connect(const SocketAddress& address, link::Owner& owner) {
  BENCHFS_TRY_VOID(need_descriptors(kEndpointDescriptors, "making a connection"));
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR;
  params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
  params.sockaddr.addr = address.get();
  params.sockaddr.addrlen = address.length;
  return make_endpoint(params, owner, "creating an endpoint");
}

Result<Endpoint*> Worker::accept(ucp_conn_request_h request, link::Owner& owner) {
  if (Status room = need_descriptors(kEndpointDescriptors, "accepting a connection"); !room) {
    reject(request);
    return std::unexpected(std::move(room.error()));
  }
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST;
  params.conn_request = request;
  return make_endpoint(params, owner, "accepting a connection");
}

void Worker::reject(ucp_conn_request_h request) {
  ucp_listener_reject(listener_, request);
}

Endpoint* Worker::find(ucp_ep_h handle) {
  auto found = by_handle_.find(handle);
  return found == by_handle_.end() ? nullptr : found->second;
}

// Owners and acceptors may add to any of these lists during this.
bool Worker::deliver_events() {
  bool worked = false;
  has_events_ = false;
  for (std::size_t i = 0; i < failed_.size(); ++i) {
    Endpoint* endpoint = failed_[i];
    if (endpoint->owner_ != nullptr) {  // not closed meanwhile
      endpoint->owner_->on_link_failed(*endpoint, outcome_of(endpoint->failure_));
    }
    worked = true;
  }
  failed_.clear();
  for (std::size_t i = 0; i < closing_.size(); ++i) {
    closing_[i]->begin_close();
    worked = true;
  }
  closing_.clear();
  for (Endpoint* endpoint : closed_) {
    endpoints_.erase(endpoint);
    worked = true;
  }
  closed_.clear();
  // The conn handler may run on UCX's progress of another call; take the batch that is there.
  std::vector<ucp_conn_request_h> requests;
  requests.swap(requests_);
  for (ucp_conn_request_h request : requests) {
    ucp_conn_request_attr_t attr{};
    attr.field_mask = UCP_CONN_REQUEST_ATTR_FIELD_CLIENT_ADDR;
    SocketAddress peer;
    if (ucp_conn_request_query(request, &attr) == UCS_OK) {
      peer.storage = attr.client_address;
      peer.length = sizeof(sockaddr_storage);
    }
    acceptor_->on_connection_request(request, peer);
    worked = true;
  }
  return worked;
}

void Worker::send_gathered() {
  while (!gathering_.empty()) {
    gathering_.back()->send_gathered();
  }
}

bool Worker::poll() {
  send_gathered();
  bool worked = progress();
  send_gathered();
  return worked;
}

bool Worker::progress() {
  // Once: what arrived is served before UCX is asked for more. Each call delivers a bounded batch.
  looker_.begin();
  bool worked = ucp_worker_progress(handle_) != 0;
  looker_.end();
  if (has_events_) [[unlikely]] {
    if (worked && ++postponed_polls_ < kMaxPostponedPolls) {
      return true;
    }
    postponed_polls_ = 0;
    worked |= deliver_events();
    // Look for closed sockets at once (closed_sockets.h).
    looker_.begin();
    ucp_worker_progress(handle_);
    looker_.end();
  }
  return worked;
}

bool Worker::prepare_to_sleep() {
  return gathering_.empty() && !has_events_ && ucp_worker_arm(handle_) == UCS_OK;
}

bool Worker::drain(Deadline deadline) {
  rt::Reactor::Binding binding(reactor_);
  while (!endpoints_.empty() && !deadline.passed()) {
    reactor_.turn();
  }
  return endpoints_.empty();
}

}  // namespace benchfs::net
