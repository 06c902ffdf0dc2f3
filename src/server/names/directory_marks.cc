#include "server/names/directory_marks.h"

#include <algorithm>

#include "server/decode.h"

namespace benchfs::server {

rt::CoStatus DirectoryMarks::prepare(wire::InodeId directory, Deadline deadline) {
  Deadline patience = Deadline::after(kPatience);
  while (!may_change(directory)) {
    Mark* mark = find(directory);
    if (mark == nullptr) {
      if (owed_.is_full()) {
        co_return fail(Errc::kBusy, "too much is owed to servers that do not answer");
      }
      // Beyond the stamps of an earlier life, which the home may still know.
      last_stamp_ = std::max(last_stamp_ + 1, static_cast<std::uint64_t>(wall_now_ns()));
      mark = &marks_[directory];
      mark->stamp = last_stamp_;
      mark->phase = owed_.is_silent(directory.home()) ? Phase::kOwed : Phase::kTold;
      if (!peers_.scope->spawn(tell(directory, last_stamp_))) {
        co_return fail(Errc::kNotReady, "the server is stopping");
      }
      continue;
    }
    rt::Wake wake = co_await answered_.wait(deadline.earlier(patience), peers_.stopping);
    if (wake != rt::Wake::kDeadline || deadline.passed()) {
      BENCHFS_CO_TRY_VOID(rt::wake_status(wake, "telling the directory's server of the change"));
      continue;
    }
    mark = find(directory);
    if (mark != nullptr && mark->phase == Phase::kTold) {
      mark->phase = Phase::kOwed;
    }
  }
  co_return Status{};
}

rt::Task<void> DirectoryMarks::tell(wire::InodeId directory, std::uint64_t stamp) {
  wire::MarkDirectoryRequest body;
  body.directory = directory.value;
  body.stamp = stamp;
  body.shard = peers_.self.value;
  // A home that lost the directory answers that it has none: nobody will ask.
  (void)co_await owed_.call(directory.home(), body, OwedCalls::Kind::kMark);
  Mark* mark = find(directory);
  if (mark != nullptr && mark->stamp == stamp) {
    mark->phase = Phase::kKnown;
  }
  answered_.wake_all();
}

void DirectoryMarks::note(wire::InodeId directory, std::int64_t now_ns) {
  if (Mark* mark = find(directory)) {
    ++mark->changes;
    mark->changed_ns = std::max(mark->changed_ns, now_ns);
    mark->is_idle = false;
  }
}

rt::Task<void> DirectoryMarks::query(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::QueryDirectoryRequest>(request));
  wire::InodeId directory{body.directory};
  wire::QueryDirectoryReply reply;
  reply.directories = store_.directories_in(directory);
  Mark* mark = find(directory);
  if (mark == nullptr) {
    reply.flags = wire::kDirectoryUnmarked;  // by an earlier life, or by the question before
    co_await request.reply(reply);
    co_return;
  }
  reply.stamp = mark->stamp;
  reply.changes = mark->changes;
  reply.changed_ns = mark->changed_ns;
  if (mark->phase == Phase::kKnown && mark->stamp == body.stamp && mark->changes == body.changes) {
    if (mark->is_idle) {
      reply.flags = wire::kDirectoryUnmarked;
      marks_.erase(directory);
    } else {
      mark->is_idle = true;
    }
  }
  co_await request.reply(reply);
}

}  // namespace benchfs::server
