// io_uring as a source of completions for one reactor; where the kernel or a container forbids
// io_uring, helper threads take its place (io_threads.h), slower but with the same results.
//
// Operations are awaitables that live in the caller's frame: no allocation. Results are those of
// the system call: >= 0, or -errno; short transfers are possible and are the caller's to continue.
// The memory given to an operation belongs to the kernel until it completes; a frame with an
// operation in flight is never destroyed. Submissions are batched: the ring is entered once a pass.
//
// Thread: the reactor's (the ring is SINGLE_ISSUER).
#pragma once

#include <liburing.h>
#include <sys/uio.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/error.h"
#include "rt/poller.h"
#include "rt/reactor.h"
#include "rt/sync.h"

namespace benchfs::rt {

class IoThreads;

class Uring final : public Poller {
 public:
  enum class Backend : std::uint8_t { kAuto, kUring, kThreads };
  struct Config {
    unsigned entries = 256;            // operations under way at a time; more wait their turn
    Backend backend = Backend::kAuto;  // kAuto: threads where there is no io_uring
    unsigned threads = 8;
  };
  // The ring adds itself to the reactor. With kUring it fails where the kernel or a sandbox forbids
  // io_uring; the error says so.
  static Result<std::unique_ptr<Uring>> create(Reactor& reactor, Config config);
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;
  ~Uring() override;

  // A file an operation works on: a descriptor or a slot of the registered table.
  struct File {
    int fd = -1;
    bool registered = false;
  };
  static constexpr int kNoBuffer = -1;

  class Operation {
   public:
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> handle);
    [[nodiscard]] int await_resume() const noexcept { return result_; }

   private:
    friend class Uring;
    friend class IoThreads;
    enum class Kind : std::uint8_t { kRead, kWrite, kFsync, kFallocate, kNop };
    void fill(io_uring_sqe* sqe) const;
    void execute();  // blocks

    Uring* ring_ = nullptr;
    Kind kind_ = Kind::kNop;
    File file_;
    int buffer_ = kNoBuffer;  // index of a registered buffer
    int mode_ = 0;            // fallocate mode; fsync: 1 = data only
    void* address_ = nullptr;
    std::uint32_t length_ = 0;
    std::uint64_t offset_ = 0;
    std::uint64_t range_ = 0;  // fallocate length
    int result_ = 0;
    Operation* next_ = nullptr;  // waiting for a free entry
    std::coroutine_handle<> handle_;
  };

  // `buffer`: index of the registered buffer that contains the span, or kNoBuffer.
  [[nodiscard]] Operation read(File file,
                               std::span<std::byte> into,
                               std::uint64_t offset,
                               int buffer = kNoBuffer);
  [[nodiscard]] Operation write(File file,
                                std::span<const std::byte> from,
                                std::uint64_t offset,
                                int buffer = kNoBuffer);
  [[nodiscard]] Operation fsync(File file, bool data_only);
  [[nodiscard]] Operation fallocate(File file,
                                    int mode,
                                    std::uint64_t offset,
                                    std::uint64_t length);
  [[nodiscard]] Operation nop();

  // Pins the buffers (they count against the locked-memory limit of users without CAP_IPC_LOCK).
  Status register_buffers(std::span<const iovec> buffers);
  // An empty table of `count` slots, filled by set_file.
  Status register_file_table(unsigned count);
  Status set_file(unsigned slot, int fd);

  [[nodiscard]] std::uint64_t in_flight() const { return in_flight_; }

  bool poll() override;
  bool prepare_to_sleep() override;
  [[nodiscard]] int fd() const override;
  [[nodiscard]] bool uses_threads() const { return threads_ != nullptr; }

 private:
  explicit Uring(Reactor& reactor);
  Status open_ring(unsigned entries);
  void start(Operation& operation);
  // False: no entry is free.
  bool enqueue(Operation& operation);
  bool poll_threads();
  bool submit_waiting();

  Reactor& reactor_;
  io_uring ring_{};
  bool is_open_ = false;
  std::unique_ptr<IoThreads> threads_;  // null: io_uring
  std::vector<int> file_table_;         // threads only: what register_file_table() does
  unsigned entries_ = 0;
  unsigned in_flight_ = 0;    // queued or in the kernel
  unsigned unsubmitted_ = 0;  // queued, not yet entered
  Operation* waiting_head_ = nullptr;
  Operation* waiting_tail_ = nullptr;
};

}  // namespace benchfs::rt
