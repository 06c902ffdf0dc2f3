// The functions of benchfs.h that take an open file.

#include <fmt/format.h>

#include <cstddef>
#include <span>

#include "capi/attributes.h"
#include "capi/context.h"
#include "capi/last_error.h"
#include "capi/open_flags.h"
#include "capi/transfer.h"
#include "wire/limits.h"

namespace benchfs::capi {
namespace {

benchfs_file_t* add(std::unique_ptr<benchfs_file> file) {
  std::lock_guard lock(file->context->mutex);
  file->context->files.push_back(*file);
  return file.release();
}

Result<benchfs_file_t*> open(benchfs_context* context,
                             const client::PathView& path,
                             int flags,
                             mode_t mode) {
  BENCHFS_TRY(OpenMode open_mode, parse_open_flags(flags));
  auto file = std::make_unique<benchfs_file>();
  file->context = context;
  file->is_synchronous = open_mode.is_synchronous;
  file->path = path.text;
  client::FileSystem& fs = context->client->fs();
  mode &= 07777;
  if (open_mode.is_unnamed) {
    BENCHFS_TRY(
        file->open_file,
        run(context, fs.open_unnamed(path.copy(), open_mode.flags, mode, context->chunk_bytes)));
  } else {
    BENCHFS_TRY(file->open_file, context->client->call([&] {
      return fs.open(path, open_mode.flags, mode, context->chunk_bytes);
    }));
  }
  return add(std::move(file));
}

Result<benchfs_file_t*> open(benchfs_context* context, const char* path, int flags, mode_t mode) {
  BENCHFS_TRY_VOID(check(context));
  BENCHFS_TRY_VOID(check_path(path));
  return open(context, client::PathView(path), flags, mode);
}

Result<benchfs_file_t*> open_inode(benchfs_context* context, uint64_t ino, int flags) {
  BENCHFS_TRY_VOID(check(context));
  BENCHFS_TRY(OpenMode open_mode, parse_open_flags(flags));
  if ((flags & (O_CREAT | O_EXCL)) != 0 || open_mode.is_unnamed) {
    return fail_errno(EINVAL, "O_CREAT and O_EXCL need a name, O_TMPFILE a directory");
  }
  auto file = std::make_unique<benchfs_file>();
  file->context = context;
  file->is_synchronous = open_mode.is_synchronous;
  file->path = fmt::format("inode {}", ino);
  BENCHFS_TRY(file->open_file,
              run(context, context->client->fs().open(wire::InodeId{ino}, open_mode.flags)));
  return add(std::move(file));
}

Status set_open_attr(benchfs_file* file, const wire::SetAttrRequest& request) {
  BENCHFS_TRY_VOID(
      run(file->context, file->context->client->fs().set_attr(*file->open_file, request)));
  return {};
}

// Gives the handle to `closed` when its life has ended.
Status close(benchfs_file* file, std::unique_ptr<benchfs_file>& closed) {
  BENCHFS_TRY_VOID(check(file));
  benchfs_context* context = file->context;
  {
    std::lock_guard lock(context->mutex);
    context->files.erase(context->files.iterator_to(*file));
  }
  closed.reset(file);
  return context->client->call(
      [&] { return context->client->fs().close(std::move(file->open_file)); });
}

// Whether all of it could be copied by this thread: what is to be copied is found in place of who
// drives the client, and copied beside all other threads. False when something is wrong, too: the
// call that follows says what.
template <typename Find, typename Copy>
bool copy_now(benchfs_file* file,
              const void* buffer,
              size_t size,
              int64_t offset,
              Find find,
              Copy copy) noexcept {
  Inside inside;
  if (file == nullptr || buffer == nullptr || offset < 0 || !inside.is_first()) [[unlikely]] {
    return false;
  }
  client::Client& client = *file->context->client;
  auto begin = static_cast<std::uint64_t>(offset);
  return client::DataIo::copy_now(
      size,
      [&](std::size_t done, std::size_t left, link::SlotRange& found) {
        client.run_now(
            [&] { (client.fs().data().*find)(*file->open_file, begin + done, left, found); });
      },
      copy);
}

bool read_now(benchfs_file* file, void* buffer, size_t size, int64_t offset) noexcept {
  auto* into = static_cast<std::byte*>(buffer);
  return copy_now(file,
                  buffer,
                  size,
                  offset,
                  &client::DataIo::find_to_read,
                  [into](std::size_t done, const link::SlotRange& found) {
                    return found.slots->read(found, into + done);
                  });
}

bool write_now(benchfs_file* file, const void* buffer, size_t size, int64_t offset) noexcept {
  const auto* from = static_cast<const std::byte*>(buffer);
  return copy_now(file,
                  buffer,
                  size,
                  offset,
                  &client::DataIo::find_to_write,
                  [from](std::size_t done, const link::SlotRange& found) {
                    return found.slots->overwrite(found, from + done);
                  });
}

Result<std::int64_t> base_of(benchfs_file* file, int whence) {
  switch (whence) {
    case SEEK_SET:
      return 0;
    case SEEK_CUR:
      return file->position;
    case SEEK_END: {
      BENCHFS_TRY(wire::Attr attr,
                  run(file->context, file->context->client->fs().fstat(*file->open_file)));
      return static_cast<std::int64_t>(attr.size);
    }
    default:
      return fail_errno(EINVAL,
                        "whence: not one of SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE");
  }
}

Result<std::int64_t> seek_contents(benchfs_file* file, int64_t offset, int whence) {
  if (offset < 0) {
    return fail_errno(ENXIO, "the offset is negative");
  }
  client::Holes& holes = file->context->client->fs().holes();
  auto from = static_cast<std::uint64_t>(offset);
  BENCHFS_TRY(std::uint64_t found,
              run(file->context,
                  whence == SEEK_DATA ? holes.seek_data(*file->open_file, from)
                                      : holes.seek_hole(*file->open_file, from)));
  file->position = static_cast<std::int64_t>(found);
  return file->position;
}

Result<std::int64_t> seek(benchfs_file* file, int64_t offset, int whence) {
  BENCHFS_TRY_VOID(check(file));
  std::lock_guard lock(file->mutex);
  if (whence == SEEK_DATA || whence == SEEK_HOLE) {
    return seek_contents(file, offset, whence);
  }
  BENCHFS_TRY(std::int64_t base, base_of(file, whence));
  std::int64_t target = 0;
  if (__builtin_add_overflow(base, offset, &target)) {
    return fail_errno(EOVERFLOW, "the position is too large");
  }
  if (target < 0) {
    return fail_errno(EINVAL, "the position would be negative");
  }
  file->position = target;
  return target;
}

benchfs_file_t* open_for(const char* operation,
                         benchfs_context* context,
                         const char* path,
                         int flags,
                         mode_t mode) noexcept {
  return answer_pointer({operation, path}, [&] { return open(context, path, flags, mode); });
}

}  // namespace
}  // namespace benchfs::capi

