// One end of a connection, whatever carries it, and the operations on it.
//
// An operation lives in the frame of who awaits it. Header, data and target memory are the
// transport's until it ends; there is no taking back one operation: closing the link ends all of
// them with an error, which is how a caller gives up.
//
// Thread: the reactor's.
#pragma once

#include <sys/types.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "rt/reactor.h"
#include "wire/header.h"

namespace benchfs::net {
class MemoryRegion;
}
namespace benchfs::wire {
struct ValidityWords;
}

namespace benchfs::link {

class Link;

// How an operation or a link ended. kRefused: the other side rejected the connection.
struct Outcome {
  Errc code = Errc::kOk;
  const char* text = "";  // the transport's; lives for ever
  bool is_death = false;  // the peer's process has ended, for certain
  int posix = 0;          // of a system call of this process; 0: derived from `code`
  [[nodiscard]] bool ok() const { return code == Errc::kOk; }
};

// "what (the transport's text)".
Error error_of(const Outcome& outcome, std::string what);

// Begun by a function of Link, then awaited through Completion, unless it is over.
class Operation {
 public:
  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;

  [[nodiscard]] bool was_begun() const { return state_ != State::kNone; }
  [[nodiscard]] bool is_pending() const { return state_ == State::kPending; }
  [[nodiscard]] const Outcome& outcome() const { return outcome_; }
  // Of the link that it was begun on.
  [[nodiscard]] Link& link() const { return *link_; }

  void await_suspend(std::coroutine_handle<> handle) { handle_ = handle; }
  [[nodiscard]] Outcome await_resume() const { return outcome_; }

 private:
  friend class Link;
  enum class State : std::uint8_t { kNone, kBeginning, kPending, kOver };
  State state_ = State::kNone;
  Outcome outcome_;
  Link* link_ = nullptr;
  std::coroutine_handle<> handle_;
};

// Awaits an operation that was begun.
struct Completion {
  Operation& operation;
  [[nodiscard]] bool await_ready() const { return !operation.is_pending(); }
  void await_suspend(std::coroutine_handle<> handle) const { operation.await_suspend(handle); }
  [[nodiscard]] Outcome await_resume() const { return operation.await_resume(); }
};

// Bulk data that came and has not been fetched yet.
class Keeper {
 public:
  virtual void release(void* held) = 0;

 protected:
  ~Keeper() = default;
};
struct Held {
  void* data = nullptr;
  Keeper* keeper = nullptr;
  [[nodiscard]] bool is_empty() const { return data == nullptr; }
  void release() { keeper->release(std::exchange(data, nullptr)); }
};

enum class Protocol : std::uint8_t { kAuto, kEager, kRendezvous };

struct Message {
  std::uint16_t id = 0;
  std::span<const std::byte> header;
  std::span<const std::byte> data;
  Protocol protocol = Protocol::kAuto;
  bool shows_sender = false;  // the receiver learns over which link it came, if it did not anyway
  const net::MemoryRegion* region = nullptr;  // that contains `data`, if registered
};

// A message that arrived, valid during the handler only.
struct Incoming {
  std::uint16_t id = 0;
  std::span<const std::byte> header;  // unaligned
  void* data = nullptr;               // eager: the bytes, unaligned; rendezvous: nobody's to read
  std::size_t length = 0;
  bool is_rendezvous = false;
  bool can_hold = false;   // the handler may return kHold and keep held()
  Link* sender = nullptr;  // open, where it is known
  Keeper* keeper = nullptr;
  [[nodiscard]] Held held() const { return {data, keeper}; }
};

enum class Disposition : std::uint8_t {
  kDone,  // the data was copied or is not wanted (a rendezvous is dropped, its sender succeeds)
  kHold,  // held() is kept: give it to receive(), or release() it
};

// Runs inside the transport: may send, and close links.
class Handler {
 public:
  virtual ~Handler() = default;
  virtual Disposition on_message(const Incoming& message) = 0;
};

class Owner {
 public:
  virtual ~Owner() = default;
  // The peer is gone. Called once, outside the transport; the owner must close() the link, now or
  // later.
  virtual void on_link_failed(Link& link, const Outcome& why) = 0;
  // The peer's process has ended. The link is still open: what was sent is served before it fails.
  virtual void on_peer_died(Link& /*link*/) {}
};

// Memory of the peer that this side may read and fill by itself: the slots of a chunk shard of this
// node (wire/slot_state.h). They end with the link.
enum class SlotCopy : std::uint8_t {
  kDone,
  kShort,  // not all of it is there
  kMoved,  // the bytes are no longer this chunk's, or the peer is gone
};
// The right to overwrite what is stored in a slot.
struct SlotRight {
  std::uint32_t slot = 0;
  std::uint32_t place = UINT32_MAX;  // of the loan; none: only to read
  std::uint64_t generation = 0;
  BootTime until{};
};
class SharedSlots;

// Stored bytes of a slot that one thread is about to copy. They are found by the reactor's thread;
// any one may copy them then, and until this ends their memory stays where it is.
struct SlotRange {
  SlotRange() = default;
  SlotRange(const SlotRange&) = delete;
  SlotRange& operator=(const SlotRange&) = delete;
  inline ~SlotRange();

