// Answers with an inode's attributes; a symlink's target goes along.
#pragma once

#include <string>

#include "meta/meta_store.h"
#include "rpc/request.h"

namespace benchfs::server {

inline rt::Task<void> reply_entry(rpc::Request& request,
                                  const meta::MetaStore& store,
                                  wire::Attr attr,
                                  std::uint32_t flags) {
  wire::EntryReply reply{attr, flags, 0};
  if (attr.is_symlink() && (flags & wire::kEntryRemote) == 0) {
    Result<std::string_view> target = store.target(attr.id());
    if (target) {
      std::string copy(*target);  // the inode may go away while the reply leaves
      reply.target_bytes = static_cast<std::uint32_t>(copy.size());
      co_await request.reply(reply, std::as_bytes(std::span(copy)));
      co_return;
    }
  }
  co_await request.reply(reply);
}

}  // namespace benchfs::server
