#include "base/file_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include "base/backoff.h"
#include "base/process_record.h"
#include "base/random.h"

namespace benchfs {
namespace {

constexpr Nanos kFirstPause = std::chrono::milliseconds(2);
constexpr Nanos kLongestPause = std::chrono::milliseconds(50);
constexpr std::size_t kMaxOwnerBytes = 1024;

bool lacks_flock(int error) {
  return error == ENOSYS || error == ENOTSUP || error == EOPNOTSUPP || error == ENOLCK;
}

std::string owner_file_of(const std::string& name) {
  return name == "." ? ".lock" : fmt::format(".{}.lock", name);
}

std::unexpected<Error> fail_held(const std::string& path, std::string_view holder) {
  return fail(Errc::kBusy, fmt::format("{} is locked by {}", path, holder));
}

// The owner file appears with its content: it is linked into place.
Result<bool> create_owner_file(const SafeDir& dir, const std::string& name) {
  std::string temporary = fmt::format("{}.{:016x}", name, random_id());
  BENCHFS_TRY(Fd file, dir.open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0644));
  Status written = write_all(file.get(), to_line(this_process()), dir.path_of(temporary));
  int error = 0;
  if (written && ::linkat(dir.fd(), temporary.c_str(), dir.fd(), name.c_str(), 0) != 0) {
    error = errno;
  }
  dir.remove_file(temporary);
  BENCHFS_TRY_VOID(written);
  if (error != 0 && error != EEXIST) {
    return fail_system(error, dir.path_of(name));
  }
  return error == 0;
}

// Removes the owner file of a process that ended, and no newer one: what was moved aside is looked
// at once more and put back when it is another's.
void remove_stale_owner_file(const SafeDir& dir, const std::string& name, const std::string& text) {
  std::string aside = fmt::format("{}.{:016x}", name, random_id());
  if (::renameat(dir.fd(), name.c_str(), dir.fd(), aside.c_str()) != 0) {
    return;
  }
  Result<std::string> moved = dir.read_file(aside, kMaxOwnerBytes);
  if (moved && *moved != text) {
    (void)::linkat(dir.fd(), aside.c_str(), dir.fd(), name.c_str(), 0);
  }
  dir.remove_file(aside);
}

// kBusy while the process that the owner file names may be alive.
Status clear_owner_file(const SafeDir& dir, const std::string& name) {
  std::string path = dir.path_of(name);
  Result<std::string> text = dir.read_file(name, kMaxOwnerBytes);
  if (!text) {
    return text.error().posix == ENOENT ? Status{} : std::unexpected(std::move(text.error()));
  }
  BENCHFS_TRY(ProcessRecord owner, parse_process_line(*text, path));
  if (owner.host != this_process().host) {
    return fail_held(
        path,
        fmt::format(
            "process {} on {}; if that one is gone, remove {}", owner.pid, owner.host, path));
  }
  if (is_running(owner)) {
    return fail_held(path, fmt::format("process {} on {}", owner.pid, owner.host));
  }
  remove_stale_owner_file(dir, name, *text);
  return {};
}

Result<Fd> open_lockable(const SafeDir& dir, const std::string& name, mode_t mode) {
  if (name == ".") {
    Fd self(::openat(dir.fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return self.is_open() ? Result<Fd>(std::move(self)) : fail_system(errno, dir.path());
  }
  return dir.open_file(name, O_RDWR | O_CREAT | O_APPEND, mode);
}

}  // namespace

Result<std::optional<FileLock::OwnerFile>> FileLock::lock(const SafeDir& dir,
                                                          const std::string& name,
                                                          int fd) {
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) {
    return std::nullopt;
  }
  if (errno == EWOULDBLOCK || errno == EINTR) {
    return fail_held(dir.path_of(name), "another process");
  }
  if (!lacks_flock(errno)) {
    return fail_system(errno, fmt::format("lock of {}", dir.path_of(name)));
  }
  OwnerFile owner{dir, owner_file_of(name)};
  BENCHFS_TRY_VOID(clear_owner_file(dir, owner.name));
  BENCHFS_TRY(bool created, create_owner_file(dir, owner.name));
  if (!created) {
    return fail_held(dir.path_of(name), "another process");
  }
  return owner;
}

Result<FileLock> FileLock::try_acquire(const SafeDir& dir, const std::string& name, mode_t mode) {
  for (;;) {
    BENCHFS_TRY(Fd file, open_lockable(dir, name, mode));
    FileLock lock(std::move(file));
    BENCHFS_TRY(lock.owner_file_, FileLock::lock(dir, name, lock.fd()));
    // The former owner may have removed the file between our open and our lock.
    if (dir.is_named(name, lock.fd())) {
      lock.named_ = OwnerFile{dir, name};
      return lock;
    }
    if (name == ".") {
      return fail_system(ENOENT, dir.path());
    }
  }
}

Result<FileLock> FileLock::acquire(const SafeDir& dir,
                                   const std::string& name,
                                   mode_t mode,
                                   Deadline deadline) {
  Backoff backoff(kFirstPause, kLongestPause);
  for (;;) {
    Result<FileLock> lock = try_acquire(dir, name, mode);
    if (lock || lock.error().code != Errc::kBusy) {
      return lock;
    }
    if (deadline.passed()) {
      return fail(Errc::kDeadline, std::move(lock.error().context));
    }
    Nanos pause = std::min(backoff.next(), deadline.remaining());
    timespec time{.tv_sec = 0, .tv_nsec = pause.count()};
    nanosleep(&time, nullptr);
  }
}

bool FileLock::is_held(const SafeDir& dir, const std::string& name) {
  Result<Fd> file = dir.open_file(name, O_RDONLY);
  if (!file) {
    return false;
  }
  if (::flock(file->get(), LOCK_EX | LOCK_NB) == 0) {
    return false;  // closing the file releases it
  }
  if (!lacks_flock(errno)) {
    return true;
  }
  Status cleared = clear_owner_file(dir, owner_file_of(name));
  return !cleared && cleared.error().code == Errc::kBusy;
}

void FileLock::remove_file() {
  if (named_) {
    named_->dir.remove_file(named_->name);
  }
}

FileLock::~FileLock() {
  if (owner_file_) {
    owner_file_->dir.remove_file(owner_file_->name);
  }
}

}  // namespace benchfs
