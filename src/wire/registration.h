// The messages between client and server when a client registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "wire/codec.h"
#include "wire/header.h"

namespace benchfs::wire {

// The answer to RegisterClient in either form.
struct RegisterReply : RegisterClientResponseHeader {
  Challenge challenge{};  // when status is kChallenge
};
inline bool read_register_reply(std::span<const std::byte> bytes, RegisterReply& reply) {
  RegisterChallengeHeader question;
  if (Reader(bytes).read(question) &&
      question.status == static_cast<std::uint32_t>(RegisterStatus::kChallenge)) {
    reply.status = question.status;
    reply.version = question.version;
    reply.attempt = question.attempt;
    reply.challenge = question.challenge;
    return true;
  }
  return Reader(bytes).read(static_cast<RegisterClientResponseHeader&>(reply));
}

// Returns the message by which a client proves that it knows the cluster secret, for this
// registration and for no other: a label, the server's challenge, the whole header with a proof of
// zeros, the client id. Its keyed hash (cluster/secret.h) is RegisterClientRequestHeader::proof.
inline HeaderBuffer<> registration_to_prove(const Challenge& challenge,
                                            RegisterClientRequestHeader header,
                                            std::string_view client_id) {
  header.proof = {};
  HeaderBuffer<> message;
  message.append_text("BenchFS register");
  message.append(challenge);
  message.append(header);
  message.append_text(client_id);
  return message;
}

}  // namespace benchfs::wire
