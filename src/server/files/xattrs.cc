// Extended attributes of inodes.

#include <cerrno>
#include <span>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "server/decode.h"
#include "server/files/files.h"

namespace benchfs::server {
namespace {

Status check_xattr_name(std::string_view name) {
  if (!name.starts_with(wire::kXattrNamespace)) {
    return fail_errno(EOPNOTSUPP);  // the other namespaces are the kernel's
  }
  bool is_possible =
      name.size() > wire::kXattrNamespace.size() && name.find('\0') == std::string_view::npos;
  return is_possible ? Status{} : Status(fail_errno(EINVAL));
}

}  // namespace

rt::Task<void> Files::get_xattr(rpc::Request& request) {
  wire::GetXattrRequest body;
  wire::Reader reader = request.reader();
  reader.read(body);
  std::string_view name = reader.read_text(body.name_bytes);
  if (!reader.ok() || name.size() > wire::kMaxXattrNameBytes) {
    co_await request.reply_error(malformed());
    co_return;
  }
  wire::InodeId inode{body.inode};
  std::string value;  // a copy: it may be changed while the reply leaves
  if (name.empty()) {
    BENCHFS_SERVE_TRY(value, request, store_.list_xattrs(inode));
  } else {
    BENCHFS_SERVE_TRY_VOID(request, check_xattr_name(name));
    BENCHFS_SERVE_TRY(std::string_view found, request, store_.xattr(inode, name));
    value = found;
  }
  co_await request.reply(wire::GetXattrReply{value.size()}, std::as_bytes(std::span(value)));
}

rt::Task<void> Files::set_xattr(rpc::Request& request) {
  wire::SetXattrRequest body;
  wire::Reader reader = request.reader();
  reader.read(body);
  std::string name(reader.read_text(body.name_bytes));
  constexpr std::uint32_t kKnown = wire::kXattrCreate | wire::kXattrReplace | wire::kXattrRemove;
  if (!reader.ok() || name.size() > wire::kMaxXattrNameBytes || (body.flags & ~kKnown) != 0 ||
      body.value_bytes != request.data_bytes() || body.value_bytes > wire::kMaxXattrValueBytes) {
    co_await request.reply_error(malformed());
    co_return;
  }
  BENCHFS_SERVE_TRY_VOID(request, check_xattr_name(name));
  std::string value(body.value_bytes, '\0');
  if (!value.empty()) {
    BENCHFS_SERVE_TRY_VOID(request,
                           co_await request.receive(std::as_writable_bytes(std::span(value))));
  }
  BENCHFS_SERVE_TRY_VOID(request, co_await prepare(wire::InodeId{body.inode}, request.deadline()));
  BENCHFS_SERVE_TRY_VOID(request,
                         store_.apply(meta::SetXattr{
                             wire::InodeId{body.inode}, name, value, body.flags, wall_now_ns()}));
  co_await request.reply(wire::NoReply{});
}

}  // namespace benchfs::server
