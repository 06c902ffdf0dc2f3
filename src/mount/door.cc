// What the kernel and the mount agree on, and which operation serves which request.
#include "mount/door.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstddef>
#include <span>
#include <string_view>
#include <utility>

#include "client/linux_flags.h"
#include "mount/attributes.h"

namespace benchfs::mount {
namespace {

// Shared mappings of files whose reads and writes bypass the page cache: Linux 6.6. libfuse 3.14
// does not know the flag yet, so the answer to INIT is completed in before_reply().
constexpr std::uint64_t kDirectIoAllowsMappings = 1ULL << 36;
constexpr unsigned kDirectIoAllowsMappingsMinor = 39;

constexpr std::uint64_t kNoHandle = 0;

std::uint64_t handle_of(const fuse_file_info* info) {
  return info != nullptr ? info->fh : kNoHandle;
}

}  // namespace

client::Caller Door::caller_of(fuse_req_t request) {
  const fuse_ctx* context = fuse_req_ctx(request);
  return {.uid = context->uid, .gid = context->gid};
}

void Door::start(fuse_req_t request, rt::Task<void> task) {
  if (!requests_.spawn(std::move(task))) {
    fuse_reply_err(request, ENOTCONN);
  }
}

void Door::init(fuse_conn_info& connection) {
  // The kernel clears set-id bits by itself, with requests.
  connection.want &= ~static_cast<unsigned>(FUSE_CAP_HANDLE_KILLPRIV);
  connection.want &=
      ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
  // Before the kernel uses pages, it asks for attributes unless it trusts those that it has.
  // Without that nothing of KernelPages would hold.
  bool asks_before_pages = (connection.capable & FUSE_CAP_AUTO_INVAL_DATA) != 0;
  if (asks_before_pages) {
    connection.want |= FUSE_CAP_AUTO_INVAL_DATA;
  }
  // The target of a symlink never changes.
  if ((connection.capable & FUSE_CAP_CACHE_SYMLINKS) != 0) {
    connection.want |= FUSE_CAP_CACHE_SYMLINKS;
  }
  bool can_map_direct = connection.proto_minor >= kDirectIoAllowsMappingsMinor;
  is_direct_ = !config_.page_cache && can_map_direct;
  may_cache_pages_ = is_direct_ && asks_before_pages;
  is_init_reply_next_ = true;
  if (config_.on_ready) {
    config_.on_ready();
  }
}

void Door::before_reply(std::span<const iovec> answer) {
  if (!is_init_reply_next_) [[likely]] {
    return;
  }
  is_init_reply_next_ = false;
  if (is_direct_ && answer.size() == 2 && answer[1].iov_len >= sizeof(fuse_init_out)) {
    auto* out = static_cast<fuse_init_out*>(answer[1].iov_base);
    out->flags |= FUSE_INIT_EXT;
    out->flags2 |= static_cast<std::uint32_t>(kDirectIoAllowsMappings >> 32U);
  }
}

// Called by libfuse.
struct Dispatch {
  static Door& door(fuse_req_t req) { return *static_cast<Door*>(fuse_req_userdata(req)); }
  static Door::Name name(fuse_ino_t parent, const char* text) {
    return {wire::InodeId{parent}, std::string(text)};
  }

