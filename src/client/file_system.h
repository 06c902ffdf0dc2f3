// The file system as a client sees it: paths, open files, data. All doors (C API, command line,
// benchmarks) are thin over this.
//
// Paths are absolute ("/a/b"; a missing leading slash is added), any bytes but NUL; "." and ".."
// are resolved by name, symlinks by target. Semantics are those of docs/semantics.md. Errors are
// POSIX ones (Errc::kPosix) or say which node, operation and phase failed; on failure of a write
// some of its bytes may have been stored.
//
// The source files follow the parts of the class: file_system.cc asks servers and walks paths, then
// names.cc, attributes.cc, open_files.cc, data.cc, listing.cc, administration.cc.
//
// Thread: the client's reactor only; use Client::run from anywhere. Spans and strings passed in are
// borrowed until the task completes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "client/directory_cache.h"
#include "client/open_file.h"
#include "client/path_walk.h"
#include "client/timeouts.h"
#include "cluster/placement.h"
#include "rpc/connection_pool.h"
#include "rt/scope.h"
#include "wire/attr.h"
#include "wire/messages.h"

namespace benchfs::client {

struct FileSystemConfig {
  Timeouts timeouts;
  std::uint32_t eager_bytes = 16U << 10;  // writes up to this ride in the request
  std::uint32_t parallel_transfers = 16;  // parts of one large read or write under way
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

struct DirEntry {
  std::string name;
  wire::InodeId inode;
  std::uint32_t type = 0;  // S_IFMT bits
};

struct Statfs {
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::uint64_t inode_count = 0;
  std::uint32_t chunk_bytes = 0;
  std::uint32_t shard_count = 0;
};

class FileSystem final : private rpc::NoticeHandler {
 public:
  FileSystem(rpc::ConnectionPool& pool, FileSystemConfig config);
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;
  ~FileSystem() override;

  // --- names ---
  rt::CoResult<wire::Attr> stat(std::string path);   // follows symlinks
  rt::CoResult<wire::Attr> lstat(std::string path);  // does not
  rt::CoResult<wire::Attr> mkdir(std::string path, std::uint32_t mode);
  rt::CoStatus rmdir(std::string path);
  rt::CoStatus unlink(std::string path);
  // `flags`: wire::RenameFlags.
  rt::CoStatus rename(std::string from, std::string to, std::uint32_t flags = 0);
  rt::CoStatus symlink(std::string target, std::string path);
  rt::CoResult<std::string> readlink(std::string path);
  // Fields per request.mask (wire::SetAttrMask); request.inode is filled in. Size changes truncate.
  rt::CoResult<wire::Attr> set_attr(std::string path,
                                    wire::SetAttrRequest request,
                                    bool follow = true);

  // One page of a directory: up to about `max_entries` entries in byte order of their names, after
  // `cursor` (the last name seen; empty = from the start). Entries that exist throughout a listing
  // are seen exactly once. Asks all shards in parallel. Empty result = end. A directory that was
  // removed since its inode was found has no entries.
  rt::CoResult<std::vector<DirEntry>> list(std::string path,
                                           std::string cursor,
                                           std::size_t max_entries);
  rt::CoResult<std::vector<DirEntry>> list(wire::InodeId directory,
                                           std::string cursor,
                                           std::size_t max_entries);

  // --- open files ---
  // `flags`: wire::OpenFlags. The file must be given to close(). Opening a directory works with
  // kOpenRead alone; its OpenFile serves stat and list.
  rt::CoResult<std::shared_ptr<OpenFile>> open(std::string path,
                                               std::uint32_t flags,
                                               std::uint32_t mode,
                                               std::uint32_t chunk_bytes = 0);
  // Settles size and times at the home shard. The file is unusable afterwards, also on error.
  rt::CoStatus close(std::shared_ptr<OpenFile> file);
  // Bytes read; fewer than asked only at the end of the file. Holes read as zeros.
  rt::CoResult<std::size_t> read(OpenFile& file, std::uint64_t offset, std::span<std::byte> into);
  // Writes all of it or fails. ENOSPC, EFBIG.
  rt::CoStatus write(OpenFile& file, std::uint64_t offset, std::span<const std::byte> from);
  // Atomically at the end of the file, whoever else appends; returns the offset it went to.
  rt::CoResult<std::uint64_t> append(OpenFile& file, std::span<const std::byte> from);
  rt::CoStatus fsync(OpenFile& file);
  rt::CoResult<wire::Attr> fstat(OpenFile& file);
  rt::CoResult<wire::Attr> set_attr(OpenFile& file, wire::SetAttrRequest request);

  // --- the whole ---
  rt::CoResult<Statfs> statfs();
  // What a shard tells about itself, as a JSON object: its counters, or the requests under way
  // there, at most `limit` of them.
  rt::CoResult<std::string> shard_stats(wire::ShardId shard);
  rt::CoResult<std::string> shard_requests(wire::ShardId shard, std::uint32_t limit);
  rt::CoStatus ping(wire::ShardId shard,
                    std::span<const std::byte> data = {},
                    std::span<std::byte> into = {});
  // Changes how many clients a shard registers at a time (1 to wire::kMaxClients).
  rt::CoStatus set_capacity(wire::ShardId shard, std::uint32_t max_clients);
  // Registers with a shard, if that has not been done.
  rt::CoStatus connect(wire::ShardId shard, Deadline deadline);
  [[nodiscard]] std::uint32_t shard_count() const { return pool_.size(); }
  [[nodiscard]] rpc::ConnectionPool& pool() { return pool_; }
  // Waits for background work (none may be added any more).
  rt::Task<void> close_all();

