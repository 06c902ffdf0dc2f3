#include "chunk/segment_io.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "chunk/mapping.h"

namespace benchfs::chunk {
namespace {

// A device that keeps answering "again" is broken.
constexpr int kMaxRepeats = 1000;

alignas(kPageBytes) constexpr std::array<std::byte, 64 * kPageBytes> kZeros{};

bool is_transient(int result) {
  return result == -EINTR || result == -EAGAIN;
}

std::unexpected<Error> io_error(int posix,
                                const char* what,
                                const IoTarget& target,
                                std::uint64_t offset) {
  return fail_errno(posix, fmt::format("{} segment {} at {}", what, target.segment, offset));
}

// Decides how a transfer continues after each operation.
class Progress {
 public:
  Progress(std::size_t length, std::uint32_t alignment) : length_(length), alignment_(alignment) {}

  [[nodiscard]] std::size_t done() const { return done_; }
  [[nodiscard]] bool is_complete() const { return done_ == length_; }
  // Takes the result of one operation; an errno when the transfer has failed, else 0.
  int advance(int result) {
    if (is_transient(result)) {
      return ++repeats_ > kMaxRepeats ? EIO : 0;
    }
    if (result < 0) {
      return -result;
    }
    std::size_t reached = done_ + static_cast<std::size_t>(result);
    if (reached < length_) {  // a direct transfer continues at a block boundary
      reached = round_down(reached, alignment_);
    }
    if (reached == done_) {
      return EIO;
    }
    done_ = reached;
    repeats_ = 0;
    return 0;
  }

 private:
  std::size_t length_;
  std::uint32_t alignment_;
  std::size_t done_ = 0;
  int repeats_ = 0;
};

}  // namespace

int SegmentIo::buffer_for(const std::byte* address) const {
  return !fixed_.empty() && address >= fixed_.data() && address < fixed_.data() + fixed_.size()
             ? 0
             : rt::Uring::kNoBuffer;
}

bool SegmentIo::inject(IoFaults::Operation operation, std::size_t* length, int* result) {
  if (faults_ == nullptr || faults_->operation != operation || faults_->count == 0) [[likely]] {
    return false;
  }
  if (faults_->skip > 0) {
    --faults_->skip;
    return false;
  }
  --faults_->count;
  ++faults_->hits;
  *result = faults_->result;
  if (*length > 1 && *length != kPageBytes) {  // half a block cannot be transferred directly
    *length = *length > kPageBytes ? round_up(*length / 2, kPageBytes) : *length / 2;
  }
  return *result != 0;
}

rt::Task<void> SegmentIo::pass_gate(IoFaults::Operation operation) {
  if (faults_->gate != nullptr && faults_->gated == operation) {
    (void)co_await faults_->gate->wait(Deadline::never());
  }
}

rt::Task<int> SegmentIo::read_some(IoTarget target,
                                   std::span<std::byte> into,
                                   std::uint64_t offset) {
  std::size_t length = into.size();
  int result = 0;
  if (faults_ != nullptr) {
    co_await pass_gate(IoFaults::Operation::kRead);
  }
  if (!inject(IoFaults::Operation::kRead, &length, &result)) {
    std::span<std::byte> part = into.first(length);
    result = co_await ring_.read(target.file, part, offset, buffer_for(part.data()));
  }
  co_return result;
}

rt::Task<int> SegmentIo::write_some(IoTarget target,
                                    std::span<const std::byte> from,
                                    std::uint64_t offset) {
  std::size_t length = from.size();
  int result = 0;
  if (faults_ != nullptr) {
    co_await pass_gate(IoFaults::Operation::kWrite);
  }
  if (!inject(IoFaults::Operation::kWrite, &length, &result)) {
    std::span<const std::byte> part = from.first(length);
    result = co_await ring_.write(target.file, part, offset, buffer_for(part.data()));
  }
  co_return result;
}

rt::CoStatus SegmentIo::read(IoTarget target, std::span<std::byte> into, std::uint64_t offset) {
  Progress progress(into.size(), target.alignment);
  while (!progress.is_complete()) {
    std::size_t done = progress.done();
    int result = co_await read_some(target, into.subspan(done), offset + done);
    if (int error = progress.advance(result); error != 0) {
      co_return io_error(error, "reading", target, offset + done);
    }
    if (is_transient(result)) {
      co_await rt::Yield{};
    }
  }
  co_return Status{};
}

rt::CoStatus SegmentIo::write(IoTarget target,
                              std::span<const std::byte> from,
                              std::uint64_t offset) {
  Progress progress(from.size(), target.alignment);
  while (!progress.is_complete()) {
    std::size_t done = progress.done();
    int result = co_await write_some(target, from.subspan(done), offset + done);
    if (int error = progress.advance(result); error != 0) {
      co_return io_error(error, "writing", target, offset + done);
    }
    if (is_transient(result)) {
      co_await rt::Yield{};
    }
  }
  co_return Status{};
}

rt::CoStatus SegmentIo::write_zeros(IoTarget target, std::uint64_t offset, std::uint64_t length) {
  while (length > 0) {
    std::size_t part = std::min<std::uint64_t>(length, kZeros.size());
    BENCHFS_CO_TRY_VOID(co_await write(target, std::span(kZeros).first(part), offset));
    offset += part;
    length -= part;
  }
  co_return Status{};
}

rt::CoStatus SegmentIo::punch(IoTarget target, std::uint64_t offset, std::uint64_t length) {
  for (int repeat = 0; repeat < kMaxRepeats; ++repeat) {
    int result = 0;
    std::size_t unused = 0;
    if (faults_ != nullptr) {
      co_await pass_gate(IoFaults::Operation::kPunch);
    }
    if (!inject(IoFaults::Operation::kPunch, &unused, &result)) {
      result = co_await ring_.fallocate(
          target.file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    }
    if (result >= 0) {
      co_return Status{};
    }
    if (!is_transient(result)) {
      co_return io_error(-result, "punching a hole into", target, offset);
    }
    co_await rt::Yield{};
  }
  co_return io_error(EIO, "punching a hole into", target, offset);
}

rt::CoStatus SegmentIo::sync(IoTarget target) {
  for (int repeat = 0; repeat < kMaxRepeats; ++repeat) {
    int result = 0;
    std::size_t unused = 0;
    if (!inject(IoFaults::Operation::kSync, &unused, &result)) {
      result = co_await ring_.fsync(target.file, true);
    }
    if (result >= 0) {
      co_return Status{};
    }
    if (!is_transient(result)) {
      co_return io_error(-result, "syncing", target, 0);
    }
    co_await rt::Yield{};
  }
  co_return io_error(EIO, "syncing", target, 0);
}

}  // namespace benchfs::chunk
