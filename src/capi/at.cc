// The functions of benchfs.h that take a path in an open directory. benchfs_openat() is in file.cc.

#include <fcntl.h>

#include <utility>

#include "capi/attributes.h"
#include "capi/context.h"
#include "capi/last_error.h"
#include "capi/names.h"

namespace benchfs::capi {
namespace {

// What a function is about: a path, or with AT_EMPTY_PATH the handle itself.
struct Place {
  benchfs_context* context = nullptr;
  bool is_handle = false;
  client::Path path;
};

Status check_flags(int flags, int allowed) {
  return (flags & ~allowed) == 0 ? Status{} : Status(fail_errno(EINVAL, "an unknown flag"));
}

Result<Place> find_place(benchfs_file* directory, const char* path, int flags = 0) {
  BENCHFS_TRY(client::Path name, to_path(directory, path));
  bool is_handle = (flags & AT_EMPTY_PATH) != 0 && name.text.empty();
  return Place{.context = directory->context,
               .is_handle = is_handle,
               .path = is_handle ? client::Path::of(*directory->open_file) : std::move(name)};
}

Status set_attr_at(benchfs_file* directory,
                   const char* path,
                   const wire::SetAttrRequest& request,
                   int flags) {
  BENCHFS_TRY_VOID(check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH));
  BENCHFS_TRY(Place place, find_place(directory, path, flags));
  if (!place.is_handle) {
    bool follow = (flags & AT_SYMLINK_NOFOLLOW) == 0;
    return set_attr(place.context, std::move(place.path), request, follow);
  }
  if (request.mask != 0) {
    BENCHFS_TRY_VOID(
        run(place.context, place.context->client->fs().set_attr(*directory->open_file, request)));
  }
  return {};
}

Result<wire::Attr> stat_at(benchfs_file* directory,
                           const char* path,
                           int flags,
                           client::Ids ids = client::Ids::kEffective) {
  BENCHFS_TRY_VOID(check_flags(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT));
  BENCHFS_TRY(Place place, find_place(directory, path, flags));
  client::FileSystem& fs = place.context->client->fs();
  if (place.is_handle) {
    return run(place.context, fs.fstat(*directory->open_file));
  }
  return run(
      place.context,
      (flags & AT_SYMLINK_NOFOLLOW) != 0 ? fs.lstat(place.path, ids) : fs.stat(place.path, ids));
}

Status check_same_context(const Place& from, const Place& to) {
  return from.context == to.context
             ? Status{}
             : Status(fail_errno(EXDEV, "the directories belong to two contexts"));
}

}  // namespace
}  // namespace benchfs::capi

using benchfs::Status;
using benchfs::client::Ids;
namespace capi = benchfs::capi;
namespace wire = benchfs::wire;

extern "C" {

int benchfs_fstatat(benchfs_file_t* directory,
                    const char* path,
                    benchfs_stat_t* out,
                    int flags) noexcept {
  return capi::answer<int>({"fstatat", path}, [&]() -> Status {
    if (out == nullptr) {
      return benchfs::fail_errno(EINVAL, "the output is NULL");
    }
    BENCHFS_TRY(wire::Attr attr, capi::stat_at(directory, path, flags));
    *out = capi::to_stat(attr);
    return {};
  });
}

int benchfs_faccessat(benchfs_file_t* directory, const char* path, int mode, int flags) noexcept {
  return capi::answer<int>({"faccessat", path}, [&]() -> Status {
    auto ids = (flags & AT_EACCESS) != 0 ? Ids::kEffective : Ids::kReal;
    BENCHFS_TRY(wire::Attr attr, capi::stat_at(directory, path, flags & ~AT_EACCESS, ids));
    return attr.is_symlink() ? Status{} : capi::check_access(attr, mode, ids);
  });
}

int benchfs_mkdirat(benchfs_file_t* directory, const char* path, mode_t mode) noexcept {
  return capi::answer<int>({"mkdirat", path}, [&]() -> Status {
    BENCHFS_TRY(capi::Place place, capi::find_place(directory, path));
    BENCHFS_TRY_VOID(capi::run(
        place.context, place.context->client->fs().mkdir(std::move(place.path), mode & 07777)));
    return {};
  });
}

int benchfs_unlinkat(benchfs_file_t* directory, const char* path, int flags) noexcept {
  return capi::answer<int>({"unlinkat", path}, [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check_flags(flags, AT_REMOVEDIR));
    BENCHFS_TRY(capi::Place place, capi::find_place(directory, path));
    benchfs::client::FileSystem& fs = place.context->client->fs();
    return flags == AT_REMOVEDIR ? capi::run(place.context, fs.rmdir(std::move(place.path)))
                                 : capi::run(place.context, fs.unlink(place.path));
  });
}

