#include "rpc/admission.h"

#include <span>

#include "base/log.h"
#include "wire/codec.h"

namespace benchfs::rpc {
namespace {

// A refusal is given this long to arrive, then the close is forced.
constexpr Nanos kCloseFlush = std::chrono::milliseconds(500);

}  // namespace

void Admission::open(std::uint64_t run_id) {
  run_id_ = run_id;
  state_ = State::kOpen;
}

void Admission::clear() {
  for (auto& [endpoint, peer] : unregistered_) {
    endpoint->close();
  }
  unregistered_.clear();
}

void Admission::on_connection_request(ucp_conn_request_h request, const net::SocketAddress& peer) {
  if (state_ == State::kClosed || unregistered_.size() >= config_.max_unregistered) {
    worker_.reject(request);
    return;
  }
  Result<net::Endpoint*> endpoint = worker_.accept(request, owner_);
  if (!endpoint) {
    BENCHFS_LOG(kWarn, "{} from {}", endpoint.error().message(), peer.to_string());
    return;
  }
  ++stats_.accepted;
  unregistered_.emplace(*endpoint, Unregistered{peer, mono_now()});
}

std::optional<Registration> Admission::examine(const net::Incoming& message) {
  net::Endpoint* endpoint =
      message.reply_endpoint == nullptr ? nullptr : worker_.find(message.reply_endpoint);
  auto found = endpoint == nullptr ? unregistered_.end() : unregistered_.find(endpoint);
  if (found == unregistered_.end()) {
    return std::nullopt;
  }
  Registration registration;
  registration.endpoint = endpoint;
  registration.address = found->second.address;
  wire::Reader reader(message.header);
  if (!reader.read(registration.header)) {
    drop(*endpoint);
    return std::nullopt;
  }
  if (!message.is_rendezvous && message.length <= wire::kMaxClientIdBytes) {
    registration.client_id.assign(static_cast<const char*>(message.data), message.length);
  }
  registration.verdict = judge(registration);
  return registration;
}

Errc Admission::judge(const Registration& registration) const {
  const wire::RegisterClientRequestHeader& header = registration.header;
  if (header.version != wire::kProtocolVersion) {
    return Errc::kVersion;
  }
  if (registration.client_id.empty() || registration.client_id.size() != header.client_id_len ||
      header.client_uid == 0) {
    return Errc::kMalformed;
  }
  if (state_ != State::kOpen) {
    return Errc::kNotReady;
  }
  if (header.run_id != 0 && header.run_id != run_id_) {
    return Errc::kStaleRun;
  }
  return Errc::kOk;
}

void Admission::admit(const Registration& registration) {
  unregistered_.erase(registration.endpoint);
}

void Admission::refuse(const Registration& registration, Errc code) {
  wire::RegisterClientResponseHeader response;
  response.status = 1;
  response.error_code = static_cast<std::uint32_t>(code);
  response.attempt = registration.header.attempt;
  response.run_id = run_id_;
  registration.endpoint->send_and_forget(wire::kRegisterReplyAmId,
                                         std::as_bytes(std::span(&response, 1)));
  unregistered_.erase(registration.endpoint);
  registration.endpoint->close(kCloseFlush);
}

bool Admission::drop(net::Endpoint& endpoint) {
  if (unregistered_.erase(&endpoint) == 0) {
    return false;
  }
  endpoint.close();
  return true;
}

void Admission::drop_sender(const net::Incoming& message) {
  net::Endpoint* endpoint =
      message.reply_endpoint == nullptr ? nullptr : worker_.find(message.reply_endpoint);
  if (endpoint != nullptr) {
    drop(*endpoint);
  }
}

void Admission::sweep(MonoTime now) {
  std::erase_if(unregistered_, [&](const auto& entry) {
    if (now - entry.second.accepted_at < config_.register_timeout) {
      return false;
    }
    ++stats_.register_timeouts;
    BENCHFS_LOG(kWarn, "{} connected but did not register", entry.second.address.to_string());
    entry.first->close();
    return true;
  });
}

}  // namespace benchfs::rpc
