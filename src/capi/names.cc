// The functions of benchfs.h that take a path.

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "capi/attributes.h"
#include "capi/context.h"
#include "capi/inside.h"
#include "capi/last_error.h"
#include "capi/names.h"
#include "client/linux_flags.h"
#include "wire/limits.h"

namespace benchfs::capi {
namespace {

constexpr std::size_t kListPageEntries = 4096;
constexpr std::uint64_t kStatfsBlockBytes = 4096;

// The common part of nearly all functions below: `body` takes the file system and the path, which
// it may borrow, and returns a task or a call.
template <typename Body>
auto with_path(benchfs_context* context, const char* path, Body&& body)
    -> rt::AwaitedBy<decltype(body(context->client->fs(), path))> {
  BENCHFS_TRY_VOID(check(context));
  BENCHFS_TRY_VOID(check_path(path));
  return context->client->call([&] { return body(context->client->fs(), path); });
}

Status require(const void* pointer) {
  return pointer != nullptr ? Status{} : Status(fail_errno(EINVAL, "an argument is NULL"));
}

template <typename T>
Status drop_value(Result<T> result) {
  BENCHFS_TRY_VOID(std::move(result));
  return {};
}

Result<wire::Attr> stat(benchfs_context* context,
                        const char* path,
                        client::Ids ids = client::Ids::kEffective) {
  return with_path(context, path, [ids](client::FileSystem& fs, const char* name) {
    return fs.stat(name, ids);
  });
}

int access(const char* operation,
           benchfs_context* context,
           const char* path,
           int mode,
           client::Ids ids) noexcept {
  return answer<int>({operation, path}, [&]() -> Status {
    BENCHFS_TRY(wire::Attr attr, stat(context, path, ids));
    return check_access(attr, mode, ids);
  });
}

Status set_attr_of(benchfs_context* context,
                   const char* path,
                   const wire::SetAttrRequest& request,
                   bool follow = true) {
  BENCHFS_TRY_VOID(check(context));
  BENCHFS_TRY(std::string name, to_path(path));
  return capi::set_attr(context, client::Path(std::move(name)), request, follow);
}

int change_owner(const char* operation,
                 benchfs_context* context,
                 const char* path,
                 const wire::SetAttrRequest& request,
                 bool follow) noexcept {
  return answer<int>({operation, path},
                     [&] { return set_attr_of(context, path, request, follow); });
}

int change_times(const char* operation,
                 benchfs_context* context,
                 const char* path,
                 const timespec* times,
                 bool follow) noexcept {
  return answer<int>({operation, path}, [&]() -> Status {
    BENCHFS_TRY(wire::SetAttrRequest request, parse_times(times));
    if (request.mask == 0) {
      return check(context);  // as utimensat(2): nothing to do, whatever the path
    }
    return set_attr_of(context, path, request, follow);
  });
}

template <typename F>
Status require_filler(F* filler) {
  return filler != nullptr ? Status{} : Status(fail_errno(EINVAL, "the filler is NULL"));
}

// That may be read. Errors: also ENOTDIR, EACCES.
Result<wire::Attr> stat_directory(benchfs_context* context, const char* path) {
  BENCHFS_TRY(wire::Attr directory, stat(context, path));
  if (!directory.is_directory()) {
    return fail_errno(ENOTDIR);
  }
  BENCHFS_TRY_VOID(context->client->fs().check_access(directory, R_OK));
  return directory;
}

// `take` gets each entry, and returns whether to stop.
template <typename F>
Result<std::int64_t> list(benchfs_context* context,
                          const wire::Attr& directory,
                          std::uint16_t flags,
                          const F& take) {
  if (!directory.is_directory()) {
    return fail_errno(ENOTDIR);
  }
  std::int64_t count = 0;
  std::string cursor;
  while (true) {
    BENCHFS_TRY(
        std::vector<client::DirEntry> page,
        run(context, context->client->fs().list(directory.id(), cursor, kListPageEntries, flags)));
    if (page.empty()) {
      return count;
    }
    for (const client::DirEntry& entry : page) {
      ++count;
      Outside outside;
      if (take(entry)) {
        return count;
      }
    }
    cursor = std::move(page.back().name);
  }
}

Result<std::int64_t> list(benchfs_context* context,
                          const wire::Attr& directory,
                          benchfs_filler_t filler,
                          void* arg) {
  return list(context, directory, 0, [&](const client::DirEntry& entry) {
    return filler(arg, entry.name.c_str(), entry.type, entry.inode.value) != 0;
  });
}

int remove_file(const char* operation, benchfs_context* context, const char* path) noexcept {
  return answer<int>({operation, path}, [&] {
    return with_path(
        context, path, [](client::FileSystem& fs, const char* name) { return fs.unlink(name); });
  });
}

}  // namespace

Status set_attr(benchfs_context* context,
                client::Path path,
                const wire::SetAttrRequest& request,
                bool follow) {
  return drop_value(run(context, context->client->fs().set_attr(std::move(path), request, follow)));
}

Status rename(benchfs_context* context, client::Path from, client::Path to, unsigned flags) {
  if (flags != 0 && flags != RENAME_NOREPLACE && flags != RENAME_EXCHANGE) {
    return fail_errno(EINVAL, "rename flags: not one of RENAME_NOREPLACE and RENAME_EXCHANGE");
  }
  return run(
      context,
      context->client->fs().rename(std::move(from), std::move(to), client::rename_flags(flags)));
}

Result<std::size_t> readlink(benchfs_context* context,
                             client::Path path,
                             char* buffer,
                             std::size_t size) {
  BENCHFS_TRY_VOID(require(buffer));
  if (size == 0) {
    return fail_errno(EINVAL, "no room for the target");
  }
  BENCHFS_TRY(std::string target, run(context, context->client->fs().readlink(std::move(path))));
  std::size_t bytes = std::min(size, target.size());
  std::memcpy(buffer, target.data(), bytes);
  return bytes;
}

}  // namespace benchfs::capi

