// The kernel's requests as a source of events of the reactor.
//
// Reads /dev/fuse without blocking and hands each request to libfuse, which calls the operation.
// Reading pauses while as many requests are served as are allowed at a time.
//
// Thread: the reactor's.
#pragma once

#include <cstddef>

#include "base/error.h"
#include "base/fd.h"
#include "mount/buffers.h"
#include "mount/fuse.h"
#include "rt/poller.h"
#include "rt/scope.h"
#include "rt/sync.h"

namespace benchfs::mount {

class Channel final : public rt::Poller {
 public:
  static constexpr std::size_t kMaxRequests = 512;

  // `session` is mounted; `requests` holds the requests that are being served. Both are borrowed.
  static Result<std::unique_ptr<Channel>> create(fuse_session* session, const rt::Scope& requests);
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // The memory of the request that is being handed over, for an operation that needs its data
  // longer. To be given back to received_buffers().
  [[nodiscard]] Memory keep_received() { return std::move(received_); }
  [[nodiscard]] Buffers& received_buffers() { return buffers_; }

  // Set when nothing comes any more: unmounted, or the connection was aborted.
  [[nodiscard]] rt::Event& ended() { return ended_; }

  bool poll() override;
  bool prepare_to_sleep() override;
  [[nodiscard]] int fd() const override { return watched_.get(); }

 private:
  Channel(fuse_session* session, const rt::Scope& requests)
      : session_(session), requests_(requests) {}
  [[nodiscard]] bool is_paused() const {
    return ended_.is_set() || requests_.active() >= kMaxRequests;
  }
  bool receive();

  fuse_session* session_;
  const rt::Scope& requests_;
  Memory received_;
  Buffers buffers_;
  rt::Event ended_;
  Fd watched_;  // an epoll set that holds the session's descriptor unless paused
  bool is_watching_ = false;
};

}  // namespace benchfs::mount
