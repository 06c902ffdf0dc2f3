#include "rt/uring.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "base/log.h"
#include "rt/io_threads.h"

namespace benchfs::rt {
namespace {

// A sandbox may allow a ring to be set up and forbid its use: one operation shows it. 0 or -errno.
int try_ring(io_uring& ring) {
  io_uring_prep_nop(io_uring_get_sqe(&ring));
  int code = io_uring_submit_and_wait(&ring, 1);
  io_uring_cqe* cqe = nullptr;
  if (code >= 0) {
    code = io_uring_peek_cqe(&ring, &cqe);
  }
  if (cqe != nullptr) {
    io_uring_cqe_seen(&ring, cqe);
  }
  return code;
}

}  // namespace

Uring::Uring(Reactor& reactor) : reactor_(reactor) {}

Result<std::unique_ptr<Uring>> Uring::create(Reactor& reactor, Config config) {
  std::unique_ptr<Uring> ring(new Uring(reactor));  // lint: allow new private constructor
  if (config.backend != Backend::kThreads) {
    Status opened = ring->open_ring(config.entries);
    if (!opened && config.backend == Backend::kUring) {
      return std::unexpected(std::move(opened).error());
    }
    if (!opened) {
      BENCHFS_LOG(kWarn,
                  "disk I/O uses {} helper threads, which is slower: {}",
                  config.threads,
                  opened.error().message());
    }
  }
  if (!ring->is_open_) {
    BENCHFS_TRY(ring->threads_, IoThreads::create(config.threads));
    ring->entries_ = config.entries;
  }
  reactor.add_poller(*ring);
  return ring;
}

Status Uring::open_ring(unsigned entries) {
  io_uring_params params{};
  // Not DEFER_TASKRUN: with it, a completion from a kernel worker thread (buffered writes,
  // fallocate, fsync) does not make the ring's descriptor readable for epoll, and a sleeping
  // reactor misses it (measured on Linux 6.18: 9 of 30 sleeps; with COOP_TASKRUN none of 2131).
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  int code = io_uring_queue_init_params(entries, &ring_, &params);
  if (code == -EINVAL) {  // kernels before 6.1
    params = {};
    code = io_uring_queue_init_params(entries, &ring_, &params);
  }
  if (code == 0) {
    code = try_ring(ring_);
    if (code < 0) {
      io_uring_queue_exit(&ring_);
    }
  }
  if (code < 0) {
    return fail_system(
        -code,
        fmt::format("cannot use io_uring with {} entries (see "
                    "/proc/sys/kernel/io_uring_disabled and the container's seccomp rules)",
                    entries));
  }
  is_open_ = true;
  entries_ = params.sq_entries;
  return {};
}

Uring::~Uring() {
  BENCHFS_CHECK(in_flight_ == 0);
  if (is_open_ || threads_ != nullptr) {
    reactor_.remove_poller(*this);
  }
  if (is_open_) {
    io_uring_queue_exit(&ring_);
  }
}

int Uring::fd() const {
  return threads_ != nullptr ? threads_->fd() : ring_.ring_fd;
}

void Uring::Operation::execute() {
  auto offset = static_cast<off_t>(offset_);
  ssize_t result = 0;
  switch (kind_) {
    case Kind::kRead:
      result = pread(file_.fd, address_, length_, offset);
      break;
    case Kind::kWrite:
      result = pwrite(file_.fd, address_, length_, offset);
      break;
    case Kind::kFsync:
      result = mode_ != 0 ? fdatasync(file_.fd) : ::fsync(file_.fd);
      break;
    case Kind::kFallocate:
      result = ::fallocate(file_.fd, mode_, offset, static_cast<off_t>(range_));
      break;
    case Kind::kNop:
      break;
  }
  result_ = result < 0 ? -errno : static_cast<int>(result);
}

void Uring::Operation::fill(io_uring_sqe* sqe) const {
  switch (kind_) {
    case Kind::kRead:
      if (buffer_ != kNoBuffer) {
        io_uring_prep_read_fixed(sqe, file_.fd, address_, length_, offset_, buffer_);
      } else {
        io_uring_prep_read(sqe, file_.fd, address_, length_, offset_);
      }
      break;
    case Kind::kWrite:
      if (buffer_ != kNoBuffer) {
        io_uring_prep_write_fixed(sqe, file_.fd, address_, length_, offset_, buffer_);
      } else {
        io_uring_prep_write(sqe, file_.fd, address_, length_, offset_);
      }
      break;
    case Kind::kFsync:
      io_uring_prep_fsync(sqe, file_.fd, mode_ != 0 ? IORING_FSYNC_DATASYNC : 0);
      break;
    case Kind::kFallocate:
      io_uring_prep_fallocate(
          sqe, file_.fd, mode_, static_cast<off_t>(offset_), static_cast<off_t>(range_));
      break;
    case Kind::kNop:
      io_uring_prep_nop(sqe);
      break;
  }
  if (file_.registered) {
    sqe->flags |= IOSQE_FIXED_FILE;
  }
}

void Uring::Operation::await_suspend(std::coroutine_handle<> handle) {
  handle_ = handle;
  ring_->start(*this);
}

bool Uring::enqueue(Operation& operation) {
  if (in_flight_ >= entries_) {
    return false;
  }
  if (threads_ != nullptr) {
    if (operation.file_.registered) {
      operation.file_.fd = file_table_[static_cast<std::size_t>(operation.file_.fd)];
      operation.file_.registered = false;
    }
    ++in_flight_;
    threads_->submit(operation);
    return true;
  }
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  if (sqe == nullptr) {
    return false;
  }
  operation.fill(sqe);
  io_uring_sqe_set_data(sqe, &operation);
  ++in_flight_;
  ++unsubmitted_;
  return true;
}

void Uring::start(Operation& operation) {
  if (waiting_head_ == nullptr && enqueue(operation)) {
    return;
  }
  operation.next_ = nullptr;
  (waiting_tail_ == nullptr ? waiting_head_ : waiting_tail_->next_) = &operation;
  waiting_tail_ = &operation;
}

bool Uring::submit_waiting() {
  bool any = false;
  while (waiting_head_ != nullptr) {
    Operation* operation = waiting_head_;
    Operation* next = operation->next_;
    if (!enqueue(*operation)) {
      break;
    }
    waiting_head_ = next;
    if (next == nullptr) {
      waiting_tail_ = nullptr;
    }
    any = true;
  }
  return any;
}

bool Uring::poll_threads() {
  if (!threads_->has_done()) {
    return false;
  }
  Operation* operation = threads_->take_done();
  while (operation != nullptr) {
    Operation* next = operation->next_;
    reactor_.schedule(operation->handle_);
    --in_flight_;
    operation = next;
  }
  submit_waiting();
  return true;
}

bool Uring::poll() {
  if (in_flight_ == 0) {
    return false;
  }
  if (threads_ != nullptr) {
    return poll_threads();
  }
  bool needs_kernel = (IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_TASKRUN) != 0;
  if (unsubmitted_ > 0) {
    int submitted = io_uring_submit_and_get_events(&ring_);
    if (submitted > 0) {
      unsubmitted_ -= std::min(unsubmitted_, static_cast<unsigned>(submitted));
    }
    // -EAGAIN and -EBUSY: the kernel is short of memory or completions wait; the entries stay
    // queued.
  } else if (needs_kernel) {
    io_uring_get_events(&ring_);
  }
  bool worked = false;
  io_uring_cqe* cqe = nullptr;
  unsigned head = 0;
  unsigned seen = 0;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    auto* operation = static_cast<Operation*>(io_uring_cqe_get_data(cqe));
    operation->result_ = cqe->res;
    reactor_.schedule(operation->handle_);
    ++seen;
  }
  if (seen > 0) {
    io_uring_cq_advance(&ring_, seen);
    in_flight_ -= seen;
    worked = true;
  }
  return submit_waiting() || worked;
}