using benchfs::Result;
using benchfs::Status;
using benchfs::client::FileSystem;
namespace capi = benchfs::capi;
namespace wire = benchfs::wire;

extern "C" {

int benchfs_stat(benchfs_context_t* context, const char* path, benchfs_stat_t* out) noexcept {
  return capi::answer<int>({"stat", path}, [&]() -> Status {
    BENCHFS_TRY_VOID(capi::require(out));
    BENCHFS_TRY(wire::Attr attr, capi::stat(context, path));
    *out = capi::to_stat(attr);
    return {};
  });
}

int benchfs_lstat(benchfs_context_t* context, const char* path, benchfs_stat_t* out) noexcept {
  return capi::answer<int>({"lstat", path}, [&]() -> Status {
    BENCHFS_TRY_VOID(capi::require(out));
    BENCHFS_TRY(wire::Attr attr,
                capi::with_path(context, path, [](FileSystem& fs, const char* name) {
                  return fs.lstat(name);
                }));
    *out = capi::to_stat(attr);
    return {};
  });
}

int64_t benchfs_get_file_size(benchfs_context_t* context, const char* path) noexcept {
  return capi::answer<int64_t>({"get_file_size", path}, [&]() -> Result<std::uint64_t> {
    BENCHFS_TRY(wire::Attr attr, capi::stat(context, path));
    return attr.size;
  });
}

int benchfs_access(benchfs_context_t* context, const char* path, int mode) noexcept {
  return capi::access("access", context, path, mode, benchfs::client::Ids::kReal);
}

int benchfs_eaccess(benchfs_context_t* context, const char* path, int mode) noexcept {
  return capi::access("eaccess", context, path, mode, benchfs::client::Ids::kEffective);
}

int benchfs_truncate(benchfs_context_t* context, const char* path, int64_t size) noexcept {
  return capi::answer<int>({"truncate", path}, [&]() -> Status {
    if (size < 0) {
      return benchfs::fail_errno(EINVAL, "the size is negative");
    }
    wire::SetAttrRequest request;
    request.mask = wire::kSetSize;
    request.size = static_cast<std::uint64_t>(size);
    return capi::set_attr_of(context, path, request);
  });
}

int benchfs_chmod(benchfs_context_t* context, const char* path, mode_t mode) noexcept {
  return capi::answer<int>(
      {"chmod", path}, [&] { return capi::set_attr_of(context, path, capi::mode_request(mode)); });
}

int benchfs_chown(benchfs_context_t* context, const char* path, uid_t uid, gid_t gid) noexcept {
  return capi::change_owner("chown", context, path, capi::owner_request(uid, gid), true);
}

int benchfs_lchown(benchfs_context_t* context, const char* path, uid_t uid, gid_t gid) noexcept {
  return capi::change_owner("lchown", context, path, capi::owner_request(uid, gid), false);
}

int benchfs_utimens(benchfs_context_t* context, const char* path, const timespec* times) noexcept {
  return capi::change_times("utimens", context, path, times, true);
}

int benchfs_lutimens(benchfs_context_t* context, const char* path, const timespec* times) noexcept {
  return capi::change_times("lutimens", context, path, times, false);
}

int benchfs_mkdir(benchfs_context_t* context, const char* path, mode_t mode) noexcept {
  return capi::answer<int>({"mkdir", path}, [&]() -> Status {
    return capi::drop_value(capi::with_path(context, path, [&](FileSystem& fs, const char* name) {
      return fs.mkdir(name, mode & 07777);
    }));
  });
}

int benchfs_rmdir(benchfs_context_t* context, const char* path) noexcept {
  return capi::answer<int>({"rmdir", path}, [&] {
    return capi::with_path(
        context, path, [](FileSystem& fs, const char* name) { return fs.rmdir(name); });
  });
}

int benchfs_unlink(benchfs_context_t* context, const char* path) noexcept {
  return capi::remove_file("unlink", context, path);
}

int benchfs_remove(benchfs_context_t* context, const char* path) noexcept {
  return capi::remove_file("remove", context, path);
}

int benchfs_rename(benchfs_context_t* context,
                   const char* old_path,
                   const char* new_path) noexcept {
  return benchfs_rename2(context, old_path, new_path, 0);
}

int benchfs_rename2(benchfs_context_t* context,
                    const char* old_path,
                    const char* new_path,
                    unsigned flags) noexcept {
  return capi::answer<int>({"rename", old_path, new_path}, [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(context));
    BENCHFS_TRY(std::string from, capi::to_path(old_path));
    BENCHFS_TRY(std::string to, capi::to_path(new_path));
    return capi::rename(context, std::move(from), std::move(to), flags);
  });
}

