#include "server/testing/shard_under_test.h"

#include <stdlib.h>

#include <filesystem>
#include <future>
#include <thread>

#include "base/check.h"
#include "cluster/placement.h"
#include "cluster/server_list_file.h"

namespace benchfs::server::testing {

// --- ScriptedShard -------------------------------------------------------------------------------

ScriptedShard::ScriptedShard() {
  rpc::testing::ServerThread::Options options;
  options.ready = false;
  options.service = this;
  server_ = std::make_unique<rpc::testing::ServerThread>(std::move(options));
}

ScriptedShard::~ScriptedShard() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  server_->stop();
}

void ScriptedShard::hold(wire::Opcode opcode) {
  std::lock_guard lock(mutex_);
  held_.insert(opcode);
}

void ScriptedShard::release(wire::Opcode opcode) {
  std::lock_guard lock(mutex_);
  held_.erase(opcode);
}

void ScriptedShard::delay_next(wire::Opcode opcode) {
  std::lock_guard lock(mutex_);
  delays_next_.insert(opcode);
}

void ScriptedShard::let_go(wire::Opcode opcode) {
  std::lock_guard lock(mutex_);
  ++let_go_[opcode];
}

void ScriptedShard::answer_error(wire::Opcode opcode, Error error) {
  std::lock_guard lock(mutex_);
  errors_[opcode] = std::move(error);
}

void ScriptedShard::answer_reads(std::string bytes) {
  answer<wire::ReadChunkRequest>({.bytes = bytes.size()});
  std::lock_guard lock(mutex_);
  stored_ = std::move(bytes);
}

std::size_t ScriptedShard::count(wire::Opcode opcode) const {
  std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const auto& message : received_) {
    count += message.first == opcode ? 1 : 0;
  }
  return count;
}

std::size_t ScriptedShard::count() const {
  std::lock_guard lock(mutex_);
  return received_.size();
}

rt::Task<void> ScriptedShard::handle(rpc::Request& request) {
  wire::Opcode opcode = request.opcode();
  wire::Reader reader = request.reader();
  std::string_view text = reader.read_text(reader.left());
  auto body = std::as_bytes(std::span(text));
  {
    std::lock_guard lock(mutex_);
    received_.emplace_back(opcode, std::vector<std::byte>(body.begin(), body.end()));
  }
  std::optional<Answer> late;
  std::size_t let_go = 0;
  {
    std::lock_guard lock(mutex_);
    let_go = let_go_[opcode];
    if (delays_next_.erase(opcode) > 0) {
      late = answer_set(opcode);
    }
  }
  for (;;) {
    std::optional<Answer> answer = late ? late_answer(opcode, *late, let_go) : answer_now(opcode);
    if (!answer) {
      (void)co_await rt::sleep_for(std::chrono::milliseconds(2));  // lint: allow sleep (a poll)
      continue;
    }
    if (answer->error) {
      co_await request.reply_error(*answer->error);
    } else {
      co_await request.reply(answer->reply, std::as_bytes(std::span(answer->data)));
    }
    co_return;
  }
}

// With the mutex.
ScriptedShard::Answer ScriptedShard::answer_set(wire::Opcode opcode) {
  Answer answer;
  if (auto set = errors_.find(opcode); set != errors_.end()) {
    answer.error = set->second;
  }
  if (auto set = replies_.find(opcode); set != replies_.end()) {
    std::ranges::copy(set->second, answer.reply.begin());
  } else if (opcode == wire::Opcode::kMark) {
    answer.error = Error::from_errno(ESTALE);
  }
  if (opcode == wire::Opcode::kReadChunk) {
    answer.data = stored_;
  }
  return answer;
}

std::optional<ScriptedShard::Answer> ScriptedShard::answer_now(wire::Opcode opcode) {
  std::lock_guard lock(mutex_);
  bool is_held = held_.contains(opcode) && !stopping_;
  return is_held ? std::nullopt : std::optional(answer_set(opcode));
}

