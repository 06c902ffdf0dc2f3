// A connection over UCX.
//
//   open --error callback--> failed --close()--> closing --drained--> gone
//   open --close()---------------------------------^
#pragma once

#include <ucp/api/ucp.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/clock.h"
#include "link/link.h"
#include "net/bundle.h"
#include "rt/timer.h"

namespace benchfs::net {

class Worker;

class Endpoint final : public link::Link, private rt::Timer {
 public:
  enum class State : std::uint8_t { kOpen, kFailed, kClosing, kClosed };

  Endpoint(Worker& worker, link::Owner& owner);

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool is_open() const override { return state_ == State::kOpen; }
  [[nodiscard]] ucp_ep_h handle() const { return handle_; }

  void begin_send(link::Operation& operation, const link::Message& message) override;
  void begin_receive(link::Operation& operation,
                     const link::Held& held,
                     std::span<std::byte> into,
                     const MemoryRegion* region) override;
  // An endpoint from Worker::connect() must see the end of a flush before its first message, and
  // one from accept() a message: over shared memory UCX 1.13 otherwise loses a message that meets
  // the wire-up of the lanes, or aborts.
  void begin_flush(link::Operation& operation) override;
  void send_and_forget(std::uint16_t id, std::span<const std::byte> header) override;
  bool send_soon(const link::Message& message) override;
  // UCX is told in the next poll().
  using link::Link::close;
  void close(Nanos flush) override;

 private:
  friend class Worker;

  struct Forgotten;
  void post(std::uint16_t id, Forgotten* message);
  void send_gathered();
  void started(link::Operation& operation, ucs_status_ptr_t request);
  static void on_over(void* request, ucs_status_t status, void* operation);
  static void on_received(void* request, ucs_status_t status, std::size_t length, void* operation);
  void on_timer() override;  // the flush took too long
  void begin_close();
  void force();  // close() without waiting, whatever was begun
  void force_close();
  static void on_flushed(void* request, ucs_status_t status, void* self);
  static void on_closed(void* request, ucs_status_t status, void* self);
  void finish_if_drained();

  Worker& worker_;
  link::Owner* owner_;
  ucp_ep_h handle_ = nullptr;
  State state_ = State::kOpen;
  Bundle gathered_;
  ucs_status_t failure_ = UCS_OK;
  Nanos flush_ = Nanos::zero();  // that close() asked for and that has not begun
  bool is_flushing_ = false;
  bool handle_closed_ = false;
};

}  // namespace benchfs::net
