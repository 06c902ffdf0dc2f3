// Where the resolution of a path stands: the directories passed and the components left.
#pragma once

#include <algorithm>
#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "wire/ids.h"

namespace benchfs::client {

class PathWalk {
 public:
  using Directories = boost::container::small_vector<wire::InodeId, 8>;

  PathWalk() = default;
  // Borrows `path` until the walk ends. Errors: ENOENT (empty), ENAMETOOLONG (the path; names are
  // checked when reached, as in Linux), EINVAL (NUL inside).
  //
  // `mount_prefix`: where the program sees the root, borrowed too; "" when the file system is all
  // there is. With a prefix, absolute targets of symlinks below it lead to the root, and a walk
  // that leads elsewhere has left (has_left()).
  // A relative path begins at `begin`. `notes`: whether take_searched() has an answer.
  enum class Notes : std::uint8_t { kNothing, kSearched };
  static Result<PathWalk> start(std::string_view path,
                                std::string_view mount_prefix = {},
                                wire::InodeId begin = wire::kRootInode,
                                Notes notes = Notes::kNothing);
  // A walk that stands before its last component, `name`, and came through these directories.
  static PathWalk at_last(const Directories& directories,
                          std::string_view name,
                          std::string_view mount_prefix) {
    return {directories, name, mount_prefix};
  }
  // The text of the path before name(); "" once a symlink was followed, and when the path does not
  // begin at the root.
  [[nodiscard]] std::string_view way() const {
    return path_.empty() || name_.empty() || !is_from_root_
               ? std::string_view()
               : path_.substr(0, static_cast<std::size_t>(name_.data() - path_.data()));
  }
  // It came from at_last(), and has not gone on since.
  [[nodiscard]] bool is_at_last() const { return is_at_last_; }
  [[nodiscard]] const Directories& directories() const { return directories_; }

  // The directory reached so far, and the next component, "" when there is none left: then the path
  // is that directory itself.
  [[nodiscard]] wire::InodeId directory() const { return directories_.back(); }
  [[nodiscard]] bool goes_through(wire::InodeId directory) const {
    return std::ranges::find(directories_, directory) != directories_.end();
  }
  [[nodiscard]] std::string_view name() const { return name_; }
  [[nodiscard]] bool is_last() const { return rest_.empty(); }
  // With a prefix: the path climbed above the root, or went through a symlink to somewhere else.
  [[nodiscard]] bool has_left() const { return has_left_; }
  // The directories in which a component was looked for, "." and ".." included, since this was
  // asked last: who walks must be allowed to search them.
  [[nodiscard]] bool has_searched() const { return !searched_.empty(); }
  [[nodiscard]] std::vector<wire::InodeId> take_searched() { return std::exchange(searched_, {}); }
  // The next component is "." or "..", which leads on only if the current one still exists.
  [[nodiscard]] bool is_before_dots() const;
  // The walk stands in the directory where it began, and goes on with "..": climb() to the parent,
  // which has to be asked for.
  [[nodiscard]] bool is_climbing() const { return is_climbing_; }
  void climb(wire::InodeId parent);
  // The path ended in a slash (or "." or ".."): what it names must be a directory, and a symlink at
  // its end is followed.
  [[nodiscard]] bool must_be_directory() const { return must_be_directory_; }

  // The current component is this directory; goes on to the next one.
  void enter(wire::InodeId directory);
  // The current component is a symlink; its target takes its place. ELOOP after too many.
  Status follow(std::string_view target);

 private:
  PathWalk(const Directories& directories, std::string_view name, std::string_view mount_prefix)
      : directories_(directories), name_(name), mount_prefix_(mount_prefix), is_at_last_(true) {}
  void next();
  void leave();

  Directories directories_{wire::kRootInode};
  std::string_view path_;  // until a symlink is followed
  std::string_view name_;
  std::string_view rest_;  // the components behind name_, without slashes at either end
  // Once a symlink was followed: its target with the rest of the path, which name_ and rest_
  // borrow.
  std::unique_ptr<const std::string> text_;
  std::string_view mount_prefix_;
  std::vector<wire::InodeId> searched_;
  bool notes_searched_ = false;
  bool must_be_directory_ = false;
  bool has_left_ = false;
  bool is_climbing_ = false;
  bool is_from_root_ = true;
  bool is_at_last_ = false;
  int links_ = 0;
};

}  // namespace benchfs::client
