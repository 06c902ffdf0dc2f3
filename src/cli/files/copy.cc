#include "cli/files/copy.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <utility>

#include "cli/files/remote_path.h"
#include "cli/files/session.h"
#include "client/io/data_io.h"

namespace benchfs::cli {

// One file under way, shared by the workers that copy parts of it.
struct Copier::Transfer {
  explicit Transfer(Pair which) : pair(std::move(which)) {}

  Pair pair;
  std::unique_ptr<File> in;
  std::unique_ptr<File> out;
  std::uint64_t size = 0;  // to be copied in parts; what follows is copied at the end
  bool size_is_known = true;
  std::atomic<std::uint64_t> next{0};  // offset of the next part to take
  std::atomic<unsigned> helpers{0};    // workers at it, or on their way
  std::atomic<std::uint64_t> end{0};   // of what was read
  std::atomic<bool> has_hole{false};

  std::mutex mutex;
  std::optional<Error> error;  // the first one; its subject
  std::string subject;

  bool has_failed() {
    std::lock_guard lock(mutex);
    return error.has_value();
  }
  void note_end(std::uint64_t at) {
    std::uint64_t seen = end;
    while (seen < at && !end.compare_exchange_weak(seen, at)) {
    }
  }
  void set_error(std::string where, Error first) {
    std::lock_guard lock(mutex);
    if (!error) {
      error = std::move(first);
      subject = std::move(where);
    }
  }
};

Copier::Copier(CopyOptions options, Progress& progress, ErrorHandler on_error)
    : options_(options), progress_(progress), on_error_(std::move(on_error)) {
  for (unsigned i = 0; i < std::max(1U, options_.jobs); ++i) {
    workers_.emplace_back([this] { work(); });
  }
}

Copier::~Copier() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  has_job_.notify_all();
  for (std::thread& worker : workers_) {
    worker.join();
  }
}

void Copier::fail(const std::string& subject, const std::string& reason) {
  std::lock_guard lock(error_mutex_);
  on_error_(subject, reason);
}

void Copier::fail(const std::string& subject, const Error& error) {
  if (!note_full(subject, error)) {
    fail(subject, reason_of(error));
  }
}

bool Copier::note_full(const std::string& subject, const Error& error) {
  if (!error.is_posix(ENOSPC) && !error.is_posix(EDQUOT)) {
    return false;
  }
  std::lock_guard lock(error_mutex_);
  if (!is_full_.exchange(true)) {
    full_target_ = subject;
    full_error_ = error;
  }
  return true;
}

// Half a file, or an empty one, is worse than none.
void Copier::abandon(Transfer& transfer) {
  (void)transfer.out->close();
  if (transfer.pair.target.unlink(transfer.pair.to)) {
    removed_files_ += 1;
  }
}

void Copier::report_full() {
  std::string reason = fmt::format("{}; stopped after {} {}",
                                   reason_of(full_error_),
                                   progress_.done_files(),
                                   progress_.done_files() == 1 ? "file" : "files");
  if (removed_files_ > 0) {
    reason += fmt::format("; {} that could not be completed {} removed",
                          removed_files_.load(),
                          removed_files_ == 1 ? "was" : "were");
  }
  fail(full_target_, reason);
}

bool Copier::should_stop() const {
  return InterruptGuard::is_interrupted() || is_full_;
}

void Copier::note_links(const Pair& pair) {
  if (pair.info.links > 1 && !linked_files_.emplace(pair.info.device, pair.info.inode).second) {
    ++split_links_;
  }
}

// --- Workers -------------------------------------------------------------------------------------

void Copier::work() {
  std::vector<std::byte> buffer(kPartBytes);
  std::unique_lock lock(mutex_);
  while (true) {
    has_job_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) {
      return;
    }
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    ++running_;
    has_room_.notify_one();
    lock.unlock();
    job(buffer);
    job = nullptr;
    lock.lock();
    if (--running_ == 0 && jobs_.empty()) {
      is_idle_.notify_all();
    }
  }
}

// Parts of files that are open go before files that are not, and are bounded by the workers.
void Copier::push(Job job, bool is_part) {
  {
    std::unique_lock lock(mutex_);
    if (is_part) {
      jobs_.push_front(std::move(job));
    } else {
      has_room_.wait(lock, [this] { return jobs_.size() < kMaxWaiting; });
      jobs_.push_back(std::move(job));
    }
  }
  has_job_.notify_one();
}

void Copier::finish() {
  push_small();
  progress_.set_complete();
  {
    std::unique_lock lock(mutex_);
    is_idle_.wait(lock, [this] { return jobs_.empty() && running_ == 0; });
  }
  if (is_full_) {
    report_full();
  }
  if (!options_.preserve) {
    return;
  }
  // Children first: copying into a directory changes its times.
  for (auto pair = directories_.rbegin(); pair != directories_.rend(); ++pair) {
    Status set = pair->target.set_attributes(pair->to, pair->info, keep());
    if (!set) {
      fail(pair->target.argument(pair->to), set.error());
    }
  }
}

