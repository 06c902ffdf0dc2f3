#include "bench/baseline_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <deque>
#include <vector>

#include "base/log.h"
#include "bench/baseline_worker.h"
#include "bench/pattern.h"
#include "net/address.h"

namespace benchfs::bench {
namespace {

constexpr std::size_t kSmallest = 4096;
constexpr std::uint32_t kStopEvery = 1024;  // passes between two looks at the stop descriptor

// A request being answered; reused.
struct Job {
  Job(BaselineServer::State& owner, std::size_t bytes) : server(owner), buffer(bytes) {}
  BaselineServer::State& server;
  AlignedBuffer buffer;
  BaselineHeader header;
  ReplyPath path = ReplyPath::kFloor;
  ucp_ep_h endpoint = nullptr;
  std::size_t data_bytes = 0;
  int pending = 0;  // UCX operations under way
};

// A rendezvous for which there is no buffer yet.
struct Waiting {
  ReplyPath path;
  BaselineHeader header;
  ucp_ep_h endpoint;
  void* descriptor;
  std::size_t bytes;
};

}  // namespace

struct BaselineServer::State {
  std::unique_ptr<BaselineWorker> worker;
  ucp_listener_h listener = nullptr;
  BaselineAddress address;
  struct Client {
    ucp_ep_h endpoint = nullptr;
    std::vector<std::uint8_t> address;  // of its worker
  };
  std::vector<Client> clients;
  std::vector<ucp_ep_h> accepted;
  std::array<std::vector<std::unique_ptr<Job>>, 64> free_jobs;  // by bit width of their size
  std::array<std::size_t, 64> made_jobs{};
  std::deque<Waiting> waiting;
  std::vector<Job*> to_open;  // waiting for an endpoint, which a UCX callback must not create

  Status listen(const std::string& ip);
  std::unique_ptr<Job> take_job(std::size_t bytes, bool at_any_price);
  void begin(std::unique_ptr<Job> job, const Waiting& request, void* eager);
  void reply(Job* job);
  void reply_on(Job* job, ucp_ep_h endpoint);
  void reply_on_new_endpoint(Job* job);
  void started(Job* job, ucs_status_ptr_t request);
  void release(Job* job);
  void serve_waiting();
  bool pass(int stop_fd);

