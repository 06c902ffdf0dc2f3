// Numbers the second halves of renames, so that a shard that got no answer to an InstallEntry can
// find out what became of it, and be sure that it is not executed later.
//
// The sender numbers what it sends to each receiver with a ticket and says with every message which
// is the lowest ticket it still needs to know about. The receiver remembers the outcomes from that
// one on, usually a handful. Asking about a ticket that has not arrived rules it out.
//
//   unknown --begin--> running --end--> installed | not installed
//   unknown --settle--> not installed (a message with the ticket is refused)
//   any below the lowest needed: forgotten (the same)
//
// Both sides forget when they restart. A receiver that restarted has lost the entry too; a sender
// that restarted has lost the old name.
//
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "wire/ids.h"

namespace benchfs::server {

// The sender's side.
class InstallTickets {
 public:
  // Closed when destroyed: the outcome is known, or will not be asked for.
  class Ticket {
   public:
    Ticket(InstallTickets* owner, wire::ShardId receiver, std::uint64_t number)
        : owner_(owner), receiver_(receiver), number_(number) {}
    Ticket(Ticket&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          receiver_(other.receiver_),
          number_(other.number_) {}
    Ticket& operator=(Ticket&&) = delete;
    ~Ticket() {
      if (owner_ != nullptr) {
        owner_->receivers_[receiver_.value].open.erase(number_);
      }
    }
    [[nodiscard]] std::uint64_t number() const { return number_; }

   private:
    InstallTickets* owner_;
    wire::ShardId receiver_;
    std::uint64_t number_;
  };

  [[nodiscard]] Ticket take(wire::ShardId receiver);
  // All tickets below are closed.
  [[nodiscard]] std::uint64_t settled(wire::ShardId receiver) const;

 private:
  struct Receiver {
    std::uint64_t next = 1;
    std::set<std::uint64_t> open;
  };
  std::unordered_map<std::uint32_t, Receiver> receivers_;
};

// The receiver's side.
class InstallLog {
 public:
  // No sender needs more: a shard never serves this many requests at once.
  static constexpr std::size_t kMaxTickets = 64 * 1024;

  struct Sender {
    wire::ShardId shard;
    std::uint64_t life = 0;  // unique for each time the shard was started
  };

  // May the entry be installed? False when the ticket was used or ruled out.
  bool begin(Sender sender, std::uint64_t ticket, std::uint64_t settled);
  void end(Sender sender, std::uint64_t ticket, bool installed);

  enum class Outcome : std::uint8_t { kRunning, kInstalled, kNotInstalled };
  // kRunning: ask again. The others are final.
  Outcome settle(Sender sender, std::uint64_t ticket);

  // Outcomes remembered.
  [[nodiscard]] std::size_t size() const;

 private:
  struct Known {
    std::uint64_t life = 0;
    std::uint64_t settled = 0;
    std::map<std::uint64_t, Outcome> outcomes;
  };
  Known& known(Sender sender);
  std::unordered_map<std::uint32_t, Known> senders_;  // by shard
};

}  // namespace benchfs::server
