// The names of one shard under test: Names over a real store, reached by a client over UCX, with a
// scripted shard as its only peer.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "cluster/placement.h"
#include "server/names/names.h"
#include "server/testing/scripted_peer.h"

namespace benchfs::server::testing {

inline constexpr wire::ShardId kSelf{0};
inline constexpr wire::ShardId kPeer{1};
// For calls that get no answer now.
inline constexpr Nanos kShort = std::chrono::milliseconds(100);

// Inodes of the store, without sizes and chunks.
class StoreDoor final : public InodeDoor {
 public:
  explicit StoreDoor(meta::MetaStore& store) : store_(store) {}

  rt::MaybeTask<Result<wire::Attr>> exact_attr(wire::InodeId inode,
                                               Deadline /*deadline*/) override {
    if (before_use) {
      std::exchange(before_use, nullptr)();
    }
    return store_.attr(inode);
  }
  [[nodiscard]] bool is_settled(wire::InodeId /*inode*/) const override { return true; }
  rt::MaybeTask<Result<wire::Attr>> open(wire::InodeId inode,
                                         OpenKey /*key*/,
                                         std::uint32_t /*flags*/,
                                         Deadline deadline) override {
    return exact_attr(inode, deadline);
  }
  Result<wire::Attr> create_open(EntryRef entry,
                                 const meta::NewInode& inode,
                                 OpenKey /*key*/,
                                 std::uint32_t /*flags*/,
                                 rpc::Request* asker,
                                 std::uint32_t& leased) override {
    Result<wire::Attr> attr =
        store_.apply(meta::Create{entry.parent, entry.name, inode, 1, mono_now()});
    if (attr && asker != nullptr) {
      asker->answer(wire::EntryReply{*attr, wire::kEntryCreated | leased, 0});
    }
    return attr;
  }
  [[nodiscard]] std::optional<meta::Open> find_open(OpenKey /*key*/) const override {
    return std::nullopt;
  }
  rt::CoResult<wire::Attr> add_link(wire::InodeId inode, Deadline deadline) override {
    while (holds_links && !deadline.passed()) {
      (void)co_await links_go_on.wait(deadline);
    }
    if (store_.attr(inode)) {
      co_return store_.apply(meta::Link{inode, 1});
    }
    linked.push_back(inode);
    co_return wire::Attr{.inode = inode.value, .mode = S_IFREG, .nlink = 2};
  }
  Result<wire::Attr> create_unnamed(wire::InodeId /*parent*/,
                                    const meta::NewInode& /*inode*/,
                                    OpenKey /*key*/,
                                    std::uint32_t /*flags*/) override {
    return fail_errno(ENOSYS);
  }
  void drop_unmade(wire::InodeId inode) override { (void)drop(inode); }
  Dropped drop(wire::InodeId inode) override {
    dropped.push_back(inode);
    return {};
  }
  rt::Task<void> wait_dropped(Dropped what, Deadline /*deadline*/) override {
    if (what.inode.is_valid()) {
      told.push_back(what);
    }
    co_return;
  }

  std::function<void()> before_use;  // runs once, when an inode has been found but not been used
  std::vector<wire::InodeId> dropped;
  std::vector<wire::InodeId> linked;  // of other shards
  std::vector<Dropped> told;
  bool holds_links = false;
  rt::WaitQueue links_go_on;

 private:
  meta::MetaStore& store_;
};

// Takes requests to Names as ShardService does.
class NamesService final : public rpc::Service {
 public:
  rt::Task<void> handle(rpc::Request& request) override {
    using wire::Opcode;
    using Handler = std::function<rt::Task<void>(rpc::Request&)>;
    const std::map<Opcode, Handler> handlers = {
        {Opcode::kLookup, [&](auto& r) { return names->entries().lookup(r); }},
        {Opcode::kOpen, [&](auto& r) { return names->entries().open(r); }},
        {Opcode::kMakeSpecial, [&](auto& r) { return names->entries().make_special(r); }},
        {Opcode::kMkdir, [&](auto& r) { return names->entries().mkdir(r); }},
        {Opcode::kLink, [&](auto& r) { return names->entries().link(r); }},
        {Opcode::kSymlink, [&](auto& r) { return names->entries().symlink(r); }},
        {Opcode::kQueryDirectory, [&](auto& r) { return names->marks().query(r); }},
        {Opcode::kUnlink, [&](auto& r) { return names->entries().unlink(r); }},
        {Opcode::kRmdir, [&](auto& r) { return names->removal().rmdir(r); }},
        {Opcode::kFreezeDirectory, [&](auto& r) { return names->removal().freeze_directory(r); }},
        {Opcode::kThawDirectory, [&](auto& r) { return names->removal().thaw_directory(r); }},
        {Opcode::kRename, [&](auto& r) { return names->renames().rename(r); }},
        {Opcode::kInstallEntry, [&](auto& r) { return names->installs().install_entry(r); }},
        {Opcode::kSettleInstall, [&](auto& r) { return names->installs().settle_install(r); }},
        {Opcode::kSetParent, [&](auto& r) { return names->renames().set_parent(r); }},
        {Opcode::kLockRenames, [&](auto& r) { return names->rename_lock().lock_renames(r); }},
        {Opcode::kUnlockRenames, [&](auto& r) { return names->rename_lock().unlock_renames(r); }},
    };
    auto found = handlers.find(request.opcode());
    return found == handlers.end() ? refuse(request) : found->second(request);
  }
  void on_client_registered(wire::SessionId session, std::uint64_t uid) override {
    names->leases().on_client_registered(session, uid);
    names->exact_leases().on_client_registered(session, uid);
  }
  void on_client_gone(std::uint64_t uid, rpc::Departure departure, pid_t) override {
    if (departure == rpc::Departure::kGoodbye) {
      names->leases().on_goodbye(uid);
      names->exact_leases().on_goodbye(uid);
    } else {
      names->leases().on_session_lost(uid);
      names->exact_leases().on_session_lost(uid);
    }
  }
  void on_invalidate_ack(wire::SessionId session, std::uint64_t sequence) override {
    names->leases().on_acknowledged(session, sequence);
    names->exact_leases().on_acknowledged(session, sequence);
  }
  void on_stopping() override { pool->close(); }

