// SIGTERM, SIGINT and SIGHUP as an event of the reactor: the first one asks the mount to end, the
// second one ends the process.
//
// Thread: the reactor's. One at a time in a process.
#pragma once

#include <csignal>

#include <array>
#include <memory>

#include "base/error.h"
#include "base/fd.h"
#include "rt/poller.h"
#include "rt/sync.h"

namespace benchfs::mount {

class StopSignals final : public rt::Poller {
 public:
  static Result<std::unique_ptr<StopSignals>> create();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals() override;

  [[nodiscard]] rt::Event& requested() { return requested_; }

  bool poll() override;
  bool prepare_to_sleep() override { return true; }
  [[nodiscard]] int fd() const override { return event_.get(); }

 private:
  static constexpr std::array kSignals = {SIGTERM, SIGINT, SIGHUP};
  StopSignals() = default;

  rt::Event requested_;
  Fd event_;
  std::array<struct sigaction, kSignals.size()> before_{};
};

}  // namespace benchfs::mount
