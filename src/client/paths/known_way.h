// The way of the last path whose directories all came from the directory cache.
//
// A path that goes the same way, letter by letter, is not walked again: programs name many files of
// one directory in turn. What is known holds as long as the cache vouches for each directory of it:
// until the first lease ends, or anything is forgotten or replaced.
//
// Thread: the client's reactor.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "client/paths/path_walk.h"
#include "wire/limits.h"

namespace benchfs::client {

class KnownWay {
 public:
  // `version`: of the directory cache.
  void remember(const PathWalk& walk, std::uint64_t version, BootTime until) {
    text_ = walk.way();
    directories_ = walk.directories();
    version_ = version;
    until_ = until;
  }
  // The last component of a path that goes this way; "" of any other path, and when the way is no
  // longer known.
  [[nodiscard]] std::string_view last_of(std::string_view path,
                                         std::uint64_t version,
                                         BootTime now) const {
    if (version != version_ || now >= until_ || path.size() > wire::kMaxPathBytes ||
        !path.starts_with(text_)) {
      return {};
    }
    std::string_view name = path.substr(text_.size());
    bool is_name = name.size() <= wire::kMaxNameBytes && !name.contains('/') &&
                   !name.contains('\0') && name != "." && name != "..";
    return is_name ? name : std::string_view();
  }
  [[nodiscard]] const PathWalk::Directories& directories() const { return directories_; }

 private:
  std::string text_;
  PathWalk::Directories directories_;
  std::uint64_t version_ = 0;
  BootTime until_{};
};

}  // namespace benchfs::client
