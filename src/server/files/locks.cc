// Locks of files by programs.
#include "server/decode.h"
#include "server/files/files.h"

namespace benchfs::server {
namespace {

// A client that waits longer asks again: it can give up in between, and holds no slot of its window
// for long.
constexpr Nanos kMaxWait = std::chrono::milliseconds(500);

constexpr std::uint32_t kSharing = wire::kLockJoin | wire::kLockLeave;
constexpr std::uint32_t kAllFlags =
    wire::kLockWholeFile | wire::kLockTest | wire::kLockWait | wire::kLockShared | kSharing;

bool is_wellformed(const wire::LockRequest& body) {
  bool is_shared = (body.flags & wire::kLockShared) != 0;
  bool is_whole = (body.flags & kSharing) == 0 ||
                  (is_shared && (body.flags & kSharing) != kSharing && body.mode == 0 &&
                   (body.flags & (wire::kLockTest | wire::kLockWait)) == 0);
  return body.begin < body.end && (body.flags & ~kAllFlags) == 0 && is_whole &&
         body.mode <= static_cast<std::uint32_t>(wire::LockMode::kExclusive);
}

wire::LockReply to_reply(const RangeLock& lock) {
  auto mode = lock.is_exclusive ? wire::LockMode::kExclusive : wire::LockMode::kShared;
  return {.begin = lock.begin,
          .end = lock.end,
          .mode = static_cast<std::uint32_t>(mode),
          .pid = lock.pid};
}

}  // namespace

rt::Task<void> Files::lock(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::LockRequest>(request));
  if (!is_wellformed(body)) {
    co_await request.reply_error(malformed());
    co_return;
  }
  wire::InodeId inode{body.inode};
  Deadline patience = request.deadline().earlier(Deadline::after(kMaxWait));
  for (;;) {
    // A client that left while the request waited would keep what it gets.
    BENCHFS_SERVE_TRY_VOID(request, check_session(request.session_id()));
    BENCHFS_SERVE_TRY_VOID(request, store_.attr(inode));
    std::optional<meta::Open> open = store_.find_open({body.opener_uid, body.owner});
    BENCHFS_SERVE_TRY(std::optional<RangeLock> in_the_way,
                      request,
                      locks_.carry_out(body, request.client_uid(), open && open->inode == inode));
    if (!in_the_way) {
      co_await request.reply(wire::LockReply{});
      co_return;
    }
    bool waits = (body.flags & wire::kLockWait) != 0 && (body.flags & wire::kLockTest) == 0;
    if (!waits || co_await locks_.wait(inode, patience, peers_.stopping) != rt::Wake::kReady) {
      co_await request.reply(to_reply(*in_the_way));
      co_return;
    }
  }
}

}  // namespace benchfs::server
