// Where the resolution of a path stands: the directories passed and the components left.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "wire/ids.h"

namespace benchfs::client {

class PathWalk {
 public:
  // Errors: ENOENT (empty), ENAMETOOLONG (the path; names are checked when reached, as in Linux),
  // EINVAL (NUL inside).
  static Result<PathWalk> start(std::string_view path);

  // The directory reached so far, and the next component, "" when there is none left: then the path
  // is that directory itself.
  [[nodiscard]] wire::InodeId directory() const { return directories_.back(); }
  [[nodiscard]] bool goes_through(wire::InodeId directory) const {
    return std::ranges::find(directories_, directory) != directories_.end();
  }
  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] bool is_last() const { return components_.empty(); }
  // The next component is "." or "..", which leads on only if the current one still exists.
  [[nodiscard]] bool is_before_dots() const;
  // The path ended in a slash (or "." or ".."): what it names must be a directory, and a symlink at
  // its end is followed.
  [[nodiscard]] bool must_be_directory() const { return must_be_directory_; }

  // The current component is this directory; goes on to the next one.
  void enter(wire::InodeId directory);
  // The current component is a symlink; its target takes its place. ELOOP after too many.
  Status follow(std::string_view target);

 private:
  Status push(std::string_view path);
  void next();

  std::vector<wire::InodeId> directories_{wire::kRootInode};
  std::vector<std::string> components_;  // what is left, last component first
  std::string name_;
  bool must_be_directory_ = false;
  int links_ = 0;
};

}  // namespace benchfs::client
