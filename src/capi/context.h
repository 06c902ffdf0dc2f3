// The types behind the opaque handles of benchfs.h.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>

#include "base/error.h"
#include "benchfs/benchfs.h"
#include "client/client.h"

struct benchfs_context {
  std::unique_ptr<benchfs::client::Client> client;
  std::uint32_t chunk_bytes = 0;  // of new files; 0 = the file system's

  std::mutex mutex;
  std::unordered_set<benchfs_file*> files;  // open ones; under the mutex
};

struct benchfs_file {
  benchfs_context* context = nullptr;
  std::string path;  // as it was opened, for messages
  std::shared_ptr<benchfs::client::OpenFile> open_file;
  bool is_synchronous = false;  // O_SYNC, O_DSYNC

  std::mutex mutex;
  std::int64_t position = 0;  // under the mutex, which is held for a whole read or write
};

namespace benchfs::capi {

// EBADF for a null handle, ECANCELED in a child of fork(), where not even a mutex may be touched.
Status check(const benchfs_context* context);
Status check(const benchfs_file* file);

// EINVAL for a null path.
Result<std::string> to_path(const char* path);
// The path, which begins at the directory unless it is absolute. Also EBADF, ENOTDIR.
Result<client::Path> to_path(const benchfs_file* directory, const char* path);

template <typename T>
Result<T> run(benchfs_context* context, rt::CoResult<T> task) {
  return context->client->run(std::move(task));
}

}  // namespace benchfs::capi