// --- The walk ------------------------------------------------------------------------------------

void Copier::copy(FileTree& source,
                  const std::string& from,
                  FileTree& target,
                  const std::string& to) {
  // A symlink among the arguments is followed, unless a tree is copied.
  Result<FileInfo> info = options_.recursive ? source.lstat(from) : source.stat(from);
  if (!info) {
    fail(source.argument(from), info.error());
    return;
  }
  at_root_ = true;
  copy_any(Pair{source, target, from, to, *info});
}

void Copier::copy_any(const Pair& pair) {
  if (should_stop()) {
    return;
  }
  std::string subject = pair.source.argument(pair.from);
  if (S_ISDIR(pair.info.mode)) {
    if (options_.recursive) {
      copy_directory(pair);
    } else {
      fail(subject, "is a directory, left out (-r copies directories)");
    }
  } else if (S_ISLNK(pair.info.mode)) {
    copy_symlink(pair);
  } else if (S_ISREG(pair.info.mode) || !options_.recursive) {
    progress_.add_file(pair.info.size);
    note_links(pair);
    if (is_small(pair)) {
      add_small(pair);
    } else {
      push([this, pair](std::span<std::byte> buffer) { copy_file(pair, buffer); }, false);
    }
  } else {
    fail(subject, "not a regular file, directory or symbolic link; left out");
  }
}

void Copier::copy_directory(const Pair& pair) {
  bool same_tree = pair.source.is_remote() == pair.target.is_remote();
  if (same_tree && std::ranges::any_of(target_roots_, [&](const FileInfo& root) {
        return root.is_same_file(pair.info);
      })) {
    fail(pair.source.argument(pair.from), "cannot be copied into itself; left out");
    return;
  }
  // The directory is writable while it is filled and gets its mode at the end.
  Status made = pair.target.mkdir(pair.to, pair.info.mode | S_IRWXU);
  Result<FileInfo> target = pair.target.stat(pair.to);
  if (!made && !(made.error().is_posix(EEXIST) && target && S_ISDIR(target->mode))) {
    fail(pair.target.argument(pair.to), made.error());
    return;
  }
  if (std::exchange(at_root_, false) && target) {
    target_roots_.push_back(*target);
  }
  if (made || options_.preserve) {
    directories_.push_back(pair);
  }
  Result<std::vector<std::string>> names = pair.source.list(pair.from);
  if (!names) {
    fail(pair.source.argument(pair.from), names.error());
    return;
  }
  for (const std::string& name : *names) {
    std::string from = join_path(pair.from, name);
    Result<FileInfo> info = pair.source.lstat(from);
    if (!info) {
      fail(pair.source.argument(from), info.error());
      continue;
    }
    copy_any(Pair{pair.source, pair.target, std::move(from), join_path(pair.to, name), *info});
  }
}

void Copier::copy_symlink(const Pair& pair) {
  progress_.add_file(0);
  Result<std::string> text = pair.source.readlink(pair.from);
  if (!text) {
    fail(pair.source.argument(pair.from), text.error());
    return;
  }
  Status made = pair.target.symlink(*text, pair.to);
  if (!made && made.error().is_posix(EEXIST) && pair.target.unlink(pair.to)) {
    made = pair.target.symlink(*text, pair.to);
  }
  if (made && options_.preserve) {
    made = pair.target.set_attributes(pair.to, pair.info, keep());
  }
  if (!made) {
    fail(pair.target.argument(pair.to), made.error());
    return;
  }
  progress_.on_file();
}

// --- Files ---------------------------------------------------------------------------------------

Result<std::unique_ptr<File>> Copier::create_target(const Pair& pair) {
  if (pair.source.is_remote() == pair.target.is_remote()) {
    Result<FileInfo> present = pair.target.stat(pair.to);
    if (present && present->is_same_file(pair.info)) {
      return benchfs::fail(Errc::kInvalidArgument,
                           fmt::format("the same file as {}", pair.source.argument(pair.from)));
    }
  }
  Result<std::unique_ptr<File>> out = pair.target.create(pair.to, pair.info.mode);
  bool is_in_the_way = !out && out.error().code == Errc::kPosix && !out.error().is_posix(ENOENT) &&
                       !out.error().is_posix(EISDIR);
  if (is_in_the_way && options_.force && pair.target.unlink(pair.to)) {
    out = pair.target.create(pair.to, pair.info.mode);
  }
  return out;
}

