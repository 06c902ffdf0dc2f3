// A shard whose answers a test writes, and a file system that talks to it, over real UCX.
//
//   ScriptedShard shard;
//   shard.script(wire::Opcode::kLookup, {fail_with(ENOENT), entry(directory_attr(kDir))});
//   ClientUnderTest client({&shard});
//   client.run(client.fs().stat("/d"));
//
// Each request of an opcode takes the next answer of its script; the last one repeats. What has no
// script is answered with kUnknownOpcode, but for pings.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/file_system.h"
#include "rpc/testing/rpc_fixture.h"
#include "rt/awaiting.h"
#include "rt/sync.h"
#include "wire/messages.h"

namespace benchfs::client::testing {

using Answer = std::function<rt::Task<void>(rpc::Request&)>;

inline constexpr wire::InodeId kDir = wire::InodeId::make(wire::ShardId{0}, 5);
inline constexpr wire::InodeId kOtherDir = wire::InodeId::make(wire::ShardId{0}, 6);
inline constexpr wire::InodeId kFile = wire::InodeId::make(wire::ShardId{0}, 10);
inline constexpr wire::InodeId kOtherFile = wire::InodeId::make(wire::ShardId{0}, 11);

wire::Attr file_attr(wire::InodeId inode, std::uint64_t size = 0, std::uint16_t shards = 1);
wire::Attr directory_attr(wire::InodeId inode, std::uint32_t mode = 0755, std::uint32_t gid = 0);

// Answers.
Answer fail_with(int posix_errno);
Answer fail_with(Errc code);
Answer entry(const wire::Attr& attr, std::uint32_t flags = 0);
Answer remote(const wire::Attr& attr);  // the inode lives elsewhere
Answer done();
template <typename Body>
Answer reply(const Body& body) {
  return [body](rpc::Request& request) -> rt::Task<void> { co_await request.reply(body); };
}

// Threads: any.
class ScriptedShard final : private rpc::Service {
 public:
  // `lease`: how long its clients may use what it leases.
  explicit ScriptedShard(Nanos lease = std::chrono::seconds(10));
  ScriptedShard(const ScriptedShard&) = delete;
  ScriptedShard& operator=(const ScriptedShard&) = delete;
  ~ScriptedShard() override;

  void script(wire::Opcode opcode, std::vector<Answer> answers);
  // The same answer, but not before release().
  Answer late(Answer then);
  void release();

  // Ends every session as a broken connection does, or as an eviction.
  void cut();
  void evict();
  // Tells the client to forget a cached name; without a name: the attributes of the inode.
  void invalidate(wire::InodeId parent, std::string_view name);
  // Ends the session and forgets the client, as a restart does.
  void forget_client();
  void freeze() { server_->freeze(); }
  void thaw() { server_->thaw(); }

  // What arrived, in order: "lookup", "open 1", "close 1 of 10", "opens [1,3) 1 2", "registered",
  // "acknowledged" (an invalidation), "goodbye".
  [[nodiscard]] std::vector<std::string> events();
  [[nodiscard]] std::size_t count(std::string_view event);
  void forget_events();
  [[nodiscard]] const net::SocketAddress& address() const { return server_->address(); }
  // Bodies of the requests of an opcode, in order.
  template <typename Request>
  std::vector<Request> requests() {
    std::lock_guard lock(mutex_);
    std::vector<Request> found;
    for (const std::vector<std::byte>& bytes : bodies_[Request::kOpcode]) {
      Request body;
      if (wire::Reader(bytes).read(body)) {
        found.push_back(body);
      }
    }
    return found;
  }

 private:
  rt::Task<void> handle(rpc::Request& request) override;
  bool on_notice(wire::SessionId session,
                 std::uint64_t client_uid,
                 wire::Opcode opcode,
                 wire::Reader body) override;
  void on_client_registered(wire::SessionId session, std::uint64_t client_uid) override;
  void on_client_gone(std::uint64_t client_uid, rpc::Departure departure, pid_t process) override;
  void on_invalidate_ack(wire::SessionId session, std::uint64_t sequence) override;
  void record(std::string event);
  Answer next(rpc::Request& request);

  std::mutex mutex_;
  std::map<wire::Opcode, std::vector<Answer>> scripts_;
  std::map<wire::Opcode, std::vector<std::vector<std::byte>>> bodies_;
  std::vector<std::string> events_;
  rt::Event released_;  // the server's thread
  std::unique_ptr<rpc::testing::ServerThread> server_;
};

class ClientUnderTest {
 public:
  explicit ClientUnderTest(const std::vector<ScriptedShard*>& shards,
                           Timeouts timeouts = Timeouts::all(std::chrono::seconds(10)));
  ClientUnderTest(const ClientUnderTest&) = delete;
  ClientUnderTest& operator=(const ClientUnderTest&) = delete;
  ~ClientUnderTest();

  [[nodiscard]] FileSystem& fs() { return *fs_; }
  [[nodiscard]] rt::Reactor& reactor() { return rpc_.reactor(); }
  template <typename T>
  T run(rt::Task<T> task) {
    return rpc_.reactor().block_on(std::move(task));
  }
  template <typename Call>
  auto run(Call&& call) {
    return run(await(call));
  }
  // Drives the client until `condition` holds; false after ten seconds.
  bool eventually(const std::function<bool()>& condition) { return rpc_.eventually(condition); }
  [[nodiscard]] std::uint64_t calls(std::uint32_t shard = 0);
  // Starts what `make` makes; its result appears while the client is driven.
  template <typename Make>
  auto start(Make make) {
    using T = rt::AwaitedBy<std::invoke_result_t<Make&>>;
    rt::Reactor::Binding binding(rpc_.reactor());
    auto result = std::make_shared<std::optional<T>>();
    scope_.spawn(keep_result(std::move(make), result));
    return result;
  }
  template <typename T>
  auto start(rt::Task<T> task) {
    return start([task = std::move(task)]() mutable { return std::move(task); });
  }

 private:
  template <typename Call>
  static rt::Task<rt::AwaitedBy<Call>> await(Call& call) {
    co_return co_await call;
  }
  template <typename Make, typename T>
  static rt::Task<void> keep_result(Make make, std::shared_ptr<std::optional<T>> result) {
    result->emplace(co_await make());
  }
  rpc::testing::Client rpc_;
  std::unique_ptr<FileSystem> fs_;
  rt::Scope scope_;
};

}  // namespace benchfs::client::testing
