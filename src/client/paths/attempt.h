// One attempt of an operation by path, and which inode it found by name and then found gone.
//
// A name is removed or replaced before its inode goes. So an inode that is gone right after it was
// found by name says that the name has changed meanwhile: the operation looks it up again
// (Paths::with_names). Only when the same name leads to the same inode again has its server lost
// it.
#pragma once

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "client/permissions.h"
#include "wire/ids.h"

namespace benchfs::client {

class Attempt {
 public:
  // `version`: that of the directory cache at the beginning.
  Attempt(Deadline deadline, std::uint64_t version) : deadline_(deadline), version_(version) {}

  [[nodiscard]] Deadline deadline() const { return deadline_; }

  // A directory on the way came from the cache; while its server could not be reached, something
  // was forgotten: the walk begins again.
  void use_cache() { uses_cache_ = true; }
  [[nodiscard]] bool uses_cache() const { return uses_cache_; }
  [[nodiscard]] bool is_outdated(std::uint64_t version) const {
    return uses_cache_ && version != version_;
  }
  // When the walk last went on: it has not waited since when walk_to_last() returns. A lease may be
  // counted from this time, because whatever is asked later is granted for longer.
  [[nodiscard]] BootTime walked_at() const { return walked_at_; }
  void set_walked_at(BootTime now) { walked_at_ = now; }
  // For whom permissions are checked; null if they are not.
  [[nodiscard]] const Credentials* caller() const { return caller_.get(); }
  void act_as(Credentials caller) {
    caller_ = std::make_unique<const Credentials>(std::move(caller));
  }
  // A directory where a path begins, which was not found by name.
  void set_begin(wire::InodeId directory) { begins_[begins_[0].is_valid() ? 1 : 0] = directory; }
  [[nodiscard]] bool is_begin(wire::InodeId directory) const {
    return directory == begins_[0] || directory == begins_[1];
  }
  void begin_again() { begins_again_ = true; }
  [[nodiscard]] bool begins_again() const { return begins_again_; }

  // Passes on the result of a request about an entry of `directory`; ESTALE: the directory is gone.
  template <typename T>
  Result<T>&& in_directory(wire::InodeId directory, Result<T>&& result) {
    return in_directories(directory, directory, std::move(result));
  }
  template <typename T>
  Result<T>&& in_directories(wire::InodeId first, wire::InodeId second, Result<T>&& result) {
    if (!result && result.error().is_posix(ESTALE)) [[unlikely]] {
      gone_ = {first, second};
      is_directory_ = true;
    }
    return std::move(result);
  }
  // Passes on the result of a request about an inode that was found by name.
  template <typename T>
  Result<T>&& on_inode(wire::InodeId inode, Result<T>&& result) {
    if (!result && (result.error().is_posix(ESTALE) || result.error().is_posix(ENOENT)))
        [[unlikely]] {
      gone_ = {inode, inode};
    }
    return std::move(result);
  }

  // The same for a directory on the way, which may have come from the directory cache.
  template <typename T>
  Result<T>&& on_directory(wire::InodeId directory, Result<T>&& result) {
    is_directory_ = !result;
    return on_inode(directory, std::move(result));
  }

  // The inodes of which one is gone; invalid when the attempt ended otherwise.
  struct Gone {
    wire::InodeId first;
    wire::InodeId second;
    [[nodiscard]] bool is_valid() const { return first.is_valid(); }
    friend bool operator==(const Gone&, const Gone&) = default;
  };
  [[nodiscard]] const Gone& gone() const { return gone_; }
  // It may have come from the directory cache.
  [[nodiscard]] bool is_directory_gone() const { return is_directory_; }

 private:
  Deadline deadline_;
  std::uint64_t version_;
  BootTime walked_at_{};
  std::unique_ptr<const Credentials> caller_;
  Gone gone_;
  std::array<wire::InodeId, 2> begins_;  // invalid: the root
  bool is_directory_ = false;
  bool uses_cache_ = false;
  bool begins_again_ = false;
};

}  // namespace benchfs::client
