// Who has inodes of this shard open. Opens keep a file without a name alive, and say when its size
// is to be settled.

#include <algorithm>

#include "base/clock.h"
#include "server/decode.h"
#include "server/files/files.h"
#include "server/reply_entry.h"

namespace benchfs::server {
namespace {

constexpr std::size_t kMaxClosedEarly = 16 * 1024;

}  // namespace

Status Files::check_session(wire::SessionId session) const {
  if (session.is_valid() && server_ != nullptr && server_->registry().peek(session) == nullptr) {
    return fail(Errc::kUnknownSession, "the session ended");
  }
  return {};
}

// An open whose session has ended reaches nobody: the client says anew what it has open, and sends
// the open again if somebody still waits for it.
Status Files::may_open(const OpenKey& key) const {
  BENCHFS_TRY_VOID(check_session(key.session));
  if (is_closed_early_.contains(hash(key.id()))) {
    return fail(Errc::kCancelled, "the client has given the open up");
  }
  return {};
}

rt::MaybeTask<Result<wire::Attr>> Files::open(wire::InodeId inode,
                                              OpenKey key,
                                              std::uint32_t flags,
                                              Deadline deadline) {
  if ((flags & wire::kOpenTruncate) == 0 && is_at_rest(inode)) {
    return open_now(inode, key, flags);
  }
  return open_and_wait(inode, key, flags, deadline);
}

Result<wire::Attr> Files::open_now(wire::InodeId inode, OpenKey key, std::uint32_t flags) {
  BENCHFS_TRY_VOID(may_open(key));
  BENCHFS_TRY(wire::Attr attr, store_.attr(inode));
  if ((flags & wire::kOpenDirectory) != 0 && !attr.is_directory()) {
    return fail_errno(ENOTDIR);  // here, because it must not be truncated either
  }
  if ((flags & wire::kOpenTruncate) != 0 && attr.is_directory()) {
    return fail_errno(EISDIR);
  }
  return store_.apply(meta::OpenInode{inode, key.id(), flags});
}

rt::CoResult<wire::Attr> Files::open_and_wait(wire::InodeId inode,
                                              OpenKey key,
                                              std::uint32_t flags,
                                              Deadline deadline) {
  BENCHFS_CO_TRY_VOID(co_await wait_alive(inode, deadline));
  meta::OpenId id = key.id();
  bool is_known = store_.find_open(id).has_value();
  BENCHFS_CO_TRY_VOID(open_now(inode, key, flags));
  if ((flags & wire::kOpenTruncate) != 0 && !is_known) {
    Status done = co_await truncate(inode, 0, deadline);
    if (!done) {
      undo_open(id);
      co_return std::unexpected(std::move(done.error()));
    }
  }
  Result<wire::Attr> exact = co_await exact_attr(inode, deadline);
  if (!exact) {
    undo_open(id);
    co_return exact;
  }
  // The client may have come back meanwhile and not have named this open, because it had no answer.
  if (!store_.find_open(id)) {
    BENCHFS_CO_TRY_VOID(may_open(key));
    BENCHFS_CO_TRY_VOID(store_.apply(meta::OpenInode{inode, id, flags}));
  }
  co_return exact;
}

// The caller got an error, and so has nothing that it could close.
void Files::undo_open(meta::OpenId id) {
  if (std::optional<meta::Open> open = store_.apply(meta::Close{id})) {
    after_close(*open);
  }
}

Result<wire::Attr> Files::create_open(EntryRef entry,
                                      const meta::NewInode& inode,
                                      OpenKey key,
                                      std::uint32_t flags,
                                      rpc::Request* asker,
                                      std::uint32_t& leased) {
  BENCHFS_TRY_VOID(may_open(key));
  meta::CreateOpen change{{entry.parent, entry.name, inode, wall_now_ns(), mono_now_coarse()},
                          key.id(),
                          flags & ~wire::kOpenLease};
  BENCHFS_TRY(wire::Attr attr, store_.begin(change));
  bool is_lessee = (flags & wire::kOpenLease) != 0;
  if (is_lessee && leases_ != nullptr &&
      leases_->grant(ExactLeases::attributes(attr.id()), key.client_uid, mono_now())) {
    leased |= wire::kAttrLeased;
  }
  if (is_lessee && store_.is_timed(entry.parent, change.create.now_ns)) {
    leased |= wire::kDirectoryTimed;
  }
  if (asker != nullptr) {  // nobody is served before the rest is done
    asker->answer(wire::EntryReply{attr, wire::kEntryCreated | leased, 0});
  }
  store_.finish(change, attr);
  return attr;
}

Result<wire::Attr> Files::create_unnamed(wire::InodeId parent,
                                         const meta::NewInode& inode,
                                         OpenKey key,
                                         std::uint32_t flags) {
  BENCHFS_TRY_VOID(may_open(key));
  return store_.apply(meta::CreateUnnamed{parent, inode, key.id(), flags, wall_now_ns()});
}

rt::Task<void> Files::open_inode(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::OpenInodeRequest>(request));
  if (body.open_number == 0) {
    co_await request.reply_error(malformed());
    co_return;
  }
  wire::InodeId inode{body.inode};
  BENCHFS_SERVE_TRY(wire::Attr attr, request, store_.attr(inode));
  if (!attr.is_symlink()) {
    BENCHFS_SERVE_TRY(attr,
                      request,
                      co_await open(inode,
                                    {.client_uid = request.client_uid(),
                                     .number = body.open_number,
                                     .session = request.session_id()},
                                    body.flags,
                                    request.deadline()));
  }
  co_await reply_entry(request, store_, attr, 0);
}