int benchfs_link(benchfs_context_t* context, const char* old_path, const char* new_path) noexcept {
  return capi::answer<int>({"link", old_path, new_path}, [&]() -> Status {
    BENCHFS_TRY(std::string to, capi::to_path(new_path));
    return capi::with_path(context, old_path, [&](FileSystem& fs, const char* from) {
      return fs.link(from, std::move(to));
    });
  });
}

int benchfs_symlink(benchfs_context_t* context, const char* target, const char* path) noexcept {
  return capi::answer<int>({"symlink", path, target}, [&]() -> Status {
    BENCHFS_TRY(std::string text, capi::to_path(target));
    return capi::with_path(context, path, [&](FileSystem& fs, const char* name) {
      return fs.symlink(std::move(text), name);
    });
  });
}

ssize_t benchfs_readlink(benchfs_context_t* context,
                         const char* path,
                         char* buffer,
                         size_t size) noexcept {
  return capi::answer<ssize_t>({"readlink", path}, [&]() -> Result<std::size_t> {
    BENCHFS_TRY_VOID(capi::check(context));
    BENCHFS_TRY(std::string name, capi::to_path(path));
    return capi::readlink(context, std::move(name), buffer, size);
  });
}

ssize_t benchfs_readdir(benchfs_context_t* context,
                        const char* path,
                        benchfs_filler_t filler,
                        void* arg) noexcept {
  return capi::answer<ssize_t>({"readdir", path}, [&]() -> Result<std::int64_t> {
    BENCHFS_TRY_VOID(capi::require_filler(filler));
    BENCHFS_TRY(wire::Attr directory, capi::stat_directory(context, path));
    return capi::list(context, directory, filler, arg);
  });
}

