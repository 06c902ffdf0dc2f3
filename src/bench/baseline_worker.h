// A bare UCX worker for both sides of the baselines.
//
// net::Context configures it as everywhere else (without that, UCX 1.13 gives up shared memory when
// peer error handling is on), so that only the code above UCX differs.
#pragma once

#include <ucp/api/ucp.h>

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "bench/baseline_messages.h"
#include "net/context.h"
#include "rt/idle.h"

namespace benchfs::bench {

// What was sent on an endpoint that is closed has this long to be delivered.
inline constexpr Nanos kCloseTimeout = std::chrono::seconds(1);

class BaselineWorker {
 public:
  static Result<std::unique_ptr<BaselineWorker>> create(const std::string& devices);
  BaselineWorker(const BaselineWorker&) = delete;
  BaselineWorker& operator=(const BaselineWorker&) = delete;
  ~BaselineWorker();

  [[nodiscard]] ucp_worker_h handle() const { return handle_; }
  Status set_handler(BaselineMessage id, ucp_am_recv_callback_t callback, void* argument);
  Result<std::vector<std::uint8_t>> address() const;

  // Makes progress, or waits as a shard would. Returns false if it slept and nothing happened; a
  // sleep ends after kSleep or when `other_fd` (may be -1) is readable.
  bool progress_or_wait(int other_fd);
  // Makes progress until `request` is over, then frees it.
  ucs_status_t wait_for(ucs_status_ptr_t request, Deadline deadline);
  // Delivers what was sent, for at most `patience`, then closes.
  void close(ucp_ep_h endpoint, Nanos patience);

 private:
  BaselineWorker() : idle_(rt::IdleConfig{}) {}
  bool sleep(int other_fd);

  std::unique_ptr<net::Context> context_;
  ucp_worker_h handle_ = nullptr;
  int event_fd_ = -1;
  rt::IdleStrategy idle_;
};

// Parameters of every endpoint here: peer error handling, as ours.
ucp_ep_params_t endpoint_params(ucp_err_handler_cb_t on_error, void* argument);

}  // namespace benchfs::bench