std::optional<ScriptedShard::Answer> ScriptedShard::late_answer(wire::Opcode opcode,
                                                                const Answer& answer,
                                                                std::size_t let_go) {
  std::lock_guard lock(mutex_);
  bool is_held = let_go_[opcode] == let_go && !stopping_;
  return is_held ? std::nullopt : std::optional(answer);
}

// --- ShardUnderTest ------------------------------------------------------------------------------

ShardUnderTest::ShardUnderTest(Options options) {
  std::string path = std::filesystem::temp_directory_path() / "benchfs_shard_XXXXXX";
  BENCHFS_CHECK(mkdtemp(path.data()) != nullptr);
  directory_ = path;
  const std::uint32_t count = options.peers + 1;
  ShardConfig config;
  config.node_id = "node_0";
  config.registry_dir = directory_;
  config.expected_servers = count;
  config.run_id = rpc::testing::kTestRun;
  config.auth = Auth::kNone;
  config.listen_ip = "127.0.0.1";
  config.engine = Engine::kMemory;
  config.memory_bytes = std::uint64_t{64} << 20;
  config.chunk_bytes = 64U << 10;
  config.buffer_bytes = 64U << 10;
  config.network.devices = "lo";
  if (options.tweak) {
    options.tweak(config);
  }
  auto add_line = [&](const cluster::Server& line) {
    auto added = cluster::append_server(
        directory_,
        line,
        {.run_id = rpc::testing::kTestRun, .expected = count, .common = common_settings(config)},
        Deadline::after(std::chrono::seconds(10)));
    BENCHFS_CHECK(added.has_value());
  };
  if (options.is_back) {
    add_line({config.node_id, config.listen_ip, 1});
  }
  std::vector<net::SocketAddress> addresses(1);
  for (std::uint32_t shard = 1; shard < count; ++shard) {
    peers_.push_back(std::make_unique<ScriptedShard>());
    if (options.prepare) {
      options.prepare(*peers_.back());
    }
    rpc::testing::ServerThread& server = peers_.back()->server();
    server.run([&](rpc::Server& ready, net::Worker&) {
      ready.set_ready(wire::ShardId{shard}, count, rpc::testing::kTestRun);
    });
    addresses.push_back(server.address());
    add_line({"node_" + std::to_string(shard), server.address().ip(), server.address().port()});
  }
  std::promise<Shard*> created;
  thread_ = std::thread([&created, config, this] {
    auto shard = Shard::create(config);
    BENCHFS_CHECK(shard.has_value());
    shard_ = std::move(*shard);
    created.set_value(shard_.get());
    (void)shard_->run();
    stopped_.acquire();
    shard_.reset();  // on the thread that made it
  });
  addresses.front() = created.get_future().get()->address();
  client_ = std::make_unique<rpc::testing::Client>("test", addresses);
}

ShardUnderTest::~ShardUnderTest() {
  client_.reset();
  shard_->stop();
  stopped_.release();
  thread_.join();
  peers_.clear();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::size_t ShardUnderTest::requests_to_peers() const {
  std::size_t count = 0;
  for (const auto& peer : peers_) {
    count += peer->count();
  }
  return count;
}

std::string ShardUnderTest::local_name(const std::string& prefix) const {
  for (int i = 0;; ++i) {
    std::string name = prefix + std::to_string(i);
    auto count = static_cast<std::uint32_t>(peers_.size()) + 1;
    if (cluster::entry_shard(wire::kRootInode, name, count) == wire::ShardId{0}) {
      return name;
    }
  }
}

std::string ShardUnderTest::stats() {
  wire::StatsRequest request;
  std::string text(wire::kMaxStatsBytes, '\0');
  rpc::Call call = rpc::make_call(request);
  call.into = std::as_writable_bytes(std::span(text));
  Result<rpc::Reply> reply = client_->call(call);
  text.resize(reply ? reply->data_bytes : 0);
  return text;
}

bool ShardUnderTest::eventually_in_stats(const std::string& text) {
  Deadline deadline = Deadline::after(std::chrono::seconds(10));
  do {
    if (stats().contains(text)) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // lint: allow sleep others run
  } while (!deadline.passed());
  return false;
}

}  // namespace benchfs::server::testing