void Copier::copy_file(Pair pair, std::span<std::byte> buffer) {
  if (should_stop()) {
    return;
  }
  auto transfer = std::make_shared<Transfer>(std::move(pair));
  const Pair& which = transfer->pair;
  Result<std::unique_ptr<File>> in = which.source.open(which.from);
  if (!in) {
    fail(which.source.argument(which.from), in.error());
    return;
  }
  Result<std::unique_ptr<File>> out = create_target(which);
  if (!out) {
    fail(which.target.argument(which.to), out.error());
    return;
  }
  transfer->in = std::move(*in);
  transfer->out = std::move(*out);
  bool is_regular = S_ISREG(which.info.mode);
  transfer->size = is_regular ? which.info.size : 0;
  // A local file may have grown, and files in /proc report size 0 whatever they hold.
  transfer->size_is_known = which.source.is_remote();

  std::uint64_t parts = transfer->size / kPartBytes + 1;
  auto helpers = static_cast<unsigned>(std::min<std::uint64_t>(parts, options_.jobs));
  transfer->helpers = helpers;
  for (unsigned i = 1; i < helpers; ++i) {
    push([this, transfer](std::span<std::byte> room) { help(transfer, room); }, true);
  }
  help(transfer, buffer);
}

// --- Small files ---------------------------------------------------------------------------------

bool Copier::is_small(const Pair& pair) {
  bool keeps_holes = pair.info.may_have_holes && !pair.source.is_remote();
  return S_ISREG(pair.info.mode) && pair.info.size <= kSmallBytes && !keeps_holes &&
         pair.source.is_remote() != pair.target.is_remote();
}

void Copier::add_small(const Pair& pair) {
  // Of two sources of one target the later one shall win where there is one worker.
  bool is_apart = std::ranges::any_of(small_files_, [&](const Pair& waiting) {
    return &waiting.source != &pair.source || &waiting.target != &pair.target ||
           waiting.to == pair.to;
  });
  if (is_apart) {
    push_small();
  }
  small_files_.push_back(pair);
  if (small_files_.size() == kSmallFiles) {
    push_small();
  }
}

void Copier::push_small() {
  if (!small_files_.empty()) {
    push([this, pairs = std::exchange(small_files_, {})](
             std::span<std::byte> buffer) { copy_small(pairs, buffer); },
         false);
  }
}

void Copier::copy_small(const std::vector<Pair>& pairs, std::span<std::byte> buffer) {
  if (should_stop()) {
    return;
  }
  FileTree& source = pairs.front().source;
  FileTree& target = pairs.front().target;
  std::vector<WholeFile> files;
  for (const Pair& pair : pairs) {  // one byte more shows that a file has grown
    files.push_back({.path = pair.from,
                     .info = pair.info,
                     .data = std::vector<std::byte>(pair.info.size + 1),
                     .status = {}});
  }
  source.read_files(files);
  std::vector<WholeFile> to_write;
  std::vector<const Pair*> written;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (!files[i].status) {
      fail(source.argument(pairs[i].from), files[i].status.error());
    } else if (files[i].data.size() > pairs[i].info.size) {
      copy_file(pairs[i], buffer);
    } else {
      files[i].path = pairs[i].to;
      to_write.push_back(std::move(files[i]));
      written.push_back(&pairs[i]);
    }
  }
  target.write_files(to_write, options_.preserve ? std::optional(keep()) : std::nullopt);
  for (std::size_t i = 0; i < to_write.size(); ++i) {
    if (to_write[i].status) {
      progress_.on_bytes(to_write[i].data.size());
      progress_.on_file();
    } else if (!to_write[i].is_created) {
      copy_file(*written[i], buffer);  // which can make room for it, or says what is wrong
    } else if (!note_full(target.argument(written[i]->to), to_write[i].status.error())) {
      fail(target.argument(written[i]->to), to_write[i].status.error());
    } else if (target.unlink(written[i]->to)) {
      removed_files_ += 1;
    }
  }
}

// --- Large files ---------------------------------------------------------------------------------

void Copier::help(const std::shared_ptr<Transfer>& transfer, std::span<std::byte> buffer) {
  while (!transfer->has_failed() && !should_stop()) {
    std::uint64_t offset = transfer->next.fetch_add(kPartBytes);
    if (offset >= transfer->size) {
      break;
    }
    Status copied = copy_part(*transfer, offset, buffer);
    if (!copied) {
      break;
    }
  }
  if (transfer->helpers.fetch_sub(1) > 1) {
    return;
  }
  if (InterruptGuard::is_interrupted()) {
    return;
  }
  if (is_full_ && transfer->next < transfer->size) {  // another file filled the target
    abandon(*transfer);
    return;
  }
  Status done = complete(*transfer, buffer);
  if (!done) {
    bool is_full = note_full(transfer->subject, done.error());
    if (is_full) {
      abandon(*transfer);
    } else {
      fail(transfer->subject, done.error());
    }
    return;
  }
  progress_.on_file();
}

