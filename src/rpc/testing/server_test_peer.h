// Access to a Server that only tests have.
#pragma once

#include <string_view>

#include "rpc/server.h"

namespace benchfs::rpc {

class ServerTestPeer {
 public:
  // Ends the connection of a client without notice, as a failure would.
  static void disconnect(Server& server, std::string_view client_id) {
    if (Session* session = server.registry().find(client_id)) {
      server.end_session(*session, wire::CloseReason::kError, Departure::kLost);
    }
  }
  // Ends the connection of a client and forgets it, as a restart would.
  static void forget(Server& server, std::string_view client_id) {
    if (Session* session = server.registry().find(client_id)) {
      server.end_session(*session, wire::CloseReason::kError, Departure::kGoodbye);
    }
  }
  // Evicts a client, as if another one needed its place.
  static void evict(Server& server, std::string_view client_id) {
    if (Session* session = server.registry().find(client_id)) {
      server.evict(*session);
    }
  }
};

}  // namespace benchfs::rpc
