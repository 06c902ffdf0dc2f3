// Messages between a benchmark and its client processes: one JSON object per line over a socket
// pair.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace benchfs::bench {

// A client process gets its first instruction within this.
inline constexpr Nanos kInstructionTimeout = std::chrono::seconds(30);

class Channel {
 public:
  // Takes ownership of the descriptor.
  explicit Channel(int fd) : fd_(fd) {}
  Channel(Channel&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), input_(std::move(other.input_)) {}
  Channel& operator=(Channel&&) = delete;
  ~Channel();

  [[nodiscard]] int fd() const { return fd_; }
  // Fails with kDisconnected when the other side is gone.
  Status send(const nlohmann::json& message);
  // Waits for a message. Errors: kDeadline, kDisconnected, kMalformed.
  Result<nlohmann::json> receive(Deadline deadline);
  // Returns a message that has arrived, without waiting; nothing if there is no whole one yet.
  Result<std::optional<nlohmann::json>> try_receive();

 private:
  int fd_;
  std::string input_;
};

}  // namespace benchfs::bench
