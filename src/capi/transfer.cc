#include "capi/transfer.h"

#include <climits>
#include <span>

namespace benchfs::capi {

Status check_transfer(const benchfs_file* file, const void* buffer, size_t size, int64_t offset) {
  BENCHFS_TRY_VOID(check(file));
  if (buffer == nullptr && size > 0) {
    return fail_errno(EINVAL, "the buffer is NULL");
  }
  if (offset < 0) {
    return fail_errno(EINVAL, "the offset is negative");
  }
  if (size > SSIZE_MAX) {
    return fail_errno(EINVAL, "more bytes than a ssize_t can tell");
  }
  return {};
}

Result<std::size_t> read_at(benchfs_file* file, void* buffer, size_t size, int64_t offset) {
  BENCHFS_TRY_VOID(check_transfer(file, buffer, size, offset));
  return run(file->context,
             file->context->client->fs().read(*file->open_file,
                                              static_cast<std::uint64_t>(offset),
                                              {static_cast<std::byte*>(buffer), size}));
}

Result<Written> write_at(benchfs_file* file, const void* buffer, size_t size, int64_t offset) {
  BENCHFS_TRY_VOID(check_transfer(file, buffer, size, offset));
  client::FileSystem& fs = file->context->client->fs();
  client::OpenFile& open_file = *file->open_file;
  std::span bytes(static_cast<const std::byte*>(buffer), size);
  Written written{.offset = offset};
  if (open_file.is_append() && size > 0) {  // nothing appended moves no position
    BENCHFS_TRY(client::Appended appended, run(file->context, fs.append(open_file, bytes)));
    written = {.offset = static_cast<std::int64_t>(appended.offset), .bytes = appended.bytes};
  } else {
    BENCHFS_TRY(
        written.bytes,
        run(file->context, fs.write_some(open_file, static_cast<std::uint64_t>(offset), bytes)));
  }
  BENCHFS_TRY_VOID(settle(file));
  return written;
}

Status settle(benchfs_file* file) {
  return file->is_synchronous
             ? run(file->context, file->context->client->fs().fsync(*file->open_file))
             : Status{};
}

}  // namespace benchfs::capi
