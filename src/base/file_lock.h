// An exclusive lock on a file of a SafeDir, held until the object or the process ends.
//
// The lock is flock(). Some file systems do not have it (Lustre without -o flock, NFS without a
// lock daemon); there a second file NAME.lock, created with O_EXCL, is the lock, and names the
// process that made it. A NAME.lock whose process ended on this host is taken over; one of another
// host stays until somebody removes it, and the error says so.
//
// Thread: any. Every call blocks on the file system: never on a reactor.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/safe_dir.h"

namespace benchfs {

class FileLock {
 public:
  // Creates the file `name` with `mode` when it is missing, opens it for reading and appending, and
  // locks it. The name "." locks the directory. Errors: kBusy (another process holds the lock; the
  // context names it if it is known), kConfig and kSystem as SafeDir::open_file().
  static Result<FileLock> try_acquire(const SafeDir& dir, const std::string& name, mode_t mode);
  // The same, but retries while the lock is held. Errors: kDeadline instead of kBusy.
  static Result<FileLock> acquire(const SafeDir& dir,
                                  const std::string& name,
                                  mode_t mode,
                                  Deadline deadline);
  // True when another process holds the lock of an existing file. Creates nothing, but may hold the
  // lock for a moment itself: a process that takes it in between must retry.
  static bool is_held(const SafeDir& dir, const std::string& name);

  FileLock(FileLock&& other) noexcept
      : file_(std::move(other.file_)),
        owner_file_(std::exchange(other.owner_file_, std::nullopt)),
        named_(std::exchange(other.named_, std::nullopt)) {}
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

  // The locked file.
  [[nodiscard]] int fd() const { return file_.get(); }
  // Removes the locked file before the lock is released.
  void remove_file();

 private:
  struct OwnerFile {
    SafeDir dir;
    std::string name;
  };
  explicit FileLock(Fd file) : file_(std::move(file)) {}
  static Result<std::optional<OwnerFile>> lock(const SafeDir& dir, const std::string& name, int fd);

  Fd file_;
  std::optional<OwnerFile> owner_file_;  // where flock() does not work
  std::optional<OwnerFile> named_;       // the locked file itself
};

}  // namespace benchfs
