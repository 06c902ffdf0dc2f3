// The file system as a program sees it: paths, open files, data. All doors (C API, command line,
// benchmarks) are thin over this, and this is thin over its rooms: inodes/ (requests by inode),
// io/ (open files and their data), paths/ (the same by path).
//
// Semantics are those of docs/semantics.md. Errors are POSIX ones (Errc::kPosix) or say which node,
// operation and phase failed.
//
// Thread: the client's reactor only; use Client::run from anywhere. Spans and strings passed in are
// borrowed until the task completes.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "client/administration.h"
#include "client/backend.h"
#include "client/inodes/inodes.h"
#include "client/inodes/listing.h"
#include "client/io/data_io.h"
#include "client/io/file_locks.h"
#include "client/io/holes.h"
#include "client/io/list_io.h"
#include "client/io/open_files.h"
#include "client/nodes/directory_reader.h"
#include "client/nodes/nodes.h"
#include "client/paths/paths.h"
#include "client/permissions.h"
#include "rpc/connection_pool.h"

namespace benchfs::client {

class FileSystem final : private rpc::NoticeHandler {
 public:
  FileSystem(rpc::ConnectionPool& pool, FileSystemConfig config);
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;
  ~FileSystem() override;

  // Called by who drives, until it succeeds, when somebody is to drive though nobody calls.
  void on_kept_driven(std::function<Status()> call) { backend_.on_kept_driven = std::move(call); }

  // --- names (paths/paths.h) ---
  // `ids`: by which permissions are checked, if they are.
  StatCall stat(PathView path, Ids ids = Ids::kEffective) { return paths_.stat(path, ids); }
  StatCall lstat(PathView path, Ids ids = Ids::kEffective) { return paths_.lstat(path, ids); }
  rt::CoResult<wire::Attr> mkdir(Path path, std::uint32_t mode) {
    return paths_.mkdir(std::move(path), mode);
  }
  rt::CoStatus rmdir(Path path) { return paths_.rmdir(std::move(path)); }
  rt::CoStatus link(Path from, Path to, bool follow = false) {
    return paths_.link(std::move(from), std::move(to), follow);
  }
  UnlinkCall unlink(PathView path) { return paths_.unlink(path); }
  rt::CoStatus rename(Path from, Path to, std::uint32_t flags = 0) {
    return paths_.rename(std::move(from), std::move(to), flags);
  }
  rt::CoStatus symlink(std::string target, Path path) {
    return paths_.symlink(std::move(target), std::move(path));
  }
  rt::CoResult<std::string> readlink(Path path) { return paths_.readlink(std::move(path)); }
  // Size changes truncate.
  rt::CoResult<wire::Attr> set_attr(Path path, wire::SetAttrRequest request, bool follow = true) {
    return paths_.set_attr(std::move(path), request, follow);
  }

  // As those of Inodes.
  rt::CoResult<std::string> get_xattr(Path path, std::string name, bool follow = true) {
    return paths_.get_xattr(std::move(path), std::move(name), follow);
  }
  rt::CoStatus set_xattr(
      Path path, std::string name, std::string value, std::uint32_t flags, bool follow = true) {
    return paths_.set_xattr(std::move(path), std::move(name), std::move(value), flags, follow);
  }

  // One page of a directory: up to about `max_entries` entries in byte order of their names, after
  // `cursor` (the last name seen; empty = from the start). Entries that exist throughout a listing
  // are seen exactly once. Empty result = end. A directory that was removed since its inode was
  // found has no entries. `flags`: wire::ReaddirFlags.
  rt::CoResult<std::vector<DirEntry>> list(Path path,
                                           std::string cursor,
                                           std::size_t max_entries,
                                           std::uint16_t flags = 0) {
    return paths_.list(std::move(path), std::move(cursor), max_entries, flags);
  }
  rt::CoResult<std::vector<DirEntry>> list(wire::InodeId directory,
                                           std::string cursor,
                                           std::size_t max_entries,
                                           std::uint16_t flags = 0);

