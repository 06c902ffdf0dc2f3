// benchfs_connect, benchfs_init, benchfs_finalize.

#include "capi/context.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>

#include "base/environment.h"
#include "base/log.h"
#include "base/own_descriptor.h"
#include "capi/last_error.h"
#include "client/environment.h"
#include "wire/limits.h"

namespace benchfs::capi {

Status check(const benchfs_context* context) {
  if (context == nullptr) {
    return fail_errno(EBADF, "the context is NULL");
  }
  if (context->client->is_forked()) {
    return fail(Errc::kCancelled, "the context was made before fork(); make a new one");
  }
  return {};
}

Status check(const benchfs_file* file) {
  if (file == nullptr) {
    return fail_errno(EBADF, "the file is NULL");
  }
  return check(file->context);
}

Status check_path(const char* path) {
  return path != nullptr ? Status{} : Status(fail_errno(EINVAL, "the path is NULL"));
}

Result<std::string> to_path(const char* path) {
  BENCHFS_TRY_VOID(check_path(path));
  return std::string(path);
}

Result<client::Path> to_path(const benchfs_file* directory, const char* path) {
  BENCHFS_TRY_VOID(check(directory));
  BENCHFS_TRY(std::string text, to_path(path));
  return client::Path::at(*directory->open_file, std::move(text));
}

namespace {

// The first fields are there since the first version.
bool is_readable(const benchfs_options_t* given) {
  return given != nullptr && given->struct_size >= offsetof(benchfs_options_t, chunk_size);
}

// The options as this version knows them: fields the caller does not know are 0; fields we do not
// know must be 0.
Result<benchfs_options_t> known_options(const benchfs_options_t* given) {
  if (!is_readable(given)) {
    return fail_errno(EINVAL, "options: NULL, or struct_size is not set");
  }
  benchfs_options_t known{};
  std::memcpy(&known, given, std::min(given->struct_size, sizeof(known)));
  if (given->struct_size > sizeof(known)) {
    std::span all(reinterpret_cast<const unsigned char*>(given), given->struct_size);
    for (unsigned char byte : all.subspan(sizeof(known))) {
      if (byte != 0) {
        return fail_errno(EINVAL, "options: a field that this version does not know is set");
      }
    }
  }
  return known;
}

const char* chosen_registry_dir(const char* given) {
  return given != nullptr ? given : environment("BENCHFS_REGISTRY_DIR");
}

Result<std::string> registry_dir_of(const benchfs_options_t& options) {
  const char* directory = chosen_registry_dir(options.registry_dir);
  if (directory != nullptr && *directory == '\0') {
    return fail_errno(EINVAL, "registry_dir: an empty path");
  }
  return directory == nullptr ? client::default_registry_dir() : std::string(directory);
}

Result<std::string> to_mount_prefix(const char* given) {
  std::string prefix(given);
  bool is_plain = prefix.size() > 1 && prefix.front() == '/' && prefix.back() != '/';
  if (!is_plain || (prefix + '/').find("/../") != std::string::npos ||
      (prefix + '/').find("/./") != std::string::npos || prefix.find("//") != std::string::npos) {
    return fail_errno(EINVAL, "mount_prefix: not an absolute path without '.', '..' and '//'");
  }
  return prefix;
}

Result<client::Options> client_options(const benchfs_options_t& options) {
  client::Options out;
  BENCHFS_TRY(out.registry_dir, registry_dir_of(options));
  BENCHFS_TRY_VOID(client::apply_environment(out));
  if (options.client_id != nullptr) {
    out.client_id = options.client_id;
    if (out.client_id.empty() || out.client_id.size() > wire::kMaxClientIdBytes) {
      return fail_errno(EINVAL, "client_id: 1 to 255 bytes are allowed");
    }
  }
  if (options.timeout_ms != 0) {
    out.file_system.timeouts = client::Timeouts::all(std::chrono::milliseconds(options.timeout_ms));
  }
  if (options.connect_timeout_ms != 0) {
    out.list_timeout = std::chrono::milliseconds(options.connect_timeout_ms);
    out.connect_timeout = out.list_timeout;
  }
  if (options.mount_prefix != nullptr) {
    BENCHFS_TRY(out.file_system.mount_prefix, to_mount_prefix(options.mount_prefix));
  }
  if (options.check_permissions > 1) {
    return fail_errno(EINVAL, "check_permissions: neither 0 nor 1");
  }
  out.file_system.check_permissions |= options.check_permissions != 0;
  out.file_system.uid = geteuid();
  out.file_system.gid = getegid();
  return out;
}

Result<benchfs_context_t*> connect(const benchfs_options_t* given) {
  // Once a process: the level is that of BENCHFS_LOG, and a library stays silent below warnings.
  static const bool log_ready = init_log(LogLevel::kWarn);
  (void)log_ready;

  BENCHFS_TRY(benchfs_options_t options, known_options(given));
  std::uint32_t chunk = options.chunk_size;
  if (chunk != 0 && (!std::has_single_bit(chunk) || chunk < wire::kMinChunkBytes ||
                     chunk > wire::kMaxChunkBytes)) {
    return fail_errno(
        EINVAL, fmt::format("chunk_size {}: not a power of two from 64 KiB to 64 MiB", chunk));
  }
  BENCHFS_TRY(client::Options settings, client_options(options));
  auto context = std::make_unique<benchfs_context>();
  context->chunk_bytes = chunk;
  BENCHFS_TRY(context->client, client::Client::connect(std::move(settings)));
  return context.release();
}

Status close_all(benchfs_context* context) {
  Status first;
  while (!context->files.empty()) {
    benchfs_file* file = &context->files.front();
    context->files.pop_front();
    Status closed = run(context, context->client->fs().close(std::move(file->open_file)));
    if (first && !closed) {
      first = std::unexpected(std::move(closed.error()).with_prefix("close " + file->path));
    }
    delete file;
  }
  return first;
}

}  // namespace
}  // namespace benchfs::capi

