#include "base/pid_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace benchfs {
namespace {

constexpr std::size_t kMaxPidFileBytes = std::size_t{1} << 20;
// Longer than a process that only asks whether the lock is held (FileLock::is_held) holds it.
constexpr Nanos kPatience = std::chrono::milliseconds(100);

}  // namespace

Result<PidFile::Content> PidFile::read(const SafeDir& dir, const std::string& name) {
  BENCHFS_TRY(std::string text, dir.read_file(name, kMaxPidFileBytes));
  Content content;
  BENCHFS_TRY(content.process, parse_process_line(text, dir.path_of(name)));
  std::string_view rest(text);
  auto take_line = [&rest] {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    return line;
  };
  take_line();  // the process
  while (!rest.empty()) {
    content.notes.emplace_back(take_line());
  }
  return content;
}

bool PidFile::is_owned_by(const SafeDir& dir,
                          const std::string& name,
                          const ProcessRecord& process) {
  Result<Fd> file = dir.open_file(name, O_RDONLY);
  return file && is_running(process) && has_open(process.pid, file->get());
}

Result<PidFile> PidFile::acquire(const SafeDir& dir,
                                 const std::string& name,
                                 std::span<const std::string> notes) {
  Result<FileLock> lock = FileLock::acquire(dir, name, 0644, Deadline::after(kPatience));
  if (!lock && lock.error().code == Errc::kDeadline) {
    Result<Content> owner = read(dir, name);
    return fail(
        Errc::kBusy,
        owner ? fmt::format("in use by process {} on {}", owner->process.pid, owner->process.host)
              : lock.error().context);
  }
  if (!lock) {
    return std::unexpected(std::move(lock.error()));
  }
  if (::ftruncate(lock->fd(), 0) != 0) {
    return fail_system(errno, dir.path_of(name));
  }
  std::string text = to_line(this_process());
  for (const std::string& note : notes) {
    text += note + "\n";
  }
  BENCHFS_TRY_VOID(write_all(lock->fd(), text, dir.path_of(name)));
  return PidFile(*std::move(lock));
}

void PidFile::leave_behind() {
  lock_.reset();
}

PidFile::~PidFile() {
  if (lock_) {
    lock_->remove_file();
  }
}

}  // namespace benchfs
