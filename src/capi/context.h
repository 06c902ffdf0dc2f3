// The types behind the opaque handles of benchfs.h.
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/error.h"
#include "benchfs/benchfs.h"
#include "capi/last_error.h"
#include "client/client.h"

struct benchfs_file : boost::intrusive::list_base_hook<> {
  benchfs_context* context = nullptr;
  std::string path;  // as it was opened, for messages
  std::shared_ptr<benchfs::client::OpenFile> open_file;
  bool is_synchronous = false;  // O_SYNC, O_DSYNC

  std::mutex mutex;
  std::int64_t position = 0;  // under the mutex, which is held for a whole read or write
};

struct benchfs_context {
  std::unique_ptr<benchfs::client::Client> client;
  std::uint32_t chunk_bytes = 0;  // of new files; 0 = the file system's

  std::mutex mutex;
  boost::intrusive::list<benchfs_file> files;  // open ones; under the mutex
};

namespace benchfs::capi {

// EBADF for a null handle, ECANCELED in a child of fork(), where not even a mutex may be touched.
Status check(const benchfs_context* context);
Status check(const benchfs_file* file);

inline Call call_on(const benchfs_file* file, const char* operation) {
  return {operation, file != nullptr ? file->path.c_str() : nullptr};
}

// EINVAL for a null path.
Status check_path(const char* path);
Result<std::string> to_path(const char* path);
// The path, which begins at the directory unless it is absolute. Also EBADF, ENOTDIR.
Result<client::Path> to_path(const benchfs_file* directory, const char* path);

// A task, or a call that the file system made.
template <typename TaskOrCall>
auto run(benchfs_context* context, TaskOrCall&& what) {
  return context->client->run(std::forward<TaskOrCall>(what));
}

}  // namespace benchfs::capi
