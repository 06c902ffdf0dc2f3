// A file that says which process owns a name, locked for as long as the process lives.
//
// The lock (base/file_lock.h) decides who owns the name; the content, one line, is for people and
// for tools that want to signal the owner. Start time and host tell a reused process id from the
// original. Further lines name what a killed owner leaves behind elsewhere.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_lock.h"
#include "base/process_record.h"
#include "base/safe_dir.h"

namespace benchfs {

class PidFile {
 public:
  struct Content {
    ProcessRecord process;
    std::vector<std::string> notes;  // what the owner said it will have to clean up, one a line
  };

  // Takes the name. Errors: kBusy (owned by a living process, named in the context), kConfig,
  // kSystem.
  static Result<PidFile> acquire(const SafeDir& dir,
                                 const std::string& name,
                                 std::span<const std::string> notes = {});
  // Errors: kConfig, kSystem (missing, unreadable), kMalformed.
  static Result<Content> read(const SafeDir& dir, const std::string& name);
  // True when the file names a process of this host that runs and has this very file open: a copy
  // of a pid file, or one written by somebody else, names no owner.
  static bool is_owned_by(const SafeDir& dir,
                          const std::string& name,
                          const ProcessRecord& process);

  PidFile(PidFile&&) noexcept = default;
  PidFile& operator=(PidFile&&) = delete;
  // Removes the file.
  ~PidFile();
  // Releases the name and leaves the file, as a killed process does: a sign that the daemon did not
  // shut down cleanly.
  void leave_behind();

 private:
  explicit PidFile(FileLock lock) : lock_(std::in_place, std::move(lock)) {}
  std::optional<FileLock> lock_;
};

}  // namespace benchfs