  std::unique_ptr<rpc::ConnectionPool> pool;
  rt::Scope scope;
  rt::CancelSource stopping;
  Peers peers;
  std::unique_ptr<meta::MetaStore> store;
  std::unique_ptr<StoreDoor> door;
  std::unique_ptr<Names> names;

 private:
  rt::Task<void> refuse(rpc::Request& request) {
    co_await request.reply_error(Error{Errc::kUnknownOpcode, 0, {}});
  }
};

class NamesTest : public ::testing::Test {
 protected:
  void start(Names::Config config = {}) {
    server_ = std::make_unique<rpc::testing::ServerThread>(
        rpc::testing::ServerThread::Options{.service = &service_, .at_end = [this] {
                                              service_.names.reset();
                                              service_.pool.reset();
                                            }});
    server_->run(
        [&](rpc::Server& server, net::Worker& worker) { make_names(server, worker, config); });
    client_ = std::make_unique<rpc::testing::Client>("client", addresses());
  }
  std::vector<net::SocketAddress> addresses() {
    std::vector<net::SocketAddress> all = {server_->address(), peer_.address()};
    if (self_ == kPeer) {
      std::swap(all[0], all[1]);
    }
    return all;
  }
  void run(const std::function<void(net::Worker&)>& what) {
    server_->run([&](rpc::Server&, net::Worker& worker) { what(worker); });
  }
  void TearDown() override {
    run([&](net::Worker&) {
      service_.stopping.cancel();
      service_.pool->close();
      service_.scope.close();
    });
    EXPECT_TRUE(server_->eventually(
        [&](rpc::Server&, net::Worker&) { return service_.scope.active() == 0; }));
    client_.reset();
    server_->stop();
  }

  // A name in the directory whose entry is on that shard.
  static std::string name_on(wire::ShardId shard,
                             std::string text,
                             wire::InodeId directory = wire::kRootInode) {
    while (cluster::entry_shard(directory, text, 2) != shard) {
      text += "x";
    }
    return text;
  }
  // An entry of the root, on this shard, that leads to an inode made elsewhere.
  void put(const std::string& name, wire::InodeId inode, std::uint32_t type) {
    run([&](net::Worker&) {
      ASSERT_TRUE(service_.store->apply(
          meta::PutEntry{wire::kRootInode, name, {inode, type}, 1, mono_now()}));
    });
  }

