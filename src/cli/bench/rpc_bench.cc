#include "cli/bench/rpc_bench.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>

#include "cli/bench/pattern.h"

namespace benchfs::cli::bench {
namespace {

constexpr Nanos kCallTimeout = std::chrono::seconds(30);
constexpr Nanos kWarmupLimit = std::chrono::milliseconds(500);
// Up to here every byte of every reply is compared, above one word of every page.
constexpr std::size_t kCompareAll = 4096;

enum class Direction : std::uint8_t { kSend, kReceive, kEcho };

Direction direction_of(const std::string& name) {
  if (name == "send") {
    return Direction::kSend;
  }
  return name == "receive" ? Direction::kReceive : Direction::kEcho;
}

// Pings in one direction and size, `depth` of them outstanding.
class PingLoad {
 public:
  struct Config {
    Direction direction = Direction::kSend;
    std::size_t payload_bytes = 0;
    std::uint32_t depth = 1;
    std::uint32_t shards = 1;
    std::uint64_t seed = 0;
    std::uint32_t rank = 0;
  };
  PingLoad(rpc::ConnectionPool& pool, const Config& config);

  // Until `operations` were done (0 = no limit) or `stop_at` has passed.
  rt::CoStatus run(std::uint64_t operations, MonoTime stop_at, Measurement& measurement);

 private:
  // The buffers of one outstanding ping.
  struct Lane {
    Lane(const Config& config, std::uint32_t index);
    Pattern pattern;
    AlignedBuffer received;
  };

  rt::CoStatus ping_until_done(std::uint32_t index);
  void prepare(Lane& lane, std::uint64_t sequence);
  void check(Lane& lane, std::uint64_t sequence);
  bool is_right(Lane& lane, std::uint64_t sequence) const;
  [[nodiscard]] std::size_t sent_bytes() const;
  [[nodiscard]] bool wants_data() const { return config_.direction != Direction::kSend; }