int benchfs_renameat2(benchfs_file_t* old_directory,
                      const char* old_path,
                      benchfs_file_t* new_directory,
                      const char* new_path,
                      unsigned flags) noexcept {
  return capi::answer<int>({"renameat2", old_path, new_path}, [&]() -> Status {
    BENCHFS_TRY(capi::Place from, capi::find_place(old_directory, old_path));
    BENCHFS_TRY(capi::Place to, capi::find_place(new_directory, new_path));
    BENCHFS_TRY_VOID(capi::check_same_context(from, to));
    return capi::rename(from.context, std::move(from.path), std::move(to.path), flags);
  });
}

int benchfs_linkat(benchfs_file_t* old_directory,
                   const char* old_path,
                   benchfs_file_t* new_directory,
                   const char* new_path,
                   int flags) noexcept {
  return capi::answer<int>({"linkat", old_path, new_path}, [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check_flags(flags, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH));
    BENCHFS_TRY(capi::Place from, capi::find_place(old_directory, old_path, flags));
    BENCHFS_TRY(capi::Place to, capi::find_place(new_directory, new_path));
    BENCHFS_TRY_VOID(capi::check_same_context(from, to));
    return capi::run(
        from.context,
        from.context->client->fs().link(
            std::move(from.path), std::move(to.path), (flags & AT_SYMLINK_FOLLOW) != 0));
  });
}

int benchfs_symlinkat(const char* target, benchfs_file_t* directory, const char* path) noexcept {
  return capi::answer<int>({"symlinkat", path, target}, [&]() -> Status {
    BENCHFS_TRY(std::string text, capi::to_path(target));
    BENCHFS_TRY(capi::Place place, capi::find_place(directory, path));
    return capi::run(place.context,
                     place.context->client->fs().symlink(std::move(text), std::move(place.path)));
  });
}

ssize_t benchfs_readlinkat(benchfs_file_t* directory,
                           const char* path,
                           char* buffer,
                           size_t size) noexcept {
  return capi::answer<ssize_t>({"readlinkat", path}, [&]() -> benchfs::Result<std::size_t> {
    BENCHFS_TRY(capi::Place place, capi::find_place(directory, path));
    return capi::readlink(place.context, std::move(place.path), buffer, size);
  });
}

int benchfs_fchmodat(benchfs_file_t* directory, const char* path, mode_t mode, int flags) noexcept {
  return capi::answer<int>({"fchmodat", path}, [&] {
    return capi::set_attr_at(directory, path, capi::mode_request(mode), flags);
  });
}

int benchfs_fchownat(
    benchfs_file_t* directory, const char* path, uid_t uid, gid_t gid, int flags) noexcept {
  return capi::answer<int>({"fchownat", path}, [&] {
    return capi::set_attr_at(directory, path, capi::owner_request(uid, gid), flags);
  });
}

int benchfs_utimensat(benchfs_file_t* directory,
                      const char* path,
                      const timespec* times,
                      int flags) noexcept {
  return capi::answer<int>({"utimensat", path}, [&]() -> Status {
    BENCHFS_TRY(wire::SetAttrRequest request, capi::parse_times(times));
    if (request.mask == 0) {
      return capi::check(directory);  // as utimensat(2): nothing to do, whatever the path
    }
    return capi::set_attr_at(directory, path, request, flags);
  });
}
}
