#include "bench/ping_load.h"

#include <fmt/format.h>

#include "bench/worker.h"

namespace benchfs::bench {
namespace {

constexpr Nanos kCallTimeout = std::chrono::seconds(30);

}  // namespace

PingLoad::PingLoad(rpc::ConnectionPool& pool, const PingShape& shape, std::uint32_t shards)
    : pool_(pool), shape_(shape), shards_(shards) {
  for (std::uint32_t i = 0; i < shape.depth; ++i) {
    lanes_.push_back(std::make_unique<PingPayload>(shape, i));
  }
}

rt::CoStatus PingLoad::run(PingLimit limit, Measurement& measurement) {
  last_sequence_ =
      limit.operations == 0 ? ~std::uint64_t{0} : next_sequence_ + limit.operations - 1;
  limit_ = limit;
  measurement_ = &measurement;
  return run_lanes(shape_.depth, [this](std::uint32_t lane) { return ping_until_done(lane); });
}

rt::CoStatus PingLoad::ping_until_done(std::uint32_t lane) {
  PingPayload& payload = *lanes_[lane];
  while (next_sequence_ <= last_sequence_) {
    std::uint64_t sequence = next_sequence_++;
    wire::PingRequest request;
    rpc::Call call{.opcode = wire::Opcode::kPing};
    call.data = payload.request(sequence);
    if (payload.reply_bytes() > 0) {
      request.reply_bytes = static_cast<std::uint32_t>(payload.reply_bytes());
      call.body = std::as_bytes(std::span(&request, 1));
      call.into = payload.prepare(sequence);
    }
    wire::ShardId shard{static_cast<std::uint32_t>((sequence + shape_.rank) % shards_)};

    MonoTime begin = mono_now();
    Result<rpc::Reply> reply = co_await pool_.call(shard, call, Deadline::at(begin + kCallTimeout));
    MonoTime end = mono_now();

    if (!reply) {
      co_return std::unexpected(std::move(reply).error());
    }
    count_ping(*measurement_, shape_, end - begin);
    if (!payload.is_right(sequence) || reply->data_bytes != payload.reply_bytes()) [[unlikely]] {
      measurement_->on_mismatch(
          fmt::format("ping {} to {}: wrong data came back ({} bytes, {} were asked for)",
                      sequence,
                      pool_.at(shard).name(),
                      reply->data_bytes,
                      payload.reply_bytes()));
    }
    if (limit_.is_over(end)) {
      break;
    }
  }
  co_return Status{};
}

rt::CoStatus echo_everywhere(rpc::ConnectionPool& pool,
                             PingShape shape,
                             std::uint32_t shards,
                             Measurement& out) {
  Pattern pattern(shape.seed, ~std::uint64_t{shape.rank}, shape.payload_bytes);
  AlignedBuffer received(shape.payload_bytes);
  for (std::uint32_t shard = 0; shard < shards; ++shard) {
    pattern.spoil(shard, received.span());
    wire::PingRequest request;
    request.reply_bytes = static_cast<std::uint32_t>(shape.payload_bytes);
    rpc::Call call = rpc::make_call(request);
    call.data = pattern.block(shard);
    call.into = received.span();
    BENCHFS_CO_TRY(rpc::Reply reply,
                   co_await pool.call(wire::ShardId{shard}, call, Deadline::after(kCallTimeout)));
    if (reply.data_bytes != shape.payload_bytes || pattern.compare(shard, received.span())) {
      out.on_mismatch(fmt::format("{} returned other bytes than it was sent",
                                  pool.at(wire::ShardId{shard}).name()));
    }
  }
  co_return Status{};
}

}  // namespace benchfs::bench
