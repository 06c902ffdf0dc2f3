#include "client/environment.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <string_view>

#include "base/environment.h"

namespace benchfs::client {
namespace {

constexpr std::uint32_t kLongestMs = 86'400'000;

Result<std::uint32_t> parse(const char* name,
                            std::string_view text,
                            std::uint32_t least,
                            std::uint32_t most,
                            const char* unit) {
  std::uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    return fail(Errc::kConfig,
                fmt::format("environment: {}=\"{}\" is not a number of {} from {} to {}",
                            name,
                            text,
                            unit,
                            least,
                            most));
  }
  return value;
}

// Null: it is not set.
Result<const char*> find_switch(const char* name) {
  const char* text = environment(name);
  if (text != nullptr && std::string_view(text) != "0" && std::string_view(text) != "1") {
    return fail(Errc::kConfig, fmt::format("environment: {}=\"{}\" is not 0 or 1", name, text));
  }
  return text;
}

Status apply(const char* name, std::uint32_t least_ms, Nanos& setting) {
  const char* text = environment(name);
  if (text == nullptr) {
    return {};
  }
  BENCHFS_TRY(std::uint32_t value, parse(name, text, least_ms, kLongestMs, "milliseconds"));
  setting = std::chrono::milliseconds(value);
  return {};
}

}  // namespace

std::string default_registry_dir() {
  const char* runtime_dir = environment("XDG_RUNTIME_DIR");
  return runtime_dir != nullptr && *runtime_dir == '/' ? fmt::format("{}/benchfs", runtime_dir)
                                                       : fmt::format("/tmp/benchfs-{}", getuid());
}

Status apply_environment(Options& options) {
  Timeouts& timeouts = options.file_system.timeouts;
  BENCHFS_TRY_VOID(apply("BENCHFS_METADATA_TIMEOUT_MS", 1, timeouts.metadata));
  BENCHFS_TRY_VOID(apply("BENCHFS_DATA_TIMEOUT_MS", 1, timeouts.data));
  BENCHFS_TRY_VOID(apply("BENCHFS_ADMINISTRATION_TIMEOUT_MS", 1, timeouts.administration));
  BENCHFS_TRY_VOID(apply("BENCHFS_CONNECT_TIMEOUT_MS", 1, options.pool.connect_timeout));
  BENCHFS_TRY(const char* sharing, find_switch("BENCHFS_UCX_SHARED_MEMORY"));
  if (sharing != nullptr) {
    options.network.sharing = *sharing == '1' ? net::Sharing::kMemory : net::Sharing::kNothing;
  }
  BENCHFS_TRY(const char* permissions, find_switch("BENCHFS_CHECK_PERMISSIONS"));
  if (permissions != nullptr) {
    options.file_system.check_permissions = *permissions == '1';
  }
  if (const char* text = environment("BENCHFS_DIRECT_BYTES")) {
    BENCHFS_TRY(options.file_system.direct_bytes,
                parse("BENCHFS_DIRECT_BYTES", text, 0, wire::kMaxChunkBytes, "bytes"));
  }
  BENCHFS_TRY_VOID(rpc::apply_environment(options.pool.transport));
  return apply("BENCHFS_SILENCE_LIMIT_MS", 100, options.pool.silence_limit);
}

}  // namespace benchfs::client
