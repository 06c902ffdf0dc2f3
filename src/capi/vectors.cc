// The functions of benchfs.h that take many buffers.

#include <sys/uio.h>

#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "capi/context.h"
#include "capi/last_error.h"
#include "capi/transfer.h"

namespace benchfs::capi {
namespace {

// Buffers that are shorter on average go through one, in one transfer: at most IOV_MAX times as
// many bytes.
constexpr std::size_t kShortBuffer = std::size_t{64} << 10;

Result<std::size_t> count_bytes(std::span<const iovec> vector) {
  std::size_t total = 0;
  for (const iovec& part : vector) {
    if (part.iov_base == nullptr && part.iov_len > 0) {
      return fail_errno(EINVAL, "a buffer is NULL");
    }
    if (__builtin_add_overflow(total, part.iov_len, &total)) {
      total = SIZE_MAX;
    }
  }
  return total;
}

// The buffers of a vector, and how they are best transferred.
struct Vector {
  std::span<const iovec> parts;
  std::size_t bytes = 0;

  [[nodiscard]] bool is_short() const { return bytes / parts.size() < kShortBuffer; }
};

Result<Vector> check_vector(const benchfs_file* file,
                            const iovec* vector,
                            int count,
                            int64_t offset) {
  BENCHFS_TRY_VOID(check(file));
  if (count < 0 || count > IOV_MAX) {
    return fail_errno(EINVAL, "the number of buffers is negative or larger than IOV_MAX");
  }
  if (vector == nullptr && count > 0) {
    return fail_errno(EINVAL, "the vector is NULL");
  }
  Vector checked{.parts = {vector, static_cast<std::size_t>(count)}};
  BENCHFS_TRY(checked.bytes, count_bytes(checked.parts));
  BENCHFS_TRY_VOID(check_transfer(file, vector, checked.bytes, offset));
  return checked;
}

std::vector<client::Extent> to_extents(const Vector& vector, int64_t offset) {
  std::vector<client::Extent> extents;
  extents.reserve(vector.parts.size());
  auto at = static_cast<std::uint64_t>(offset);
  for (const iovec& part : vector.parts) {
    if (part.iov_len > 0) {
      extents.push_back(
          {.offset = at, .bytes = {static_cast<std::byte*>(part.iov_base), part.iov_len}});
      at += part.iov_len;
    }
  }
  return extents;
}

// Of extents that follow each other: up to the first that is not whole.
Result<std::size_t> bytes_in_row(std::span<client::Extent> extents) {
  std::size_t total = 0;
  for (client::Extent& extent : extents) {
    if (!extent.done) {
      return total > 0 ? Result<std::size_t>(total) : std::move(extent.done);
    }
    total += *extent.done;
    if (*extent.done < extent.bytes.size()) {
      break;
    }
  }
  return total;
}

Result<std::size_t> read_vector(benchfs_file* file, const iovec* parts, int count, int64_t offset) {
  BENCHFS_TRY(Vector vector, check_vector(file, parts, count, offset));
  if (count <= 1) {
    return read_at(file, count == 1 ? parts->iov_base : nullptr, vector.bytes, offset);
  }
  if (!vector.is_short()) {
    std::vector<client::Extent> extents = to_extents(vector, offset);
    BENCHFS_TRY_VOID(
        run(file->context, file->context->client->fs().lists().read(*file->open_file, extents)));
    return bytes_in_row(extents);
  }
  auto buffer = std::make_unique_for_overwrite<std::byte[]>(vector.bytes);
  BENCHFS_TRY(std::size_t bytes, read_at(file, buffer.get(), vector.bytes, offset));
  std::span<const std::byte> left(buffer.get(), bytes);
  for (const iovec& part : vector.parts) {
    std::size_t here = std::min(part.iov_len, left.size());
    if (here > 0) {
      std::memcpy(part.iov_base, left.data(), here);
    }
    left = left.subspan(here);
  }
  return bytes;
}

Result<std::size_t> write_vector(benchfs_file* file,
                                 const iovec* parts,
                                 int count,
                                 int64_t offset) {
  BENCHFS_TRY(Vector vector, check_vector(file, parts, count, offset));
  if (count <= 1) {
    BENCHFS_TRY(Written written,
                write_at(file, count == 1 ? parts->iov_base : nullptr, vector.bytes, offset));
    return written.bytes;
  }
  if (!vector.is_short() && !file->open_file->is_append()) {
    std::vector<client::Extent> extents = to_extents(vector, offset);
    BENCHFS_TRY_VOID(
        run(file->context, file->context->client->fs().lists().write(*file->open_file, extents)));
    BENCHFS_TRY_VOID(settle(file));
    return bytes_in_row(extents);
  }
  auto buffer =
      std::make_unique_for_overwrite<std::byte[]>(vector.bytes);  // what is appended stays together
  std::byte* at = buffer.get();
  for (const iovec& part : vector.parts) {
    if (part.iov_len > 0) {
      std::memcpy(at, part.iov_base, part.iov_len);
      at += part.iov_len;
    }
  }
  BENCHFS_TRY(Written written, write_at(file, buffer.get(), vector.bytes, offset));
  return written.bytes;
}

// --- Lists ---------------------------------------------------------------------------------------

Result<std::vector<client::Extent>> check_list(const benchfs_file* file,
                                               const benchfs_extent* list,
                                               std::size_t count) {
  BENCHFS_TRY_VOID(check(file));
  if (list == nullptr && count > 0) {
    return fail_errno(EINVAL, "the list is NULL");
  }
  std::vector<client::Extent> extents;
  std::size_t total = 0;
  for (const benchfs_extent& extent : std::span(list, count)) {
    BENCHFS_TRY_VOID(check_transfer(file, extent.data, extent.size, extent.offset));
    if (__builtin_add_overflow(total, extent.size, &total) || total > SSIZE_MAX) {
      return fail_errno(EINVAL, "more bytes than a ssize_t can tell");
    }
    extents.push_back({.offset = static_cast<std::uint64_t>(extent.offset),
                       .bytes = {static_cast<std::byte*>(extent.data), extent.size}});
  }
  return extents;
}

// Tells the caller of each extent. The bytes of all, or the first error.
Result<std::size_t> end_list(const Call& call,
                             std::span<client::Extent> extents,
                             benchfs_extent* list) {
  std::size_t total = 0;
  client::Extent* failed = nullptr;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    client::Extent& extent = extents[i];
    if (extent.done) {
      list[i].result = static_cast<ssize_t>(*extent.done);
      total += *extent.done;
    } else {
      list[i].result = report(call, extent.done.error());
      failed = failed == nullptr ? &extent : failed;
    }
  }
  return failed != nullptr ? std::move(failed->done) : Result<std::size_t>(total);
}

}  // namespace
}  // namespace benchfs::capi

