#include "rpc/admission.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <utility>

#include "base/descriptors.h"
#include "base/log.h"
#include "base/random.h"
#include "wire/registration.h"

namespace benchfs::rpc {
namespace {

// A refusal is given this long to arrive, then the close is forced.
constexpr Nanos kRefusalFlush = std::chrono::milliseconds(500);

// The shortest interval between two searches for silent connections: with thousands of descriptors,
// a search takes about a millisecond.
constexpr Nanos kLookEvery = std::chrono::seconds(5);

// Descriptors that connections which are being made may still need, and those kept back for all
// else: UCX aborts the process when it finds none.
constexpr std::size_t kDescriptorsToCome = 3;
constexpr std::size_t kReservedDescriptors = 32;

// Any peer can trigger these, so log only the 1st, 2nd, 4th, … occurrence.
bool is_worth_a_line(std::uint64_t count) {
  return std::has_single_bit(count);
}

// Text of an unknown peer, for the log.
std::string printable(std::string text) {
  std::ranges::replace_if(text, [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

// A header of another version may be shorter; its fixed fields say so.
bool read_header(std::span<const std::byte> bytes, wire::RegisterClientRequestHeader& header) {
  if (bytes.size() < wire::kRegisterFixedBytes) {
    return false;
  }
  std::memcpy(&header, bytes.data(), std::min(bytes.size(), sizeof header));
  return bytes.size() >= sizeof header || header.version != wire::kProtocolVersion;
}

}  // namespace

Status Admission::watch(const net::SocketAddress& listener) {
  BENCHFS_TRY(silent_, net::SilentConnections::create(listener.port()));
  return {};
}

void Admission::open(std::uint64_t run_id) {
  run_id_ = run_id;
  state_ = State::kOpen;
}

void Admission::clear() {
  for (auto& [link, peer] : unregistered_) {
    link->close();
  }
  unregistered_.clear();
}

void Admission::on_connection_request(ucp_conn_request_h request, const net::SocketAddress& peer) {
  if (silent_ != nullptr) {
    silent_->has_spoken(peer);
  }
  if (state_ == State::kClosed || unregistered_.size() >= config_.max_unregistered) {
    stats_.turned_away += state_ == State::kClosed ? 0 : 1;
    worker_.reject(request);
    return;
  }
  if (!has_descriptors()) {
    worker_.reject(request);
    return;
  }
  Result<net::Endpoint*> endpoint = worker_.accept(request, owner_);
  if (!endpoint) {
    BENCHFS_LOG(kWarn, "{} from {}", endpoint.error().message(), peer.to_string());
    return;
  }
  ++stats_.accepted;
  unregistered_.emplace(*endpoint, Unregistered{peer, mono_now(), std::nullopt});
}

bool Admission::accept(link::Link& link) {
  if (state_ == State::kClosed || unregistered_.size() >= config_.max_unregistered) {
    stats_.turned_away += state_ == State::kClosed ? 0 : 1;
    return false;
  }
  ++stats_.accepted;
  unregistered_.emplace(&link, Unregistered{{}, mono_now(), std::nullopt});
  return true;
}

// For one more connection, beside those that are being made.
bool Admission::has_descriptors() {
  std::size_t to_come = kDescriptorsToCome * (unregistered_.size() + 1);
  if (has_free_descriptors(kReservedDescriptors + to_come)) {
    return true;
  }
  if (is_worth_a_line(++stats_.no_descriptors)) {
    BENCHFS_LOG(
        kWarn,
        "no descriptors are left for more clients ({} turned away so far): this process may "
        "open {}; raise its limit (ulimit -n), or lower clients.max_clients",
        stats_.no_descriptors,
        descriptor_limit());
  }
  return false;
}

std::optional<Registration> Admission::examine(const link::Incoming& message) {
  auto found = unregistered_.find(message.sender);
  if (found == unregistered_.end()) {
    ++stats_.malformed;
    return std::nullopt;
  }
  Unregistered& peer = found->second;
  Registration registration;
  registration.link = message.sender;
  registration.address = peer.address;
  if (!read_header(message.header, registration.header)) {
    ++stats_.malformed;
    drop(*message.sender);
    return std::nullopt;
  }
  if (!message.is_rendezvous && message.length <= wire::kMaxClientIdBytes) {
    registration.client_id.assign(static_cast<const char*>(message.data), message.length);
  }
  registration.verdict = judge(registration);
  if (registration.verdict == Errc::kOk && config_.secret) {
    if (!peer.challenge && registration.header.proof != cluster::Secret::Proof{}) {
      peer.challenge = message.sender->take_challenge();
    }
    if (!peer.challenge) {
      send_challenge(registration, peer);
      return std::nullopt;
    }
    registration.verdict = check_proof(registration, peer);
  }
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

void Admission::send_challenge(const Registration& registration, Unregistered& peer) {
  ++stats_.challenged;
  fill_random(peer.challenge.emplace());
  wire::RegisterChallengeHeader question;
  question.attempt = registration.header.attempt;
  question.challenge = *peer.challenge;
  registration.link->send_and_forget(wire::kRegisterReplyAmId,
                                     std::as_bytes(std::span(&question, 1)));
}

Errc Admission::check_proof(const Registration& registration, Unregistered& peer) {
  auto message = wire::registration_to_prove(
      *std::exchange(peer.challenge, std::nullopt), registration.header, registration.client_id);
  if (config_.secret->verify(registration.header.proof, message.bytes())) {
    return Errc::kOk;
  }
  if (is_worth_a_line(++stats_.wrong_proofs)) {
    BENCHFS_LOG(kWarn,
                "{} at {} does not know the cluster secret ({} refused so far)",
                printable(registration.client_id),
                registration.address.to_string(),
                stats_.wrong_proofs);
  }
  return Errc::kRefused;
}

void Admission::admit(const Registration& registration) {
  unregistered_.erase(registration.link);
}

void Admission::refuse(const Registration& registration, Errc code) {
  wire::RegisterClientResponseHeader response;
  response.status = static_cast<std::uint32_t>(wire::RegisterStatus::kError);
  response.error_code = static_cast<std::uint32_t>(code);
  response.attempt = registration.header.attempt;
  response.run_id = run_id_;
  registration.link->send_and_forget(wire::kRegisterReplyAmId,
                                     std::as_bytes(std::span(&response, 1)));
  unregistered_.erase(registration.link);
  registration.link->close(kRefusalFlush);
}

bool Admission::drop(link::Link& link) {
  if (unregistered_.erase(&link) == 0) {
    return false;
  }
  link.close();
  return true;
}

void Admission::drop_sender(const link::Incoming& message) {
  if (message.sender != nullptr) {
    drop(*message.sender);
  }
}

void Admission::end_silent(MonoTime now) {
  if (silent_ == nullptr || now < next_look_) {
    return;
  }
  next_look_ = now + std::min(kLookEvery, config_.register_timeout / 2);
  std::size_t ended = silent_->sweep(now, config_.register_timeout, config_.max_unregistered);
  stats_.silent += ended;
  if (ended > 0) {
    BENCHFS_LOG(kDebug, "ended {} connections that said nothing", ended);
  }
}

void Admission::sweep(MonoTime now) {
  end_silent(now);
  std::erase_if(unregistered_, [&](const auto& entry) {
    if (now - entry.second.accepted_at < config_.register_timeout) {
      return false;
    }
    ++stats_.register_timeouts;
    if (is_worth_a_line(stats_.register_timeouts)) {
      BENCHFS_LOG(kWarn,
                  "{} connected but did not register ({} so far)",
                  entry.second.address.to_string(),
                  stats_.register_timeouts);
    }
    entry.first->close();
    return true;
  });
}

}  // namespace benchfs::rpc
