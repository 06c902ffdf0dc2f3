// Where a path leads: below the prefix, or to the kernel's files.
//
// The usual case is decided by text alone. Paths that may cross the prefix by "..", and symbolic
// links that lead in or out, are walked component by component (resolve_by_walk), but only when the
// usual way has failed: the cluster says EREMOTE, or the kernel ENOENT or ENOTDIR.
#pragma once

#include <climits>
#include <cstddef>

#include "preload/descriptions.h"
#include "preload/entry.h"

namespace benchfs::preload {

inline constexpr std::size_t kPathRoom = 2 * PATH_MAX;

struct Place {
  bool is_ours = false;
  int error = 0;  // the path cannot be used at all
  // Ours: in the file system, beginning with '/'. The kernel's: relative to `directory`.
  int directory = -1;
  const char* path = nullptr;
  char text[kPathRoom];
};

enum class Follow { kNo, kYes };

void find_place(int directory, const char* path, Place& place);
// Whether a path is ours by its text.
bool is_ours_path(const char* path);
// The descriptor of this process that a path means (/proc/self/fd/N, /dev/stdin, …); -1: none. The
// kernel would open the memory file behind one of ours.
int own_descriptor(const char* path);
// Physically, from the absolute path that `place` stands for.
void resolve_by_walk(int directory, const char* path, Follow follow, Place& place);
// After an error of the kernel's call: whether it was a symbolic link into the prefix.
bool leads_inside(int directory, const char* path, Follow follow, Place& place);

// Our path as the program names it: the prefix and `path`.
void to_program_path(const char* path, char* text);

// --- the working directory ---
// "" when it is not below the prefix.
const char* own_working_directory();
int change_directory(const char* path);  // in the file system, resolved; 0, or -1 with errno
void leave_working_directory();          // after the kernel's chdir
// At the start of a program; `given`: what the one before it says, or nullptr.
void adopt_working_directory(const char* given);

// Runs `ours(path in the file system)`, which answers as the C API does, or
// `theirs(directory, path)`, which answers as libc does.
template <typename Ours, typename Theirs>
auto at_place(
    Counter& counter, int directory, const char* path, Follow follow, Ours ours, Theirs theirs)
    -> decltype(theirs(directory, path)) {
  using Result = decltype(theirs(directory, path));
  Errno keep;
  if (follow == Follow::kYes) {
    if (OpenRef open{own_descriptor(path)}) {
      counter.served();
      return static_cast<Result>(keep.finish(ours(open->shared->path)));
    }
  }
  Place place;
  find_place(directory, path, place);
  if (place.is_ours && place.error == 0) {
    auto result = ours(place.path);
    if (result != -EREMOTE) {
      counter.served();
      return static_cast<Result>(keep.finish(result));
    }
    resolve_by_walk(directory, path, follow, place);
    if (place.is_ours && place.error == 0) {
      counter.served();
      return static_cast<Result>(keep.finish(ours(place.path)));
    }
  }
  if (place.error != 0) {
    counter.served();
    return static_cast<Result>(fail_with(place.error));
  }
  Result result = theirs(place.directory, place.path);
  if (result == -1 && (errno == ENOENT || errno == ENOTDIR) &&
      leads_inside(directory, path, follow, place)) {
    counter.served();
    return static_cast<Result>(keep.finish(ours(place.path)));
  }
  counter.passed();
  return result;
}

}  // namespace benchfs::preload
