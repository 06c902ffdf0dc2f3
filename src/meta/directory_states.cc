#include "meta/directory_states.h"

namespace benchfs::meta {
namespace {

std::uint64_t block_of(wire::InodeId directory) {
  return directory.value / 64;
}
std::uint64_t bit_of(wire::InodeId directory) {
  return std::uint64_t{1} << (directory.value % 64);
}

}  // namespace

bool DirectoryStates::freeze(wire::InodeId directory,
                             std::uint64_t owner,
                             MonoTime until,
                             MonoTime now) {
  auto found = frozen_.find(directory);
  if (found != frozen_.end()) {
    if (found->second.owner != owner && now < found->second.until) {
      return false;
    }
    found.value() = {owner, until};
    return true;
  }
  if (frozen_.size() >= kMaxFrozen) {
    drop_expired(now);
    if (frozen_.size() >= kMaxFrozen) {
      return false;
    }
  }
  frozen_.insert({directory, {owner, until}});
  return true;
}

void DirectoryStates::drop_expired(MonoTime now) {
  for (auto at = frozen_.begin(); at != frozen_.end();) {
    at = at->second.until <= now ? frozen_.erase(at) : std::next(at);
  }
}

void DirectoryStates::thaw(wire::InodeId directory, std::uint64_t owner) {
  auto found = frozen_.find(directory);
  if (found != frozen_.end() && found->second.owner == owner) {
    frozen_.erase(found);
  }
}

bool DirectoryStates::is_frozen(wire::InodeId directory, MonoTime now) const {
  auto found = frozen_.find(directory);
  return found != frozen_.end() && now < found->second.until;
}

void DirectoryStates::set_removed(wire::InodeId directory) {
  frozen_.erase(directory);
  removed_[block_of(directory)] |= bit_of(directory);
}

void DirectoryStates::forget(wire::InodeId directory) {
  auto block = removed_.find(block_of(directory));
  if (block == removed_.end()) {
    return;
  }
  block.value() &= ~bit_of(directory);
  if (block->second == 0) {
    removed_.erase(block);
  }
}

bool DirectoryStates::is_removed(wire::InodeId directory) const {
  auto block = removed_.find(block_of(directory));
  return block != removed_.end() && (block->second & bit_of(directory)) != 0;
}

}  // namespace benchfs::meta
