// The door of one shard: programs of its node attach here and call through shared memory.
//
// In each pass of the reactor the door looks at its *hot* lanes. A lane that was quiet for a while
// is *cold*: its client must ring, and an attached program that does nothing costs nothing. Before
// the reactor sleeps all lanes are marked as not looked at, and looked at once more.
//
// A session ends when its memory can no longer be written by anybody, which the kernel proves by
// sealing it; the end of the socket or of the process only starts the attempts. Such an attempt
// unmaps the session for a moment, with no call in service; if the client lives, it goes on. Of a
// process that the kernel does not show us nobody may say so: while it is silent it is tried now
// and then.
//
// Bounds: sessions, programs that have connected and not yet asked, and one call a lane.
// Thread: the shard's reactor.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <vector>

#include "base/error.h"
#include "door/attach.h"
#include "door/server_session.h"
#include "rt/blocking_pool.h"
#include "rt/futex_watch.h"
#include "rt/poller.h"
#include "rt/reactor.h"
#include "rt/scope.h"

namespace benchfs::door {

class CallHandler {
 public:
  virtual ~CallHandler() = default;
  // Programs will see what is written to this page; null: no more, the door is gone.
  virtual void on_page(ShardPage* /*page*/) {}
  // A call arrived; it is answered once, now or later.
  virtual void on_call(ServerLane& lane) = 0;
  // The client may have ended, or has been silent for a while; the proof needs a session without
  // calls in service. Calls that wait for something to tell are to be answered now.
  virtual void on_trigger(ServerSession& /*session*/) {}
  // The process that attached has ended. What it sent is still served, and may be in service.
  virtual void on_death(ServerSession& /*session*/) {}
  // Nobody can call any more, and no call of the session is in service.
  virtual void on_session_end(ServerSession& session) = 0;
};

struct DoorConfig {
  std::uint64_t run_id = 0;
  std::uint32_t shard = 0;
  std::string base = {};                     // of the directory; empty: as DoorDirectory says
  std::uint32_t most_sessions = 4096;        // attached at a time
  std::uint32_t most_unattached = 64;        // connected, but silent; beyond it the oldest goes
  Nanos patience = std::chrono::seconds(5);  // with a program that connects and says nothing
  SessionShape most{.lanes = kMaxLanes, .area_bytes = kForwardShape.area_bytes};
  // What programs may map; borrowed. -1: nothing.
  int slots = -1;
  int slot_states = -1;
  std::uint32_t slot_bytes = 0;
  bool sees_processes = true;  // false: as where the kernel shows no process of a program
};

class Door final : public rt::Poller {
 public:
  // What is given is borrowed. The pool's thread waits for the kernel when a session ends.
  // Errors: kConfig, kSystem.
  static Result<std::unique_ptr<Door>> open(rt::Reactor& reactor,
                                            rt::BlockingPool& pool,
                                            CallHandler& handler,
                                            DoorConfig config);
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;
  // After close().
  ~Door() override;

  // Lets nobody in any more and tells those who are in. Every call has been answered.
  rt::Task<void> close();

  bool poll() override;
  bool prepare_to_sleep() override;
  [[nodiscard]] int fd() const override { return events_.get(); }

  [[nodiscard]] std::size_t sessions() const { return sessions_.size(); }
  [[nodiscard]] std::size_t unattached() const { return guests_.size(); }
  [[nodiscard]] std::size_t hot_lanes() const { return hot_.size(); }

  struct Stats {
    std::uint64_t attached = 0;
    std::uint64_t refused = 0;  // wrong user, version, run, message; or no room
    std::uint64_t dropped = 0;  // said nothing
    std::uint64_t ended = 0;    // sessions
    std::uint64_t calls = 0;
    std::uint64_t malformed = 0;  // calls
    std::uint64_t rings = 0;      // seen
  };
  [[nodiscard]] const Stats& stats() const { return stats_; }
  // What programs have copied by themselves, as they say.
  [[nodiscard]] link::CopyTotals copies() const;

 private:
  friend class ServerLane;