  SharedSlots* slots = nullptr;  // null: nothing was found
  SlotRight right;
  std::uint32_t offset = 0;  // in the slot
  std::uint32_t copier = 0;  // a number that no other range has meanwhile
  std::span<std::byte> bytes;
};

class SharedSlots {
 public:
  // No other has it: what was learnt of one session is not used with another.
  [[nodiscard]] virtual std::uint64_t number() const = 0;
  // Fills bytes of a slot that was lent for that. Memory up to `existing_end` is there, the rest is
  // made. Errors: kSystem (the machine has no memory, or the peer's is not to be had).
  virtual Status fill(std::uint32_t slot,
                      std::uint32_t offset,
                      std::uint32_t existing_end,
                      std::span<const std::byte> from) = 0;

  // Finds bytes of a slot, all of them or none. To read, slot and generation of a right are enough.
  // kShort also when too many threads copy.
  virtual SlotCopy find(const SlotRight& right,
                        std::uint32_t offset,
                        std::size_t size,
                        SlotRange& found) = 0;
  // By any thread: copies what was found. Unless it is kDone, nothing of `into` is to be used.
  virtual SlotCopy read(const SlotRange& found, std::byte* into) = 0;
  // The same: overwrites it. Unless it is kDone, it must be repeated by a request: bytes of it may
  // be there, or not. kMoved: the right has ended.
  virtual SlotCopy overwrite(const SlotRange& found, const std::byte* from) = 0;
  virtual void let_go(const SlotRange& found) = 0;
  // Whether a range lives that was found by a right with this place.
  [[nodiscard]] virtual bool is_in_use(std::uint32_t place) const = 0;

  // Both at once.
  SlotCopy read(std::uint32_t slot,
                std::uint64_t generation,
                std::uint32_t offset,
                std::span<std::byte> into) {
    SlotRange range;
    SlotCopy how = find({.slot = slot, .generation = generation}, offset, into.size(), range);
    return how == SlotCopy::kDone ? read(range, into.data()) : how;
  }
  SlotCopy overwrite(const SlotRight& right,
                     std::uint32_t offset,
                     std::span<const std::byte> from) {
    SlotRange range;
    SlotCopy how = find(right, offset, from.size(), range);
    return how == SlotCopy::kDone ? overwrite(range, from.data()) : how;
  }

 protected:
  ~SharedSlots() = default;
};

inline SlotRange::~SlotRange() {
  if (slots != nullptr) {
    slots->let_go(*this);
  }
}

// What was lent to a peer that fills it by itself.
class Loan {
 public:
  Loan() = default;
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  virtual ~Loan() = default;
};
using Loans = std::span<std::unique_ptr<Loan>>;

// What programs say that they have copied by themselves.
struct CopyTotals {
  std::uint64_t reads = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t overwrites = 0;
  std::uint64_t bytes_overwritten = 0;

  void add(const CopyTotals& other) {
    reads += other.reads;
    bytes_read += other.bytes_read;
    overwrites += other.overwrites;
    bytes_overwritten += other.bytes_overwritten;
  }
};

// A program of this node that has the shard's slots, as the shard sees it. What it says of itself
// is not believed, and harms nobody else.
class Borrower {
 public:
  // For what it fills.
  [[nodiscard]] virtual Loans fills() = 0;
  // For what it may overwrite; null beyond kMaxWriteLoans.
  [[nodiscard]] virtual std::unique_ptr<Loan>* write_loan(std::uint32_t place) = 0;

  // Whether it may be in the middle of a copy into the slot. Once the slot's word has a new
  // generation and a full fence has passed, a program that is not will not be.
  [[nodiscard]] virtual bool is_writing(std::uint32_t slot) const = 0;
  // When it last wrote under a loan in this place, in ns since the epoch.
  [[nodiscard]] virtual std::int64_t written_at(std::uint32_t place) const = 0;

 protected:
  ~Borrower() = default;
};

// How the peer came, or is reached.
enum class Way : std::uint8_t {
  kNetwork,
  kDoor,       // it is on this node
  kForwarded,  // between it and us is a shard of the program's node
};

class Send;
class Receive;
class Flush;

class Link {
 public:
  explicit Link(rt::Reactor& reactor) : reactor_(reactor) {}
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;
  virtual ~Link() = default;

  [[nodiscard]] virtual bool is_open() const = 0;
  // Operations and messages that have not left.
  [[nodiscard]] std::uint32_t operations() const { return operations_; }

