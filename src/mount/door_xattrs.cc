// Extended attributes.
//
// The kernel asks for security.capability before writes through its page cache, and for access
// control lists: what is not in the user namespace is answered here, without a request to a server.
#include <cerrno>
#include <span>
#include <utility>

#include "mount/door.h"

namespace benchfs::mount {

rt::Task<void> Door::get_xattr(fuse_req_t req,
                               wire::InodeId inode,
                               std::string name,
                               std::size_t room) {
  Request request(req, &holds_);
  Result<std::string> value = co_await fs_.nodes().get_xattr(inode, name);
  if (!value) {
    co_return request.fail(value.error());
  }
  if (room == 0) {
    request.reply_xattr_size(value->size());
  } else if (value->size() > room) {
    request.fail(ERANGE);
  } else {
    request.reply_data(std::as_bytes(std::span(*value)));
  }
}

rt::Task<void> Door::set_xattr(
    fuse_req_t req, wire::InodeId inode, std::string name, std::string value, std::uint32_t flags) {
  Request request(req, &holds_);
  request.reply(co_await fs_.nodes().set_xattr(inode, name, value, flags));
}

}  // namespace benchfs::mount
