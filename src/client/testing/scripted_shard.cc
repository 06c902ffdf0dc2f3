#include "client/testing/scripted_shard.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

#include "rpc/testing/server_test_peer.h"

namespace benchfs::client::testing {
namespace {

constexpr const char* kClientId = "client under test";

std::vector<net::SocketAddress> addresses(const std::vector<ScriptedShard*>& shards) {
  std::vector<net::SocketAddress> found;
  for (const ScriptedShard* shard : shards) {
    found.push_back(shard->address());
  }
  return found;
}

}  // namespace

wire::Attr file_attr(wire::InodeId inode, std::uint64_t size, std::uint16_t shards) {
  wire::Attr attr;
  attr.inode = inode.value;
  attr.size = size;
  attr.mode = S_IFREG | 0644U;
  attr.nlink = 1;
  attr.layout = {.chunk_bytes = wire::kMinChunkBytes,
                 .first_shard = static_cast<std::uint16_t>(inode.home().value),
                 .width = shards};
  return attr;
}

wire::Attr directory_attr(wire::InodeId inode, std::uint32_t mode, std::uint32_t gid) {
  wire::Attr attr;
  attr.inode = inode.value;
  attr.mode = S_IFDIR | mode;
  attr.nlink = 1;
  attr.gid = gid;
  return attr;
}

Answer fail_with(int posix_errno) {
  return [posix_errno](rpc::Request& request) -> rt::Task<void> {
    co_await request.reply_error(Error::from_errno(posix_errno));
  };
}

Answer fail_with(Errc code) {
  return [code](rpc::Request& request) -> rt::Task<void> {
    co_await request.reply_error(Error{code, 0, {}});
  };
}

Answer entry(const wire::Attr& attr, std::uint32_t flags) {
  wire::EntryReply body;
  body.attr = attr;
  body.flags = flags;
  return reply(body);
}

Answer remote(const wire::Attr& attr) {
  wire::Attr known;
  known.inode = attr.inode;
  known.mode = attr.mode & S_IFMT;
  return entry(known, wire::kEntryRemote);
}

Answer done() {
  return reply(wire::NoReply{});
}

// --- ScriptedShard -------------------------------------------------------------------------------

ScriptedShard::ScriptedShard(Nanos lease) {
  rpc::testing::ServerThread::Options options{.service = this};
  options.config.directory_lease = lease;
  server_ = std::make_unique<rpc::testing::ServerThread>(std::move(options));
}

ScriptedShard::~ScriptedShard() {
  release();
  server_->stop();
}

void ScriptedShard::script(wire::Opcode opcode, std::vector<Answer> answers) {
  std::lock_guard lock(mutex_);
  scripts_[opcode] = std::move(answers);
}

Answer ScriptedShard::late(Answer then) {
  return [this, then = std::move(then)](rpc::Request& request) -> rt::Task<void> {
    (void)co_await released_.wait(Deadline::never());
    co_await then(request);
  };
}

void ScriptedShard::release() {
  server_->run([this](rpc::Server&, net::Worker&) { released_.set(); });
}

void ScriptedShard::cut() {
  server_->run([](rpc::Server& server, net::Worker&) {
    rpc::ServerTestPeer::disconnect(server, kClientId);
  });
}

void ScriptedShard::evict() {
  server_->run(
      [](rpc::Server& server, net::Worker&) { rpc::ServerTestPeer::evict(server, kClientId); });
}

void ScriptedShard::invalidate(wire::InodeId parent, std::string_view name) {
  server_->run([&](rpc::Server& server, net::Worker&) {
    const rpc::Session* session = server.registry().find(kClientId);
    BENCHFS_CHECK(session != nullptr);
    wire::InvalidateHeader header{.sequence = 1, .session_id = session->id.value};
    header.parent = parent.value;
    header.name_bytes = static_cast<std::uint16_t>(name.size());
    wire::HeaderBuffer<> message;
    message.append(header);
    message.append_text(name);
    server.notify(session->id, wire::Opcode::kInvalidate, std::as_const(message).bytes());
  });
}

void ScriptedShard::forget_client() {
  server_->run(
      [](rpc::Server& server, net::Worker&) { rpc::ServerTestPeer::forget(server, kClientId); });
}

rt::Task<void> ScriptedShard::handle(rpc::Request& request) {
  Answer answer = next(request);
  co_await answer(request);
}

Answer ScriptedShard::next(rpc::Request& request) {
  std::string what(wire::to_string(request.opcode()));
  if (request.opcode() == wire::Opcode::kOpen) {
    wire::OpenRequest open;
    if (request.reader().read(open)) {
      what += fmt::format(" {}", open.open_number);
    }
  } else if (request.opcode() == wire::Opcode::kOpenInode) {
    wire::OpenInodeRequest open;
    if (request.reader().read(open)) {
      what += fmt::format(" {}", open.open_number);
    }
  }
  record(std::move(what));
  std::lock_guard lock(mutex_);
  wire::Reader reader = request.reader();
  std::vector<std::byte> body(reader.left());
  for (std::byte& byte : body) {
    (void)reader.read(byte);
  }
  bodies_[request.opcode()].push_back(std::move(body));
  std::vector<Answer>& script = scripts_[request.opcode()];
  if (script.empty()) {
    return request.opcode() == wire::Opcode::kPing ? done() : fail_with(Errc::kUnknownOpcode);
  }
  Answer answer = script.front();
  if (script.size() > 1) {
    script.erase(script.begin());
  }
  return answer;
}

bool ScriptedShard::on_notice(wire::SessionId,
                              std::uint64_t,
                              wire::Opcode opcode,
                              wire::Reader body) {
  if (opcode == wire::Opcode::kCloseNotice) {
    wire::CloseNotice close;
    bool is_whole = body.read(close);
    record(fmt::format("close {} of {}", close.open_number, close.inode));
    return is_whole;
  }
  wire::OpensNotice opens;
  if (opcode != wire::Opcode::kOpensNotice || !body.read(opens)) {
    return false;
  }
  std::string text = fmt::format("opens [{},{})", opens.from, opens.to);
  for (std::uint32_t i = 0; i < opens.count; ++i) {
    std::uint64_t number = 0;
    if (!body.read(number)) {
      return false;
    }
    text += fmt::format(" {}", number);
  }
  record(std::move(text));
  return true;
}

void ScriptedShard::on_client_registered(wire::SessionId, std::uint64_t) {
  record("registered");
}
void ScriptedShard::on_client_gone(std::uint64_t, rpc::Departure departure, pid_t) {
  if (departure == rpc::Departure::kGoodbye) {
    record("goodbye");
  }
}
void ScriptedShard::on_invalidate_ack(wire::SessionId, std::uint64_t) {
  record("acknowledged");
}

void ScriptedShard::record(std::string event) {
  std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
}

std::vector<std::string> ScriptedShard::events() {
  std::lock_guard lock(mutex_);
  return events_;
}

std::size_t ScriptedShard::count(std::string_view event) {
  std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::ranges::count(events_, event));
}

void ScriptedShard::forget_events() {
  std::lock_guard lock(mutex_);
  events_.clear();
  bodies_.clear();
}

// --- ClientUnderTest -----------------------------------------------------------------------------

ClientUnderTest::ClientUnderTest(const std::vector<ScriptedShard*>& shards, Timeouts timeouts)
    : rpc_(kClientId, addresses(shards)),
      fs_(std::make_unique<FileSystem>(rpc_.pool(),
                                       FileSystemConfig{.timeouts = timeouts, .gid = 100})) {}

ClientUnderTest::~ClientUnderTest() {
  rpc_.reactor().block_on(fs_->leave());
}

std::uint64_t ClientUnderTest::calls(std::uint32_t shard) {
  return rpc_.pool().at(wire::ShardId{shard}).stats().calls;
}

}  // namespace benchfs::client::testing