  // What an event of the epoll set belongs to.
  struct Source {
    enum class Kind : std::uint8_t { kListener, kGuest, kSession };
    Kind kind = Kind::kListener;
    Fd fd;
    void* owner = nullptr;  // a Guest or a Member
  };
  // Listens again after the process ran out of descriptors.
  struct Pause final : rt::Timer {
    Door* door = nullptr;
    void on_timer() override;
  };
  // Looks at all bells again: a ring that came before the watch was back in its wait was lost, and
  // its program may have nothing more to say.
  struct LookAgain final : rt::Timer {
    Door* door = nullptr;
    Nanos after{};
    void begin();
    void on_timer() override;
  };
  // Tries the proof with those who have been silent and whose process is not seen.
  struct TrySilent final : rt::Timer {
    Door* door = nullptr;
    std::uint64_t up_to = 0;  // the session that was looked at last
    void begin();
    void on_timer() override;
  };
  // Connected, and has not yet asked to attach.
  struct Guest final : rt::Timer {
    Source socket;
    Door* door = nullptr;
    PeerIdentity peer;
    std::list<Guest>::iterator self;
    void on_timer() override;
  };
  struct Member {
    std::unique_ptr<ServerSession> session;
    Source socket;
    Source process;                // a pidfd, where it can be had
    std::uint64_t calls_seen = 0;  // when its silence was looked at
    bool is_ending = false;        // its socket or its process has said so
    bool is_proving = false;       // prove_end() runs
    bool is_dead = false;          // the process, and the handler knows
    MonoTime ending_since{};
    rt::Event idle;  // no call is in service
    std::list<Member>::iterator self;
  };

  Door(rt::Reactor& reactor, rt::BlockingPool& pool, CallHandler& handler, DoorConfig config);
  Status start();

  bool watch(Source& source, std::uint32_t events) const;
  void unwatch(const Source& source) const;
  bool handle_events();
  void handle(Source& source);
  void let_in();
  void hear(Guest& guest);
  void refuse(Guest& guest, Errc why);
  void drop(Guest& guest);
  Errc check(const AttachRequest& request) const;
  Status attach(Guest& guest, const AttachRequest& request);

  static bool is_asking(const ServerLane* lane);
  bool look_at_hot();
  bool look(ServerLane& lane);
  void serve(ServerLane& lane);
  void make_hot(ServerLane& lane);
  void make_cold(ServerLane& lane);
  // Looks at the lanes of those who rang.
  bool answer_rings();
  bool look_at(ServerSession& session);
  void on_answered(ServerLane& lane);
  void announce(const ServerSession& session) const;

  static bool has_died(const Member& member);
  Fd open_process(const Guest& guest) const;
  void on_trigger(Member& member);
  void begin_proof(Member& member);
  // Once, if nothing has said that it ends.
  rt::Task<void> prove_end(Member& member);
  rt::Task<WriterProof> try_to_prove(ServerSession& session);
  // Whether the process has ended: it gives its memory up somewhat earlier.
  rt::Task<bool> wait_for_death(Member& member);
  void cool(ServerSession& session);
  void end(Member& member);

  rt::Reactor& reactor_;
  rt::BlockingPool& pool_;
  CallHandler& handler_;
  DoorConfig config_;
  std::unique_ptr<DoorDirectory> directory_;
  SharedMemory page_memory_;
  ShardPage* page_ = nullptr;
  std::unique_ptr<rt::FutexWatch> bell_;
  Fd events_;
  Source listener_;
  Pause pause_;
  LookAgain look_again_;
  TrySilent try_silent_;
  bool is_open_ = false;

  std::list<Guest> guests_;
  std::list<Member> sessions_;
  std::vector<ServerLane*> hot_;
  rt::Scope scope_;
  std::uint64_t next_number_ = 1;
  std::uint64_t progress_ = 0;
  std::uint32_t passes_since_events_ = 0;
  bool is_marked_idle_ = false;
  std::array<std::byte, wire::kMaxForwardedBytes> long_header_{};
  Stats stats_;
  link::CopyTotals ended_copies_;  // of sessions that have ended
};

}  // namespace benchfs::door
