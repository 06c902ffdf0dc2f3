// The operations of the kernel's file system interface, each one coroutine on the client core.
//
// A node of the kernel is an inode of ours under the same number; what is remembered for nodes is
// only that the kernel knows them (kernel_inodes.h). Handles are open files and directories by
// number. No rule of the file system lives here: what an operation means is the core's, whom it is
// allowed to is the kernel's (default_permissions).
//
// Thread: the reactor's.
#pragma once

#include <fcntl.h>
#include <sys/uio.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "client/file_system.h"
#include "mount/buffers.h"
#include "mount/channel.h"
#include "mount/fuse.h"
#include "mount/holds.h"
#include "mount/kernel_cache.h"
#include "mount/kernel_pages.h"
#include "mount/request.h"
#include "rt/scope.h"

namespace benchfs::mount {

class Door {
 public:
  struct Config {
    // File data in the kernel's page cache, checked by size and time at each read. Without it the
    // kernel caches pages under leases, see KernelPages.
    bool page_cache = false;
    std::function<void()> on_ready;  // the kernel and the mount have agreed
  };

  Door(client::FileSystem& fs, Config config) : fs_(fs), config_(std::move(config)), holds_(fs) {}
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  // For fuse_session_new(), whose user data is the door.
  static const fuse_lowlevel_ops& operations();
  // To be called with each answer before it is written.
  void before_reply(std::span<const iovec> answer);

  void attach(Channel& channel) { channel_ = &channel; }
  void attach(KernelCache& kernel, KernelPages& pages) {
    kernel_ = &kernel;
    pages_ = &pages;
  }
  // The requests that are being served.
  [[nodiscard]] rt::Scope& requests() { return requests_; }
  // What names led to that were replaced.
  [[nodiscard]] Holds& holds() { return holds_; }

 private:
  friend struct Dispatch;

  struct Name {
    wire::InodeId parent;
    std::string name;
  };
  struct Handle {
    std::shared_ptr<client::OpenFile> file;
    KernelPages::Use use = KernelPages::Use::kDirect;
  };
  struct WriteFlags {
    bool is_append = false;
    bool clears_set_id = false;
  };
  static client::Caller caller_of(fuse_req_t request);
  void start(fuse_req_t request, rt::Task<void> task);
  void init(fuse_conn_info& connection);

  // door_names.cc
  void expire(const Name& name);
  void reply_entry(Request& request,
                   const Result<wire::Attr>& attr,
                   double name_timeout = 0,
                   double attr_timeout = 0);
  rt::Task<void> lookup(fuse_req_t req, Name name);
  // The kernel forgets the place where it has a directory (moved_directories.h).
  rt::Task<void> make_way(wire::EntryKey before);
  rt::Task<void> get_attr(fuse_req_t req, wire::InodeId inode, std::uint64_t handle);
  rt::Task<void> set_attr(fuse_req_t req,
                          wire::InodeId inode,
                          wire::SetAttrRequest wanted,
                          std::uint64_t handle);
  rt::Task<void> readlink(fuse_req_t req, wire::InodeId inode);
  rt::Task<void> make_file(fuse_req_t req, Name name, std::uint32_t mode);
  rt::Task<void> make_special(fuse_req_t req, Name name, std::uint32_t mode, std::uint32_t device);
  rt::Task<void> mkdir(fuse_req_t req, Name name, std::uint32_t mode);
  rt::Task<void> symlink(fuse_req_t req, std::string target, Name name);
  rt::Task<void> link(fuse_req_t req, wire::InodeId inode, Name name);
  rt::Task<void> unlink(fuse_req_t req, Name name);
  rt::Task<void> rmdir(fuse_req_t req, Name name);
  rt::Task<void> rename(fuse_req_t req, Name from, Name to, std::uint32_t flags);
  rt::Task<void> statfs(fuse_req_t req);