  // Each begins an operation that was not begun before, or is over.
  virtual void begin_send(Operation& operation, const Message& message) = 0;
  // Brings held data into `into`, which has its length. Takes `held`, also when it fails.
  virtual void begin_receive(Operation& operation,
                             const Held& held,
                             std::span<std::byte> into,
                             const net::MemoryRegion* region) = 0;
  // Ends when the link is made and what was sent has left. Who connects waits for that before its
  // first message, who was connected to for a message.
  virtual void begin_flush(Operation& operation) = 0;
  // Sends a message nobody waits for. The header (at most kMaxHeader bytes) is copied. Dropped when
  // the link is not open.
  static constexpr std::size_t kMaxHeader = 4096;
  virtual void send_and_forget(std::uint16_t id, std::span<const std::byte> header) = 0;
  // Sends a small message nobody waits for, one of many: it is copied, and leaves with others at
  // the end of the reactor's pass, before what is sent after it. False, and nothing has happened:
  // the message is not small, or this link does not do that.
  virtual bool send_soon(const Message& /*message*/) { return false; }
  // As send_and_forget(), for what the peer answers at once and others wait for, perhaps all that
  // is under way here: it does not wait for them, and may overtake what does.
  virtual void send_ahead(std::uint16_t id, std::span<const std::byte> header) {
    send_and_forget(id, header);
  }

  // Takes up what has come. Who drives the link does so anyway; who is about to send something that
  // nobody waits for sees first whether the peer has ended the session.
  virtual void look() {}

  [[nodiscard]] virtual Way way() const { return Way::kNetwork; }
  // The process that is the peer; 0: on another node, or not known.
  [[nodiscard]] virtual pid_t peer_process() const { return 0; }
  // Null unless the peer is a chunk shard of this node that shares its slots.
  [[nodiscard]] virtual SharedSlots* shared_slots() { return nullptr; }
  // What both sides have known since the link was made, for the registration over it
  // (wire/registration.h); once.
  [[nodiscard]] virtual std::optional<wire::Challenge> take_challenge() { return {}; }
  // Null unless the peer is a program of this node that has our slots. What is left with it ends
  // when the program can no longer write to memory of ours, and not before.
  [[nodiscard]] virtual Borrower* borrower() { return nullptr; }

  // In which the peer, or the shard of this node that passes its messages on, shows what it calls
  // back; they may be kept for longer than the link. Null: it can only tell.
  [[nodiscard]] virtual std::shared_ptr<const wire::ValidityWords> validity_words() const {
    return nullptr;
  }
  // Shows it to the peer in the word of this number. False: the peer has none of ours.
  virtual bool invalidate(std::uint32_t /*word*/) { return false; }

  // Gives the link back. The owner hears nothing more of it and must forget the pointer; every
  // operation in flight ends. With `flush` > 0 what was sent is delivered first, for at most that
  // long; then the link is closed by force. May be called anywhere, also in handlers. Idempotent.
  virtual void close(Nanos flush) = 0;
  void close() { close(Nanos::zero()); }

  // The same, awaited.
  [[nodiscard]] Send send(const Message& message);
  [[nodiscard]] Receive receive(const Held& held,
                                std::span<std::byte> into,
                                const net::MemoryRegion* region = nullptr);
  [[nodiscard]] Flush flush();

 protected:
  // For transports: an operation begins; goes on when the function that began it returns, unless it
  // has ended already; ends.
  void begin(Operation& operation) {
    operation.state_ = Operation::State::kBeginning;
    operation.link_ = this;
    operation.handle_ = nullptr;
  }
  void leave_pending(Operation& operation) {
    if (operation.state_ == Operation::State::kBeginning) {
      operation.state_ = Operation::State::kPending;
      ++operations_;
    }
  }
  void end(Operation& operation, const Outcome& outcome) {
    operation.outcome_ = outcome;
    bool was_pending = operation.state_ == Operation::State::kPending;
    operation.state_ = Operation::State::kOver;
    if (was_pending) {
      --operations_;
      if (operation.handle_ != nullptr) {
        reactor_.schedule(operation.handle_);
      }
    }
  }

  rt::Reactor& reactor_;
  std::uint32_t operations_ = 0;  // that are pending, and messages that have not left
};

class Send final : public Operation {
 public:
  Send(Link& link, const Message& message) : link_(link), message_(message) {}
  bool await_ready() {
    link_.begin_send(*this, message_);
    return !is_pending();
  }

 private:
  Link& link_;
  Message message_;
};

class Receive final : public Operation {
 public:
  Receive(Link& link, const Held& held, std::span<std::byte> into, const net::MemoryRegion* region)
      : link_(link), held_(held), into_(into), region_(region) {}
  bool await_ready() {
    link_.begin_receive(*this, held_, into_, region_);
    return !is_pending();
  }

 private:
  Link& link_;
  Held held_;
  std::span<std::byte> into_;
  const net::MemoryRegion* region_;
};

class Flush final : public Operation {
 public:
  explicit Flush(Link& link) : link_(link) {}
  bool await_ready() {
    link_.begin_flush(*this);
    return !is_pending();
  }

 private:
  Link& link_;
};

inline Send Link::send(const Message& message) {
  return {*this, message};
}

inline Receive Link::receive(const Held& held,
                             std::span<std::byte> into,
                             const net::MemoryRegion* region) {
  return {*this, held, into, region};
}

inline Flush Link::flush() {
  return Flush(*this);
}

}  // namespace benchfs::link