using benchfs::Result;
namespace capi = benchfs::capi;
namespace client = benchfs::client;

extern "C" {

ssize_t benchfs_preadv(benchfs_file_t* file,
                       const iovec* vector,
                       int count,
                       int64_t offset) noexcept {
  return capi::answer<ssize_t>(capi::call_on(file, "preadv"),
                               [&] { return capi::read_vector(file, vector, count, offset); });
}

ssize_t benchfs_pwritev(benchfs_file_t* file,
                        const iovec* vector,
                        int count,
                        int64_t offset) noexcept {
  return capi::answer<ssize_t>(capi::call_on(file, "pwritev"),
                               [&] { return capi::write_vector(file, vector, count, offset); });
}

ssize_t benchfs_read_list(benchfs_file_t* file, benchfs_extent_t* list, size_t count) noexcept {
  capi::Call call = capi::call_on(file, "read_list");
  return capi::answer<ssize_t>(call, [&]() -> Result<std::size_t> {
    BENCHFS_TRY(std::vector<client::Extent> extents, capi::check_list(file, list, count));
    BENCHFS_TRY_VOID(capi::run(
        file->context, file->context->client->fs().lists().read(*file->open_file, extents)));
    return capi::end_list(call, extents, list);
  });
}

ssize_t benchfs_write_list(benchfs_file_t* file, benchfs_extent_t* list, size_t count) noexcept {
  capi::Call call = capi::call_on(file, "write_list");
  return capi::answer<ssize_t>(call, [&]() -> Result<std::size_t> {
    BENCHFS_TRY(std::vector<client::Extent> extents, capi::check_list(file, list, count));
    if (file->open_file->is_append()) {
      return benchfs::fail_errno(EBADF, "the file is open for appending");
    }
    BENCHFS_TRY_VOID(capi::run(
        file->context, file->context->client->fs().lists().write(*file->open_file, extents)));
    BENCHFS_TRY(std::size_t bytes, capi::end_list(call, extents, list));
    BENCHFS_TRY_VOID(capi::settle(file));
    return bytes;
  });
}

}  // extern "C"
