#include "client/io/open_files.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/backoff.h"
#include "client/inodes/lost_file.h"
#include "client/permissions.h"
#include "cluster/placement.h"
#include "rt/sync.h"

namespace benchfs::client {
namespace {

constexpr std::size_t kReopensAtOnce = 16;
constexpr Nanos kEvictedPause = std::chrono::milliseconds(500);

// An answer that says nothing about what the server did.
bool is_outcome_unknown(const Error& error) {
  return error.code != Errc::kPosix;
}

}  // namespace

// --- Opening and closing -------------------------------------------------------------------------

rt::CoResult<OpenedEntry> OpenFiles::open_entry(wire::InodeId parent,
                                                std::string_view name,
                                                std::uint32_t flags,
                                                const NewInode& new_file,
                                                Deadline by) {
  wire::ShardId shard = inodes_.shard_of(parent, name);
  std::shared_ptr<OpenFile> file = table_.add(shard, flags);
  Result<Found> found =
      co_await inodes_.open_entry(parent, name, flags, new_file, file->number, by);
  if (!found) {
    on_open_failed(shard, *file, found.error());
  }
  co_return finish(shard, std::move(file), std::move(found));
}

rt::CoResult<OpenedEntry> OpenFiles::open(wire::InodeId inode, std::uint32_t flags, Deadline by) {
  std::shared_ptr<OpenFile> file = table_.add(inode.home(), flags);
  Result<Found> found = co_await inodes_.open(inode, flags, file->number, by);
  if (!found && is_outcome_unknown(found.error())) {
    tell_closed(inode.home(), {.inode = inode.value, .open_number = file->number});
  }
  co_return finish(inode.home(), std::move(file), std::move(found));
}

rt::CoResult<std::shared_ptr<OpenFile>> OpenFiles::open_unnamed(wire::InodeId directory,
                                                                std::uint32_t flags,
                                                                const NewInode& new_file,
                                                                Deadline by) {
  wire::ShardId shard{static_cast<std::uint32_t>(shards_.below(backend_.pool.size()))};
  std::shared_ptr<OpenFile> file = table_.add(shard, flags);
  Result<Found> found =
      co_await inodes_.open_unnamed(shard, directory, flags, new_file, file->number, by);
  if (!found) {
    on_open_failed(shard, *file, found.error());
  }
  BENCHFS_CO_TRY(OpenedEntry opened, finish(shard, std::move(file), std::move(found)));
  co_return std::move(opened.file);
}

Result<OpenedEntry> OpenFiles::finish(wire::ShardId shard,
                                      std::shared_ptr<OpenFile> file,
                                      Result<Found> found) {
  if (!found) {
    return std::unexpected(std::move(found.error()));
  }
  OpenedEntry opened{.file = {}, .link_target = {}, .remote = {}, .flags = found->flags};
  if (found->is_remote()) {
    opened.remote = found->attr.id();
    return opened;
  }
  if (found->attr.is_symlink()) {
    opened.link_target = std::move(found->target);
    return opened;
  }
  BENCHFS_TRY_VOID(finish_open(shard, *file, found->attr));
  opened.file = std::move(file);
  return opened;
}

Status OpenFiles::finish_open(wire::ShardId shard, OpenFile& file, const wire::Attr& attr) {
  file.hear(attr);
  file.is_open = true;
  Status usable;
  bool is_directory = attr.is_directory();
  constexpr std::uint32_t kForFiles = wire::kOpenWrite | wire::kOpenCreate | wire::kOpenTruncate;
  if (is_directory && (file.flags & kForFiles) != 0) {
    constexpr std::uint32_t kExclusive = wire::kOpenCreate | wire::kOpenExclusive;
    usable = fail_errno((file.flags & kExclusive) == kExclusive ? EEXIST : EISDIR);
  } else if (attr.id().home() != shard) {
    usable = fail(Errc::kMalformed, "the server opened an inode of another one");
  } else if (!is_directory && !cluster::is_valid_layout(attr.layout)) {
    usable = fail(Errc::kMalformed, "the server sent an impossible file layout");
  }
  if (!usable) {
    (void)close(file);
  } else if (!backend_.is_kept_driven && !backend_.pool.at(shard).is_near()) {
    // The way to its home may break, which then keeps it for a while only.
    (void)backend_.keep_driven();
  }
  return usable;
}

// The shard may have opened it.
void OpenFiles::on_open_failed(wire::ShardId shard, const OpenFile& file, const Error& error) {
  if (is_outcome_unknown(error)) {
    tell_closed(shard, {.open_number = file.number});
  }
}

Status OpenFiles::close(OpenFile& file) {
  if (!file.is_open) {
    return fail_errno(EBADF);
  }
  file.is_open = false;
  table_.remove(file);
  tell_closed(file.id().home(), {.inode = file.attr.inode, .open_number = file.number});
  return {};
}

// --- Open files as a whole -----------------------------------------------------------------------

Status OpenFiles::check(const OpenFile& file) const {
  if (!file.is_open) {
    return fail_errno(EBADF);
  }
  if (file.stale) {
    return std::unexpected(*file.stale);
  }
  return {};
}

rt::CoResult<wire::Attr> OpenFiles::stat(OpenFile& file) {
  BENCHFS_CO_TRY_VOID(check(file));
  Deadline by = backend_.metadata_deadline();
  Result<Found> found = co_await inodes_.get_attr(file.id(), by);
  if (!found && file.attr.is_directory() && is_gone(found.error())) {
    Error why = co_await explain_gone(file.id(), found.error(), by);
    if (why.is_posix(ESTALE)) {  // removed: nothing about it changes any more
      file.attr.nlink = 0;
      co_return file.attr;
    }
  }
  if (!found) {
    co_return std::unexpected(co_await on_error(file, std::move(found.error()), by));
  }
  file.hear(found->attr);
  co_return found->attr;
}

rt::CoResult<wire::Attr> OpenFiles::set_attr(OpenFile& file, wire::SetAttrRequest request) {
  BENCHFS_CO_TRY_VOID(check(file));
  Deadline by = backend_.metadata_deadline();
  Result<Found> found = co_await inodes_.set_attr(file.id(), request, by);
  if (!found) {
    co_return std::unexpected(co_await on_error(file, std::move(found.error()), by));
  }
  file.hear(found->attr);
  co_return found->attr;
}

rt::CoStatus OpenFiles::clear_set_id(OpenFile& file) {
  if ((file.attr.mode & (S_ISUID | S_ISGID)) == 0) [[likely]] {
    co_return Status{};
  }
  BENCHFS_CO_TRY(wire::Attr attr, co_await stat(file));
  std::uint32_t cleared = set_id_bits(attr.mode);
  if (cleared != 0) {
    wire::SetAttrRequest request;
    request.mask = wire::kSetMode;
    request.mode = attr.mode & 07777U & ~cleared;
    BENCHFS_CO_TRY_VOID(co_await set_attr(file, request));
  }
  co_return Status{};
}

bool OpenFiles::must_clear_by_mode(const OpenFile& file) {
  return set_id_bits(file.attr.mode) != 0 && geteuid() != 0;
}

rt::CoResult<std::string> OpenFiles::get_xattr(OpenFile& file, std::string_view name) {
  BENCHFS_CO_TRY_VOID(check(file));
  Deadline by = backend_.metadata_deadline();
  Result<std::string> value = co_await inodes_.get_xattr(file.id(), name, by);
  if (!value) {
    co_return std::unexpected(co_await on_error(file, std::move(value.error()), by));
  }
  co_return value;
}

rt::CoStatus OpenFiles::set_xattr(OpenFile& file,
                                  std::string_view name,
                                  std::string_view value,
                                  std::uint32_t flags) {
  BENCHFS_CO_TRY_VOID(check(file));
  Deadline by = backend_.metadata_deadline();
  Status done = co_await inodes_.set_xattr(file.id(), name, value, flags, by);
  if (!done) {
    co_return std::unexpected(co_await on_error(file, std::move(done.error()), by));
  }
  co_return done;
}

rt::CoStatus OpenFiles::fsync(OpenFile& file) {
  BENCHFS_CO_TRY_VOID(check(file));
  if (file.attr.is_directory()) {
    co_return Status{};
  }
  Deadline by = backend_.data_deadline();
  Result<Found> found = co_await inodes_.fsync(file.id(), by);
  if (!found) {
    co_return std::unexpected(co_await on_error(file, std::move(found.error()), by));
  }
  file.hear(found->attr);
  co_return Status{};
}

// --- Files that are gone -------------------------------------------------------------------------

rt::Task<Error> OpenFiles::on_error(OpenFile& file, Error error, Deadline by) {
  if (!is_gone(error)) {
    co_return error;
  }
  if (!file.stale) {
    Error why = co_await explain_gone(file.id(), std::move(error), by);
    if (!file.stale) {
      file.stale = std::move(why);
    }
  }
  co_return *file.stale;
}

// A home that restarted has lost the file; else the file was removed while the home could not know
// that it is open here. The home tells which inodes it has made since it started.
rt::Task<Error> OpenFiles::explain_gone(wire::InodeId inode, Error error, Deadline by) {
  wire::ShardId home = inode.home();
  Result<wire::InodeRangeReply> made = co_await inodes_.made_since_start(home, by);
  bool is_of_this_life = made && inode.counter() >= made->begin && inode.counter() < made->end;
  if (made && !is_of_this_life) {
    co_return Error::from_errno(EIO,
                                fmt::format("{} restarted and lost the file", backend_.node(home)));
  }
  if (made) {
    co_return Error::from_errno(
        ESTALE,
        fmt::format("the file was removed while {} had lost touch with this client",
                    backend_.node(home)));
  }
  co_return Error::from_errno(
      error.posix == ENOENT ? ESTALE : error.posix,
      fmt::format("{} no longer has the file: it restarted, or the file was removed",
                  backend_.node(home)));
}

void OpenFiles::make_stale(wire::InodeId inode, const Error& why) {
  table_.for_each(inode.home(), [&](OpenFile& file) {
    if (file.is_open && file.id() == inode && !file.stale) {
      file.stale = why;
    }
  });
}

// --- Keeping the homes informed ------------------------------------------------------------------

OpenFiles::Home& OpenFiles::home(wire::ShardId shard) {
  if (homes_.size() <= shard.value) {
    homes_.resize(shard.value + 1);
  }
  return homes_[shard.value];
}

// Lost with the connection; then the statement after the next registration closes it.
void OpenFiles::tell_closed(wire::ShardId shard, const wire::CloseNotice& notice) {
  rpc::Connection& connection = backend_.pool.at(shard);
  connection.look();
  if (backend_.pool.notify(shard, notice)) {
    if (!backend_.is_kept_driven && connection.link()->operations() > 0) [[unlikely]] {
      (void)backend_.keep_driven();  // it waits to be sent
    }
  } else if (connection.was_registered()) {
    home(shard).misses_closes = true;
    keep(shard);
  }
}

bool OpenFiles::has_left_behind(wire::ShardId shard) const {
  bool misses_closes = shard.value < homes_.size() && homes_[shard.value].misses_closes;
  return (misses_closes || table_.has_files(shard)) &&
         backend_.pool.at(shard).state() != rpc::Connection::State::kReady;
}

void OpenFiles::on_registered(wire::ShardId shard, rpc::Registered how) {
  home(shard).misses_closes = false;
  if (table_.has_files(shard) && !backend_.pool.at(shard).is_near()) {
    (void)backend_.keep_driven();
  }
  if (how != rpc::Registered::kFirst && table_.knows(shard)) {
    table_.state(shard, [&](const wire::OpensNotice& notice, std::span<const std::uint64_t> kept) {
      backend_.pool.notify(shard, notice, std::as_bytes(kept));
    });
  }
  if (how == rpc::Registered::kForgotten && table_.has_files(shard)) {
    table_.for_each(shard, [](OpenFile& file) { file.must_reopen = file.is_open && !file.stale; });
    keep(shard);
  }
}

void OpenFiles::on_connection_lost(wire::ShardId shard) {
  rpc::Connection& connection = backend_.pool.at(shard);
  home(shard).misses_closes |= table_.knows(shard) && connection.has_unread_notices();
  // A server that evicted this client keeps its opens, and needs the place for another one.
  if (home(shard).misses_closes || (connection.was_lost() && table_.has_files(shard))) {
    keep(shard);
  }
}

void OpenFiles::keep(wire::ShardId shard) {
  if (!home(shard).is_kept) {
    home(shard).is_kept = backend_.spawn(keep_until_done(shard));
  }
}

// Until the server is connected, has heard what is closed, and has all files open again that are.
rt::Task<void> OpenFiles::keep_until_done(wire::ShardId shard) {
  Backoff often(std::chrono::milliseconds(100), std::chrono::seconds(1));
  Backoff seldom(std::chrono::milliseconds(100), std::chrono::seconds(30));
  if (!backend_.pool.at(shard).was_lost()) {  // evicted: another client got the place
    (void)co_await rt::sleep_for(kEvictedPause, &backend_.scope.cancel_source());
  }
  while (table_.has_files(shard) || home(shard).misses_closes) {
    Status done = co_await backend_.pool.connect(shard, backend_.administration_deadline());
    if (done) {
      done = co_await reopen_files(shard);
    }
    if (done && !must_reopen(shard)) {
      break;
    }
    rt::Wake wake = co_await rt::sleep_for(table_.has_files(shard) ? often.next() : seldom.next(),
                                           &backend_.scope.cancel_source());
    if (wake == rt::Wake::kCancelled) {
      break;
    }
  }
  home(shard).is_kept = false;
}

// The home may have forgotten the client again while its files were opened.
bool OpenFiles::must_reopen(wire::ShardId shard) {
  bool any = false;
  table_.for_each(shard, [&](const OpenFile& file) { any |= file.must_reopen; });
  return any;
}

rt::CoStatus OpenFiles::reopen_files(wire::ShardId shard) {
  std::vector<std::shared_ptr<OpenFile>> files;
  table_.for_each(shard, [&](OpenFile& file) {
    if (file.must_reopen) {
      files.push_back(file.shared_from_this());
    }
  });
  Status failed;  // one that cannot be opened now does not keep the others from it
  for (std::size_t begin = 0; begin < files.size(); begin += kReopensAtOnce) {
    rt::Group group(backend_.scope);
    for (std::size_t i = begin; i < std::min(files.size(), begin + kReopensAtOnce); ++i) {
      group.add(reopen(files[i], &failed));
    }
    if (!co_await group.wait()) {
      co_return fail(Errc::kCancelled, "the client is closing");
    }
    if (!failed && backend_.pool.at(shard).state() != rpc::Connection::State::kReady) {
      break;
    }
  }
  co_return failed;
}

rt::Task<void> OpenFiles::reopen(std::shared_ptr<OpenFile> file, Status* failed) {
  constexpr std::uint32_t kOnce =
      wire::kOpenCreate | wire::kOpenExclusive | wire::kOpenTruncate | wire::kOpenLease;
  Deadline by = backend_.metadata_deadline();
  Result<Found> found = co_await inodes_.open(file->id(), file->flags & ~kOnce, file->number, by);
  if (!file->is_open) {  // closed meanwhile: the notice may have been faster
    tell_closed(file->id().home(), {.inode = file->attr.inode, .open_number = file->number});
  } else if (found) {
    file->must_reopen = false;
  } else if (is_gone(found.error())) {
    file->must_reopen = false;
    (void)co_await on_error(*file, std::move(found.error()), by);
  } else {
    *failed = std::unexpected(std::move(found.error()));
  }
}

}  // namespace benchfs::client
