// What is known of a file, and changing it.

#include <utility>

#include "client/file_system.h"
#include "client/with_fresh_cache.h"

namespace benchfs::client {

rt::CoResult<wire::Attr> FileSystem::do_stat(std::string path, Follow follow) {
  BENCHFS_CO_TRY(PathWalk walk, PathWalk::start(path));
  co_return co_await resolve(walk, follow, deadline());
}

rt::CoResult<wire::Attr> FileSystem::stat(std::string path) {
  return with_fresh_cache(&FileSystem::do_stat, std::move(path), Follow::kYes);
}

rt::CoResult<wire::Attr> FileSystem::lstat(std::string path) {
  return with_fresh_cache(&FileSystem::do_stat, std::move(path), Follow::kNo);
}

rt::CoResult<wire::Attr> FileSystem::set_inode_attr(wire::InodeId inode,
                                                    wire::SetAttrRequest request,
                                                    Deadline by) {
  std::shared_ptr<OpenInode> open = inodes_.find(inode);
  if (open != nullptr && open->mtime_ns != 0) {
    BENCHFS_CO_TRY_VOID(co_await settle(*open, by));  // earlier writes must not undo new times
  }
  request.inode = inode.value;
  rpc::Call call = rpc::make_call(request);
  BENCHFS_CO_TRY(Found found, co_await entry_call(inode.home(), call, by));
  if (open != nullptr) {
    if ((request.mask & wire::kSetSize) != 0) {
      open->on_truncated(found.attr);
    }
    open->attr = found.attr;
  }
  co_return found.attr;
}

rt::CoResult<wire::Attr> FileSystem::do_set_attr(std::string path,
                                                 wire::SetAttrRequest request,
                                                 bool follow) {
  Deadline by = deadline();
  BENCHFS_CO_TRY(PathWalk walk, PathWalk::start(path));
  BENCHFS_CO_TRY(wire::Attr attr, co_await resolve(walk, follow ? Follow::kYes : Follow::kNo, by));
  if ((request.mask & wire::kSetSize) != 0 && attr.is_directory()) {
    co_return fail_errno(EISDIR);
  }
  co_return co_await set_inode_attr(attr.id(), request, by);
}

rt::CoResult<wire::Attr> FileSystem::set_attr(std::string path,
                                              wire::SetAttrRequest request,
                                              bool follow) {
  return with_fresh_cache(
      &FileSystem::do_set_attr, std::move(path), std::move(request), std::move(follow));
}

rt::CoResult<wire::Attr> FileSystem::set_attr(OpenFile& file, wire::SetAttrRequest request) {
  co_return co_await set_inode_attr(file.id(), request, deadline());
}

rt::CoResult<wire::Attr> FileSystem::fstat(OpenFile& file) {
  BENCHFS_CO_TRY(Found found, co_await get_inode(file.id(), deadline()));
  file.inode->attr = found.attr;
  co_return found.attr;
}

}  // namespace benchfs::client