void Files::on_close(std::uint64_t client_uid, std::uint64_t number) {
  meta::OpenId id{client_uid, number};
  if (std::optional<meta::Open> open = store_.apply(meta::Close{id})) {
    locks_.on_close(open->inode, client_uid, number);
    after_close(*open);
    return;
  }
  // It may still be on its way: then it must not happen.
  if (is_closed_early_.insert(hash(id)).second) {
    closed_early_.push_back(hash(id));
  }
  if (closed_early_.size() > kMaxClosedEarly) {
    is_closed_early_.erase(closed_early_.front());
    closed_early_.pop_front();
  }
}

void Files::on_opens(std::uint64_t client_uid,
                     std::uint64_t from,
                     std::uint64_t to,
                     std::span<const std::uint64_t> kept) {
  locks_.keep_only(client_uid, from, to, kept);
  for (const meta::Open& open : store_.apply(meta::KeepOnly{client_uid, from, to, kept})) {
    after_close(open);
  }
}

void Files::abandon_client(std::uint64_t client_uid) {
  for (const meta::Open& open : store_.apply(meta::CloseAll{client_uid})) {
    after_close(open);
  }
  drop_locks(client_uid);
}

void Files::after_close(const meta::Open& open) {
  if (store_.is_unused(open.inode)) {
    end_inode(open.inode);
  } else if ((open.flags & wire::kOpenWrite) != 0 && !store_.has_writers(open.inode)) {
    settle(open.inode);
  }
}

// An append that a truncation overtook has happened before it. The file has not ended, but may be
// cut: a shard that has not cut yet takes what is left under the new number all the same.
Result<wire::AppendReply> Files::left_of(const wire::AppendRequest& body) {
  wire::InodeId inode{body.inode};
  BENCHFS_TRY(wire::Attr attr, store_.attr(inode));
  FileState* state = states_.find(inode);
  if (state != nullptr && state->phase == FileState::Phase::kCut) {
    attr.truncation = state->truncation;
  }
  wire::AppendReply left{
      .offset = body.offset, .truncation = attr.truncation, .length = body.length};
  if (!attr.is_regular() || body.truncation > attr.truncation) {
    return std::unexpected(malformed());
  }
  if (body.truncation == attr.truncation) {
    return left;
  }
  std::optional<std::uint64_t> size;
  if (state != nullptr && !state->cuts.is_empty()) {
    size = state->cuts.smallest_since(body.truncation);
  }
  if (!size) {
    return fail_errno(EIO,
                      "the file was truncated during the append, and how much of it was cut is "
                      "not known any more");
  }
  left.length = *size <= body.offset ? 0 : std::min(body.length, *size - body.offset);
  return left;
}

// Bytes of plain writes may lie beyond the end that is known here; those of appends cannot.
rt::Task<void> Files::append(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::AppendRequest>(request));
  wire::InodeId inode{body.inode};
  if (body.truncation != wire::kAnyTruncation) {
    FileState* state = states_.find(inode);
    if (state == nullptr || state->phase != FileState::Phase::kCut) {
      BENCHFS_SERVE_TRY_VOID(request, co_await wait_alive(inode, request.deadline()));
    }
    BENCHFS_SERVE_TRY(wire::AppendReply left, request, left_of(body));
    co_await request.reply(left);
    co_return;
  }
  BENCHFS_SERVE_TRY(InodeLocks::Guard guard, request, co_await lock(inode, request.deadline()));
  BENCHFS_SERVE_TRY_VOID(request, co_await wait_alive(inode, request.deadline()));
  FileState* state = states_.find(inode);
  if (state != nullptr && std::ranges::any_of(state->marks, &Mark::is_plain)) {
    BENCHFS_SERVE_TRY(wire::Attr attr, request, co_await exact_attr(inode, request.deadline()));
    BENCHFS_SERVE_TRY_VOID(request, store_.apply(meta::Settle{inode, attr.size, attr.mtime_ns}));
  }
  BENCHFS_SERVE_TRY_VOID(request, co_await prepare(inode, request.deadline()));
  BENCHFS_SERVE_TRY(wire::AppendReply reply,
                    request,
                    store_.apply(meta::Append{inode, body.length, wall_now_ns()}));
  guard.release();
  co_await request.reply(reply);
}

}  // namespace benchfs::server
