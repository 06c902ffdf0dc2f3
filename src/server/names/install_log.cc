#include "server/names/install_log.h"

namespace benchfs::server {

InstallTickets::Ticket InstallTickets::take(wire::ShardId receiver) {
  Receiver& to = receivers_[receiver.value];
  std::uint64_t number = to.next++;
  to.open.insert(number);
  return {this, receiver, number};
}

std::uint64_t InstallTickets::settled(wire::ShardId receiver) const {
  auto found = receivers_.find(receiver.value);
  if (found == receivers_.end()) {
    return 1;
  }
  const Receiver& to = found->second;
  return to.open.empty() ? to.next : *to.open.begin();
}

// A shard has one life at a time: nobody waits for what an earlier one sent.
InstallLog::Known& InstallLog::known(Sender sender) {
  Known& from = senders_[sender.shard.value];
  if (from.life != sender.life) {
    from = Known{.life = sender.life, .settled = 0, .outcomes = {}};
  }
  return from;
}

bool InstallLog::begin(Sender sender, std::uint64_t ticket, std::uint64_t settled) {
  Known& from = known(sender);
  if (settled > from.settled) {
    from.settled = settled;
    from.outcomes.erase(from.outcomes.begin(), from.outcomes.lower_bound(settled));
  }
  return ticket >= from.settled && from.outcomes.size() < kMaxTickets &&
         from.outcomes.emplace(ticket, Outcome::kRunning).second;
}

void InstallLog::end(Sender sender, std::uint64_t ticket, bool installed) {
  auto from = senders_.find(sender.shard.value);
  if (from == senders_.end() || from->second.life != sender.life) {
    return;
  }
  auto found = from->second.outcomes.find(ticket);
  if (found != from->second.outcomes.end()) {  // else nobody will ask
    found->second = installed ? Outcome::kInstalled : Outcome::kNotInstalled;
  }
}

InstallLog::Outcome InstallLog::settle(Sender sender, std::uint64_t ticket) {
  Known& from = known(sender);
  if (ticket < from.settled) {
    return Outcome::kNotInstalled;
  }
  if (from.outcomes.size() >= kMaxTickets && !from.outcomes.contains(ticket)) {
    return Outcome::kRunning;
  }
  return from.outcomes.emplace(ticket, Outcome::kNotInstalled).first->second;
}

std::size_t InstallLog::size() const {
  std::size_t size = 0;
  for (const auto& [shard, from] : senders_) {
    size += from.outcomes.size();
  }
  return size;
}

}  // namespace benchfs::server
