#include "client/paths/path_walk.h"

#include <cerrno>
#include <utility>

#include "wire/limits.h"

namespace benchfs::client {

Result<PathWalk> PathWalk::start(std::string_view path) {
  PathWalk walk;
  BENCHFS_TRY_VOID(walk.push(path));
  walk.next();
  return walk;
}

// Puts the components of `path` in front of what is left.
Status PathWalk::push(std::string_view path) {
  if (path.empty()) {
    return fail_errno(ENOENT);
  }
  if (path.size() > wire::kMaxPathBytes) {
    return fail_errno(ENAMETOOLONG);
  }
  if (path.find('\0') != std::string_view::npos) {
    return fail_errno(EINVAL);
  }
  if (components_.empty() && path.back() == '/') {
    must_be_directory_ = true;
  }
  std::size_t end = path.size();
  while (end > 0) {
    std::size_t slash = path.rfind('/', end - 1);
    std::size_t begin = slash == std::string_view::npos ? 0 : slash + 1;
    std::string_view component = path.substr(begin, end - begin);
    if (!component.empty()) {
      components_.emplace_back(component);
    }
    end = slash == std::string_view::npos ? 0 : slash;
  }
  return {};
}

bool PathWalk::is_before_dots() const {
  return !components_.empty() && (components_.back() == "." || components_.back() == "..");
}

void PathWalk::next() {
  while (!components_.empty()) {
    std::string component = std::move(components_.back());
    components_.pop_back();
    if (component == ".") {
      must_be_directory_ |= components_.empty();
      continue;
    }
    if (component == "..") {
      must_be_directory_ |= components_.empty();
      if (directories_.size() > 1) {
        directories_.pop_back();
      }
      continue;
    }
    name_ = std::move(component);
    return;
  }
  name_.clear();
}

void PathWalk::enter(wire::InodeId directory) {
  directories_.push_back(directory);
  next();
}

Status PathWalk::follow(std::string_view target) {
  if (++links_ > wire::kMaxSymlinkDepth) {
    return fail_errno(ELOOP);
  }
  if (!target.empty() && target.front() == '/') {
    directories_.resize(1);
  }
  BENCHFS_TRY_VOID(push(target));
  next();
  return {};
}

}  // namespace benchfs::client
