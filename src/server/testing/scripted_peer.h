// A shard that does what a test says: it records the requests of other shards, and answers each
// operation as it was told, at once, late or never.
#pragma once

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "rpc/testing/rpc_fixture.h"

namespace benchfs::server::testing {

class ScriptedPeer final : private rpc::Service {
 public:
  enum class Answer : std::uint8_t { kOk, kNever, kNotReady, kStale };

  ScriptedPeer() : server_(rpc::testing::ServerThread::Options{.service = this}) {}
  ~ScriptedPeer() override { stop(); }
  void stop() {
    set_all(Answer::kNotReady);
    server_.stop();
  }
  [[nodiscard]] const net::SocketAddress& address() const { return server_.address(); }

  // Operations are answered with kOk unless told otherwise. What has not been answered so far is
  // answered in the new way.
  void set(wire::Opcode opcode, Answer answer) {
    server_.run([&](rpc::Server&, net::Worker&) {
      answers_[opcode] = answer;
      most_unanswered_[opcode] = unanswered_[opcode];
      changed_.wake_all();
    });
  }
  // Each lease on renames gets a new number, also when it is extended.
  void number_leases() {
    server_.run([&](rpc::Server&, net::Worker&) { numbers_leases_ = true; });
  }
  // What SettleInstall says.
  void set_installed(bool installed) {
    server_.run([&](rpc::Server&, net::Worker&) { installed_ = installed; });
  }
  // What names here lead to, for exchanges that expect something else.
  void set_other(wire::InodeId inode, std::uint32_t type) {
    server_.run([&](rpc::Server&, net::Worker&) {
      other_ = {.replaced = inode.value, .flags = wire::kInstallOther, .type = type};
    });
  }
  [[nodiscard]] std::size_t received(wire::Opcode opcode) {
    std::size_t count = 0;
    server_.run([&](rpc::Server&, net::Worker&) { count = received_[opcode]; });
    return count;
  }
  // How many were unanswered at one time since the operation was set.
  [[nodiscard]] std::size_t most_unanswered(wire::Opcode opcode) {
    std::size_t count = 0;
    server_.run([&](rpc::Server&, net::Worker&) { count = most_unanswered_[opcode]; });
    return count;
  }
  [[nodiscard]] std::size_t unanswered(wire::Opcode opcode) {
    std::size_t count = 0;
    server_.run([&](rpc::Server&, net::Worker&) { count = unanswered_[opcode]; });
    return count;
  }
  // How often it was told that a directory was removed.
  [[nodiscard]] std::size_t removals() {
    std::size_t count = 0;
    server_.run([&](rpc::Server&, net::Worker&) { count = removals_; });
    return count;
  }
  bool eventually(const std::function<bool()>& condition) {
    return server_.eventually([&](rpc::Server&, net::Worker&) { return condition(); });
  }
  // For conditions of eventually(), on the server's thread.
  std::size_t received_now(wire::Opcode opcode) { return received_[opcode]; }
  std::size_t unanswered_now(wire::Opcode opcode) { return unanswered_[opcode]; }

 private:
  rt::Task<void> handle(rpc::Request& request) override {
    wire::Opcode opcode = request.opcode();
    ++received_[opcode];
    ++unanswered_[opcode];
    most_unanswered_[opcode] = std::max(most_unanswered_[opcode], unanswered_[opcode]);
    wire::ThawDirectoryRequest thaw;
    if (opcode == wire::Opcode::kThawDirectory && request.reader().read(thaw)) {
      removals_ += thaw.removed;
    }
    wire::InstallEntryRequest install;
    if (opcode == wire::Opcode::kInstallEntry && request.reader().read(install) &&
        (install.flags & wire::kRenameExchange) != 0 && install.expected != other_.replaced) {
      --unanswered_[opcode];
      co_await request.reply(other_);
      co_return;
    }
    while (answer(opcode) == Answer::kNever && !request.deadline().passed()) {
      (void)co_await changed_.wait(request.deadline());
    }
    --unanswered_[opcode];
    if (answer(opcode) == Answer::kStale) {
      co_await request.reply_error(Error::from_errno(ESTALE));
    } else if (answer(opcode) != Answer::kOk) {
      co_await request.reply_error(Error{Errc::kNotReady, 0, {}});
    } else if (opcode == wire::Opcode::kLockRenames) {
      move_ += numbers_leases_ ? 1 : 0;
      co_await request.reply(wire::LockRenamesReply{.move = move_});
    } else if (opcode == wire::Opcode::kSettleInstall) {
      co_await request.reply(wire::SettleInstallReply{.installed = installed_ ? 1U : 0U});
    } else {
      co_await request.reply(wire::NoReply{});
    }
  }
  void on_client_registered(wire::SessionId, std::uint64_t) override {}
  void on_client_gone(std::uint64_t, rpc::Departure, pid_t) override {}
  void on_invalidate_ack(wire::SessionId, std::uint64_t) override {}

  Answer answer(wire::Opcode opcode) {
    auto found = answers_.find(opcode);
    return found == answers_.end() ? otherwise_ : found->second;
  }
  void set_all(Answer answer) {
    server_.run([&](rpc::Server&, net::Worker&) {
      answers_.clear();
      otherwise_ = answer;
      changed_.wake_all();
    });
  }

  std::map<wire::Opcode, Answer> answers_;
  Answer otherwise_ = Answer::kOk;
  bool installed_ = false;
  wire::InstallEntryReply other_;
  bool numbers_leases_ = false;
  std::uint64_t move_ = 1;
  std::map<wire::Opcode, std::size_t> received_;
  std::map<wire::Opcode, std::size_t> unanswered_;
  std::map<wire::Opcode, std::size_t> most_unanswered_;
  std::size_t removals_ = 0;
  rt::WaitQueue changed_;
  rpc::testing::ServerThread server_;
};

}  // namespace benchfs::server::testing