using benchfs::Result;
using benchfs::Status;
namespace capi = benchfs::capi;
namespace wire = benchfs::wire;

extern "C" {

benchfs_file_t* benchfs_open(benchfs_context_t* context,
                             const char* path,
                             int flags,
                             mode_t mode) noexcept {
  return capi::open_for("open", context, path, flags, mode);
}

benchfs_file_t* benchfs_open_inode(benchfs_context_t* context, uint64_t ino, int flags) noexcept {
  return capi::answer_pointer({"open_inode"},
                              [&] { return capi::open_inode(context, ino, flags); });
}

benchfs_file_t* benchfs_create(benchfs_context_t* context,
                               const char* path,
                               int flags,
                               mode_t mode) noexcept {
  return capi::open_for("create", context, path, flags | O_CREAT, mode);
}

benchfs_file_t* benchfs_openat(benchfs_file_t* directory,
                               const char* path,
                               int flags,
                               mode_t mode) noexcept {
  return capi::answer_pointer({"openat", path}, [&]() -> Result<benchfs_file_t*> {
    BENCHFS_TRY(benchfs::client::Path name, capi::to_path(directory, path));
    return capi::open(directory->context, name, flags, mode);
  });
}

int benchfs_close(benchfs_file_t* file) noexcept {
  std::unique_ptr<benchfs_file> closed;  // the message still names its path
  return capi::answer<int>(capi::call_on(file, "close"), [&] { return capi::close(file, closed); });
}

ssize_t benchfs_pread(benchfs_file_t* file, void* buffer, size_t size, int64_t offset) noexcept {
  if (size > 0 && capi::read_now(file, buffer, size, offset)) [[likely]] {
    return static_cast<ssize_t>(size);
  }
  return capi::answer<ssize_t>(capi::call_on(file, "pread"),
                               [&] { return capi::read_at(file, buffer, size, offset); });
}

ssize_t benchfs_pwrite(benchfs_file_t* file,
                       const void* buffer,
                       size_t size,
                       int64_t offset) noexcept {
  bool is_copied = size > 0 && file != nullptr && !file->is_synchronous &&
                   capi::write_now(file, buffer, size, offset);
  if (is_copied) [[likely]] {
    return static_cast<ssize_t>(size);
  }
  return capi::answer<ssize_t>(capi::call_on(file, "pwrite"), [&]() -> Result<std::size_t> {
    BENCHFS_TRY(capi::Written written, capi::write_at(file, buffer, size, offset));
    return written.bytes;
  });
}

ssize_t benchfs_read(benchfs_file_t* file, void* buffer, size_t size) noexcept {
  return capi::answer<ssize_t>(capi::call_on(file, "read"), [&]() -> Result<std::size_t> {
    BENCHFS_TRY_VOID(capi::check(file));
    std::lock_guard lock(file->mutex);
    BENCHFS_TRY(std::size_t bytes, capi::read_at(file, buffer, size, file->position));
    file->position += static_cast<std::int64_t>(bytes);
    return bytes;
  });
}

ssize_t benchfs_write(benchfs_file_t* file, const void* buffer, size_t size) noexcept {
  return capi::answer<ssize_t>(capi::call_on(file, "write"), [&]() -> Result<std::size_t> {
    BENCHFS_TRY_VOID(capi::check(file));
    std::lock_guard lock(file->mutex);
    BENCHFS_TRY(capi::Written written, capi::write_at(file, buffer, size, file->position));
    file->position = written.end();
    return written.bytes;
  });
}

int64_t benchfs_lseek(benchfs_file_t* file, int64_t offset, int whence) noexcept {
  return capi::answer<int64_t>(capi::call_on(file, "lseek"),
                               [&] { return capi::seek(file, offset, whence); });
}

int benchfs_fsync(benchfs_file_t* file) noexcept {
  return capi::answer<int>(capi::call_on(file, "fsync"), [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(file));
    return capi::run(file->context, file->context->client->fs().fsync(*file->open_file));
  });
}

