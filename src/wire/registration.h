// What a client proves when it registers: that it knows the cluster secret, for this registration
// and for no other.
#pragma once

#include <string_view>

#include "wire/codec.h"
#include "wire/header.h"

namespace benchfs::wire {

// The message whose keyed hash (cluster/secret.h) is RegisterClientRequestHeader::proof: a label,
// the server's challenge, the whole header with a proof of zeros, the client id.
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