  // door_xattrs.cc
  // `room` 0: how large the value is.
  rt::Task<void> get_xattr(fuse_req_t req, wire::InodeId inode, std::string name, std::size_t room);
  rt::Task<void> set_xattr(fuse_req_t req,
                           wire::InodeId inode,
                           std::string name,
                           std::string value,
                           std::uint32_t flags);

  // door_files.cc
  rt::Task<void> open(fuse_req_t req, wire::InodeId inode, fuse_file_info info);
  rt::Task<void> create(fuse_req_t req, Name name, std::uint32_t mode, fuse_file_info info);
  rt::Task<void> read(fuse_req_t req,
                      std::uint64_t handle,
                      std::size_t bytes,
                      std::uint64_t offset);
  // `memory` holds the data.
  rt::Task<void> write(fuse_req_t req,
                       std::uint64_t handle,
                       std::uint64_t offset,
                       std::span<const std::byte> data,
                       Memory memory,
                       WriteFlags flags);
  rt::Task<void> fsync(fuse_req_t req, std::uint64_t handle);
  rt::Task<void> allocate(
      fuse_req_t req, std::uint64_t handle, int mode, std::uint64_t offset, std::uint64_t length);
  rt::Task<void> seek(fuse_req_t req, std::uint64_t handle, std::uint64_t offset, int whence);
  rt::Task<void> copy(fuse_req_t req,
                      std::uint64_t from,
                      std::uint64_t from_offset,
                      std::uint64_t to,
                      std::uint64_t to_offset,
                      std::uint64_t length);
  void release(fuse_req_t req, std::uint64_t handle);
  std::shared_ptr<client::OpenFile> file(std::uint64_t handle) const;
  // `info` says then how the kernel reads and writes.
  rt::Task<void> keep(std::shared_ptr<client::OpenFile> file, fuse_file_info& info);
  void drop(std::uint64_t handle);

  // door_locks.cc
  rt::Task<void> get_lock(fuse_req_t req,
                          wire::InodeId inode,
                          std::uint64_t owner,
                          struct flock lock);
  rt::Task<void> set_lock(fuse_req_t req,
                          std::uint64_t handle,
                          client::LockOwner owner,
                          client::FileLocks::Wanted wanted,
                          bool waits);
  // A descriptor of the file was closed: the process has no record locks of it any more.
  rt::Task<void> flush(fuse_req_t req, wire::InodeId inode, std::uint64_t owner);
  // The last descriptor of an open file was closed: so has the open file.
  void release_locks(std::uint64_t handle);

  // door_directories.cc
  struct OpenDirectory {
    std::shared_ptr<client::OpenFile> file;
    std::shared_ptr<client::DirectoryReader> reader;
  };
  rt::Task<void> open_directory(fuse_req_t req, wire::InodeId inode, fuse_file_info info);
  rt::Task<void> read_directory(fuse_req_t req,
                                std::uint64_t handle,
                                std::size_t bytes,
                                std::uint64_t offset,
                                bool with_attributes);
  // The attributes, if name and attributes may be used without asking.
  [[nodiscard]] const wire::Attr* find_known(wire::InodeId directory,
                                             const client::DirEntry& entry) const;
  void release_directory(fuse_req_t req, std::uint64_t handle);
  void drop_directory(std::uint64_t handle);

  client::FileSystem& fs_;
  Config config_;
  Channel* channel_ = nullptr;
  KernelCache* kernel_ = nullptr;
  KernelPages* pages_ = nullptr;
  bool is_init_reply_next_ = false;
  bool may_cache_pages_ = false;
  bool is_direct_ = true;  // no page cache but for mappings, and what KernelPages allows
  Holds holds_;
  rt::Scope requests_;
  Buffers read_buffers_;
  std::unordered_map<std::uint64_t, Handle> files_;
  // Who has locked something through a handle, since its process closed a descriptor of the file.
  std::unordered_map<std::uint64_t, std::vector<client::LockOwner>> lock_owners_;
  std::unordered_map<std::uint64_t, OpenDirectory> directories_;
};

}  // namespace benchfs::mount
