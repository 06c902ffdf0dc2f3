#include "client/paths/path_walk.h"

#include <cerrno>
#include <utility>

#include "wire/limits.h"

namespace benchfs::client {

namespace {

Status check_path(std::string_view path) {
  if (path.empty()) {
    return fail_errno(ENOENT);
  }
  if (path.size() > wire::kMaxPathBytes) {
    return fail_errno(ENAMETOOLONG);
  }
  if (path.find('\0') != std::string_view::npos) {
    return fail_errno(EINVAL);
  }
  return {};
}

std::string_view without_leading_slashes(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of('/'), text.size()));
  return text;
}

std::string_view without_outer_slashes(std::string_view text) {
  text = without_leading_slashes(text);
  return text.substr(0, text.find_last_not_of('/') + 1);
}

std::string_view first_component(std::string_view rest) {
  return rest.substr(0, rest.find('/'));
}

// Whether an absolute path is the prefix or below it. Everything is below the empty one.
bool is_below(std::string_view path, std::string_view prefix) {
  return path.starts_with(prefix) &&
         (path.size() == prefix.size() || prefix.empty() || path[prefix.size()] == '/');
}

bool is_dots(std::string_view component) {
  return component == "." || component == "..";
}

}  // namespace

Result<PathWalk> PathWalk::start(std::string_view path,
                                 std::string_view mount_prefix,
                                 wire::InodeId begin,
                                 Notes notes) {
  BENCHFS_TRY_VOID(check_path(path));
  Result<PathWalk> walk(std::in_place);
  walk->mount_prefix_ = mount_prefix;
  walk->notes_searched_ = notes == Notes::kSearched;
  if (begin != wire::kRootInode && path.front() != '/') {
    walk->directories_.front() = begin;
    walk->is_from_root_ = false;
  }
  walk->path_ = path;
  walk->must_be_directory_ = path.back() == '/';
  walk->rest_ = without_outer_slashes(path);
  walk->next();
  return walk;
}

bool PathWalk::is_before_dots() const {
  return is_dots(first_component(rest_));
}

void PathWalk::next() {
  while (!rest_.empty()) {
    if (notes_searched_) [[unlikely]] {
      searched_.push_back(directories_.back());
    }
    std::string_view component = first_component(rest_);
    rest_ = without_leading_slashes(rest_.substr(component.size()));
    if (!is_dots(component)) {
      name_ = component;
      return;
    }
    must_be_directory_ |= rest_.empty();
    if (component != "..") {
      continue;
    }
    if (directories_.size() > 1) {
      directories_.pop_back();
    } else if (directories_.front() != wire::kRootInode) {
      is_climbing_ = true;
      break;
    } else if (!mount_prefix_.empty()) {
      leave();
    }
  }
  name_ = {};
}

void PathWalk::climb(wire::InodeId parent) {
  directories_.front() = parent;
  is_climbing_ = false;
  next();
}

void PathWalk::leave() {
  has_left_ = true;
  rest_ = {};
  name_ = {};
}

void PathWalk::enter(wire::InodeId directory) {
  directories_.push_back(directory);
  next();
}

Status PathWalk::follow(std::string_view target) {
  if (++links_ > wire::kMaxSymlinkDepth) {
    return fail_errno(ELOOP);
  }
  BENCHFS_TRY_VOID(check_path(target));
  path_ = {};
  is_at_last_ = false;
  if (target.front() == '/') {
    directories_.assign(1, wire::kRootInode);
    if (!is_below(target, mount_prefix_)) {
      leave();
      return {};
    }
  }
  must_be_directory_ |= rest_.empty() && target.back() == '/';
  std::string text(target.front() == '/' ? target.substr(mount_prefix_.size()) : target);
  if (!rest_.empty()) {
    text.append("/").append(rest_);
  }
  text_ = std::make_unique<const std::string>(std::move(text));
  rest_ = without_outer_slashes(*text_);
  next();
  return {};
}

}  // namespace benchfs::client
