// Open files and their data.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "mount/attributes.h"
#include "mount/door.h"

namespace benchfs::mount {
namespace {

constexpr std::string_view kNoName = "/";     // of a file without one (channel.cc)
constexpr std::size_t kReadBytes = 1U << 20;  // the most that the kernel asks for at a time

}  // namespace

std::shared_ptr<client::OpenFile> Door::file(std::uint64_t handle) const {
  auto found = files_.find(handle);
  if (found == files_.end()) {
    return nullptr;
  }
  kernel_->note_made_is_known(found->second.file->id());
  return found->second.file;
}

rt::Task<void> Door::keep(std::shared_ptr<client::OpenFile> file, fuse_file_info& info) {
  Handle handle{.file = std::move(file)};
  if (may_cache_pages_) {
    handle.use = co_await pages_->opened(*handle.file, (info.flags & O_DIRECT) == 0);
  }
  bool is_cached = handle.use == KernelPages::Use::kCached;
  info.fh = handle.file->number;
  info.direct_io = is_direct_ && !is_cached ? 1 : 0;
  info.keep_cache = is_cached ? 1 : 0;
  files_.insert_or_assign(info.fh, std::move(handle));
}

void Door::drop(std::uint64_t handle) {
  release_locks(handle);
  auto found = files_.find(handle);
  if (found != files_.end()) {
    kernel_->note_made_is_known(found->second.file->id());
    pages_->closed(found->second.file->id(), found->second.use);
    (void)fs_.open_files().close(*found->second.file);
    files_.erase(found);
  }
}

rt::Task<void> Door::open(fuse_req_t req, wire::InodeId inode, fuse_file_info info) {
  Request request(req, &holds_);
  Result<std::shared_ptr<client::OpenFile>> opened =
      co_await fs_.nodes().open(inode, to_open_flags(info.flags));
  if (!opened) {
    co_return request.fail(opened.error());
  }
  co_await keep(*std::move(opened), info);
  if (!request.reply_open(info)) {
    drop(info.fh);
  }
}

rt::Task<void> Door::create(fuse_req_t req, Name name, std::uint32_t mode, fuse_file_info info) {
  Request request(req, [&] { expire(name); });
  std::uint32_t flags = to_open_flags(info.flags);
  if ((info.flags & O_EXCL) != 0) {
    flags |= wire::kOpenExclusive;
  }
  client::Caller caller = caller_of(req);
  Result<std::shared_ptr<client::OpenFile>> opened =
      name.name == kNoName ? co_await fs_.nodes().open_unnamed(name.parent, flags, mode, caller)
                           : co_await fs_.nodes().open_entry(
                                 name.parent, name.name, flags | wire::kOpenCreate, mode, caller);
  if (!opened) {
    co_return request.fail(opened.error());
  }
  wire::Attr attr = (*opened)->attr;
  co_await keep(*std::move(opened), info);
  double name_timeout = kernel_->name_timeout(name.parent, name.name, attr.id());
  double attr_timeout = 0;
  if (!kernel_->inodes().has(attr.id()) && pages_->is_trusted(attr.id())) {
    attr_timeout = kernel_->attr_timeout_with_name(attr);
  }
  if (request.reply_create(attr, info, name_timeout, attr_timeout)) {
    kernel_->inodes().note_told(attr.id());
    if (attr_timeout > 0) {
      kernel_->note_made(attr.id());
    }
  } else {
    drop(info.fh);
  }
}

rt::Task<void> Door::read(fuse_req_t req,
                          std::uint64_t handle,
                          std::size_t bytes,
                          std::uint64_t offset) {
  Request request(req);
  std::shared_ptr<client::OpenFile> open = file(handle);
  if (open == nullptr) {
    co_return request.fail(EBADF);
  }
  bytes = std::min(bytes, kReadBytes);
  Memory memory = read_buffers_.take();
  if (memory == nullptr) {
    memory.reset(std::malloc(kReadBytes));
  }
  if (memory == nullptr) {
    co_return request.fail(ENOMEM);
  }
  (void)co_await pages_->prepare_read(open->id());
  std::span<std::byte> into(static_cast<std::byte*>(memory.get()), bytes);
  Result<std::size_t> got = co_await fs_.read(*open, offset, into);
  if (got) {
    request.reply_data(into.first(*got));
  } else {
    request.fail(got.error());
  }
  read_buffers_.give_back(std::move(memory));
}

rt::Task<void> Door::write(fuse_req_t req,
                           std::uint64_t handle,
                           std::uint64_t offset,
                           std::span<const std::byte> data,
                           Memory memory,
                           WriteFlags flags) {
  Request request(req);
  std::shared_ptr<client::OpenFile> open = file(handle);
  Result<std::size_t> written = fail_errno(EBADF);
  Status cleared;
  if (open != nullptr && flags.clears_set_id) {
    cleared = co_await fs_.open_files().clear_set_id(*open);
  }
  if (!cleared) {
    written = std::unexpected(std::move(cleared.error()));
  } else if (open != nullptr && flags.is_append) {
    Result<client::Appended> appended = co_await fs_.append(*open, data);
    if (appended) {
      written = appended->bytes;
    } else {
      written = std::unexpected(std::move(appended.error()));
    }
  } else if (open != nullptr) {
    written = co_await fs_.write_some(*open, offset, data);
  }
  if (written) {
    request.reply_written(*written);
  } else {
    request.fail(written.error());
  }
  channel_->received_buffers().give_back(std::move(memory));
}

rt::Task<void> Door::fsync(fuse_req_t req, std::uint64_t handle) {
  Request request(req);
  std::shared_ptr<client::OpenFile> open = file(handle);
  if (open == nullptr) {
    co_return request.fail(EBADF);
  }
  request.reply(co_await fs_.fsync(*open));
}

rt::Task<void> Door::allocate(
    fuse_req_t req, std::uint64_t handle, int mode, std::uint64_t offset, std::uint64_t length) {
  Request request(req);
  std::shared_ptr<client::OpenFile> open = file(handle);
  if (open == nullptr) {
    co_return request.fail(EBADF);
  }
  request.reply(co_await fs_.holes().allocate(*open, mode, offset, length));
}

rt::Task<void> Door::seek(fuse_req_t req, std::uint64_t handle, std::uint64_t offset, int whence) {
  Request request(req);
  std::shared_ptr<client::OpenFile> open = file(handle);
  if (open == nullptr) {
    co_return request.fail(EBADF);
  }
  Result<std::uint64_t> found = whence == SEEK_DATA ? co_await fs_.holes().seek_data(*open, offset)
                                                    : co_await fs_.holes().seek_hole(*open, offset);
  if (found) {
    request.reply_position(*found);
  } else {
    request.fail(found.error());
  }
}

rt::Task<void> Door::copy(fuse_req_t req,
                          std::uint64_t from,
                          std::uint64_t from_offset,
                          std::uint64_t to,
                          std::uint64_t to_offset,
                          std::uint64_t length) {
  Request request(req);
  std::shared_ptr<client::OpenFile> in = file(from);
  std::shared_ptr<client::OpenFile> out = file(to);
  if (in == nullptr || out == nullptr) {
    co_return request.fail(EBADF);
  }
  Result<std::size_t> copied = co_await fs_.data().copy(*in, from_offset, *out, to_offset, length);
  if (copied) {
    request.reply_written(*copied);
  } else {
    request.fail(copied.error());
  }
}

void Door::release(fuse_req_t req, std::uint64_t handle) {
  drop(handle);
  fuse_reply_err(req, 0);
}

}  // namespace benchfs::mount
