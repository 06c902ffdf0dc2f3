// Which clients may have an entry of a directory in their cache, and how to make them forget it.
//
// A client may use what a lookup of a directory told it for Config::lease. Before a rename of that
// directory is answered, everybody who may still use the old name is told over the registered
// connection, all at once, and waited for: each until its acknowledgement, the end of its session,
// or the end of its lease, whichever comes first.
//
// Granting is O(1): there is one lease for each entry and client. All last equally long, so the
// lists of them are ordered by their end without sorting. When max_leases are kept, a further one
// is not kept by name: a bucket of entries remembers until when somebody may use one of them, and a
// revocation of an entry in it waits that long.
//
// Thread: the shard's.
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "rpc/server.h"
#include "rt/sync.h"
#include "server/entry_key.h"
#include "wire/ids.h"

namespace benchfs::server {

// client::DirectoryCache::kLease is shorter.
inline constexpr Nanos kDirectoryLease = std::chrono::seconds(10);

class DirectoryLeases {
 public:
  struct Config {
    Nanos lease = kDirectoryLease;
    std::size_t max_leases = 256 * 1024;  // about 250 bytes each
  };

  explicit DirectoryLeases(Config config);
  DirectoryLeases(const DirectoryLeases&) = delete;
  DirectoryLeases& operator=(const DirectoryLeases&) = delete;

  // The server that knows the sessions. Revocations end early when `stopping` is cancelled.
  void attach(rpc::Server& server, rt::CancelSource& stopping) {
    server_ = &server;
    stopping_ = &stopping;
  }

  // The entry is about to be told to this client. Nothing happens when its session has ended: then
  // the reply reaches nobody.
  void grant(const EntryKey& key, wire::SessionId session, std::uint64_t client_uid, MonoTime now);
  // Returns when nobody uses the entry any more.
  rt::Task<void> revoke(EntryKey key);
  void on_acknowledged(wire::SessionId session, std::uint64_t sequence);
  // The client's session has ended.
  void drop_client(std::uint64_t client_uid);
  // Forgets what has expired; call now and then.
  void expire(MonoTime now);

  [[nodiscard]] std::size_t size() const { return leases_.size(); }

 private:
  using Hook = boost::intrusive::list_member_hook<
      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
  struct Entry;
  struct Holder;
  using EntryNode = std::pair<const EntryKey, Entry>;
  using HolderNode = std::pair<const std::uint64_t, Holder>;  // by client uid

  struct Lease {
    EntryNode* entry = nullptr;
    HolderNode* holder = nullptr;
    MonoTime until;
    std::uint64_t sequence = 0;  // of the message that asks to forget the entry; 0: not sent
    Hook in_entry;
    Hook in_holder;
    Hook in_all;
  };
  template <Hook Lease::* hook>
  using LeaseList = boost::intrusive::list<Lease,
                                           boost::intrusive::member_hook<Lease, Hook, hook>,
                                           boost::intrusive::constant_time_size<false>>;
  struct Entry {
    LeaseList<&Lease::in_entry> leases;  // by their end
    rt::WaitQueue emptied;
  };
  struct Holder {
    wire::SessionId session;
    LeaseList<&Lease::in_holder> leases;
  };
  struct LeaseKey {
    const EntryNode* entry;
    const HolderNode* holder;
    friend bool operator==(const LeaseKey&, const LeaseKey&) = default;
  };
  struct LeaseKeyHash {
    std::size_t operator()(const LeaseKey& key) const;
  };

  // Until when an entry of the bucket may be used by clients that are not known.
  [[nodiscard]] MonoTime& unknown_until(const EntryKey& key);
  [[nodiscard]] Lease* find(const EntryKey& key, std::uint64_t client_uid);
  Lease& add(const EntryKey& key, wire::SessionId session, std::uint64_t client_uid);
  void tell_holders(Entry& entry);
  void remove(Lease& lease);

  Config config_;
  rpc::Server* server_ = nullptr;
  rt::CancelSource* stopping_ = nullptr;
  std::unordered_map<EntryKey, Entry, EntryKeyHash> entries_;  // those with leases
  std::unordered_map<std::uint64_t, Holder> holders_;          // the same
  std::unordered_map<LeaseKey, Lease, LeaseKeyHash> leases_;
  LeaseList<&Lease::in_all> by_end_;
  std::unordered_map<std::uint64_t, Lease*> told_;  // by sequence
  std::uint64_t sequence_ = 0;
  std::vector<MonoTime> unknown_until_;
};

}  // namespace benchfs::server