ssize_t benchfs_readdirplus(benchfs_context_t* context,
                            const char* path,
                            benchfs_filler_plus_t filler,
                            void* arg) noexcept {
  return capi::answer<ssize_t>({"readdirplus", path}, [&]() -> Result<std::int64_t> {
    BENCHFS_TRY_VOID(capi::require_filler(filler));
    BENCHFS_TRY(wire::Attr directory, capi::stat_directory(context, path));
    bool may_look = context->client->fs().check_access(directory, X_OK).has_value();
    auto take = [&](const benchfs::client::DirEntry& entry) {
      benchfs_stat_t attributes{};
      if (entry.attr) {
        attributes = capi::to_stat(*entry.attr);
      }
      return filler(arg,
                    entry.name.c_str(),
                    entry.type,
                    entry.inode.value,
                    entry.attr ? &attributes : nullptr) != 0;
    };
    return capi::list(context, directory, may_look ? wire::kReaddirAttr : 0, take);
  });
}

ssize_t benchfs_freaddir(benchfs_file_t* file, benchfs_filler_t filler, void* arg) noexcept {
  return capi::answer<ssize_t>(capi::call_on(file, "freaddir"), [&]() -> Result<std::int64_t> {
    BENCHFS_TRY_VOID(capi::check(file));
    BENCHFS_TRY_VOID(capi::require_filler(filler));
    return capi::list(file->context, file->open_file->attr, filler, arg);
  });
}

int benchfs_statvfs(benchfs_context_t* context, struct statvfs* out) noexcept {
  return capi::answer<int>({"statvfs"}, [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(context));
    BENCHFS_TRY_VOID(capi::require(out));
    BENCHFS_TRY(benchfs::client::Statfs whole, capi::run(context, context->client->fs().statfs()));
    *out = {};
    out->f_bsize = capi::kStatfsBlockBytes;
    out->f_frsize = capi::kStatfsBlockBytes;
    out->f_blocks = whole.total_bytes / capi::kStatfsBlockBytes;
    out->f_bfree = whole.free_bytes / capi::kStatfsBlockBytes;
    out->f_bavail = out->f_bfree;
    out->f_files = whole.inode_count + benchfs::client::kFreeInodes;
    out->f_ffree = benchfs::client::kFreeInodes;
    out->f_favail = benchfs::client::kFreeInodes;
    out->f_namemax = wire::kMaxNameBytes;
    return {};
  });
}

int benchfs_statfs(benchfs_context_t* context, benchfs_statfs_t* out) noexcept {
  return capi::answer<int>({"statfs"}, [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(context));
    BENCHFS_TRY_VOID(capi::require(out));
    BENCHFS_TRY(benchfs::client::Statfs whole, capi::run(context, context->client->fs().statfs()));
    *out = benchfs_statfs_t{};
    out->f_bsize = capi::kStatfsBlockBytes;
    out->f_blocks = whole.total_bytes / capi::kStatfsBlockBytes;
    out->f_bfree = whole.free_bytes / capi::kStatfsBlockBytes;
    out->f_bavail = out->f_bfree;
    out->f_files = whole.inode_count;
    out->f_namemax = wire::kMaxNameBytes;
    out->f_shards = whole.shard_count;
    return {};
  });
}
}
