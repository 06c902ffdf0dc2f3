// One real shard whose peers are scripted: what they answer, and when, is the test's to say. Real
// UCX over loopback; the test is a client of the shard, and sends what shards send as well.
//
// Thread: the test's.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "rpc/testing/rpc_fixture.h"
#include "server/shard.h"

namespace benchfs::server::testing {

// Records what it is asked, and answers every operation with what was set, or the reply's defaults.
class ScriptedShard final : private rpc::Service {
 public:
  ScriptedShard();
  ~ScriptedShard() override;

  // Requests of this operation are not answered until release(); then as is set at that time.
  void hold(wire::Opcode opcode);
  void release(wire::Opcode opcode);
  // The next request of this operation is answered as is set when it comes, but only after
  // let_go(); later ones are not held up.
  void delay_next(wire::Opcode opcode);
  void let_go(wire::Opcode opcode);
  template <typename Request>
  void answer(const typename Request::Reply& reply) {
    auto bytes = std::as_bytes(std::span(&reply, 1));
    std::lock_guard lock(mutex_);
    errors_.erase(Request::kOpcode);
    replies_[Request::kOpcode].assign(bytes.begin(), bytes.end());
  }
  void answer_error(wire::Opcode opcode, Error error);
  // Reads of chunks find these bytes stored.
  void answer_reads(std::string bytes);

  [[nodiscard]] std::size_t count(wire::Opcode opcode) const;
  // All of them, heartbeats and set-up included only if they are operations.
  [[nodiscard]] std::size_t count() const;
  template <typename Request>
  [[nodiscard]] std::vector<Request> received() const {
    std::lock_guard lock(mutex_);
    std::vector<Request> all;
    for (const auto& [opcode, body] : received_) {
      Request request;
      if (opcode == Request::kOpcode && wire::Reader(body).read(request)) {
        all.push_back(request);
      }
    }
    return all;
  }

  rpc::testing::ServerThread& server() { return *server_; }

 private:
  struct Answer {
    std::array<std::byte, rpc::kMaxReplyBody> reply{};
    std::string data;
    std::optional<Error> error;
  };
  rt::Task<void> handle(rpc::Request& request) override;
  [[nodiscard]] Answer answer_set(wire::Opcode opcode);
  // Nothing while the request is held up.
  std::optional<Answer> answer_now(wire::Opcode opcode);
  std::optional<Answer> late_answer(wire::Opcode opcode, const Answer& answer, std::size_t let_go);
  void on_client_registered(wire::SessionId, std::uint64_t) override {}
  void on_client_gone(std::uint64_t, rpc::Departure, pid_t) override {}
  void on_invalidate_ack(wire::SessionId, std::uint64_t) override {}

  mutable std::mutex mutex_;
  std::vector<std::pair<wire::Opcode, std::vector<std::byte>>> received_;
  std::set<wire::Opcode> held_;
  std::set<wire::Opcode> delays_next_;
  std::map<wire::Opcode, std::size_t> let_go_;  // how often
  std::map<wire::Opcode, std::vector<std::byte>> replies_;
  std::map<wire::Opcode, Error> errors_;
  std::string stored_;
  bool stopping_ = false;
  std::unique_ptr<rpc::testing::ServerThread> server_;
};

class ShardUnderTest {
 public:
  struct Options {
    std::uint32_t peers = 2;
    std::function<void(ShardConfig&)> tweak{};
    bool is_back = false;                           // the shard was in this file system before
    std::function<void(ScriptedShard&)> prepare{};  // each peer, before the shard starts
  };
  explicit ShardUnderTest(Options options);
  ShardUnderTest(const ShardUnderTest&) = delete;
  ShardUnderTest& operator=(const ShardUnderTest&) = delete;
  ~ShardUnderTest();

  // The shard itself is number 0; its peers begin with 1.
  ScriptedShard& peer(std::uint32_t shard) { return *peers_[shard - 1]; }
  [[nodiscard]] net::SocketAddress address() const { return shard_->address(); }
  rpc::testing::Client& client() { return *client_; }
  // All that peers have been asked.
  [[nodiscard]] std::size_t requests_to_peers() const;
  // A name in the root whose entry, and so whose inode, is on the shard.
  [[nodiscard]] std::string local_name(const std::string& prefix) const;

  template <typename Request>
  Result<typename Request::Reply> call(
      Request request,
      std::string_view name = {},
      Deadline deadline = Deadline::after(std::chrono::seconds(10)),
      std::span<const std::byte> data = {}) {
    rpc::Call call = rpc::make_call(request, name);
    call.data = data;
    Result<rpc::Reply> reply = client_->call(call, deadline);
    if (!reply) {
      return std::unexpected(reply.error());
    }
    if constexpr (std::is_same_v<typename Request::Reply, wire::NoReply>) {
      return wire::NoReply{};
    } else {
      return reply->template as<typename Request::Reply>();
    }
  }
  template <typename Notice>
  bool notify(const Notice& notice, std::span<const std::byte> tail = {}) {
    rt::Reactor::Binding binding(client_->reactor());
    return client_->pool().notify(wire::ShardId{0}, notice, tail);
  }
  // The counters of the shard, as text.
  std::string stats();
  // Until the counters contain `text`; false after ten seconds.
  bool eventually_in_stats(const std::string& text);
  // Drives the client until `condition` holds; false after ten seconds.
  bool eventually(const std::function<bool()>& condition) { return client_->eventually(condition); }

 private:
  std::string directory_;
  std::vector<std::unique_ptr<ScriptedShard>> peers_;
  std::unique_ptr<Shard> shard_;
  std::binary_semaphore stopped_{0};  // nobody but its thread uses the shard any more
  std::thread thread_;
  std::unique_ptr<rpc::testing::Client> client_;
};

}  // namespace benchfs::server::testing