  // --- open files (io/) ---
  // `flags`: wire::OpenFlags. The file must be given to close(). Opening a directory works with
  // kOpenRead alone; its OpenFile serves fstat.
  OpenCall open(PathView path,
                std::uint32_t flags,
                std::uint32_t mode,
                std::uint32_t chunk_bytes = 0) {
    return paths_.open(path, flags, mode, chunk_bytes);
  }
  // A new file without a name in a directory: see paths/paths.h.
  rt::CoResult<std::shared_ptr<OpenFile>> open_unnamed(Path directory,
                                                       std::uint32_t flags,
                                                       std::uint32_t mode,
                                                       std::uint32_t chunk_bytes = 0) {
    return paths_.open_unnamed(std::move(directory), flags, mode, chunk_bytes);
  }
  // An inode known by number, whatever its name is by now, even if it has none but is open.
  rt::CoResult<std::shared_ptr<OpenFile>> open(wire::InodeId inode, std::uint32_t flags);
  // Cannot fail but for EBADF: what was written has been answered. Waits for no server.
  CloseCall close(std::shared_ptr<OpenFile> file) { return {open_files_, std::move(file)}; }
  rt::CoResult<std::size_t> read(OpenFile& file, std::uint64_t offset, std::span<std::byte> into) {
    return data_.read(file, offset, into);
  }
  // Writes all of it or fails.
  rt::CoStatus write(OpenFile& file, std::uint64_t offset, std::span<const std::byte> from);
  // Bytes written: fewer than asked when the space ran out after them.
  rt::CoResult<std::size_t> write_some(OpenFile& file,
                                       std::uint64_t offset,
                                       std::span<const std::byte> from) {
    return data_.write(file, offset, from);
  }
  rt::CoResult<Appended> append(OpenFile& file, std::span<const std::byte> from) {
    return data_.append(file, from);
  }
  rt::CoStatus fsync(OpenFile& file) { return open_files_.fsync(file); }
  rt::CoResult<wire::Attr> fstat(OpenFile& file) { return open_files_.stat(file); }
  // When permissions are checked, a size may be changed by whoever has opened the file.
  rt::CoResult<wire::Attr> set_attr(OpenFile& file, wire::SetAttrRequest request);
  rt::CoResult<std::string> get_xattr(OpenFile& file, std::string_view name);
  rt::CoStatus set_xattr(OpenFile& file,
                         std::string_view name,
                         std::string_view value,
                         std::uint32_t flags);
  // EACCES when permissions are checked and do not allow it. `wanted`: R_OK, W_OK and X_OK.
  [[nodiscard]] Status check_access(const Permissions& inode, std::uint32_t wanted) const;

  // --- the whole (administration.h) ---
  rt::CoResult<Statfs> statfs() { return administration_.statfs(); }
  rt::CoResult<std::string> shard_stats(wire::ShardId shard) {
    return administration_.shard_stats(shard);
  }
  rt::CoResult<std::string> shard_requests(wire::ShardId shard, std::uint32_t limit) {
    return administration_.shard_requests(shard, limit);
  }
  rt::CoStatus ping(wire::ShardId shard,
                    std::span<const std::byte> data = {},
                    std::span<std::byte> into = {}) {
    return administration_.ping(shard, data, into);
  }
  rt::CoStatus set_capacity(wire::ShardId shard, std::uint32_t max_clients) {
    return administration_.set_capacity(shard, max_clients);
  }

  // --- the rooms, for doors that work by inode ---
  [[nodiscard]] Inodes& inodes() { return inodes_; }
  [[nodiscard]] OpenFiles& open_files() { return open_files_; }
  [[nodiscard]] DataIo& data() { return data_; }
  [[nodiscard]] ListIo& lists() { return lists_; }
  [[nodiscard]] Holes& holes() { return holes_; }
  [[nodiscard]] Nodes& nodes() { return nodes_; }
  [[nodiscard]] FileLocks& locks() { return locks_; }
  // An open directory; no request is sent.
  [[nodiscard]] std::shared_ptr<DirectoryReader> open_directory(wire::InodeId directory) {
    return std::make_shared<DirectoryReader>(backend_, open_files_, nodes_, directory);
  }

  [[nodiscard]] std::uint32_t shard_count() const { return backend_.pool.size(); }
  [[nodiscard]] rpc::ConnectionPool& pool() { return backend_.pool; }
  // Ends background work, says goodbye to all servers and waits for what still runs. The servers
  // close what is still open.
  rt::Task<void> leave();

 private:
  rt::CoResult<wire::Attr> check_and_set_attr(OpenFile& file, wire::SetAttrRequest request);
  rt::Task<void> come_back();
  rt::Task<void> connect(wire::ShardId shard, Deadline by);
  bool on_invalidate(wire::InodeId parent,
                     std::string_view name,
                     const rpc::Revocation& revocation) override;
  [[nodiscard]] bool looks_at_words() const override { return true; }
  void on_registered(wire::ShardId shard, rpc::Registered how) override;
  void on_connection_lost(wire::ShardId shard) override;

  Backend backend_;
  Inodes inodes_;
  OpenFiles open_files_;
  FileLocks locks_;
  DataIo data_;
  ListIo lists_;
  Holes holes_;
  Paths paths_;
  Nodes nodes_;
  Administration administration_;
};

}  // namespace benchfs::client
