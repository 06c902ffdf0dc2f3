#include "server/ticket_log.h"

namespace benchfs::server {

Tickets::Ticket Tickets::take(wire::ShardId receiver) {
  Receiver& to = receivers_[receiver.value];
  std::uint64_t number = to.next++;
  to.open.insert(number);
  return {this, receiver, number};
}

std::uint64_t Tickets::settled(wire::ShardId receiver) const {
  auto found = receivers_.find(receiver.value);
  if (found == receivers_.end()) {
    return 1;
  }
  const Receiver& to = found->second;
  return to.open.empty() ? to.next : *to.open.begin();
}

// A shard has one life at a time: nobody waits for what an earlier one sent.
TicketLog::Known* TicketLog::known(Sender sender) {
  Known& from = senders_[sender.shard.value];
  if (from.life < sender.life) {
    from = Known{.life = sender.life, .settled = 0, .outcomes = {}};
  }
  return from.life == sender.life ? &from : nullptr;
}

TicketLog::Known* TicketLog::settled_until(Sender sender, std::uint64_t settled) {
  Known* from = known(sender);
  if (from != nullptr && settled > from->settled) {
    from->settled = settled;
    from->outcomes.erase(from->outcomes.begin(), from->outcomes.lower_bound(settled));
  }
  return from;
}

TicketLog::Begun TicketLog::begin(Sender sender, std::uint64_t ticket, std::uint64_t settled) {
  Known* from = settled_until(sender, settled);
  if (from == nullptr || ticket < from->settled || from->outcomes.contains(ticket)) {
    return Begun::kKnown;
  }
  if (from->outcomes.size() >= kMaxTickets) {
    return Begun::kFull;
  }
  from->outcomes.emplace(ticket, Outcome::kRunning);
  return Begun::kNew;
}

TicketLog::Begun TicketLog::undo(Sender sender, std::uint64_t ticket, std::uint64_t settled) {
  Known* from = settled_until(sender, settled);
  if (from == nullptr || ticket < from->settled) {
    return Begun::kKnown;
  }
  auto found = from->outcomes.find(ticket);
  if (found != from->outcomes.end()) {
    return std::exchange(found->second, Outcome::kNotDone) == Outcome::kDone ? Begun::kNew
                                                                             : Begun::kKnown;
  }
  if (from->outcomes.size() >= kMaxTickets) {
    return Begun::kFull;
  }
  from->outcomes.emplace(ticket, Outcome::kNotDone);
  return Begun::kKnown;
}

void TicketLog::end(Sender sender, std::uint64_t ticket, bool done) {
  auto from = senders_.find(sender.shard.value);
  if (from == senders_.end() || from->second.life != sender.life) {
    return;
  }
  auto found = from->second.outcomes.find(ticket);
  if (found != from->second.outcomes.end()) {  // else nobody will ask
    found->second = done ? Outcome::kDone : Outcome::kNotDone;
  }
}

TicketLog::Outcome TicketLog::settle(Sender sender, std::uint64_t ticket) {
  Known* from = known(sender);
  if (from == nullptr || ticket < from->settled) {
    return Outcome::kNotDone;
  }
  if (from->outcomes.size() >= kMaxTickets && !from->outcomes.contains(ticket)) {
    return Outcome::kRunning;
  }
  return from->outcomes.emplace(ticket, Outcome::kNotDone).first->second;
}

std::size_t TicketLog::size() const {
  std::size_t size = 0;
  for (const auto& [shard, from] : senders_) {
    size += from.outcomes.size();
  }
  return size;
}

}  // namespace benchfs::server
