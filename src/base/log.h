// Levelled logging to standard error, or to the sink a program injects.
//
// Levels: error = work stopped, warn = odd but going on, info = one line per event worth knowing,
// debug grows with the number of objects, trace with requests. Nothing above trace on the data
// path. BENCHFS_LOG=error|warn|info|debug|trace sets the level (default: warn in clients, info in
// daemons). Lower case, no full stop, values after their noun. Any thread.
#pragma once

#include <fmt/core.h>

#include <atomic>
#include <string_view>

namespace benchfs {

enum class LogLevel : int { kError = 0, kWarn = 1, kInfo = 2, kDebug = 3, kTrace = 4 };

namespace log_internal {
extern std::atomic<int> level;
void write(LogLevel level, std::string_view text);
}  // namespace log_internal

// Reads BENCHFS_LOG; `fallback` applies when it is unset. Returns false (and keeps the fallback)
// when the variable holds an unknown word.
bool init_log(LogLevel fallback);
void set_log_level(LogLevel level);
// Prefix of every line, for example the node id. Call before other threads log.
void set_log_name(std::string_view name);
// Replaces the sink; nullptr restores standard error. The function must be callable from any
// thread.
using LogSink = void (*)(LogLevel level, std::string_view line);
void set_log_sink(LogSink sink);

inline bool log_enabled(LogLevel level) {
  return static_cast<int>(level) <= log_internal::level.load(std::memory_order_relaxed);
}

}  // namespace benchfs

// BENCHFS_LOG(kInfo, "listening on {}", address)
#define BENCHFS_LOG(lvl, ...)                                                             \
  do {                                                                                    \
    if (::benchfs::log_enabled(::benchfs::LogLevel::lvl)) [[unlikely]]                    \
      ::benchfs::log_internal::write(::benchfs::LogLevel::lvl, fmt::format(__VA_ARGS__)); \
  } while (false)
