// Numbers what one shard has another do, so that a repeated message does it once, and a shard that
// got no answer can find out what became of it and be sure that it is not executed later: the
// second halves of renames (names/installs.h), and changes of link counts (files/links.h).
//
// The sender numbers what it sends to each receiver with a ticket and says with every message which
// is the lowest ticket it still needs to know about. The receiver remembers the outcomes from that
// one on, usually a handful. Asking about a ticket that has not arrived rules it out.
//
//   unknown --begin--> running --end--> done | not done
//   unknown --settle--> not done (a message with the ticket is refused)
//   done --undo--> not done
//   any below the lowest needed: forgotten (the same)
//
// Both sides forget when they restart. A receiver that restarted has lost what was changed; a
// sender that restarted has lost the names it was changed for, so that what its earlier life sent
// is refused, however late it comes.
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
class Tickets {
 public:
  // Closed when destroyed: the outcome is known, or will not be asked for.
  class Ticket {
   public:
    Ticket(Tickets* owner, wire::ShardId receiver, std::uint64_t number)
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
    Tickets* owner_;
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
class TicketLog {
 public:
  // No sender needs more: a shard never serves this many requests at once.
  static constexpr std::size_t kMaxTickets = 64 * 1024;

  struct Sender {
    wire::ShardId shard;
    std::uint64_t life = 0;  // grows with the starts of the shard
  };

  enum class Begun : std::uint8_t {
    kNew,    // to be done now; end() says what became of it
    kKnown,  // was begun before, or ruled out, or is of a life that is over
    kFull,
  };
  Begun begin(Sender sender, std::uint64_t ticket, std::uint64_t settled);
  void end(Sender sender, std::uint64_t ticket, bool done);

  enum class Outcome : std::uint8_t { kRunning, kDone, kNotDone };
  // kRunning: ask again. The others are final.
  Outcome settle(Sender sender, std::uint64_t ticket);
  // Its outcome is kNotDone from now on: kNew when it was done, so that the caller takes it back.
  Begun undo(Sender sender, std::uint64_t ticket, std::uint64_t settled);

  // The shard has started again: its earlier lives are over.
  void on_new_life(Sender sender) { (void)known(sender); }

  // Outcomes remembered.
  [[nodiscard]] std::size_t size() const;

 private:
  struct Known {
    std::uint64_t life = 0;
    std::uint64_t settled = 0;
    std::map<std::uint64_t, Outcome> outcomes;
  };
  // Null: its life is over.
  Known* known(Sender sender);
  Known* settled_until(Sender sender, std::uint64_t settled);
  std::unordered_map<std::uint32_t, Known> senders_;  // by shard
};

}  // namespace benchfs::server