int benchfs_ftruncate(benchfs_file_t* file, int64_t size) noexcept {
  return capi::answer<int>(capi::call_on(file, "ftruncate"), [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(file));
    if (size < 0) {
      return benchfs::fail_errno(EINVAL, "the size is negative");
    }
    // As ftruncate(2), which refuses a descriptor that was opened for reading.
    if (!file->open_file->can_write()) {
      return benchfs::fail_errno(EINVAL, "the file is not open for writing");
    }
    wire::SetAttrRequest request;
    request.mask = wire::kSetSize;
    request.size = static_cast<std::uint64_t>(size);
    return capi::set_open_attr(file, request);
  });
}

int benchfs_fallocate(benchfs_file_t* file, int mode, int64_t offset, int64_t length) noexcept {
  return capi::answer<int>(capi::call_on(file, "fallocate"), [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(file));
    if (offset < 0 || length <= 0) {
      return benchfs::fail_errno(EINVAL, "the range is negative or empty");
    }
    return capi::run(
        file->context,
        file->context->client->fs().holes().allocate(*file->open_file,
                                                     mode,
                                                     static_cast<std::uint64_t>(offset),
                                                     static_cast<std::uint64_t>(length)));
  });
}

ssize_t benchfs_copy_file_range(benchfs_file_t* from,
                                int64_t from_offset,
                                benchfs_file_t* to,
                                int64_t to_offset,
                                size_t size) noexcept {
  return capi::answer<ssize_t>(
      capi::call_on(from, "copy_file_range"), [&]() -> Result<std::size_t> {
        BENCHFS_TRY_VOID(capi::check(from));
        BENCHFS_TRY_VOID(capi::check(to));
        if (from->context != to->context) {
          return benchfs::fail_errno(EXDEV, "the files belong to two contexts");
        }
        if (from_offset < 0 || to_offset < 0) {
          return benchfs::fail_errno(EINVAL, "an offset is negative");
        }
        return capi::run(
            from->context,
            from->context->client->fs().data().copy(*from->open_file,
                                                    static_cast<std::uint64_t>(from_offset),
                                                    *to->open_file,
                                                    static_cast<std::uint64_t>(to_offset),
                                                    size));
      });
}

int benchfs_last_stat(benchfs_file_t* file, benchfs_stat_t* out) noexcept {
  return capi::answer<int>(capi::call_on(file, "last_stat"), [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(file));
    if (out == nullptr) {
      return benchfs::fail_errno(EINVAL, "the output is NULL");
    }
    *out = capi::to_stat(file->open_file->attr);
    return {};
  });
}

int benchfs_fchmod(benchfs_file_t* file, mode_t mode) noexcept {
  return capi::answer<int>(capi::call_on(file, "fchmod"), [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(file));
    return capi::set_open_attr(file, capi::mode_request(mode));
  });
}

int benchfs_fchown(benchfs_file_t* file, uid_t uid, gid_t gid) noexcept {
  return capi::answer<int>(capi::call_on(file, "fchown"), [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(file));
    wire::SetAttrRequest request = capi::owner_request(uid, gid);
    return request.mask == 0 ? Status{} : capi::set_open_attr(file, request);
  });
}

int benchfs_futimens(benchfs_file_t* file, const timespec* times) noexcept {
  return capi::answer<int>(capi::call_on(file, "futimens"), [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(file));
    BENCHFS_TRY(wire::SetAttrRequest request, capi::parse_times(times));
    return request.mask == 0 ? Status{} : capi::set_open_attr(file, request);
  });
}

int benchfs_set_append(benchfs_file_t* file, int on) noexcept {
  return capi::answer<int>(capi::call_on(file, "set_append"), [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(file));
    if (on != 0) {
      file->open_file->flags |= wire::kOpenAppend;
    } else {
      file->open_file->flags &= ~std::uint32_t{wire::kOpenAppend};
    }
    return {};
  });
}

int benchfs_fstat(benchfs_file_t* file, benchfs_stat_t* out) noexcept {
  return capi::answer<int>(capi::call_on(file, "fstat"), [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(file));
    if (out == nullptr) {
      return benchfs::fail_errno(EINVAL, "the output is NULL");
    }
    BENCHFS_TRY(wire::Attr attr,
                capi::run(file->context, file->context->client->fs().fstat(*file->open_file)));
    *out = capi::to_stat(attr);
    return {};
  });
}
}
