// Names, attributes, and the whole file system.
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <utility>

#include "mount/door.h"

namespace benchfs::mount {
namespace {

template <typename T>
bool is_stale(const Result<T>& result) {
  return !result && result.error().is_posix(ESTALE);
}

}  // namespace

// The failed request may have changed it, now or later, without a server telling us: the kernel and
// the client core do so by themselves when a change succeeds.
void Door::expire(const Name& name) {
  kernel_->expire_name(name.parent, name.name);
}

void Door::reply_entry(Request& request,
                       const Result<wire::Attr>& attr,
                       double name_timeout,
                       double attr_timeout) {
  if (request.reply_entry(attr, name_timeout, attr_timeout)) {
    kernel_->inodes().note_told(attr->id());
  } else if (attr && !kernel_->inodes().has(attr->id())) {
    kernel_->inodes().moved().forget(attr->id());  // it will never say that it has forgotten it
  }
}

rt::Task<void> Door::lookup(fuse_req_t req, Name name) {
  Request request(req);
  pid_t thread = fuse_req_ctx(req)->pid;
  Result<wire::Attr> attr = co_await fs_.nodes().lookup(name.parent, name.name);
  if (attr && holds_.is_due(thread)) [[unlikely]] {
    attr = co_await holds_.hold(name.parent, name.name, *attr);
  }
  wire::InodeId inode = attr ? attr->id() : wire::InodeId{};
  if (attr && attr->is_directory()) {
    MovedDirectories& moved = kernel_->inodes().moved();
    if (auto before = moved.note_found(inode, {name.parent, name.name}, thread)) [[unlikely]] {
      co_await make_way(*std::move(before));
    }
  }
  double timeout = kernel_->name_timeout(name.parent, name.name, inode);
  if (!attr && attr.error().is_posix(ENOENT) && timeout > 0) {
    co_return request.reply_missing(timeout);
  }
  // Those of a directory change with the requests of this mount that the kernel has under way.
  bool is_trusted = attr && !attr->is_directory() && pages_->is_trusted(inode);
  reply_entry(request, attr, timeout, is_trusted ? kernel_->attr_timeout_with_name(*attr) : 0);
}

// Another directory that has taken the place meanwhile stays there.
rt::Task<void> Door::make_way(wire::EntryKey before) {
  Result<wire::Attr> there = co_await fs_.nodes().lookup(before.parent, before.name);
  if (!there || !kernel_->inodes().has(there->id())) {
    co_await kernel_->drop_name(std::move(before));
  }
}

rt::Task<void> Door::get_attr(fuse_req_t req, wire::InodeId inode, std::uint64_t handle) {
  std::shared_ptr<client::OpenFile> open = file(handle);
  Request request(req, open == nullptr ? &holds_ : nullptr);
  Status usable = open != nullptr ? fs_.open_files().check(*open) : Status{};
  if (!usable) {
    co_return request.fail(usable.error());
  }
  // Reads through the page cache ask by their handle, stat does not.
  bool is_trusted = open == nullptr || co_await pages_->prepare_read(inode);
  Result<wire::Attr> attr = co_await fs_.nodes().get_attr(inode);
  if (!attr && open != nullptr) {
    attr = co_await fs_.fstat(*open);  // knows what became of it
  } else if (const Holds::Held* held = is_stale(attr) ? holds_.find(inode) : nullptr) {
    attr = held->attr;
  }
  if (attr && !is_trusted) {
    co_return request.reply_attr_for_read(*attr);
  }
  request.reply_attr(attr, attr && pages_->is_trusted(inode) ? kernel_->attr_timeout(*attr) : 0);
}

rt::Task<void> Door::set_attr(fuse_req_t req,
                              wire::InodeId inode,
                              wire::SetAttrRequest wanted,
                              std::uint64_t handle) {
  std::shared_ptr<client::OpenFile> open = file(handle);
  Request request(req, open == nullptr ? &holds_ : nullptr);
  if (open != nullptr) {
    co_return request.reply_attr(co_await fs_.set_attr(*open, wanted));
  }
  Result<wire::Attr> attr = co_await fs_.nodes().set_attr(inode, wanted);
  if (const Holds::Held* held = is_stale(attr) ? holds_.find(inode) : nullptr) {
    attr = held->attr;  // as if it had been changed before it lost its name
  }
  request.reply_attr(attr);
}

rt::Task<void> Door::readlink(fuse_req_t req, wire::InodeId inode) {
  Request request(req, &holds_);
  Result<std::string> target = co_await fs_.nodes().readlink(inode);
  if (const Holds::Held* held = is_stale(target) ? holds_.find(inode) : nullptr) {
    target = held->target;
  }
  if (target) {
    request.reply_text(target->c_str());
  } else {
    request.fail(target.error());
  }
}

rt::Task<void> Door::make_file(fuse_req_t req, Name name, std::uint32_t mode) {
  Request request(req, [&] { expire(name); });
  constexpr std::uint32_t kNew = wire::kOpenWrite | wire::kOpenCreate | wire::kOpenExclusive;
  Result<std::shared_ptr<client::OpenFile>> made =
      co_await fs_.nodes().open_entry(name.parent, name.name, kNew, mode, caller_of(req));
  if (!made) {
    co_return request.fail(made.error());
  }
  (void)fs_.open_files().close(**made);
  reply_entry(request, (*made)->attr);
}

rt::Task<void> Door::make_special(fuse_req_t req,
                                  Name name,
                                  std::uint32_t mode,
                                  std::uint32_t device) {
  Request request(req, [&] { expire(name); });
  reply_entry(
      request,
      co_await fs_.nodes().make_special(name.parent, name.name, mode, device, caller_of(req)));
}

rt::Task<void> Door::mkdir(fuse_req_t req, Name name, std::uint32_t mode) {
  Request request(req, [&] { expire(name); });
  Result<wire::Attr> made =
      co_await fs_.nodes().mkdir(name.parent, name.name, mode, caller_of(req));
  if (made) {
    (void)kernel_->inodes().moved().note_found(made->id(), {name.parent, name.name}, 0);
  }
  reply_entry(request, made);
}

rt::Task<void> Door::symlink(fuse_req_t req, std::string target, Name name) {
  Request request(req, [&] { expire(name); });
  reply_entry(request,
              co_await fs_.nodes().symlink(name.parent, name.name, target, caller_of(req)));
}

rt::Task<void> Door::link(fuse_req_t req, wire::InodeId inode, Name name) {
  Request request(req, [&] { expire(name); });
  reply_entry(request, co_await fs_.nodes().link(inode, name.parent, name.name));
}

rt::Task<void> Door::unlink(fuse_req_t req, Name name) {
  Request request(req, [&] { expire(name); });
  request.reply(co_await fs_.nodes().unlink(name.parent, name.name));
}

rt::Task<void> Door::rmdir(fuse_req_t req, Name name) {
  Request request(req, [&] { expire(name); });
  request.reply(co_await fs_.nodes().rmdir(name.parent, name.name));
}

rt::Task<void> Door::rename(fuse_req_t req, Name from, Name to, std::uint32_t flags) {
  Request request(req, [&] {
    expire(from);
    expire(to);
  });
  request.reply(co_await fs_.nodes().rename(from.parent, from.name, to.parent, to.name, flags));
}

rt::Task<void> Door::statfs(fuse_req_t req) {
  Request request(req);
  Result<client::Statfs> whole = co_await fs_.statfs();
  if (!whole) {
    co_return request.fail(whole.error());
  }
  constexpr std::uint64_t kBlock = 4096;
  struct statvfs out{};
  out.f_bsize = kBlock;
  out.f_frsize = kBlock;
  out.f_blocks = whole->total_bytes / kBlock;
  out.f_bfree = whole->free_bytes / kBlock;
  out.f_bavail = out.f_bfree;
  out.f_files = whole->inode_count + client::kFreeInodes;
  out.f_ffree = client::kFreeInodes;
  out.f_favail = client::kFreeInodes;
  out.f_namemax = wire::kMaxNameBytes;
  request.reply_statfs(out);
}

}  // namespace benchfs::mount