  static void init(void* self, fuse_conn_info* connection) {
    static_cast<Door*>(self)->init(*connection);
  }
  static void lookup(fuse_req_t req, fuse_ino_t parent, const char* text) {
    door(req).start(req, door(req).lookup(req, name(parent, text)));
  }
  static void forget(fuse_req_t req, fuse_ino_t inode, std::uint64_t answers) {
    door(req).kernel_->inodes().note_forgotten(wire::InodeId{inode}, answers);
    fuse_reply_none(req);
  }
  static void forget_multi(fuse_req_t req, size_t count, fuse_forget_data* forgets) {
    for (const fuse_forget_data& each : std::span(forgets, count)) {
      door(req).kernel_->inodes().note_forgotten(wire::InodeId{each.ino}, each.nlookup);
    }
    fuse_reply_none(req);
  }
  static void getattr(fuse_req_t req, fuse_ino_t inode, fuse_file_info* info) {
    door(req).start(req, door(req).get_attr(req, wire::InodeId{inode}, handle_of(info)));
  }
  static void setattr(
      fuse_req_t req, fuse_ino_t inode, struct stat* attr, int to_set, fuse_file_info* info) {
    wire::SetAttrRequest wanted = to_request(*attr, to_set);
    door(req).start(req, door(req).set_attr(req, wire::InodeId{inode}, wanted, handle_of(info)));
  }
  static void readlink(fuse_req_t req, fuse_ino_t inode) {
    door(req).start(req, door(req).readlink(req, wire::InodeId{inode}));
  }
  static void mknod(
      fuse_req_t req, fuse_ino_t parent, const char* text, mode_t mode, dev_t device) {
    rt::Task<void> task =
        S_ISREG(mode) ? door(req).make_file(req, name(parent, text), mode & 07777U)
                      : door(req).make_special(
                            req, name(parent, text), mode, static_cast<std::uint32_t>(device));
    door(req).start(req, std::move(task));
  }
  static void mkdir(fuse_req_t req, fuse_ino_t parent, const char* text, mode_t mode) {
    door(req).start(req, door(req).mkdir(req, name(parent, text), mode & 07777U));
  }
  static void symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* text) {
    door(req).start(req, door(req).symlink(req, target, name(parent, text)));
  }
  static void unlink(fuse_req_t req, fuse_ino_t parent, const char* text) {
    door(req).start(req, door(req).unlink(req, name(parent, text)));
  }
  static void rmdir(fuse_req_t req, fuse_ino_t parent, const char* text) {
    door(req).start(req, door(req).rmdir(req, name(parent, text)));
  }
  static void rename(fuse_req_t req,
                     fuse_ino_t parent,
                     const char* text,
                     fuse_ino_t new_parent,
                     const char* new_text,
                     unsigned flags) {
    if ((flags & ~unsigned{RENAME_NOREPLACE | RENAME_EXCHANGE}) != 0) {
      fuse_reply_err(req, EINVAL);
      return;
    }
    std::uint32_t ours = client::rename_flags(flags);
    door(req).start(req,
                    door(req).rename(req, name(parent, text), name(new_parent, new_text), ours));
  }
  static void link(fuse_req_t req, fuse_ino_t inode, fuse_ino_t parent, const char* text) {
    door(req).start(req, door(req).link(req, wire::InodeId{inode}, name(parent, text)));
  }
  static void open(fuse_req_t req, fuse_ino_t inode, fuse_file_info* info) {
    door(req).start(req, door(req).open(req, wire::InodeId{inode}, *info));
  }
  static void create(
      fuse_req_t req, fuse_ino_t parent, const char* text, mode_t mode, fuse_file_info* info) {
    door(req).start(req, door(req).create(req, name(parent, text), mode & 07777U, *info));
  }
  static void read(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
    door(req).start(req, door(req).read(req, info->fh, size, static_cast<std::uint64_t>(offset)));
  }
  static void write(fuse_req_t req,
                    fuse_ino_t,
                    const char* data,
                    size_t size,
                    off_t offset,
                    fuse_file_info* info) {
    Door& self = door(req);
    // Pages of a mapping go where they belong, whatever the flags of the handle say.
    Door::WriteFlags flags;
    flags.is_append = (info->flags & O_APPEND) != 0 && info->writepage == 0;
    // libfuse does not pass this on. The data follow the fixed part of the request.
    const fuse_write_in* fixed = reinterpret_cast<const fuse_write_in*>(data) - 1;
    flags.clears_set_id = (fixed->write_flags & FUSE_WRITE_KILL_SUIDGID) != 0;
    self.start(req,
               self.write(req,
                          info->fh,
                          static_cast<std::uint64_t>(offset),
                          std::as_bytes(std::span(data, size)),
                          self.channel_->keep_received(),
                          flags));
  }
  static void release(fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
    door(req).release(req, info->fh);
  }
  static void getlk(fuse_req_t req, fuse_ino_t inode, fuse_file_info* info, struct flock* lock) {
    door(req).start(req, door(req).get_lock(req, wire::InodeId{inode}, info->lock_owner, *lock));
  }
  static void setlk(
      fuse_req_t req, fuse_ino_t, fuse_file_info* info, struct flock* lock, int waits) {
    client::LockOwner owner{.number = info->lock_owner};
    door(req).start(req, door(req).set_lock(req, info->fh, owner, to_wanted(*lock), waits != 0));
  }
  static void flock(fuse_req_t req, fuse_ino_t, fuse_file_info* info, int operation) {
    client::LockOwner owner{.number = info->lock_owner, .is_whole_file = true};
    client::FileLocks::Wanted wanted;
    int kind = operation & (LOCK_SH | LOCK_EX | LOCK_UN);
    wanted.mode = kind == LOCK_EX   ? wire::LockMode::kExclusive
                  : kind == LOCK_SH ? wire::LockMode::kShared
                                    : wire::LockMode::kNone;
    bool waits = (operation & LOCK_NB) == 0;
    door(req).start(req, door(req).set_lock(req, info->fh, owner, wanted, waits));
  }
  static void flush(fuse_req_t req, fuse_ino_t inode, fuse_file_info* info) {
    wire::InodeId id{inode};
    if (!door(req).fs_.locks().may_hold(id, {.number = info->lock_owner})) {
      fuse_reply_err(req, 0);
      return;
    }
    door(req).start(req, door(req).flush(req, id, info->lock_owner));
  }
  static void fsync(fuse_req_t req, fuse_ino_t, int, fuse_file_info* info) {
    door(req).start(req, door(req).fsync(req, info->fh));
  }
  static void opendir(fuse_req_t req, fuse_ino_t inode, fuse_file_info* info) {
    door(req).start(req, door(req).open_directory(req, wire::InodeId{inode}, *info));
  }
  static void readdir(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
    door(req).start(
        req,
        door(req).read_directory(req, info->fh, size, static_cast<std::uint64_t>(offset), false));
  }
  static void readdirplus(
      fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
    door(req).start(
        req,
        door(req).read_directory(req, info->fh, size, static_cast<std::uint64_t>(offset), true));
  }
  static void releasedir(fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
    door(req).release_directory(req, info->fh);
  }
  static void fsyncdir(fuse_req_t req, fuse_ino_t, int, fuse_file_info*) {
    fuse_reply_err(req, 0);  // names are in the servers' memory at once
  }
  static void fallocate(
      fuse_req_t req, fuse_ino_t, int mode, off_t offset, off_t length, fuse_file_info* info) {
    door(req).start(req,
                    door(req).allocate(req,
                                       info->fh,
                                       mode,
                                       static_cast<std::uint64_t>(offset),
                                       static_cast<std::uint64_t>(length)));
  }
  static void lseek(fuse_req_t req, fuse_ino_t, off_t offset, int whence, fuse_file_info* info) {
    door(req).start(req, door(req).seek(req, info->fh, static_cast<std::uint64_t>(offset), whence));
  }
  static void copy_file_range(fuse_req_t req,
                              fuse_ino_t,
                              off_t from_offset,
                              fuse_file_info* from,
                              fuse_ino_t,
                              off_t to_offset,
                              fuse_file_info* to,
                              size_t length,
                              int flags) {
    if (flags != 0) {
      fuse_reply_err(req, EINVAL);
      return;
    }
    door(req).start(req,
                    door(req).copy(req,
                                   from->fh,
                                   static_cast<std::uint64_t>(from_offset),
                                   to->fh,
                                   static_cast<std::uint64_t>(to_offset),
                                   length));
  }
  static bool is_user_xattr(fuse_req_t req, const char* name) {
    bool is_user = std::string_view(name).starts_with(wire::kXattrNamespace);
    if (!is_user) {
      fuse_reply_err(req, EOPNOTSUPP);
    }
    return is_user;
  }
  static void setxattr(fuse_req_t req,
                       fuse_ino_t inode,
                       const char* name,
                       const char* value,
                       size_t size,
                       int flags) {
    if (!is_user_xattr(req, name)) {
      return;
    }
    std::uint32_t ours = client::xattr_flags(flags);
    door(req).start(
        req, door(req).set_xattr(req, wire::InodeId{inode}, name, std::string(value, size), ours));
  }
  static void getxattr(fuse_req_t req, fuse_ino_t inode, const char* name, size_t size) {
    if (is_user_xattr(req, name)) {
      door(req).start(req, door(req).get_xattr(req, wire::InodeId{inode}, name, size));
    }
  }
  static void listxattr(fuse_req_t req, fuse_ino_t inode, size_t size) {
    door(req).start(req, door(req).get_xattr(req, wire::InodeId{inode}, {}, size));
  }
  static void removexattr(fuse_req_t req, fuse_ino_t inode, const char* name) {
    if (is_user_xattr(req, name)) {
      door(req).start(req,
                      door(req).set_xattr(req, wire::InodeId{inode}, name, {}, wire::kXattrRemove));
    }
  }
  static void statfs(fuse_req_t req, fuse_ino_t) { door(req).start(req, door(req).statfs(req)); }
};

