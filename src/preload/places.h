// Where a path leads: below the prefix, or to the kernel's files.
//
// The usual case is decided by text alone. Paths that may cross the prefix by "..", and symbolic
// links that lead in or out, are walked component by component (resolve_by_walk), but only when the
// usual way has failed: the cluster says EREMOTE, or the kernel ENOENT or ENOTDIR.
//
// A path that begins in an open directory of ours is given to the cluster with that directory,
// which it knows by inode: so it leads below the directory wherever that has been renamed to.
#pragma once

#include <climits>
#include <cstddef>
#include <type_traits>

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
  // Ours: where `path` says it begins, and what follows, while nothing had to be walked; -1: the
  // root.
  int base = -1;
  const char* below_base = nullptr;
  char text[kPathRoom];
};

enum class Follow { kNo, kYes };

// Whether the text of a path says that it is the kernel's. Not before a walk otherwise.
bool is_elsewhere(int directory, const char* path);
void find_place(int directory, const char* path, Place& place);
// Whether a path is ours by its text.
bool is_ours_path(const char* path);
// The descriptor of this process that a path means (/proc/self/fd/N, /dev/stdin, …); -1: none. The
// kernel would open the memory file behind one of ours.
int own_descriptor(const char* path);
// Physically, from the absolute path that `place` stands for.
void resolve_by_walk(int directory, const char* path, Follow follow, Place& place);
// Where an open directory of ours is now, in the file system. False with errno.
bool path_now(Description& directory, char* path);
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

// What a call below the prefix is about, in the terms of the C API.
struct Target {
  Cluster here;
  benchfs_file_t* directory = nullptr;  // nullptr: `path` begins at the root
  const char* path = nullptr;
  const char* text = nullptr;  // from the root, as the program named it

  [[nodiscard]] const Api* operator->() const { return here.api; }
  [[nodiscard]] int stat(Follow follow, benchfs_stat_t* out) const;
};

// Runs `ours` for a place below the prefix. The errors are those of the C API.
template <typename Ours>
auto on_ours(const Place& place, Ours ours) {
  Deferral deferral;
  if constexpr (std::is_invocable_v<Ours, const char*>) {
    return ours(place.path);
  } else {
    using Result = decltype(ours(Target{}));
    Cluster here = cluster();
    if (!here) {
      return Result{-errno};
    }
    OpenRef base(place.base);
    if (!base || base->shared->kind == Kind::kPath) {
      return ours(Target{here, nullptr, place.path, place.path});
    }
    Handle handle = handle_of(*base);
    return handle ? ours(Target{here, handle.file, place.below_base, place.path}) : Result{-errno};
  }
}

// After an error of the kernel's call, which gave `result`.
template <typename Result, typename Ours>
[[gnu::noinline]] Result behind_link(Counter& counter,
                                     int directory,
                                     const char* path,
                                     Follow follow,
                                     Ours& ours,
                                     const Errno& keep,
                                     Result result) {
  Place place;
  if (!leads_inside(directory, path, follow, place)) {
    counter.passed();
    return result;
  }
  counter.served();
  return static_cast<Result>(keep.finish(on_ours(place, ours)));
}

// The way of paths that may be ours. A function of its own, because a Place takes two pages of the
// stack, which others shall not touch.
template <typename Result, typename Ours, typename Theirs>
[[gnu::noinline]] Result at_own_place(Counter& counter,
                                      int directory,
                                      const char* path,
                                      Follow follow,
                                      Ours& ours,
                                      Theirs& theirs,
                                      const Errno& keep) {
  if (follow == Follow::kYes) {
    if (OpenRef open{own_descriptor(path)}) {
      counter.served();
      Place there;
      there.path = open->shared->path;
      return static_cast<Result>(keep.finish(on_ours(there, ours)));
    }
  }
  Place place;
  find_place(directory, path, place);
  if (place.is_ours && place.error == 0) {
    auto result = on_ours(place, ours);
    if (result != -EREMOTE) {
      counter.served();
      return static_cast<Result>(keep.finish(result));
    }
    resolve_by_walk(directory, path, follow, place);
    if (place.is_ours && place.error == 0) {
      counter.served();
      return static_cast<Result>(keep.finish(on_ours(place, ours)));
    }
  }
  if (place.error != 0) {
    counter.served();
    return static_cast<Result>(fail_with(place.error));
  }
  Result result = theirs(place.directory, place.path);
  if (result == -1 && (errno == ENOENT || errno == ENOTDIR)) {
    return behind_link(counter, directory, path, follow, ours, keep, result);
  }
  counter.passed();
  return result;
}

// Runs `ours(path in the file system)` or `ours(Target)`, which answers as the C API does, or
// `theirs(directory, path)`, which answers as libc does.
template <typename Ours, typename Theirs>
auto at_place(
    Counter& counter, int directory, const char* path, Follow follow, Ours ours, Theirs theirs)
    -> decltype(theirs(directory, path)) {
  using Result = decltype(theirs(directory, path));
  Errno keep;
  if (!is_elsewhere(directory, path) || (follow == Follow::kYes && own_descriptor(path) >= 0)) {
    return at_own_place<Result>(counter, directory, path, follow, ours, theirs, keep);
  }
  Result result = theirs(directory, path);
  if (result == -1 && (errno == ENOENT || errno == ENOTDIR)) {
    return behind_link(counter, directory, path, follow, ours, keep, result);
  }
  counter.passed();
  return result;
}

}  // namespace benchfs::preload