 private:
  struct Found {
    wire::Attr attr;
    std::string target;  // symlinks
    std::uint32_t flags = 0;
  };
  enum class Follow : std::uint8_t { kNo, kYes };
  struct Transfer;

  void on_invalidate(wire::InodeId parent, std::string_view name) override;
  [[nodiscard]] Deadline deadline() const { return Deadline::after(config_.timeouts.metadata); }
  [[nodiscard]] Deadline data_deadline() const { return Deadline::after(config_.timeouts.data); }
  [[nodiscard]] Deadline administration_deadline() const {
    return Deadline::after(config_.timeouts.administration);
  }
  [[nodiscard]] wire::ShardId shard_of(wire::InodeId parent, std::string_view name) const;

  // Runs `operation`; when it says ESTALE (a cached directory is gone) forgets what is cached and
  // runs it once more; a second ESTALE is ENOENT.
  template <typename T, typename... Args>
  rt::CoResult<T> with_fresh_cache(rt::CoResult<T> (FileSystem::*operation)(Args...), Args... args);

  // Up to the last component of a path, through symlinks in between.
  rt::CoStatus walk_to_last(PathWalk& walk, Deadline deadline);
  rt::CoResult<Found> entry_call(wire::ShardId shard, rpc::Call& call, Deadline deadline);
  rt::CoResult<Found> lookup(wire::InodeId parent, std::string name, Deadline deadline);
  rt::CoResult<Found> get_inode(wire::InodeId inode, Deadline deadline);
  rt::CoResult<wire::Attr> resolve(PathWalk& walk, Follow follow, Deadline deadline);

  rt::CoResult<wire::Attr> do_stat(std::string path, Follow follow);
  rt::CoResult<wire::Attr> do_mkdir(std::string path, std::uint32_t mode);
  rt::CoStatus do_rmdir(std::string path);
  rt::CoStatus do_unlink(std::string path);
  rt::CoStatus do_rename(std::string from, std::string to, std::uint32_t flags);
  rt::CoStatus do_symlink(std::string target, std::string path);
  rt::CoResult<std::string> do_readlink(std::string path);
  rt::CoResult<wire::Attr> do_set_attr(std::string path, wire::SetAttrRequest request, bool follow);
  rt::CoResult<std::vector<DirEntry>> list_page(wire::InodeId directory,
                                                std::string cursor,
                                                std::size_t max_entries);
  rt::CoResult<std::vector<DirEntry>> do_list(std::string path,
                                              std::string cursor,
                                              std::size_t max_entries);
  rt::CoResult<std::shared_ptr<OpenFile>> do_open(std::string path,
                                                  std::uint32_t flags,
                                                  std::uint32_t mode,
                                                  std::uint32_t chunk_bytes);
  rt::CoResult<std::shared_ptr<OpenFile>> finish_open(Found found,
                                                      std::uint32_t flags,
                                                      Deadline deadline);

  rt::CoResult<wire::Attr> set_inode_attr(wire::InodeId inode,
                                          wire::SetAttrRequest request,
                                          Deadline deadline);
  rt::CoStatus settle(OpenInode& inode, Deadline deadline);
  rt::Task<void> list_shard(wire::ShardId shard,
                            wire::InodeId directory,
                            std::string_view cursor,
                            std::uint32_t max_bytes,
                            Deadline deadline,
                            Result<std::vector<DirEntry>>* entries,
                            bool* at_end);
  rt::CoResult<std::string> shard_section(wire::ShardId shard, wire::StatsRequest request);
  rt::Task<void> statfs_shard(wire::ShardId shard,
                              Deadline deadline,
                              Result<wire::StatfsReply>* out);
  rt::Task<void> fsync_shard(wire::ShardId shard,
                             wire::FsyncChunksRequest body,
                             Deadline deadline,
                             Status* out);

  // --- data.cc ---
  rt::CoStatus run_transfer(Transfer& transfer, std::size_t spans);
  rt::Task<void> transfer_spans(Transfer* transfer);
  rt::CoStatus transfer_span(Transfer& transfer, cluster::ChunkSpan span);
  rt::CoStatus read_span(Transfer& transfer, cluster::ChunkSpan span);
  rt::CoStatus write_span(Transfer& transfer, cluster::ChunkSpan span);
  [[nodiscard]] std::uint32_t max_transfer() const;

  rpc::ConnectionPool& pool_;
  FileSystemConfig config_;
  DirectoryCache directories_;
  OpenInodeTable inodes_;
  rt::Scope scope_;
  // Room for a symlink's target in a reply; almost never used, so it is kept and not made each
  // time.
  std::vector<std::unique_ptr<std::array<std::byte, wire::kMaxPathBytes>>> target_buffers_;
};

}  // namespace benchfs::client