bool Uring::prepare_to_sleep() {
  if (threads_ != nullptr) {
    return !threads_->has_done();
  }
  return unsubmitted_ == 0 && io_uring_cq_ready(&ring_) == 0 &&
         (IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_TASKRUN) == 0;
}

Uring::Operation Uring::read(File file,
                             std::span<std::byte> into,
                             std::uint64_t offset,
                             int buffer) {
  Operation operation;
  operation.ring_ = this;
  operation.kind_ = Operation::Kind::kRead;
  operation.file_ = file;
  operation.address_ = into.data();
  operation.length_ = static_cast<std::uint32_t>(into.size());
  operation.offset_ = offset;
  operation.buffer_ = buffer;
  return operation;
}

Uring::Operation Uring::write(File file,
                              std::span<const std::byte> from,
                              std::uint64_t offset,
                              int buffer) {
  Operation operation;
  operation.ring_ = this;
  operation.kind_ = Operation::Kind::kWrite;
  operation.file_ = file;
  operation.address_ = const_cast<std::byte*>(from.data());
  operation.length_ = static_cast<std::uint32_t>(from.size());
  operation.offset_ = offset;
  operation.buffer_ = buffer;
  return operation;
}

Uring::Operation Uring::fsync(File file, bool data_only) {
  Operation operation;
  operation.ring_ = this;
  operation.kind_ = Operation::Kind::kFsync;
  operation.file_ = file;
  operation.mode_ = data_only ? 1 : 0;
  return operation;
}

Uring::Operation Uring::fallocate(File file, int mode, std::uint64_t offset, std::uint64_t length) {
  Operation operation;
  operation.ring_ = this;
  operation.kind_ = Operation::Kind::kFallocate;
  operation.file_ = file;
  operation.mode_ = mode;
  operation.offset_ = offset;
  operation.range_ = length;
  return operation;
}

Uring::Operation Uring::nop() {
  Operation operation;
  operation.ring_ = this;
  return operation;
}

Status Uring::register_buffers(std::span<const iovec> buffers) {
  if (threads_ != nullptr) {
    return {};
  }
  int code =
      io_uring_register_buffers(&ring_, buffers.data(), static_cast<unsigned>(buffers.size()));
  if (code < 0) {
    return fail_system(-code, "registering I/O buffers with io_uring (see ulimit -l)");
  }
  return {};
}

Status Uring::register_file_table(unsigned count) {
  if (threads_ != nullptr) {
    file_table_.assign(count, -1);
    return {};
  }
  int code = io_uring_register_files_sparse(&ring_, count);
  if (code < 0) {
    return fail_system(-code, fmt::format("registering a table of {} files with io_uring", count));
  }
  return {};
}

Status Uring::set_file(unsigned slot, int fd) {
  if (threads_ != nullptr) {
    file_table_.at(slot) = fd;
    return {};
  }
  int code = io_uring_register_files_update(&ring_, slot, &fd, 1);
  if (code < 0) {
    return fail_system(-code, fmt::format("registering file slot {} with io_uring", slot));
  }
  return {};
}

}  // namespace benchfs::rt
