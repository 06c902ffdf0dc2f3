// What tests do to a Server that nobody else can.
#pragma once

#include <string_view>

#include "rpc/server.h"

namespace benchfs::rpc {

class ServerTestPeer {
 public:
  // Ends the connection of a client without notice, as a failure would.
  static void disconnect(Server& server, std::string_view client_id) {
    if (Session* session = server.registry().find(client_id)) {
      server.end_session(*session, wire::CloseReason::kError, false);
    }
  }
};

}  // namespace benchfs::rpc
