// Which clients may have an entry of a directory in their cache, and how to make them forget it.
//
// A client may use what a lookup of a directory told it for kDirectoryLease. Before a rename of
// that directory is answered, everybody who may still use the old name is told over the registered
// connection, and waited for: until the acknowledgement, the end of the session, or the end of the
// lease, whichever comes first.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "rpc/server.h"
#include "rt/sync.h"
#include "wire/ids.h"

namespace benchfs::server {

inline constexpr Nanos kDirectoryLease = std::chrono::seconds(10);

struct EntryKey {
  wire::InodeId parent;
  std::string name;
  friend bool operator==(const EntryKey&, const EntryKey&) = default;
};
struct EntryKeyHash {
  std::size_t operator()(const EntryKey& key) const {
    return hash_text(key.name, key.parent.value);
  }
};

class DirectoryLeases {
 public:
  void set_server(rpc::Server* server) { server_ = server; }

  void grant(const EntryKey& key, wire::SessionId session, MonoTime now);
  rt::Task<void> revoke(EntryKey key);
  void on_acknowledged(std::uint64_t sequence);
  // Forgets what has expired; call now and then.
  void expire(MonoTime now);
  [[nodiscard]] std::size_t size() const { return leases_.size(); }

 private:
  struct Lease {
    wire::SessionId session;
    MonoTime until;
  };

  rpc::Server* server_ = nullptr;
  std::unordered_map<EntryKey, std::vector<Lease>, EntryKeyHash> leases_;
  std::unordered_set<std::uint64_t> unacknowledged_;
  rt::WaitQueue acknowledged_;
  std::uint64_t sequence_ = 0;
};

}  // namespace benchfs::server