Status Copier::copy_part(Transfer& transfer, std::uint64_t offset, std::span<std::byte> buffer) {
  const Pair& pair = transfer.pair;
  std::uint64_t length = std::min<std::uint64_t>(buffer.size(), transfer.size - offset);
  if (pair.source.is_remote() && pair.target.is_remote() &&
      length >= client::DataIo::kLeastAtServers) {
    return copy_part_at_servers(transfer, offset, length);
  }
  Result<std::size_t> count = transfer.in->read(offset, buffer.first(length));
  if (!count) {
    transfer.set_error(pair.source.argument(pair.from), count.error());
    return std::unexpected(std::move(count.error()));
  }
  Status written = write_data(transfer, offset, buffer.first(*count));
  if (!written) {
    transfer.set_error(pair.target.argument(pair.to), written.error());
    return written;
  }
  transfer.note_end(offset + *count);
  progress_.on_bytes(*count);
  return {};
}

// Without its bytes passing through here.
Status Copier::copy_part_at_servers(Transfer& transfer,
                                    std::uint64_t offset,
                                    std::uint64_t length) {
  bool source_failed = false;
  Result<File::Copied> copied =
      transfer.out->copy_from(*transfer.in, offset, length, source_failed);
  if (!copied) {
    const Pair& pair = transfer.pair;
    transfer.set_error(
        source_failed ? pair.source.argument(pair.from) : pair.target.argument(pair.to),
        copied.error());
    return std::unexpected(std::move(copied.error()));
  }
  if (copied->has_hole) {
    transfer.has_hole = true;
  }
  if (copied->end > offset) {
    transfer.note_end(copied->end);
  }
  progress_.on_bytes(copied->end - offset);
  return {};
}

// Blocks of zeros of a file that may have holes become holes.
Status Copier::write_data(Transfer& transfer,
                          std::uint64_t offset,
                          std::span<const std::byte> data) {
  if (!transfer.pair.info.may_have_holes) {
    return transfer.out->write(offset, data);
  }
  auto is_zero = [](std::span<const std::byte> block) {
    return block.front() == std::byte{0} &&
           std::memcmp(block.data(), block.data() + 1, block.size() - 1) == 0;
  };
  std::size_t begin = 0;  // of the data not yet written
  std::size_t at = 0;
  while (at < data.size()) {
    std::size_t length = std::min(kZeroBlockBytes, data.size() - at);
    if (is_zero(data.subspan(at, length))) {
      transfer.has_hole = true;
      if (begin < at) {
        BENCHFS_TRY_VOID(transfer.out->write(offset + begin, data.subspan(begin, at - begin)));
      }
      begin = at + length;
    }
    at += length;
  }
  if (begin < data.size()) {
    return transfer.out->write(offset + begin, data.subspan(begin));
  }
  return {};
}

// Copies the data beyond the size that the file was reported to have.
Status Copier::copy_tail(Transfer& transfer, std::span<std::byte> buffer) {
  const Pair& pair = transfer.pair;
  std::uint64_t offset = transfer.end;
  // A part came short: the file shrank, and there is no tail.
  while (offset >= transfer.size && !InterruptGuard::is_interrupted()) {
    Result<std::size_t> count = transfer.in->read(offset, buffer);
    if (!count) {
      transfer.set_error(pair.source.argument(pair.from), count.error());
      return std::unexpected(std::move(count.error()));
    }
    if (*count == 0) {
      break;
    }
    Status written = transfer.out->write(offset, buffer.first(*count));
    if (!written) {
      transfer.set_error(pair.target.argument(pair.to), written.error());
      return written;
    }
    offset += *count;
    transfer.end = offset;
    progress_.on_bytes(*count);
  }
  return {};
}

// Called by the last worker at a file. On failure transfer.subject names the file concerned.
Status Copier::complete(Transfer& transfer, std::span<std::byte> buffer) {
  if (transfer.error) {
    return std::unexpected(*transfer.error);
  }
  if (!transfer.size_is_known) {
    BENCHFS_TRY_VOID(copy_tail(transfer, buffer));
  }
  transfer.subject = transfer.pair.target.argument(transfer.pair.to);
  if (transfer.has_hole) {  // a hole at the end leaves the file too short
    BENCHFS_TRY_VOID(transfer.out->truncate(transfer.end));
  }
  if (options_.preserve) {
    BENCHFS_TRY_VOID(transfer.out->set_attributes(transfer.pair.info, keep()));
  }
  return transfer.out->close();
}

}  // namespace benchfs::cli
