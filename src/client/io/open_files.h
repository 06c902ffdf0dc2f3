// Opening and closing files, what concerns an open file as a whole, and keeping the homes of open
// files informed.
//
// An open only keeps an unlinked file alive and tells its home when the last writer is gone; sizes
// depend on no client (docs/adr/0012-sizes-by-marks.md). So closing is a notice that nobody waits
// for. After every registration, before any other request, the client states which of its opens the
// server shall keep. A server that has forgotten this client opens its files again by inode; a file
// that is gone then is stale: every use of it fails and says why. A lost connection to the home of
// open files is made again in the background, so that unlinked files outlive the server's grace for
// absent clients. So is one to a server that may not have heard of a close: it evicted this client
// or was silent, and would keep what is closed as long as it keeps an absent client's opens.
//
// Thread: the client's reactor. Text is borrowed until the task completes.
#pragma once

#include <coroutine>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "client/backend.h"
#include "client/inodes/inodes.h"
#include "client/io/open_file.h"
#include "client/io/open_table.h"
#include "wire/messages.h"

namespace benchfs::client {

// What opening an entry came to: an open file, a symlink to follow, or an inode on another shard,
// which is to be opened there. One of the three is set.
struct OpenedEntry {
  std::shared_ptr<OpenFile> file;
  std::string link_target;
  wire::InodeId remote;
  std::uint32_t flags = 0;  // wire::EntryFlags
};

class OpenFiles {
 public:
  OpenFiles(Backend& backend, Inodes& inodes) : backend_(backend), inodes_(inodes) {}
  OpenFiles(const OpenFiles&) = delete;
  OpenFiles& operator=(const OpenFiles&) = delete;

  // `flags`: wire::OpenFlags.
  rt::CoResult<OpenedEntry> open_entry(wire::InodeId parent,
                                       std::string_view name,
                                       std::uint32_t flags,
                                       const NewInode& new_file,
                                       Deadline by);
  // An inode known by number: OpenedEntry::remote is not set.
  rt::CoResult<OpenedEntry> open(wire::InodeId inode, std::uint32_t flags, Deadline by);
  // A new file without a name (wire::OpenUnnamedRequest), on one shard or another.
  rt::CoResult<std::shared_ptr<OpenFile>> open_unnamed(wire::InodeId directory,
                                                       std::uint32_t flags,
                                                       const NewInode& new_file,
                                                       Deadline by);
  // An open whose request the caller sends: it is open after finish_open() with what the shard
  // answered, which is neither remote nor a symlink.
  [[nodiscard]] std::shared_ptr<OpenFile> begin_open(wire::ShardId shard, std::uint32_t flags) {
    return table_.add(shard, flags);
  }
  Status finish_open(wire::ShardId shard, OpenFile& file, const wire::Attr& attr);
  void on_open_failed(wire::ShardId shard, const OpenFile& file, const Error& error);

  // Does not wait. EBADF when it was closed before; else it cannot fail.
  Status close(OpenFile& file);

  // Everything written to the file, by whomever, is on the servers' devices.
  rt::CoStatus fsync(OpenFile& file);
  rt::CoResult<wire::Attr> stat(OpenFile& file);
  rt::CoResult<wire::Attr> set_attr(OpenFile& file, wire::SetAttrRequest request);
  // To be called before a write on behalf of somebody without privileges: takes the set-user-id bit
  // off the file, and the set-group-id bit if the group may execute it.
  rt::CoStatus clear_set_id(OpenFile& file);
  // Whether a write must, as far as is known.
  [[nodiscard]] bool must_clear_set_id(const OpenFile& file) const {
    return backend_.config.check_permissions && must_clear_by_mode(file);
  }
  // As those of Inodes.
  rt::CoResult<std::string> get_xattr(OpenFile& file, std::string_view name);
  rt::CoStatus set_xattr(OpenFile& file,
                         std::string_view name,
                         std::string_view value,
                         std::uint32_t flags);

  // Whether the file can be used at all: EBADF once closed, else why it is stale.
  [[nodiscard]] Status check(const OpenFile& file) const;
  // To be called with the error of every request about an open file: an answer that the file is
  // gone makes it stale. Returns the error for the caller. The home is asked why until `by`.
  rt::Task<Error> on_error(OpenFile& file, Error error, Deadline by);
  // Why an inode that was known is gone: EIO when its home restarted, ESTALE when it was removed.
  rt::Task<Error> explain_gone(wire::InodeId inode, Error error, Deadline by);

  // Every use of the file that is open now fails with `why` from now on.
  void make_stale(wire::InodeId inode, const Error& why);

  // From the pool's notices.
  void on_registered(wire::ShardId shard, rpc::Registered how);
  void on_connection_lost(wire::ShardId shard);
  // The shard may keep opens of this client, or closed ones, and is not connected.
  [[nodiscard]] bool has_left_behind(wire::ShardId shard) const;

 private:
  struct Home {
    bool is_kept = false;        // keep_until_done() runs
    bool misses_closes = false;  // until the next statement
  };
  [[nodiscard]] static bool must_clear_by_mode(const OpenFile& file);
  // The answer of `shard`.
  Result<OpenedEntry> finish(wire::ShardId shard,
                             std::shared_ptr<OpenFile> file,
                             Result<Found> found);
  [[nodiscard]] Home& home(wire::ShardId shard);
  // A number that is open no more.
  void tell_closed(wire::ShardId shard, const wire::CloseNotice& notice);
  void keep(wire::ShardId shard);
  rt::Task<void> keep_until_done(wire::ShardId shard);
  [[nodiscard]] bool must_reopen(wire::ShardId shard);
  rt::CoStatus reopen_files(wire::ShardId shard);
  rt::Task<void> reopen(std::shared_ptr<OpenFile> file, Status* failed);

  Backend& backend_;
  Inodes& inodes_;
  OpenTable table_;
  Random shards_{random_id()};
  std::vector<Home> homes_;  // by shard
};

// OpenFiles::close(), awaited.
class CloseCall {
 public:
  CloseCall(OpenFiles& open_files, std::shared_ptr<OpenFile> file)
      : open_files_(open_files), file_(std::move(file)) {}
  CloseCall(const CloseCall&) = delete;
  CloseCall& operator=(const CloseCall&) = delete;
  ~CloseCall() = default;

  [[nodiscard]] bool await_ready() const { return true; }
  [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) const {
    return caller;
  }
  Status await_resume() {
    Status closed = open_files_.close(*file_);
    file_.reset();
    return closed;
  }

 private:
  OpenFiles& open_files_;
  std::shared_ptr<OpenFile> file_;
};

}  // namespace benchfs::client