  static void on_connection(ucp_conn_request_h request, void* self);
  static void on_error(void*, ucp_ep_h, ucs_status_t) {}  // its operations end with an error
  static ucs_status_t on_hello(void* self,
                               const void* header,
                               std::size_t header_length,
                               void* data,
                               std::size_t length,
                               const ucp_am_recv_param_t* param);
  template <ReplyPath path>
  static ucs_status_t on_request(void* self,
                                 const void* header,
                                 std::size_t header_length,
                                 void* data,
                                 std::size_t length,
                                 const ucp_am_recv_param_t* param);
  static void on_received(void* request, ucs_status_t status, std::size_t length, void* job);
  static void on_done(void* request, ucs_status_t status, void* job);
};

std::unique_ptr<Job> BaselineServer::State::take_job(std::size_t bytes, bool at_any_price) {
  std::size_t size = std::bit_ceil(std::max(bytes, kSmallest));
  auto width = static_cast<std::size_t>(std::bit_width(size));
  if (!free_jobs[width].empty()) {
    std::unique_ptr<Job> job = std::move(free_jobs[width].back());
    free_jobs[width].pop_back();
    return job;
  }
  if (made_jobs[width] * size >= kMemoryBytes && !at_any_price) {
    return nullptr;
  }
  ++made_jobs[width];
  return std::make_unique<Job>(*this, size);
}

template <ReplyPath path>
ucs_status_t BaselineServer::State::on_request(void* self,
                                               const void* header,
                                               std::size_t header_length,
                                               void* data,
                                               std::size_t length,
                                               const ucp_am_recv_param_t* param) {
  auto* state = static_cast<State*>(self);
  Waiting request{
      .path = path, .header = {}, .endpoint = nullptr, .descriptor = data, .bytes = length};
  if (header_length != sizeof(request.header)) {
    return UCS_OK;
  }
  std::memcpy(&request.header, header, sizeof(request.header));
  if (request.header.client >= state->clients.size() ||
      std::max<std::size_t>(length, request.header.reply_bytes) > kMemoryBytes) {
    return UCS_OK;
  }
  request.endpoint = path == ReplyPath::kReplyEndpoint
                         ? param->reply_ep
                         : state->clients[request.header.client].endpoint;
  bool is_rendezvous = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
  std::unique_ptr<Job> job =
      state->take_job(std::max<std::size_t>(length, request.header.reply_bytes), !is_rendezvous);
  if (job == nullptr) {
    state->waiting.push_back(request);
    return UCS_INPROGRESS;
  }
  state->begin(std::move(job), request, is_rendezvous ? nullptr : data);
  return is_rendezvous ? UCS_INPROGRESS : UCS_OK;
}

// `eager` is the data if it arrived with the header.
void BaselineServer::State::begin(std::unique_ptr<Job> owned, const Waiting& request, void* eager) {
  Job* job = owned.release();  // until release()
  job->header = request.header;
  job->path = request.path;
  job->endpoint = request.endpoint;
  job->data_bytes = request.bytes;
  if (eager != nullptr || request.bytes == 0) {
    if (request.bytes > 0) {
      std::memcpy(job->buffer.span().data(), eager, request.bytes);
    }
    reply(job);
    return;
  }
  ucp_request_param_t param;
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.recv_am = on_received;
  param.user_data = job;
  ucs_status_ptr_t receive = ucp_am_recv_data_nbx(
      worker->handle(), request.descriptor, job->buffer.span().data(), request.bytes, &param);
  if (UCS_PTR_IS_ERR(receive)) {
    release(job);
  } else if (receive == nullptr) {
    reply(job);
  }
}

void BaselineServer::State::on_received(void* request,
                                        ucs_status_t status,
                                        std::size_t,
                                        void* job_pointer) {
  auto* job = static_cast<Job*>(job_pointer);
  ucp_request_free(request);
  if (status == UCS_OK) {
    job->server.reply(job);
  } else {
    job->server.release(job);
  }
}

void BaselineServer::State::reply(Job* job) {
  if (job->header.reply_bytes > job->data_bytes) {
    std::memset(
        job->buffer.span().data() + job->data_bytes, 0, job->header.reply_bytes - job->data_bytes);
  }
  job->pending = 1;
  if (job->path == ReplyPath::kNewEndpoint) {
    to_open.push_back(job);
  } else {
    reply_on(job, job->endpoint);
  }
}

void BaselineServer::State::reply_on(Job* job, ucp_ep_h endpoint) {
  ucp_request_param_t param;
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.send = on_done;
  param.user_data = job;
  started(job,
          ucp_am_send_nbx(endpoint,
                          kBaselineReply,
                          &job->header,
                          sizeof(job->header),
                          job->buffer.span().data(),
                          job->header.reply_bytes,
                          &param));
}

void BaselineServer::State::reply_on_new_endpoint(Job* job) {
  ucp_ep_params_t params = endpoint_params(on_error, this);
  params.field_mask |= UCP_EP_PARAM_FIELD_REMOTE_ADDRESS;
  const Client& client = clients[job->header.client];
  params.address = reinterpret_cast<const ucp_address_t*>(client.address.data());
  ucp_ep_h endpoint = nullptr;
  ucs_status_t status = ucp_ep_create(worker->handle(), &params, &endpoint);
  if (status != UCS_OK) {
    BENCHFS_LOG(kError, "no endpoint for a reply: {}", ucs_status_string(status));
    release(job);
    return;
  }
  job->pending = 2;
  reply_on(job, endpoint);
  ucp_request_param_t param;
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.send = on_done;
  param.user_data = job;
  started(job, ucp_ep_close_nbx(endpoint, &param));  // flushes first
}

void BaselineServer::State::started(Job* job, ucs_status_ptr_t request) {
  if (!UCS_PTR_IS_PTR(request) && --job->pending == 0) {
    release(job);
  }
}

void BaselineServer::State::on_done(void* request, ucs_status_t, void* job_pointer) {
  auto* job = static_cast<Job*>(job_pointer);
  ucp_request_free(request);
  if (--job->pending == 0) {
    job->server.release(job);
  }
}

void BaselineServer::State::release(Job* job) {
  auto width = static_cast<std::size_t>(std::bit_width(job->buffer.size()));
  free_jobs[width].emplace_back(job);
}

void BaselineServer::State::serve_waiting() {
  while (!waiting.empty()) {
    const Waiting& request = waiting.front();
    std::unique_ptr<Job> job =
        take_job(std::max<std::size_t>(request.bytes, request.header.reply_bytes), false);
    if (job == nullptr) {
      return;
    }
    begin(std::move(job), request, nullptr);
    waiting.pop_front();
  }
}

void BaselineServer::State::on_connection(ucp_conn_request_h request, void* self) {
  auto* state = static_cast<State*>(self);
  ucp_ep_params_t params = endpoint_params(on_error, self);
  params.field_mask |= UCP_EP_PARAM_FIELD_CONN_REQUEST;
  params.conn_request = request;
  ucp_ep_h endpoint = nullptr;
  ucs_status_t status = ucp_ep_create(state->worker->handle(), &params, &endpoint);
  if (status == UCS_OK) {
    state->accepted.push_back(endpoint);
  } else {
    BENCHFS_LOG(kError, "a baseline client was not accepted: {}", ucs_status_string(status));
  }
}

ucs_status_t BaselineServer::State::on_hello(void* self,
                                             const void* header,
                                             std::size_t header_length,
                                             void* data,
                                             std::size_t length,
                                             const ucp_am_recv_param_t* param) {
  auto* state = static_cast<State*>(self);
  bool is_rendezvous = (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0;
  bool can_reply = (param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP) != 0;
  if (header_length != sizeof(BaselineHeader) || is_rendezvous || !can_reply) {
    return UCS_OK;
  }
  const auto* bytes = static_cast<const std::uint8_t*>(data);
  state->clients.push_back({.endpoint = param->reply_ep, .address = {bytes, bytes + length}});
  std::unique_ptr<Job> job = state->take_job(0, true);
  std::memcpy(&job->header, header, sizeof(job->header));
  job->header.client = static_cast<std::uint32_t>(state->clients.size() - 1);
  job->header.reply_bytes = 0;
  job->pending = 1;
  Job* welcome = job.release();
  ucp_request_param_t send;
  send.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  send.cb.send = on_done;
  send.user_data = welcome;
  state->started(welcome,
                 ucp_am_send_nbx(param->reply_ep,
                                 kBaselineWelcome,
                                 &welcome->header,
                                 sizeof(welcome->header),
                                 nullptr,
                                 0,
                                 &send));
  return UCS_OK;
}

Status BaselineServer::State::listen(const std::string& ip) {
  BENCHFS_TRY_VOID(worker->set_handler(kBaselineHello, on_hello, this));
  BENCHFS_TRY_VOID(worker->set_handler(kBaselineRequest, on_request<ReplyPath::kFloor>, this));
  BENCHFS_TRY_VOID(
      worker->set_handler(kBaselineReplyEpRequest, on_request<ReplyPath::kReplyEndpoint>, this));
  BENCHFS_TRY_VOID(
      worker->set_handler(kBaselineNewEpRequest, on_request<ReplyPath::kNewEndpoint>, this));
  BENCHFS_TRY(net::SocketAddress wanted, net::make_address(ip, 0));
  ucp_listener_params_t params{};
  params.field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER;
  params.sockaddr.addr = wanted.get();
  params.sockaddr.addrlen = wanted.length;
  params.conn_handler.cb = on_connection;
  params.conn_handler.arg = this;
  ucs_status_t status = ucp_listener_create(worker->handle(), &params, &listener);
  if (status != UCS_OK) {
    listener = nullptr;
    return std::unexpected(
        net::ucx_error(status, fmt::format("the baseline server cannot listen on {}", ip)));
  }
  ucp_listener_attr_t attributes{};
  attributes.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR;
  status = ucp_listener_query(listener, &attributes);
  if (status != UCS_OK) {
    return std::unexpected(net::ucx_error(status, "the address of the baseline server"));
  }
  net::SocketAddress bound{.storage = attributes.sockaddr, .length = sizeof(attributes.sockaddr)};
  address.socket = fmt::format("{}:{}", ip, bound.port());
  BENCHFS_TRY(address.worker, worker->address());
  return {};
}

Result<std::unique_ptr<BaselineServer>> BaselineServer::start(const std::string& ip,
                                                              const std::string& devices) {
  // UCX gives back what new endpoints leak only when the worker is destroyed.
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
  }
  auto state = std::make_unique<State>();
  BENCHFS_TRY(state->worker, BaselineWorker::create(devices));
  std::unique_ptr<BaselineServer> server(
      new BaselineServer(std::move(state)));  // lint: allow new private constructor
  server->state_->address.devices = devices;
  BENCHFS_TRY_VOID(server->state_->listen(ip));
  return server;
}

BaselineServer::BaselineServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

BaselineServer::~BaselineServer() {
  if (state_->listener != nullptr) {
    ucp_listener_destroy(state_->listener);
  }
  for (ucp_ep_h endpoint : state_->accepted) {
    state_->worker->close(endpoint, kCloseTimeout);
  }
  state_->worker.reset();  // before what its callbacks use
}

const BaselineAddress& BaselineServer::address() const {
  return state_->address;
}

Status BaselineServer::serve(int stop_fd) {
  for (std::uint32_t passes = 0;; ++passes) {
    bool busy = state_->pass(stop_fd);
    if (!busy || passes % kStopEvery == 0) {
      pollfd stop{stop_fd, POLLIN, 0};
      if (poll(&stop, 1, 0) > 0) {
        return {};
      }
    }
  }
}

bool BaselineServer::State::pass(int stop_fd) {
  bool busy = worker->progress_or_wait(stop_fd);
  if (!to_open.empty()) {
    for (Job* job : to_open) {
      reply_on_new_endpoint(job);
    }
    to_open.clear();
  }
  serve_waiting();
  return busy;
}

}  // namespace benchfs::bench
