#include "cli/files/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/files/format.h"

namespace benchfs::cli {
namespace {

constexpr auto kRepaint = std::chrono::milliseconds(200);
constexpr auto kNextLine = std::chrono::seconds(2);
constexpr const char* kEraseLine = "\r\x1b[K";

std::string format_duration(std::uint64_t seconds) {
  return seconds >= 3600
             ? fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
             : fmt::format("{}:{:02}", seconds / 60, seconds % 60);
}

}  // namespace

Progress::Style Progress::choose_style(bool wanted, bool quiet) {
  if (quiet) {
    return Style::kNone;
  }
  if (isatty(STDERR_FILENO) == 1) {
    return Style::kTerminal;
  }
  return wanted ? Style::kLines : Style::kNone;
}

Progress::Progress(Style style) : style_(style) {
  if (style_ != Style::kNone) {
    painter_ = std::thread([this] { paint_until_stopped(); });
  }
}

Progress::~Progress() {
  if (!painter_.joinable()) {
    return;
  }
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  painter_.join();
}

void Progress::paint_until_stopped() {
  Nanos interval = style_ == Style::kTerminal ? Nanos(kRepaint) : Nanos(kNextLine);
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval, [this] { return stopping_; })) {
    paint(mono_now() - started_);
  }
  if (style_ == Style::kLines || painted_) {  // a copy that was done at once needs no bar
    paint(mono_now() - started_);
    if (style_ == Style::kTerminal) {
      std::fputc('\n', stderr);
    }
  }
}

void Progress::paint(Nanos elapsed) {
  std::string text = line(elapsed);
  if (style_ == Style::kTerminal) {
    fmt::print(stderr, "{}{}", kEraseLine, text);
  } else {
    fmt::print(stderr, "{}\n", text);
  }
  std::fflush(stderr);
  painted_ = true;
}

void Progress::clear_line() {
  std::lock_guard lock(mutex_);
  if (style_ == Style::kTerminal && painted_) {
    std::fputs(kEraseLine, stderr);
  }
}

std::string Progress::line(Nanos elapsed) const {
  double seconds = std::max(std::chrono::duration<double>(elapsed).count(), 1e-3);
  std::uint64_t done = done_bytes_;
  std::uint64_t total = total_bytes_;
  double rate = static_cast<double>(done) / seconds;
  std::string percent = "     ";
  std::string rest;
  if (complete_ && total > 0) {
    percent = fmt::format("{:3}% ", std::min<std::uint64_t>(100, done * 100 / total));
    if (rate > 0 && done < total) {
      rest = "  ETA " + format_duration(static_cast<std::uint64_t>(
                            static_cast<double>(total - done) / rate + 0.5));
    }
  }
  return fmt::format("{}{} of {}{}  {}/{} files  {}/s{}",
                     percent,
                     format_bytes(done),
                     format_bytes(total),
                     complete_ ? "" : "+",
                     done_files_.load(),
                     total_files_.load(),
                     format_bytes(static_cast<std::uint64_t>(rate)),
                     rest);
}

}  // namespace benchfs::cli
