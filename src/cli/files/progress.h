// The progress of a copy: a line that is repainted on a terminal, an occasional plain line
// elsewhere.
//
// Thread: any. A background thread does the painting.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"

namespace benchfs::cli {

class Progress {
 public:
  enum class Style : std::uint8_t { kNone, kTerminal, kLines };
  // A terminal on standard error gets a bar, unless it is `quiet`; anything else gets lines if
  // `wanted`.
  static Style choose_style(bool wanted, bool quiet);

  explicit Progress(Style style);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();  // paints the end

  void add_file(std::uint64_t bytes) {
    total_files_ += 1;
    total_bytes_ += bytes;
  }
  // No file will be added any more, so the end can be estimated from now on.
  void set_complete() { complete_ = true; }
  void on_bytes(std::uint64_t bytes) { done_bytes_ += bytes; }
  void on_file() { done_files_ += 1; }
  [[nodiscard]] std::uint64_t done_files() const { return done_files_; }

  // Removes the bar so that a message can be printed; the next repaint brings it back.
  void clear_line();

 private:
  void paint_until_stopped();
  void paint(Nanos elapsed);
  [[nodiscard]] std::string line(Nanos elapsed) const;

  Style style_;
  MonoTime started_ = mono_now();
  std::atomic<std::uint64_t> total_files_{0};
  std::atomic<std::uint64_t> total_bytes_{0};
  std::atomic<std::uint64_t> done_files_{0};
  std::atomic<std::uint64_t> done_bytes_{0};
  std::atomic<bool> complete_{false};

  std::mutex mutex_;  // for what follows, and for the terminal
  std::condition_variable wake_;
  bool stopping_ = false;
  bool painted_ = false;
  std::thread painter_;
};

}  // namespace benchfs::cli