  rpc::ConnectionPool& pool_;
  Config config_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::uint64_t next_sequence_ = 1;
  std::uint64_t last_sequence_ = 0;
  MonoTime stop_at_;
  Measurement* measurement_ = nullptr;
};

PingLoad::Lane::Lane(const Config& config, std::uint32_t index)
    : pattern(config.seed, (std::uint64_t{config.rank} << 32) | index, config.payload_bytes),
      received(config.payload_bytes) {}

PingLoad::PingLoad(rpc::ConnectionPool& pool, const Config& config) : pool_(pool), config_(config) {
  for (std::uint32_t i = 0; i < config.depth; ++i) {
    lanes_.push_back(std::make_unique<Lane>(config, i));
  }
}

rt::CoStatus PingLoad::run(std::uint64_t operations, MonoTime stop_at, Measurement& measurement) {
  last_sequence_ = operations == 0 ? ~std::uint64_t{0} : next_sequence_ + operations - 1;
  stop_at_ = stop_at;
  measurement_ = &measurement;
  return run_lanes(config_.depth, [this](std::uint32_t index) { return ping_until_done(index); });
}

rt::CoStatus PingLoad::ping_until_done(std::uint32_t index) {
  Lane& lane = *lanes_[index];
  while (next_sequence_ <= last_sequence_) {
    std::uint64_t sequence = next_sequence_++;
    wire::PingRequest request;
    rpc::Call call{.opcode = wire::Opcode::kPing};
    call.data = lane.pattern.block(sequence).first(sent_bytes());
    if (wants_data()) {
      call.body = std::as_bytes(std::span(&request, 1));
      prepare(lane, sequence);
      request.reply_bytes = static_cast<std::uint32_t>(config_.payload_bytes);
      call.into = lane.received.span();
    }
    wire::ShardId shard{static_cast<std::uint32_t>((sequence + config_.rank) % config_.shards)};

    MonoTime begin = mono_now();
    Result<rpc::Reply> reply = co_await pool_.call(shard, call, Deadline::at(begin + kCallTimeout));
    MonoTime end = mono_now();

    if (!reply) {
      co_return std::unexpected(std::move(reply).error());
    }
    measurement_->latency.record(static_cast<std::uint64_t>((end - begin).count()));
    ++measurement_->operations;
    measurement_->bytes += config_.payload_bytes;
    check(lane, sequence);
    if (wants_data() && reply->data_bytes != config_.payload_bytes) {
      measurement_->on_mismatch(fmt::format("ping {} to {}: {} bytes came back, {} were asked for",
                                            sequence,
                                            pool_.at(shard).name(),
                                            reply->data_bytes,
                                            config_.payload_bytes));
    }
    if (end >= stop_at_) {
      break;
    }
  }
  co_return Status{};
}

// A reply to `receive` begins with what was sent, a word; the rest is zeros.
std::size_t PingLoad::sent_bytes() const {
  return config_.direction == Direction::kReceive
             ? std::min(config_.payload_bytes, sizeof(std::uint64_t))
             : config_.payload_bytes;
}

// Overwrites what check() will look at, so that it cannot be of an earlier reply.
void PingLoad::prepare(Lane& lane, std::uint64_t sequence) {
  std::span<std::byte> buffer = lane.received.span();
  if (buffer.size() <= kCompareAll) {
    std::memset(buffer.data(), static_cast<int>(0x80 | (sequence & 0x7f)), buffer.size());
    return;
  }
  for (std::size_t page = 0; page < buffer.size(); page += kCompareAll) {
    std::memset(&buffer[page], 0xff, std::min(2 * sizeof(std::uint64_t), buffer.size() - page));
  }
}

void PingLoad::check(Lane& lane, std::uint64_t sequence) {
  if (wants_data() && !is_right(lane, sequence)) [[unlikely]] {
    measurement_->on_mismatch(fmt::format("ping {}: wrong data came back", sequence));
  }
}

bool PingLoad::is_right(Lane& lane, std::uint64_t sequence) const {
  std::span<const std::byte> got = lane.received.span();
  if (config_.direction == Direction::kEcho) {
    return got.size() <= kCompareAll ? !lane.pattern.compare(sequence, got)
                                     : !lane.pattern.compare_stamps(sequence, got);
  }
  if (std::memcmp(got.data(), lane.pattern.block(sequence).data(), sent_bytes()) != 0) {
    return false;
  }
  auto is_zero = [](std::byte b) { return b == std::byte{0}; };
  if (got.size() <= kCompareAll) {
    return std::ranges::all_of(got.subspan(sent_bytes()), is_zero);
  }
  for (std::size_t word = sizeof(std::uint64_t); word < got.size(); word += kCompareAll) {
    std::size_t length = std::min(sizeof(std::uint64_t), got.size() - word);
    if (!std::ranges::all_of(got.subspan(word, length), is_zero)) {
      return false;
    }
  }
  return true;
}

// Every byte, there and back, once with each server: the timed loop looks at large payloads only in
// samples, and at sent ones not at all.
rt::CoStatus echo_everywhere(rpc::ConnectionPool& pool, PingLoad::Config config, Measurement& out) {
  Pattern pattern(config.seed, ~std::uint64_t{config.rank}, config.payload_bytes);
  AlignedBuffer received(config.payload_bytes);
  for (std::uint32_t shard = 0; shard < config.shards; ++shard) {
    pattern.spoil(shard, received.span());
    wire::PingRequest request;
    request.reply_bytes = static_cast<std::uint32_t>(config.payload_bytes);
    rpc::Call call = rpc::make_call(request);
    call.data = pattern.block(shard);
    call.into = received.span();
    BENCHFS_CO_TRY(rpc::Reply reply,
                   co_await pool.call(wire::ShardId{shard}, call, Deadline::after(kCallTimeout)));
    if (reply.data_bytes != config.payload_bytes || pattern.compare(shard, received.span())) {
      out.on_mismatch(fmt::format("{} returned other bytes than it was sent",
                                  pool.at(wire::ShardId{shard}).name()));
    }
  }
  co_return Status{};
}

MonoTime after(Nanos span) {
  return mono_now() + span;
}

Status run_phase(const RpcConfig& config, const Phase& phase, Worker& worker) {
  rpc::ConnectionPool& pool = worker.fs().pool();
  PingLoad::Config load_config{.direction = direction_of(phase.name),
                               .payload_bytes = phase.payload_bytes,
                               .depth = phase.depth,
                               .shards = config.all_servers ? pool.size() : 1,
                               .seed = config.seed,
                               .rank = worker.rank()};
  PingLoad load(pool, load_config);
  Phase check{.name = "check", .payload_bytes = phase.payload_bytes, .reported = false};
  BENCHFS_TRY_VOID(
      worker.run(check, [&](Measurement& out) { return echo_everywhere(pool, load_config, out); }));
  if (config.warmup > 0) {
    Phase warmup = phase;
    warmup.reported = false;
    BENCHFS_TRY_VOID(worker.run(warmup, [&](Measurement& out) {
      return load.run(config.warmup, after(kWarmupLimit), out);
    }));
  }
  return worker.run(phase, [&](Measurement& out) {
    auto seconds = std::chrono::duration<double>(config.seconds);
    MonoTime stop_at =
        config.operations > 0 ? MonoTime::max() : after(std::chrono::duration_cast<Nanos>(seconds));
    return load.run(config.operations, stop_at, out);
  });
}

}  // namespace

Status run_rpc(const RpcConfig& config, Worker& worker) {
  for (const std::string& direction : config.directions) {
    for (std::uint64_t payload_bytes : config.payload_bytes) {
      for (std::uint32_t depth : config.depths) {
        Phase phase{.name = direction,
                    .depth = depth,
                    .payload_bytes = payload_bytes,
                    .path = "persistent"};
        BENCHFS_TRY_VOID(run_phase(config, phase, worker));
      }
    }
  }
  return {};
}

}  // namespace benchfs::cli::bench
