// Passes the messages between programs of this node and shards of other nodes on (wire/forward.h):
// a program needs no connection of its own to them, and a node has one to each, however many
// programs it runs.
//
//   program == channel in its session == this shard == channel in its connection == far shard
//
// A channel carries what a link of the program to the far shard would; nothing in it is looked at
// but what is a call and what is its reply. The client stays the client: it registers with the far
// shard, and its calls, deadlines and repetitions are its own. A channel that breaks on either side
// ends on the other one, as a link that failed.
//
// Bounds: what a program may have under way is what its session has lanes for, and it gets no more
// of them for one shard than its part (door/channel_link.h). Bulk data is copied in both
// directions. A call whose deadline has passed is given up, so that a shard that stands still does
// not keep the session of a program that has ended.
//
// Thread: the reactor's.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "link/link.h"
#include "rpc/connection_pool.h"
#include "rt/sync.h"
#include "rt/timer.h"
#include "wire/forward.h"

namespace benchfs::rpc {

class Forwarder final : public ForwardedHandler, private rt::Timer {
 public:
  // The pool is borrowed, and has its servers when the first message comes.
  Forwarder(rt::Reactor& reactor, ConnectionPool& pool);
  ~Forwarder() override;

  // A message of a program of this node with another one inside. The link is the forwarder's from
  // the first one on; it is the caller's when false: nothing is forwarded any more.
  bool on_message(const link::Incoming& message);
  // The process of a program has ended, and far shards may know. What it sent is passed on first.
  void on_program_died(const link::Link& program);
  // A program's session ended. False if it is not the forwarder's.
  bool drop(link::Link& program, bool has_died);
  // Ends all channels and closes the links of the programs; nothing is forwarded any more.
  void close();
  // Until what is under way has ended: after close(), and once the pool is closed.
  rt::Task<void> join();

  link::Disposition on_forwarded(const link::Incoming& message) override;
  void on_far_lost(wire::ShardId shard) override;

  struct Stats {
    std::uint64_t calls = 0;
    std::uint64_t notices = 0;   // one-way messages, both ways
    std::uint64_t bytes_in = 0;  // of data, from programs
    std::uint64_t bytes_out = 0;
    std::uint64_t late = 0;   // calls given up at their deadline
    std::uint64_t ended = 0;  // channels that far shards ended, or that could not be made
  };
  [[nodiscard]] const Stats& stats() const { return stats_; }
  [[nodiscard]] std::size_t programs() const { return programs_.size(); }
  [[nodiscard]] std::size_t channels() const { return channels_.size(); }

 private:
  struct Call {
    std::uint64_t id = 0;
    MonoTime by;  // given up then
  };
  struct Channel {
    link::Link* program = nullptr;
    std::uint64_t number = 0;  // the program's
    wire::ShardId shard;
    std::vector<Call> calls;  // to be answered
  };
  using Channels = std::unordered_map<std::uint64_t, Channel>;
  struct Data {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t size = 0;
    [[nodiscard]] std::span<std::byte> span() const { return {bytes.get(), size}; }
  };
  struct Outgoing {
    wire::ForwardHeader outer;
    std::vector<std::byte> header;
    Data data;
  };
  // What waits for the connection to a far shard.
  struct Far {
    std::deque<Outgoing> waiting;
    bool is_connecting = false;
  };
  // Numbers of a program's channels, and ours.
  using Numbers = std::unordered_map<std::uint64_t, std::uint64_t>;

  using Header = std::span<const std::byte>;
  static Data copy_data(const link::Incoming& message);
  Channels::iterator find_or_open(link::Link& program, const wire::ForwardHeader& outer);
  // True: the message of a far shard calls something back that this shard shows its program.
  bool invalidate(const Channels::iterator& channel, std::uint16_t id, Header header);
  void pass_on(const Channels::iterator& channel,
               std::uint16_t id,
               Header header,
               const link::Incoming& message);
  // In order with what was sent to this shard before.
  void send(wire::ShardId shard, const wire::ForwardHeader& outer, Header header, Data data);
  rt::DetachedTask transmit(Connection& far, Outgoing message);
  rt::DetachedTask connect(wire::ShardId shard);
  rt::DetachedTask fetch(link::Link& far,
                         link::Held held,
                         Data into,
                         wire::ForwardHeader outer,
                         std::vector<std::byte> header);
  static bool take_call(Channel& channel, std::uint64_t call);
  enum class Knows : std::uint8_t { kProgram, kFar, kNobody };
  // Those who do not know are told.
  void end(const Channels::iterator& channel, Knows knows, std::uint16_t flags = 0);
  void end_all_of(wire::ShardId shard);
  void on_timer() override;  // gives up late calls
  void end_task();

  rt::Reactor& reactor_;
  ConnectionPool& pool_;
  bool is_closed_ = false;
  std::uint64_t numbers_ = 0;
  Channels channels_;
  std::unordered_map<link::Link*, Numbers> programs_;
  std::deque<Far> far_;    // one a shard
  std::size_t tasks_ = 0;  // that run; they begin at once, which those of a Scope do not
  rt::WaitQueue idle_;
  Stats stats_;
};

}  // namespace benchfs::rpc
