// A directory that only its owner may change, and the files in it.
//
// Registry and data directories have well-known names, often below /tmp, where anybody may create
// them first. A SafeDir is opened once and checked: it is a directory, it belongs to this user (or
// another one the caller trusts), and nobody else may write to it. Everything below it is reached
// through its descriptor, by plain names, never through a symbolic link.
//
// The directories above it are not checked: they may belong to anybody, as on a parallel file
// system. A symbolic link in place of the directory is followed when this user or root made it.
//
// Thread: any. Every call blocks on the file system: never on a reactor.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/own_descriptor.h"

struct stat;

namespace benchfs {

// The owners whose directories and files are accepted.
enum class Owner : std::uint8_t {
  kSelf,          // this process's effective user
  kTrusted,       // also root, and the user whose number is in BENCHFS_REGISTRY_OWNER
  kSelfOrSticky,  // directories only: self or root, and others may write if the sticky bit is set
};
// The user in BENCHFS_REGISTRY_OWNER.
std::optional<uid_t> trusted_user();

class SafeDir {
 public:
  // Errors: kConfig (not a directory, another's, writable by others: the context says what to do),
  // kSystem.
  static Result<SafeDir> open(const std::string& path, Owner owner = Owner::kSelf);
  // Creates the directory and its parents when they are missing; only the owner may enter new ones.
  static Result<SafeDir> open_or_create(const std::string& path, Owner owner = Owner::kSelf);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string path_of(std::string_view name) const;
  // Serves to reach files, not to read them (O_PATH).
  [[nodiscard]] int fd() const { return fd_->get(); }

  // For who holds it in somebody else's program for long. Errors: kSystem.
  Status keep();
  // False when the program has closed it.
  [[nodiscard]] bool is_ours() const { return fd_->is_ours(); }

  // The directory `name` in this one, by the same rules; it may not be a symbolic link.
  [[nodiscard]] Result<SafeDir> subdirectory(const std::string& name) const {
    return subdirectory(name, owner_);
  }
  [[nodiscard]] Result<SafeDir> subdirectory(const std::string& name, Owner owner) const;
  // The same; creates it when it is missing.
  [[nodiscard]] Result<SafeDir> create_subdirectory(const std::string& name, mode_t mode) const;

  // Opens a regular file that belongs to an accepted owner and that others may not write to. Never
  // blocks on a pipe and never follows a link. A file that O_CREAT makes gets exactly `mode`.
  // Errors: kConfig, kSystem.
  [[nodiscard]] Result<Fd> open_file(const std::string& name, int flags, mode_t mode = 0) const;
  // The content of such a file. Errors: also kSystem with EFBIG beyond `limit` bytes.
  [[nodiscard]] Result<std::string> read_file(const std::string& name, std::size_t limit) const;

  // Names in natural byte order, without "." and ".."; empty when it cannot be read.
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] bool exists(const std::string& name) const;
  // True when `name` is still the open file `fd`.
  [[nodiscard]] bool is_named(const std::string& name, int fd) const;

  // Removes a regular file of this user's, and nothing else. True when it is gone.
  bool remove_file(const std::string& name) const;  // NOLINT(modernize-use-nodiscard)
  // Removes an empty directory.
  bool remove_subdirectory(const std::string& name) const;  // NOLINT(modernize-use-nodiscard)
  // Removes this directory if it is empty and its path still leads to it.
  bool remove_self() const;  // NOLINT(modernize-use-nodiscard)

 private:
  SafeDir(std::string path, Owner owner, Fd fd)
      : path_(std::move(path)),
        owner_(owner),
        fd_(std::make_shared<const OwnDescriptor>(OwnDescriptor::trusted(std::move(fd)))) {}
  std::string path_;
  Owner owner_;
  std::shared_ptr<const OwnDescriptor> fd_;
};

// Reads to the end of an open file. Errors: kSystem; EFBIG beyond `limit` bytes.
Result<std::string> read_all(int fd, std::size_t limit, const std::string& path);
// Errors: kSystem.
Status write_all(int fd, std::string_view text, const std::string& path);

}  // namespace benchfs
