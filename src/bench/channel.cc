#include "bench/channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace benchfs::bench {
namespace {

// A histogram in text is the largest part of a message, at most 60 KiB.
constexpr std::size_t kMaxMessageBytes = 1U << 20;

}  // namespace

Channel::~Channel() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

Status Channel::send(const nlohmann::json& message) {
  std::string text = message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
  std::string_view rest = text;
  while (!rest.empty()) {
    ssize_t sent = ::send(fd_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) {
        continue;
      }
      return fail(Errc::kDisconnected, "the other process is gone");
    }
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  return {};
}

Result<std::optional<nlohmann::json>> Channel::try_receive() {
  std::array<char, 16384> buffer;
  while (input_.find('\n') == std::string::npos) {
    ssize_t got = recv(fd_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
      return std::optional<nlohmann::json>();
    }
    if (got <= 0) {
      return fail(Errc::kDisconnected, "the other process is gone");
    }
    input_.append(buffer.data(), static_cast<std::size_t>(got));
    if (input_.size() > kMaxMessageBytes) {
      return fail(Errc::kMalformed, "the message has no end");
    }
  }
  std::size_t end = input_.find('\n');
  nlohmann::json message = nlohmann::json::parse(input_.substr(0, end), nullptr, false);
  input_.erase(0, end + 1);
  if (!message.is_object()) {
    return fail(Errc::kMalformed, "the message is not a JSON object");
  }
  return std::optional(std::move(message));
}

Result<nlohmann::json> Channel::receive(Deadline deadline) {
  for (;;) {
    BENCHFS_TRY(std::optional<nlohmann::json> message, try_receive());
    if (message) {
      return std::move(*message);
    }
    pollfd entry{fd_, POLLIN, 0};
    auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(deadline.remaining());
    if (deadline.passed()) {
      return fail(Errc::kDeadline, "no message from the other process");
    }
    (void)poll(&entry, 1, static_cast<int>(std::min<std::int64_t>(wait.count() + 1, 1000)));
  }
}

}  // namespace benchfs::bench