using benchfs::Errc;
using benchfs::Status;
namespace capi = benchfs::capi;

extern "C" {

// Not in benchfs.h: for the preload library alone.
void benchfs_keep_descriptors(benchfs::DescriptorKeeper keeper) noexcept;
void benchfs_keep_descriptors(benchfs::DescriptorKeeper keeper) noexcept {
  benchfs::set_descriptor_keeper(keeper);
}

benchfs_context_t* benchfs_connect(const benchfs_options_t* options) noexcept {
  const char* directory =
      capi::is_readable(options) ? capi::chosen_registry_dir(options->registry_dir) : nullptr;
  return capi::answer_pointer({"connect", directory}, [&] { return capi::connect(options); });
}

benchfs_context_t* benchfs_init(const char* node_id,
                                const char* registry_dir,
                                const char* data_dir,
                                int is_server,
                                size_t chunk_size) noexcept {
  const char* directory = capi::chosen_registry_dir(registry_dir);
  return capi::answer_pointer({"init", directory}, [&]() -> benchfs::Result<benchfs_context_t*> {
    if (data_dir != nullptr || is_server != 0) {
      return benchfs::fail_errno(EINVAL,
                                 "data_dir must be NULL and is_server 0; servers are benchfsd");
    }
    benchfs_options_t options{};
    options.struct_size = sizeof(options);
    options.client_id = node_id;
    options.registry_dir = registry_dir;
    // A size that does not fit is refused as one that is too large.
    options.chunk_size = static_cast<std::uint32_t>(std::min<size_t>(chunk_size, UINT32_MAX));
    return capi::connect(&options);
  });
}

int benchfs_finalize(benchfs_context_t* context) noexcept {
  if (context == nullptr) {
    return 0;
  }
  return capi::answer<int>({"finalize"}, [&]() -> Status {
    BENCHFS_TRY_VOID(capi::check(context));
    Status closed = capi::close_all(context);
    delete context;
    return closed;
  });
}
}