const fuse_lowlevel_ops& Door::operations() {
  static const fuse_lowlevel_ops table = [] {
    fuse_lowlevel_ops ops{};
    ops.init = Dispatch::init;
    ops.lookup = Dispatch::lookup;
    ops.forget = Dispatch::forget;
    ops.forget_multi = Dispatch::forget_multi;
    ops.getattr = Dispatch::getattr;
    ops.setattr = Dispatch::setattr;
    ops.readlink = Dispatch::readlink;
    ops.mknod = Dispatch::mknod;
    ops.mkdir = Dispatch::mkdir;
    ops.symlink = Dispatch::symlink;
    ops.unlink = Dispatch::unlink;
    ops.rmdir = Dispatch::rmdir;
    ops.rename = Dispatch::rename;
    ops.link = Dispatch::link;
    ops.open = Dispatch::open;
    ops.create = Dispatch::create;
    ops.read = Dispatch::read;
    ops.write = Dispatch::write;
    ops.release = Dispatch::release;
    ops.flush = Dispatch::flush;
    ops.getlk = Dispatch::getlk;
    ops.setlk = Dispatch::setlk;
    ops.flock = Dispatch::flock;
    ops.fsync = Dispatch::fsync;
    ops.opendir = Dispatch::opendir;
    ops.readdir = Dispatch::readdir;
    ops.readdirplus = Dispatch::readdirplus;  // where the kernel sees that names are looked up
    ops.releasedir = Dispatch::releasedir;
    ops.fsyncdir = Dispatch::fsyncdir;
    ops.statfs = Dispatch::statfs;
    ops.fallocate = Dispatch::fallocate;
    ops.lseek = Dispatch::lseek;
    ops.copy_file_range = Dispatch::copy_file_range;
    ops.setxattr = Dispatch::setxattr;
    ops.getxattr = Dispatch::getxattr;
    ops.listxattr = Dispatch::listxattr;
    ops.removexattr = Dispatch::removexattr;
    return ops;
  }();
  return table;
}

}  // namespace benchfs::mount