  template <typename Request>
  Result<rpc::Reply> call(const Request& body,
                          std::string_view name = {},
                          std::string_view second = {},
                          Nanos patience = std::chrono::seconds(10)) {
    return client_->call(rpc::make_call(body, name, second), Deadline::after(patience), self_);
  }
  // Begins a call; the shard has begun with it, too. The request and the names are borrowed.
  template <typename Request>
  rpc::testing::Client::Pending start_call(const Request& body,
                                           std::string_view name,
                                           std::string_view second = {}) {
    auto pending = client_->start(
        rpc::make_call(body, name, second), Deadline::after(std::chrono::hours(1)), self_);
    EXPECT_FALSE(lookup(name_on(self_, "absent")));
    return pending;
  }
  bool is_done(const rpc::testing::Client::Pending& pending) {
    return client_->eventually([&] { return pending->has_value(); });
  }
  static int errno_of(const Result<rpc::Reply>& reply) {
    return reply ? 0 : reply.error().to_errno();
  }
  Result<wire::EntryReply> lookup(std::string_view name,
                                  Nanos patience = std::chrono::seconds(10)) {
    wire::LookupRequest body{.parent = wire::kRootInode.value,
                             .name_bytes = static_cast<std::uint16_t>(name.size())};
    Result<rpc::Reply> reply = call(body, name, {}, patience);
    if (!reply) {
      return std::unexpected(reply.error());
    }
    return reply->as<wire::EntryReply>();
  }
  Result<wire::InodeId> mkdir(std::string_view name,
                              wire::InodeId parent = wire::kRootInode,
                              Nanos patience = std::chrono::seconds(10)) {
    wire::MkdirRequest body{.parent = parent.value,
                            .mode = 0755,
                            .name_bytes = static_cast<std::uint16_t>(name.size())};
    Result<rpc::Reply> reply = call(body, name, {}, patience);
    if (!reply) {
      return std::unexpected(reply.error());
    }
    return reply->as<wire::EntryReply>()->attr.id();
  }
  Result<rpc::Reply> open(std::string_view name, std::uint32_t flags) {
    wire::OpenRequest body{.parent = wire::kRootInode.value,
                           .flags = flags,
                           .mode = 0644,
                           .name_bytes = static_cast<std::uint16_t>(name.size()),
                           .open_number = ++opens_};
    return call(body, name);
  }
  int rmdir(std::string_view name) {
    wire::RmdirRequest body{.parent = wire::kRootInode.value,
                            .name_bytes = static_cast<std::uint16_t>(name.size())};
    return errno_of(call(body, name));
  }
  wire::RenameRequest rename_request(std::string_view from,
                                     std::string_view to,
                                     wire::InodeId new_parent = wire::kRootInode) {
    return {.old_parent = wire::kRootInode.value,
            .new_parent = new_parent.value,
            .old_name_bytes = static_cast<std::uint16_t>(from.size()),
            .new_name_bytes = static_cast<std::uint16_t>(to.size())};
  }
  int rename(std::string_view from,
             std::string_view to,
             Nanos patience = std::chrono::seconds(10),
             wire::InodeId new_parent = wire::kRootInode) {
    return errno_of(call(rename_request(from, to, new_parent), from, to, patience));
  }
  // As another shard would ask for the lease on directory renames.
  bool lock_renames(std::uint64_t owner = 77) {
    return call(wire::LockRenamesRequest{.owner = owner, .lease_ms = 1}).has_value();
  }
  std::uint32_t owed(OwedCalls::Kind kind) {
    std::uint32_t count = 0;
    run([&](net::Worker&) { count = owed_now(kind); });
    return count;
  }
  // The same, on the server's thread.
  std::uint32_t owed_now(OwedCalls::Kind kind) {
    std::uint32_t count = 0;
    for (const OwedCalls::Summary& summary : service_.names->owed()) {
      count += summary.counts[static_cast<std::size_t>(kind)];
    }
    return count;
  }
  // Waits until nothing of the kind is owed.
  bool is_paid(OwedCalls::Kind kind) {
    return server_->eventually([&](rpc::Server&, net::Worker&) { return owed_now(kind) == 0; });
  }

  // kPeer: the scripted peer is shard 0. Before start().
  wire::ShardId self_ = kSelf;
  ScriptedPeer peer_;
  NamesService service_;
  std::unique_ptr<rpc::testing::ServerThread> server_;
  std::unique_ptr<rpc::testing::Client> client_;

 private:
  std::uint64_t opens_ = 0;

  void make_names(rpc::Server& server, net::Worker& worker, Names::Config config) {
    service_.pool = rpc::ConnectionPool::create(worker,
                                                {.id = "shard:" + std::to_string(self_.value),
                                                 .uid = random_id(),
                                                 .run_id = rpc::testing::kTestRun},
                                                {})
                        .value();
    cluster::ServerList list;
    list.run_id = rpc::testing::kTestRun;
    for (const net::SocketAddress& address : addresses()) {
      list.servers.push_back(
          {"node_" + std::to_string(list.servers.size()), address.ip(), address.port()});
    }
    ASSERT_TRUE(service_.pool->set_servers(list));
    service_.peers = {.self = self_,
                      .shard_count = 2,
                      .pool = service_.pool.get(),
                      .scope = &service_.scope,
                      .stopping = &service_.stopping};
    service_.store =
        std::make_unique<meta::MetaStore>(self_, 2, meta::MetaStore::Config{.first_counter = 100});
    if (self_ == kSelf) {
      service_.store->apply(meta::MakeRoot{0, 0, 1});
    }
    service_.door = std::make_unique<StoreDoor>(*service_.store);
    service_.names =
        std::make_unique<Names>(*service_.store, *service_.door, service_.peers, config);
    service_.names->leases().attach(server, service_.stopping);
    service_.names->exact_leases().attach(server, service_.stopping);
  }
};

}  // namespace benchfs::server::testing
