// Answers with an inode's attributes; a symlink's target goes along.
#pragma once

#include <coroutine>
#include <span>
#include <string>
#include <utility>

#include "meta/meta_store.h"
#include "rpc/request.h"

namespace benchfs::server {

// On its way; awaited once, at once.
class EntryReplySend {
 public:
  EntryReplySend(rpc::Request& request, const wire::Attr& attr, std::uint32_t flags, std::string to)
      : target_(std::move(to)),
        send_(
            request.reply(wire::EntryReply{attr, flags, static_cast<std::uint32_t>(target_.size())},
                          std::as_bytes(std::span(target_)))) {}

  bool await_ready() { return send_.await_ready(); }
  void await_suspend(std::coroutine_handle<> handle) { send_.await_suspend(handle); }
  void await_resume() { send_.await_resume(); }

 private:
  std::string target_;  // a copy: the inode may go away while the reply leaves
  rpc::Request::ReplySend send_;
};

inline EntryReplySend reply_entry(rpc::Request& request,
                                  const meta::MetaStore& store,
                                  const wire::Attr& attr,
                                  std::uint32_t flags) {
  std::string target;
  if (attr.is_symlink() && (flags & wire::kEntryRemote) == 0) {
    target = store.target(attr.id()).value_or(std::string_view());
  }
  return {request, attr, flags, std::move(target)};
}

}  // namespace benchfs::server
