// Pings over the baselines: a plain loop around ucp_worker_progress.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/baseline_messages.h"
#include "bench/baseline_worker.h"
#include "bench/ping_payload.h"

namespace benchfs::bench {

class BaselineClient {
 public:
  // Returns when the client is connected and the server knows it. `path` must not be kPersistent.
  static Result<std::unique_ptr<BaselineClient>> connect(ReplyPath path,
                                                         const BaselineAddress& server);
  BaselineClient(const BaselineClient&) = delete;
  BaselineClient& operator=(const BaselineClient&) = delete;
  ~BaselineClient();

  // Sends pings, shape.depth at a time. Errors: kDisconnected; kDeadline when no reply comes for
  // 30 s.
  Status run(const PingShape& shape, PingLimit limit, Measurement& measurement);

 private:
  // One outstanding ping.
  struct Lane {
    Lane(const PingShape& shape, std::uint32_t index) : payload(shape, index) {}
    BaselineClient* client = nullptr;
    PingPayload payload;
    BaselineHeader header;
    std::uint64_t sequence = 0;
    std::span<std::byte> room;
    MonoTime begin;
    int pending = 0;  // events still to come: request sent, reply received
    bool wrong = false;
  };

  explicit BaselineClient(ReplyPath path) : path_(path) {}
  Status open(const BaselineAddress& server);
  Status say_hello();
  void make_lanes(const PingShape& shape);
  void start(Lane& lane);
  void verify(Lane& lane, Measurement& measurement);
  void step(Lane& lane);
  Status check(MonoTime last_reply) const;

  static ucs_status_t on_welcome(void* self,
                                 const void* header,
                                 std::size_t header_length,
                                 void*,
                                 std::size_t,
                                 const ucp_am_recv_param_t*);
  static ucs_status_t on_reply(void* self,
                               const void* header,
                               std::size_t header_length,
                               void* data,
                               std::size_t length,
                               const ucp_am_recv_param_t* param);
  static void on_sent(void* request, ucs_status_t status, void* lane);
  static void on_received(void* request, ucs_status_t status, std::size_t length, void* lane);
  static void on_error(void* self, ucp_ep_h, ucs_status_t status);

  ReplyPath path_;
  std::unique_ptr<BaselineWorker> worker_;
  ucp_ep_h endpoint_ = nullptr;
  bool welcome_ = false;
  std::uint32_t number_ = 0;  // assigned by the server
  ucs_status_t failure_ = UCS_OK;
  PingShape shape_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::vector<Lane*> done_;
  std::uint64_t next_sequence_ = 1;
  std::uint64_t last_sequence_ = 0;
};

}  // namespace benchfs::bench
