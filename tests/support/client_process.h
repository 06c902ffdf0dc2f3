// A client in a separate process, so that a test can stop it, kill it and cut its connections.
//
//   ClientProcess a(program, registry, directory);
//   std::int64_t file = a.call("open /x bc").result;
//   a.call(fmt::format("pwrite {} 0 100 a", file));       // 100 bytes 'a' at 0
//
// Operations: open PATH FLAGS (of r w b c x t a d u; result: a number for the others), close FILE,
// pwrite FILE OFFSET SIZE BYTE, halting-pwrite FILE OFFSET SIZE BYTE (the process stops itself when
// half of the bytes have been looked at), append FILE SIZE BYTE, pread FILE OFFSET SIZE (details
// "a*100 0*28"), halting-pread FILE OFFSET SIZE (likewise), fsync FILE, lock FILE (whole, without
// waiting), fstat FILE (details: size), ftruncate FILE SIZE, stat PATH (details: size), statfs
// (details: bytes in use), truncate PATH SIZE, access, chmod, utimens, unlink, mkdir, rmdir PATH,
// rename FROM TO, link FROM TO, links PATH (result: its link count), chroot PATH, list PATH
// (details: names), replace DIRECTORY NAME ROUNDS, repeat ROUNDS OPERATION, child OPERATION (in a
// child of fork that connects by itself), at-instant NUMBER SIGNAL OPERATION (the signal comes at
// one of the instants of door/steps.h; -ERANGE when there are fewer), limit-files BYTES
// (RLIMIT_FSIZE), scribble SEED (scribbler.h; result: mappings that it writes to), finalize.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/clock.h"

namespace benchfs::test {

struct Answer {
  std::int64_t result = 0;  // negative: an errno
  std::string details;
  std::string error;
  [[nodiscard]] bool ok() const { return result >= 0; }
  // The number in `details`: a size.
  [[nodiscard]] std::int64_t size() const;
};

class ClientProcess {
 public:
  // Every operation of it takes at most `timeout`.
  ClientProcess(const std::string& program, const std::string& registry, Nanos timeout);
  ClientProcess(const ClientProcess&) = delete;
  ClientProcess& operator=(const ClientProcess&) = delete;
  // Kills it.
  ~ClientProcess();

  [[nodiscard]] pid_t pid() const { return pid_; }
  // The answer to connecting.
  [[nodiscard]] const Answer& connected() const { return connected_; }

  Answer call(const std::string& operation);
  // The two halves of call(). The answer must be taken before the next operation is begun.
  void begin(const std::string& operation) const;
  // -ETIME when it does not come in time.
  Answer answer();

  // Returns when it stands still.
  void stop() const;
  void go_on() const;
  // Until it has stopped itself.
  void wait_until_stopped() const;
  // True: it has stopped itself. False: an answer is there, or it has ended.
  [[nodiscard]] bool stops_before_it_answers() const;
  void kill();

 private:
  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::string received_;
  Answer connected_;
};

}  // namespace benchfs::test
