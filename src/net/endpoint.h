// One end of a connection, and the operations on it.
//
//   open --error callback--> failed --close()--> closing --drained--> gone
//   open --close()---------------------------------^
//
// An operation is an awaitable that lives in its caller's frame. Header, data and target memory
// belong to UCX until it completes; there is no cancelling one operation: closing the endpoint by
// force completes all of them with an error, which is how a caller gives up.
#pragma once

#include <ucp/api/ucp.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/clock.h"
#include "base/error.h"
#include "net/context.h"
#include "rt/reactor.h"
#include "rt/timer.h"

namespace benchfs::net {

class Endpoint;
class Worker;

class EndpointOwner {
 public:
  virtual ~EndpointOwner() = default;
  // The peer is gone. Called once, outside UCX; the owner must close() the endpoint, now or later.
  virtual void on_endpoint_failed(Endpoint& endpoint, ucs_status_t status) = 0;
};

// A UCX operation somebody awaits.
class Operation {
 public:
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  void await_suspend(std::coroutine_handle<> handle) { handle_ = handle; }
  [[nodiscard]] ucs_status_t await_resume() const { return status_; }
  [[nodiscard]] bool is_pending() const { return status_ == UCS_INPROGRESS; }

 protected:
  explicit Operation(Endpoint& endpoint) : endpoint_(endpoint) {}
  ~Operation() = default;
  // True when the operation is over already.
  bool started(ucs_status_ptr_t request);
  void completed(void* request, ucs_status_t status);

  Endpoint& endpoint_;
  ucs_status_t status_ = UCS_OK;
  bool is_counted_ = false;    // among the endpoint's operations
  bool is_completed_ = false;  // UCX has called back, maybe before its function returned
  std::coroutine_handle<> handle_;
};

// Awaits an operation that was begun with await_ready().
struct Completion {
  Operation& operation;
  [[nodiscard]] bool await_ready() const { return !operation.is_pending(); }
  void await_suspend(std::coroutine_handle<> handle) const { operation.await_suspend(handle); }
  [[nodiscard]] ucs_status_t await_resume() const { return operation.await_resume(); }
};

enum class Protocol : std::uint8_t { kAuto, kEager, kRendezvous };

class Send final : public Operation {
 public:
  struct Message {
    std::uint16_t id = 0;
    std::span<const std::byte> header;
    std::span<const std::byte> data;
    Protocol protocol = Protocol::kAuto;
    bool with_reply_endpoint = false;
    const MemoryRegion* region = nullptr;  // that contains `data`, if registered
  };
  Send(Endpoint& endpoint, const Message& message) : Operation(endpoint), message_(message) {}
  bool await_ready();

 private:
  static void on_sent(void* request, ucs_status_t status, void* self);
  Message message_;
};

class Receive final : public Operation {
 public:
  Receive(Endpoint& endpoint,
          Worker& worker,
          void* descriptor,
          std::span<std::byte> into,
          const MemoryRegion* region)
      : Operation(endpoint),
        worker_(worker),
        descriptor_(descriptor),
        into_(into),
        region_(region) {}
  bool await_ready();

 private:
  static void on_received(void* request, ucs_status_t status, std::size_t length, void* self);
  Worker& worker_;
  void* descriptor_;
  std::span<std::byte> into_;
  const MemoryRegion* region_;
};

class Flush final : public Operation {
 public:
  explicit Flush(Endpoint& endpoint) : Operation(endpoint) {}
  bool await_ready();

 private:
  static void on_flushed(void* request, ucs_status_t status, void* self);
};

class Endpoint final : private rt::Timer {
 public:
  enum class State : std::uint8_t { kOpen, kFailed, kClosing, kClosed };

  Endpoint(Worker& worker, EndpointOwner& owner) : worker_(worker), owner_(&owner) {}
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;
  ~Endpoint() override = default;

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool is_open() const { return state_ == State::kOpen; }
  [[nodiscard]] ucp_ep_h handle() const { return handle_; }
  [[nodiscard]] std::uint32_t operations() const { return operations_; }

  [[nodiscard]] Send send(const Send::Message& message) { return {*this, message}; }
  // Ends when what was sent has left. An endpoint from Worker::connect() must see the end of a
  // flush before its first message, and one from accept() a message: over shared memory UCX 1.13
  // otherwise loses a message that meets the wire-up of the lanes, or aborts.
  [[nodiscard]] Flush flush() { return Flush(*this); }
  // Sends a message nobody waits for. The header (at most kMaxHeader bytes) is copied. Dropped when
  // the endpoint is not open.
  static constexpr std::size_t kMaxHeader = 4096;
  void send_and_forget(std::uint16_t id, std::span<const std::byte> header);

  // Gives the endpoint back. The owner hears nothing more of it and must forget the pointer; every
  // operation in flight completes. With `flush` > 0 what was sent is delivered first, for at most
  // that long; then the endpoint is closed by force. May be called anywhere, also in handlers: UCX
  // is told in the next poll(). Idempotent.
  void close(Nanos flush = Nanos::zero());

 private:
  friend class Worker;
  friend class Operation;
  friend class Send;
  friend class Receive;
  friend class Flush;

  struct Forgotten;
  void on_timer() override;  // the flush took too long
  void begin_close();
  void force();  // close() without waiting, whatever was begun
  void force_close();
  static void on_flushed(void* request, ucs_status_t status, void* self);
  static void on_closed(void* request, ucs_status_t status, void* self);
  void finish_if_drained();

  Worker& worker_;
  EndpointOwner* owner_;
  ucp_ep_h handle_ = nullptr;
  State state_ = State::kOpen;
  ucs_status_t failure_ = UCS_OK;
  Nanos flush_ = Nanos::zero();   // that close() asked for and that has not begun
  std::uint32_t operations_ = 0;  // requests UCX has not completed
  bool handle_closed_ = false;
};

}  // namespace benchfs::net
