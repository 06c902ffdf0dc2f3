// What a path led to stays usable while its name is replaced.
//
// For a call with a path the kernel asks for the inode of the name, and then something of the
// inode: its attributes, to open it. If another file takes the name between the two, the inode is
// gone and the answer ESTALE. The kernel then looks the path up again, but only once: a second
// ESTALE is what the program gets, though the name has led to a file all the time. So what a thread
// looks up after an ESTALE is held: a regular file is opened, of anything else but a directory the
// attributes and the target are remembered.
//
// Thread: the reactor's.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <string>

#include "base/clock.h"
#include "client/file_system.h"
#include "rt/timer.h"

namespace benchfs::mount {

class Holds final : private rt::Timer {
 public:
  static constexpr std::size_t kMaxHeld = 1024;  // then the oldest goes
  static constexpr std::size_t kMaxThreads = 1024;
  static constexpr Nanos kTime = std::chrono::seconds(1);

  struct Held {
    wire::Attr attr;
    std::shared_ptr<client::OpenFile> file;  // null: attributes and target are all
    std::string target;
    MonoTime until{};
  };

  explicit Holds(client::FileSystem& fs) : fs_(fs) {}
  Holds(const Holds&) = delete;
  Holds& operator=(const Holds&) = delete;

  // The kernel has been answered with ESTALE, about an inode that a path led to.
  void note_stale(pid_t thread);
  // Whether what this thread looks up is to be held.
  [[nodiscard]] bool is_due(pid_t thread) const;

  // Holds what the name leads to now; `found` is what it led to a moment ago. What cannot be held
  // is what it leads to all the same.
  rt::CoResult<wire::Attr> hold(wire::InodeId parent, const std::string& name, wire::Attr found);
  // Null: none that is not open. Until the next call.
  [[nodiscard]] const Held* find(wire::InodeId inode) const;

  // Holds nothing any more.
  void close();

 private:
  struct Thread {
    pid_t id = 0;
    MonoTime until{};
  };

  void on_timer() override;
  void keep(Held held);
  void drop_oldest();

  client::FileSystem& fs_;
  std::deque<Thread> threads_;  // the oldest first, as those below
  std::deque<Held> held_;
};

}  // namespace benchfs::mount
