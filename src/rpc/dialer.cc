#include "rpc/dialer.h"

#include <optional>

#include "wire/opcode.h"

namespace benchfs::rpc {

UcxDialer::~UcxDialer() {
  if (worker_ != nullptr) {
    worker_->remove_handler(handler_);
  }
}

Status UcxDialer::open() {
  if (worker_ != nullptr) {
    return {};
  }
  BENCHFS_TRY(net::Worker * worker, source_());
  for (std::uint16_t id = 101; id <= 100 + wire::kMaxRequestOpcode; ++id) {
    BENCHFS_TRY_VOID(worker->set_handler(id, handler_, false));
  }
  for (wire::Opcode notice :
       {wire::Opcode::kConnectionClose, wire::Opcode::kInvalidate, wire::Opcode::kForwardNotice}) {
    BENCHFS_TRY_VOID(worker->set_handler(static_cast<std::uint16_t>(notice), handler_, false));
  }
  worker_ = worker;
  return {};
}

Result<link::Link*> UcxDialer::connect(wire::ShardId /*shard*/,
                                       const net::SocketAddress& address,
                                       link::Owner& owner) {
  BENCHFS_TRY_VOID(open());
  return worker_->connect(address, owner);
}

Result<link::Link*> NodeDialer::connect(wire::ShardId shard,
                                        const net::SocketAddress& address,
                                        link::Owner& owner) {
  wire::NoDoor failure = links_.take_failure(shard.value);
  bool may_enter = failure == wire::NoDoor::kUnsaid || ways_.only_node;
  without_door_.erase(shard.value);
  no_door_.erase(shard.value);
  if (may_enter && links_.has_door(shard.value)) {
    return links_.connect(shard.value, owner, ways_.only_node);
  }
  if (may_enter) {
    without_door_.insert(shard.value);
  }
  if (may_enter && ways_.forwarded) {
    if (std::optional<std::uint32_t> near = links_.nearest(shard.value)) {
      return links_.connect_through(*near, shard.value, owner, ways_.only_node);
    }
  }
  if (ways_.only_node) {  // it has no door
    return links_.connect(shard.value, owner, true);
  }
  no_door_[shard.value] = may_enter ? links_.why_no_door() : failure;
  return other_.connect(shard, address, owner);
}

}  // namespace benchfs::rpc
