#include "capi/last_error.h"

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string>

#include "benchfs/benchfs.h"

namespace benchfs::capi {

namespace {
thread_local std::string last_message;

// The last failure was that of a call from a signal handler, which must not touch the message.
thread_local volatile std::sig_atomic_t was_interrupted = 0;
constexpr const char* kInterrupted =
    "called from a signal handler that interrupted a function of BenchFS in the same thread: "
    "Resource deadlock avoided";

void add_path(const char* before, const char* path) {
  if (path != nullptr) {
    last_message += before;
    last_message += *path != '\0' ? path : "\"\"";
  }
}

}  // namespace

int report(const Call& call, const Error& error) noexcept {
  int code = -error.to_errno();
  try {
    last_message = call.operation;
    add_path(" ", call.path);
    add_path(" to ", call.target);
    last_message += ": ";
    last_message += error.message();
  } catch (const std::bad_alloc&) {
    last_message.clear();
  }
  was_interrupted = 0;
  return code;
}

int report_interrupted() noexcept {
  was_interrupted = 1;
  return -EDEADLK;
}

const char* last_error() noexcept {
  return was_interrupted != 0 ? kInterrupted : last_message.c_str();
}

}  // namespace benchfs::capi

extern "C" {

const char* benchfs_get_error() noexcept {
  return benchfs::capi::last_error();
}

const char* benchfs_strerror(int error) noexcept {
  // The number may be any int; the smallest has no negative.
  const char* text = error == INT32_MIN ? nullptr : strerrordesc_np(std::abs(error));
  return text != nullptr ? text : "Unknown error";
}

const char* benchfs_version() noexcept {
  return BENCHFS_VERSION;
}
}
