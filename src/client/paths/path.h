// A path as a program gives it, and where it begins.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "client/io/open_file.h"
#include "wire/ids.h"

namespace benchfs::client {

struct Path {
  // Begins at the root. Not explicit: a text is a path.
  // NOLINTBEGIN(google-explicit-constructor)
  Path(std::string path) : text(std::move(path)) {}
  Path(std::string_view path) : text(path) {}
  Path(const char* path) : text(path) {}
  // NOLINTEND(google-explicit-constructor)
  // Begins at this directory, unless it is absolute.
  Path(wire::InodeId directory, std::string path) : text(std::move(path)) {
    if (!text.starts_with('/')) {
      begin = directory;
    }
  }
  // The same for one that is open. EBADF, ENOTDIR.
  static Result<Path> at(const OpenFile& directory, std::string path);
  // What is open, whatever its name is by now.
  static Path of(const OpenFile& file);

  std::string text;
  wire::InodeId begin = wire::kRootInode;
  bool is_begin = false;  // `begin`, which may be any inode, is meant itself
};

// The same, borrowed.
struct PathView {
  // NOLINTBEGIN(google-explicit-constructor)
  PathView(std::string_view path) : text(path) {}
  PathView(const std::string& path) : text(path) {}
  PathView(const char* path) : text(path) {}
  PathView(const Path& path) : text(path.text), begin(path.begin), is_begin(path.is_begin) {}
  // NOLINTEND(google-explicit-constructor)
  [[nodiscard]] Path copy() const {
    Path path{text};
    path.begin = begin;
    path.is_begin = is_begin;
    return path;
  }

  std::string_view text;
  wire::InodeId begin = wire::kRootInode;
  bool is_begin = false;
};

}  // namespace benchfs::client
