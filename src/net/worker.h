// The UCX worker of one reactor: its listener, its endpoints, its active messages.
//
// Messages are handed to their handler inside UCX's progress: a handler may send, and close
// endpoints. Everything else a UCX callback reports is recorded, and poll() acts on it afterwards,
// outside UCX. Endpoints use peer error handling on both sides; when one fails, its owner is
// notified once and closes it.
//
// Thread: the one that drives the reactor (thread mode SINGLE in daemons, SERIALIZED in clients).
// The context, the handlers and the acceptor are borrowed.
#pragma once

#include <ucp/api/ucp.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "net/address.h"
#include "net/closed_sockets.h"
#include "net/context.h"
#include "net/endpoint.h"
#include "rt/poller.h"
#include "rt/reactor.h"

namespace benchfs::net {

// Somebody knocked at the listener.
class ConnectionAcceptor {
 public:
  virtual ~ConnectionAcceptor() = default;
  // Accept it with Worker::accept or refuse it with Worker::reject, at once.
  virtual void on_connection_request(ucp_conn_request_h request, const SocketAddress& peer) = 0;
};

class Worker final : public rt::Poller, public link::Keeper {
 public:
  enum class Threads : std::uint8_t { kSingle, kSerialized };
  static Result<std::unique_ptr<Worker>> create(Context& context,
                                                rt::Reactor& reactor,
                                                Threads threads);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  // Closes by force, with a warning, the endpoints that drain() left.
  ~Worker() override;

  [[nodiscard]] rt::Reactor& reactor() { return reactor_; }

  // Messages with this id go to `handler` until remove_handler(). `persistent`: eager data can
  // always be held.
  Status set_handler(std::uint16_t id, link::Handler& handler, bool persistent);
  // Messages for this handler are dropped from now on.
  void remove_handler(link::Handler& handler);

  // Starts to listen; returns the bound address (port 0 picks one).
  Result<SocketAddress> listen(const SocketAddress& address, ConnectionAcceptor& acceptor);
  void stop_listening();

  // Descriptors that UCX may open for one connection, over all devices and while it is being made.
  static constexpr std::size_t kEndpointDescriptors = 8;
  // Starts to connect; a refusal is reported to the owner as a failure. Flush before the first
  // message (see Endpoint::begin_flush). Errors: also kSystem with EMFILE.
  Result<Endpoint*> connect(const SocketAddress& address, link::Owner& owner);
  // Rejects the request when it fails.
  Result<Endpoint*> accept(ucp_conn_request_h request, link::Owner& owner);
  void reject(ucp_conn_request_h request);

  void release(void* held) override { ucp_am_data_release(handle_, held); }

  // Endpoints alive: open, failed or still closing.
  [[nodiscard]] std::size_t endpoint_count() const { return endpoints_.size(); }
  // Polls until every closed endpoint is gone or the deadline passes; true when none is left.
  bool drain(Deadline deadline);

  bool poll() override;
  bool prepare_to_sleep() override;
  [[nodiscard]] int fd() const override { return event_fd_; }
  [[nodiscard]] ucp_worker_h handle() const { return handle_; }

 private:
  friend class Endpoint;
  struct Slot {
    Worker* worker = nullptr;
    link::Handler* handler = nullptr;
    std::uint16_t id = 0;
  };

  // Hands over what comes in bundles.
  class Unbundler final : public link::Handler {
   public:
    explicit Unbundler(Worker& worker) : worker_(worker) {}
    link::Disposition on_message(const link::Incoming& message) override;

   private:
    Worker& worker_;
  };

  explicit Worker(rt::Reactor& reactor) : reactor_(reactor), unbundler_(*this) {}
  static ucs_status_t on_active_message(void* arg,
                                        const void* header,
                                        std::size_t header_length,
                                        void* data,
                                        std::size_t length,
                                        const ucp_am_recv_param_t* param);
  static void on_connection(ucp_conn_request_h request, void* arg);
  static void on_error(void* arg, ucp_ep_h endpoint, ucs_status_t status);
  // The endpoint with this UCX handle, or nullptr.
  [[nodiscard]] Endpoint* find(ucp_ep_h handle);
  Result<Endpoint*> make_endpoint(ucp_ep_params_t& params, link::Owner& owner, const char* what);
  void defer(std::vector<Endpoint*>& queue, Endpoint* endpoint) {
    queue.push_back(endpoint);
    has_events_ = true;
  }
  bool progress();
  void send_gathered();
  bool deliver_events();
  void force_endpoints();
  Status guard_message_ids();

  rt::Reactor& reactor_;
  SocketLooker looker_;  // outlives the worker's sockets
  ucp_worker_h handle_ = nullptr;
  ucp_listener_h listener_ = nullptr;
  ConnectionAcceptor* acceptor_ = nullptr;
  int event_fd_ = -1;
  Unbundler unbundler_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> by_id_;  // as far as ids are in use
  std::vector<Endpoint*> gathering_;
  std::unordered_map<Endpoint*, std::unique_ptr<Endpoint>> endpoints_;
  // Holds only endpoints that are not closing, because UCX may reuse the handle of a closed one at
  // once.
  std::unordered_map<ucp_ep_h, Endpoint*> by_handle_;

  // Filled at any time, also by UCX callbacks; emptied by poll().
  bool has_events_ = false;
  std::uint32_t postponed_polls_ = 0;
  std::vector<ucp_conn_request_h> requests_;
  std::vector<Endpoint*> failed_;
  std::vector<Endpoint*> closing_;
  std::vector<Endpoint*> closed_;
};

}  // namespace benchfs::net
