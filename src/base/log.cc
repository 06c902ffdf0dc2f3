#include "base/log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <string>

#include "base/check.h"

namespace benchfs {
namespace log_internal {

std::atomic<int> level{static_cast<int>(LogLevel::kWarn)};

namespace {
std::atomic<LogSink> sink{nullptr};
std::string& name() {
  static std::string value;
  return value;
}

std::string_view level_name(LogLevel value) {
  switch (value) {
    case LogLevel::kError:
      return "error";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kTrace:
      return "trace";
  }
  return "?";
}
}  // namespace

void write(LogLevel value, std::string_view text) {
  if (LogSink custom = sink.load(std::memory_order_acquire)) {
    custom(value, text);
    return;
  }
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  std::tm parts{};
  localtime_r(&now.tv_sec, &parts);
  std::string line = fmt::format("{:02}:{:02}:{:02}.{:03} {:5} {}{}{}\n",
                                 parts.tm_hour,
                                 parts.tm_min,
                                 parts.tm_sec,
                                 now.tv_nsec / 1'000'000,
                                 level_name(value),
                                 name(),
                                 name().empty() ? "" : ": ",
                                 text);
  // One write, so that lines of several threads and processes do not mix.
  [[maybe_unused]] ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace log_internal

void set_log_level(LogLevel value) {
  log_internal::level.store(static_cast<int>(value), std::memory_order_relaxed);
}

bool init_log(LogLevel fallback) {
  set_log_level(fallback);
  const char* text = std::getenv("BENCHFS_LOG");
  if (text == nullptr || *text == '\0') {
    return true;
  }
  for (int i = 0; i <= static_cast<int>(LogLevel::kTrace); ++i) {
    if (log_internal::level_name(static_cast<LogLevel>(i)) == text) {
      set_log_level(static_cast<LogLevel>(i));
      return true;
    }
  }
  BENCHFS_LOG(kWarn, "BENCHFS_LOG has unknown level {} (error, warn, info, debug, trace)", text);
  return false;
}

void set_log_name(std::string_view value) {
  log_internal::name() = value;
}
void set_log_sink(LogSink value) {
  log_internal::sink.store(value, std::memory_order_release);
}

void check_failed(const char* file, int line, const char* expression) {
  log_internal::write(LogLevel::kError,
                      fmt::format("check failed at {}:{}: {}", file, line, expression));
  std::abort();
}

}  // namespace benchfs
