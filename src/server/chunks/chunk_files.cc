#include "server/chunks/chunk_files.h"

#include <algorithm>
#include <cerrno>

#include "base/backoff.h"
#include "base/log.h"

namespace benchfs::server {
namespace {

constexpr Nanos kOneMark = std::chrono::seconds(5);
constexpr Nanos kFirstMarkPause = std::chrono::milliseconds(5);
constexpr Nanos kLongestMarkPause = std::chrono::milliseconds(500);

}  // namespace

// Stamps grow beyond restarts because they begin at the wall clock.
ChunkFiles::ChunkFiles(chunk::ChunkStore& store,
                       OlderFiles& older,
                       const Peers& peers,
                       MarkHome& home,
                       MarkTimes times)
    : store_(store),
      older_(older),
      peers_(peers),
      home_(home),
      times_(times),
      stamp_(static_cast<std::uint64_t>(wall_now_ns())),
      lives_(peers.shard_count) {}

// --- Writes --------------------------------------------------------------------------------------

ChunkFiles::Write::Write(ChunkFiles* owner,
                         wire::InodeId inode,
                         File* file,
                         std::uint64_t truncation)
    : owner_(owner), inode_(inode), file_(file), truncation_(truncation), cuts_(file->cuts) {
  ++file->writes;
}

ChunkFiles::Loan::Loan(Write write) : write_(std::move(write)) {
  write_->file_->loans.push_back(*this);
}

bool ChunkFiles::is_trusted(wire::InodeId inode, const File& file, bool is_append) const {
  if (!file.is_marked || (!is_append && !file.is_plain)) {
    return false;
  }
  return is_home_here(inode) || boot_now() - file.confirmed_at < times_.trust;
}

ChunkFiles::Write ChunkFiles::begin_write(wire::InodeId inode, std::uint64_t truncation) {
  File& file = files_[inode];
  Write write(this, inode, &file, truncation);
  bool is_late =
      file.is_marked && !is_home_here(inode) && boot_now() - file.confirmed_at >= times_.renew;
  if (is_late || !is_trusted(inode, file, write.is_append())) {
    ask_home(inode, file, write.is_append());
  }
  return write;
}

Status ChunkFiles::check(const Write& write) const {
  const File& file = *write.file_;
  if (file.is_gone) {
    return fail_errno(ESTALE);
  }
  if (write.is_append() && write.truncation_ < file.applied) {
    return fail_errno(EAGAIN);
  }
  if (write.cuts_ != file.cuts) {
    return fail(Errc::kBusy, "a truncation overtook the write");
  }
  return {};
}

rt::CoStatus ChunkFiles::may_commit(const Write& write, Deadline deadline) {
  File& file = *write.file_;
  for (;;) {
    BENCHFS_CO_TRY_VOID(check(write));
    if (is_trusted(write.inode_, file, write.is_append())) [[likely]] {
      co_return Status{};
    }
    ask_home(write.inode_, file, write.is_append());
    if (is_trusted(write.inode_, file, write.is_append())) {
      continue;
    }
    rt::Wake wake = co_await file.answered.wait(deadline, peers_.stopping);
    if (Status woken = rt::wake_status(wake, ""); !woken) {
      co_return fail(woken.error().code,
                     "waiting until " + peers_.name_of(write.inode_.home()) +
                         ", the home of the file, knows of the write");
    }
  }
}

std::uint32_t ChunkFiles::trusted_ms(const Write& write) const {
  if (is_home_here(write.inode_)) {
    return wire::kLoanForEver;
  }
  Nanos left = write.file_->confirmed_at + times_.trust - boot_now();
  auto whole = std::chrono::floor<std::chrono::milliseconds>(left).count();
  return static_cast<std::uint32_t>(std::max<std::int64_t>(whole, 0));
}

void ChunkFiles::end_write(wire::InodeId inode, File& file) {
  if (--file.writes == 0 && !file.is_marked) {
    erase_if_unneeded(inode);
  }
}

void ChunkFiles::erase_if_unneeded(wire::InodeId inode) {
  auto found = files_.find(inode);
  if (found == files_.end()) {
    return;
  }
  const File& file = found->second;
  bool is_used = file.writes > 0 || file.is_marked || file.asked_stamp != 0;
  // Late copies of cuts come from other shards only.
  bool has_chunks =
      !is_home_here(inode) && store_.query(inode, wire::kMinChunkBytes).chunk_count > 0;
  if (!is_used && !has_chunks) {
    files_.erase(found);
  }
}

// --- Marks ---------------------------------------------------------------------------------------

// One mark of a file is under way at a time.
void ChunkFiles::ask_home(wire::InodeId inode, File& file, bool is_append) {
  if (file.asked_stamp != 0 || file.is_gone) {
    return;
  }
  file.asks_plain = file.is_plain || !is_append;
  std::uint64_t stamp = ++stamp_;
  if (is_home_here(inode)) {
    Result<wire::MarkReply> reply = home_.take_mark(inode, peers_.self, stamp, !file.asks_plain);
    // A home here applies its cuts here before anything else.
    if (reply) [[likely]] {
      file.applied = std::max(file.applied, reply->truncation);
      file.is_marked = true;
      file.is_plain = file.asks_plain;
      return;
    }
    if (reply.error().is_posix(ESTALE)) {
      unmark(file);
      file.is_gone = true;
      return;
    }
  }
  file.asked_stamp = stamp;
  if (!peers_.scope->spawn(keep_asking(inode, stamp))) {
    file.asked_stamp = 0;
  }
}

ChunkFiles::File* ChunkFiles::asking(wire::InodeId inode, std::uint64_t stamp) {
  auto found = files_.find(inode);
  return found == files_.end() || found->second.asked_stamp != stamp ? nullptr : &found->second;
}

rt::CoResult<wire::MarkReply> ChunkFiles::send_mark(wire::InodeId inode,
                                                    std::uint64_t stamp,
                                                    bool plain) {
  if (is_home_here(inode)) {
    co_await home_.prepare_mark(inode);
    co_return home_.take_mark(inode, peers_.self, stamp, !plain);
  }
  wire::MarkRequest body;
  body.inode = inode.value;
  body.stamp = stamp;
  body.shard = peers_.self.value;
  body.flags = plain ? 0U : wire::kMarkAppend;
  co_return co_await peers_.call(inode.home(), body, Deadline::after(kOneMark));
}

// Until the home has answered, or nobody waits for it. The entry may be erased, and made again,
// during every wait.
rt::Task<void> ChunkFiles::keep_asking(wire::InodeId inode, std::uint64_t stamp) {
  Backoff backoff(kFirstMarkPause, kLongestMarkPause);
  for (;;) {
    File* file = asking(inode, stamp);
    if (file == nullptr) {
      co_return;
    }
    std::uint32_t cuts = file->cuts;
    bool plain = file->asks_plain;
    BootTime sent_at = boot_now();
    Result<wire::MarkReply> reply = co_await send_mark(inode, stamp, plain);
    file = asking(inode, stamp);
    if (file == nullptr) {
      co_return;
    }
    if (!reply && reply.error().is_posix(ESTALE)) {
      unmark(*file);
      file->is_gone = true;
      file->answered.wake_all();
      erase_if_unneeded(inode);
      co_return;
    }
    bool is_old = reply && reply->life < lives_[inode.home().value];
    if (!reply || is_old) {
      if (file->writes == 0 || peers_.stopping->is_cancelled()) {
        file->asked_stamp = 0;
        file->answered.wake_all();
        erase_if_unneeded(inode);
        co_return;
      }
      (void)co_await rt::sleep_for(backoff.next(), peers_.stopping);
    } else if (file->cuts == cuts) {
      if (on_life(inode.home(), reply->life, inode)) {
        older_.on_new_life(inode.home(), std::nullopt);
      }
      bool must_cut =
          reply->cut_size != wire::MarkReply::kNoCut && reply->truncation > file->applied;
      file->applied = std::max(file->applied, reply->truncation);
      if (must_cut) {
        note_cut(*file);
        Status cut = co_await store_.truncate(
            inode, reply->cut_size, std::max(reply->chunk_bytes, wire::kMinChunkBytes));
        drop_loans(inode);
        file = asking(inode, stamp);
        if (file == nullptr) {
          co_return;
        }
        if (!cut) {
          BENCHFS_LOG(kWarn, "inode {:x} could not be cut: {}", inode.value, cut.error().message());
        }
      }
      file->asked_stamp = 0;
      file->is_marked = true;
      file->is_plain = plain;
      file->confirmed_at = sent_at;
      file->answered.wake_all();
      co_return;
    }
    // Every attempt has a number of its own; the answer to an earlier one is about the time before.
    file = asking(inode, stamp);
    if (file == nullptr) {
      co_return;
    }
    stamp = ++stamp_;
    file->asked_stamp = stamp;
  }
}

// A mark under way is forgotten with the one that was confirmed: its answer is ignored.
void ChunkFiles::unmark(File& file) {
  file.is_marked = false;
  file.is_plain = false;
  file.asked_stamp = 0;
}

void ChunkFiles::on_new_life(wire::ShardId home, std::uint64_t life, std::uint64_t first_counter) {
  if (home.value >= lives_.size() || life < lives_[home.value]) {
    return;
  }
  (void)on_life(home, life, {});
  older_.on_new_life(home, first_counter);
}

bool ChunkFiles::on_life(wire::ShardId home, std::uint64_t life, wire::InodeId asked_about) {
  if (home.value >= lives_.size() || life <= lives_[home.value]) {
    return false;
  }
  bool is_first = std::exchange(lives_[home.value], life) == 0;
  if (is_first) {
    return false;
  }
  std::vector<wire::InodeId> dropped;
  for (auto& [inode, file] : files_) {
    if (inode.home() == home && inode != asked_about) {
      unmark(file);
      note_cut(file);
      take_back_loans(file);
      dropped.push_back(inode);
    }
  }
  for (wire::InodeId inode : dropped) {
    (void)peers_.scope->spawn(drop_chunks(inode));
  }
  if (!dropped.empty()) {
    BENCHFS_LOG(kWarn,
                "shard {} started again without its inodes: {} files of it are dropped here",
                home.value,
                dropped.size());
  }
  return true;
}

// --- Cuts and queries ----------------------------------------------------------------------------

void ChunkFiles::note_cut(File& file) {
  ++file.cuts;
  file.answered.wake_all();
}

void ChunkFiles::take_back_loans(File& file) {
  for (Loan& loan : file.loans) {
    store_.take_back(loan);
  }
}

void ChunkFiles::drop_loans(wire::InodeId inode) {
  auto found = files_.find(inode);
  if (found == files_.end()) {
    return;
  }
  std::vector<Loan*> over;
  for (Loan& loan : found->second.loans) {
    if (loan.is_over()) {
      over.push_back(&loan);
    }
  }
  for (Loan* loan : over) {
    loan->give_up();
  }
}

void ChunkFiles::forget(wire::InodeId inode) {
  auto found = files_.find(inode);
  if (found != files_.end()) {
    unmark(found->second);
    found->second.is_gone = true;
    note_cut(found->second);
    take_back_loans(found->second);
    erase_if_unneeded(inode);
  }
}

rt::Task<void> ChunkFiles::drop_chunks(wire::InodeId inode) {
  ++cuts_;
  Status dropped = co_await store_.truncate(inode, 0, wire::kMinChunkBytes);
  drop_loans(inode);
  if (!dropped) {
    BENCHFS_LOG(
        kWarn, "inode {:x} could not be dropped: {}", inode.value, dropped.error().message());
  }
  erase_if_unneeded(inode);
}

// A cut that was applied before must not cut what was written since.
rt::CoStatus ChunkFiles::cut(wire::TruncateChunksRequest body) {
  wire::InodeId inode{body.inode};
  bool is_gone = (body.flags & wire::kTruncateGone) != 0;
  std::uint64_t size = is_gone ? 0 : body.size;
  if (is_gone) {
    forget(inode);
  } else if (body.truncation > 0) {
    File& file = files_[inode];
    if (body.truncation <= file.applied) {
      co_return Status{};
    }
    file.applied = body.truncation;
    note_cut(file);
  }
  ++cuts_;
  Status done = co_await store_.truncate(inode, size, body.chunk_bytes);
  drop_loans(inode);
  if (done && is_gone) {
    older_.forget(inode);
  } else if (done && size == 0) {
    older_.excuse(inode);
  }
  auto found = files_.find(inode);
  if (!done && found != files_.end() && body.truncation > 0 &&
      found->second.applied == body.truncation) {
    found->second.applied = body.truncation - 1;  // it comes again
  }
  erase_if_unneeded(inode);
  co_return done;
}

rt::CoResult<wire::QueryChunksReply> ChunkFiles::query(wire::QueryChunksRequest body) {
  wire::InodeId inode{body.inode};
  if (older_.is_unknown(inode)) [[unlikely]] {
    BENCHFS_CO_TRY_VOID(co_await older_.ask_again(inode.home()));
  }
  if ((body.flags & wire::kQuerySync) != 0) {
    BENCHFS_CO_TRY_VOID(co_await store_.sync(inode));
  }
  co_return query_now(body);
}

// Unmarked and idle, a file answers the last stamp sent as well: an answer that said so before may
// have been lost. The next write asks for a new mark in any case.
Result<wire::QueryChunksReply> ChunkFiles::query_now(const wire::QueryChunksRequest& body) {
  wire::InodeId inode{body.inode};
  BENCHFS_TRY_VOID(older_.check(inode));
  bool is_clear = (body.flags & wire::kQueryClear) != 0;
  auto found = files_.find(inode);
  std::int64_t lent_mtime_ns = 0;
  if (found != files_.end() && !found->second.loans.empty()) [[unlikely]] {
    for (Loan& loan : found->second.loans) {
      lent_mtime_ns = std::max(lent_mtime_ns, loan.is_over() ? 0 : loan.written_at());
    }
    // Programs that write again ask again: they do not keep a file from coming to rest.
    if (is_clear) {
      take_back_loans(found->second);
      drop_loans(inode);
      found = files_.find(inode);
    }
  }
  chunk::Extent extent = store_.query(inode, body.chunk_bytes);
  std::int64_t mtime_ns = std::max(extent.mtime_ns, lent_mtime_ns);
  wire::QueryChunksReply reply{extent.end, mtime_ns, extent.chunk_count, 0};
  if (!is_clear) {
    return reply;
  }
  if (found == files_.end()) {
    reply.stamp = stamp_;
  } else if (found->second.writes == 0) {
    reply.stamp = stamp_;
    unmark(found->second);
    erase_if_unneeded(inode);
  }
  return reply;
}

}  // namespace benchfs::server
