#include "capi/last_error.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "benchfs/benchfs.h"

namespace benchfs::capi {

namespace {
thread_local std::string last_message;

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
  return code;
}

const char* last_error() noexcept {
  return last_message.c_str();
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
