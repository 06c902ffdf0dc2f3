#include "bench/baseline_client.h"

#include <fmt/format.h>

#include <cstring>

#include "net/address.h"

namespace benchfs::bench {
namespace {

constexpr Nanos kHelloTimeout = std::chrono::seconds(10);
constexpr Nanos kReplyTimeout = std::chrono::seconds(30);

BaselineMessage request_id(ReplyPath path) {
  if (path == ReplyPath::kReplyEndpoint) {
    return kBaselineReplyEpRequest;
  }
  return path == ReplyPath::kNewEndpoint ? kBaselineNewEpRequest : kBaselineRequest;
}

bool is_rendezvous(const ucp_am_recv_param_t* param) {
  return (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
}

}  // namespace

Result<std::unique_ptr<BaselineClient>> BaselineClient::connect(ReplyPath path,
                                                                const BaselineAddress& server) {
  std::unique_ptr<BaselineClient> client(
      new BaselineClient(path));  // lint: allow new private constructor
  BENCHFS_TRY(client->worker_, BaselineWorker::create(server.devices));
  BENCHFS_TRY_VOID(client->worker_->set_handler(kBaselineWelcome, on_welcome, client.get()));
  BENCHFS_TRY_VOID(client->worker_->set_handler(kBaselineReply, on_reply, client.get()));
  BENCHFS_TRY_VOID(client->open(server));
  BENCHFS_TRY_VOID(client->say_hello());
  return client;
}

BaselineClient::~BaselineClient() {
  if (endpoint_ != nullptr) {
    worker_->close(endpoint_, kCloseTimeout);
  }
}

// The reply endpoint of UCX needs no listener: client and server know each other by worker address.
Status BaselineClient::open(const BaselineAddress& server) {
  ucp_ep_params_t params = endpoint_params(on_error, this);
  net::SocketAddress socket;
  if (path_ == ReplyPath::kReplyEndpoint) {
    params.field_mask |= UCP_EP_PARAM_FIELD_REMOTE_ADDRESS;
    params.address = reinterpret_cast<const ucp_address_t*>(server.worker.data());
  } else {
    BENCHFS_TRY(socket, server.socket_address());
    params.field_mask |= UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR;
    params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
    params.sockaddr.addr = socket.get();
    params.sockaddr.addrlen = socket.length;
  }
  ucs_status_t status = ucp_ep_create(worker_->handle(), &params, &endpoint_);
  if (status != UCS_OK) {
    endpoint_ = nullptr;
    return std::unexpected(net::ucx_error(status, "connecting to the baseline server"));
  }
  return {};
}

Status BaselineClient::say_hello() {
  Deadline deadline = Deadline::after(kHelloTimeout);
  // A message sent while UCX still wires up its lanes can be lost (net/endpoint.h).
  ucp_request_param_t param{};
  ucs_status_t status = worker_->wait_for(ucp_ep_flush_nbx(endpoint_, &param), deadline);
  BENCHFS_TRY(std::vector<std::uint8_t> address, worker_->address());
  BaselineHeader header;
  if (status == UCS_OK) {
    param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = UCP_AM_SEND_FLAG_REPLY | UCP_AM_SEND_FLAG_EAGER;
    status = worker_->wait_for(ucp_am_send_nbx(endpoint_,
                                               kBaselineHello,
                                               &header,
                                               sizeof(header),
                                               address.data(),
                                               address.size(),
                                               &param),
                               deadline);
  }
  while (status == UCS_OK && !welcome_ && failure_ == UCS_OK) {
    if (deadline.passed()) {
      status = UCS_ERR_TIMED_OUT;
    }
    (void)worker_->progress_or_wait(-1);
  }
  status = failure_ != UCS_OK ? failure_ : status;
  if (status != UCS_OK) {
    return std::unexpected(net::ucx_error(
        status, fmt::format("the baseline server did not answer the hello ({})", name_of(path_))));
  }
  return {};
}

Status BaselineClient::run(const PingShape& shape, PingLimit limit, Measurement& measurement) {
  make_lanes(shape);
  last_sequence_ =
      limit.operations == 0 ? ~std::uint64_t{0} : next_sequence_ + limit.operations - 1;
  std::uint32_t active = 0;
  for (; active < shape.depth && next_sequence_ <= last_sequence_; ++active) {
    start(*lanes_[active]);
  }
  MonoTime last_reply = mono_now();
  while (active > 0) {
    if (!worker_->progress_or_wait(-1) || failure_ != UCS_OK) {
      BENCHFS_TRY_VOID(check(last_reply));
    }
    while (!done_.empty()) {
      Lane& lane = *done_.back();
      done_.pop_back();
      last_reply = mono_now();
      count_ping(measurement, shape, last_reply - lane.begin);
      verify(lane, measurement);
      if (next_sequence_ > last_sequence_ || limit.is_over(last_reply)) {
        --active;
      } else {
        start(lane);
      }
    }
  }
  return {};
}

// The lanes of an earlier run are kept: their memory is warm.
void BaselineClient::make_lanes(const PingShape& shape) {
  if (shape == shape_ && !lanes_.empty()) {
    return;
  }
  shape_ = shape;
  lanes_.clear();
  done_.reserve(shape.depth);
  for (std::uint32_t i = 0; i < shape.depth; ++i) {
    lanes_.push_back(std::make_unique<Lane>(shape, i));
    lanes_.back()->client = this;
    lanes_.back()->header.lane = i;
  }
}

Status BaselineClient::check(MonoTime last_reply) const {
  if (failure_ != UCS_OK) {
    return std::unexpected(net::ucx_error(
        failure_, fmt::format("the connection to the baseline server broke ({})", name_of(path_))));
  }
  if (mono_now() - last_reply > kReplyTimeout) {
    return fail(Errc::kDeadline,
                fmt::format("the baseline server did not answer for 30 s ({})", name_of(path_)));
  }
  return {};
}

void BaselineClient::start(Lane& lane) {
  lane.sequence = next_sequence_++;
  std::span<const std::byte> data = lane.payload.request(lane.sequence);
  lane.room = lane.payload.prepare(lane.sequence);
  lane.header.client = number_;
  lane.header.sequence = static_cast<std::uint32_t>(lane.sequence);
  lane.header.reply_bytes = static_cast<std::uint32_t>(lane.room.size());
  lane.pending = 2;
  ucp_request_param_t param;
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = path_ == ReplyPath::kReplyEndpoint ? UCP_AM_SEND_FLAG_REPLY : 0;
  param.cb.send = on_sent;
  param.user_data = &lane;
  lane.begin = mono_now();
  ucs_status_ptr_t request = ucp_am_send_nbx(endpoint_,
                                             request_id(path_),
                                             &lane.header,
                                             sizeof(lane.header),
                                             data.data(),
                                             data.size(),
                                             &param);
  if (UCS_PTR_IS_ERR(request)) {
    failure_ = UCS_PTR_STATUS(request);
  } else if (request == nullptr) {
    step(lane);
  }
}

void BaselineClient::verify(Lane& lane, Measurement& measurement) {
  if (lane.wrong || !lane.payload.is_right(lane.sequence)) [[unlikely]] {
    lane.wrong = false;
    measurement.on_mismatch(
        fmt::format("ping {} over {}: wrong data came back", lane.sequence, name_of(path_)));
  }
}

// Called when the request was sent and when its reply arrived; the second call completes the ping.
void BaselineClient::step(Lane& lane) {
  if (--lane.pending == 0) {
    done_.push_back(&lane);
  }
}

ucs_status_t BaselineClient::on_welcome(void* self,
                                        const void* header,
                                        std::size_t header_length,
                                        void*,
                                        std::size_t,
                                        const ucp_am_recv_param_t*) {
  auto* client = static_cast<BaselineClient*>(self);
  BaselineHeader welcome;
  if (header_length == sizeof(welcome)) {
    std::memcpy(&welcome, header, sizeof(welcome));
    client->number_ = welcome.client;
    client->welcome_ = true;
  }
  return UCS_OK;
}

ucs_status_t BaselineClient::on_reply(void* self,
                                      const void* header,
                                      std::size_t header_length,
                                      void* data,
                                      std::size_t length,
                                      const ucp_am_recv_param_t* param) {
  auto* client = static_cast<BaselineClient*>(self);
  BaselineHeader reply;
  if (header_length != sizeof(reply)) {
    return UCS_OK;
  }
  std::memcpy(&reply, header, sizeof(reply));
  if (reply.lane >= client->lanes_.size()) {
    return UCS_OK;
  }
  Lane& lane = *client->lanes_[reply.lane];
  if (reply.sequence != static_cast<std::uint32_t>(lane.sequence) || length != lane.room.size()) {
    lane.wrong = true;
    client->step(lane);
    return UCS_OK;
  }
  if (!is_rendezvous(param)) {
    if (length > 0) {
      std::memcpy(lane.room.data(), data, length);
    }
    client->step(lane);
    return UCS_OK;
  }
  ucp_request_param_t receive;
  receive.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  receive.cb.recv_am = on_received;
  receive.user_data = &lane;
  ucs_status_ptr_t request = ucp_am_recv_data_nbx(
      client->worker_->handle(), data, lane.room.data(), lane.room.size(), &receive);
  if (UCS_PTR_IS_ERR(request)) {
    client->failure_ = UCS_PTR_STATUS(request);
  } else if (request == nullptr) {
    client->step(lane);
  }
  return UCS_INPROGRESS;
}

void BaselineClient::on_sent(void* request, ucs_status_t status, void* lane_pointer) {
  auto* lane = static_cast<Lane*>(lane_pointer);
  ucp_request_free(request);
  if (status != UCS_OK) {
    lane->client->failure_ = status;
  }
  lane->client->step(*lane);
}

void BaselineClient::on_received(void* request,
                                 ucs_status_t status,
                                 std::size_t,
                                 void* lane_pointer) {
  on_sent(request, status, lane_pointer);
}

void BaselineClient::on_error(void* self, ucp_ep_h, ucs_status_t status) {
  static_cast<BaselineClient*>(self)->failure_ = status;
}

}  // namespace benchfs::bench
