#include "net/context.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <pthread.h>
#include <sys/resource.h>
#include <ucs/config/global_opts.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <iterator>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include "base/descriptors.h"
#include "base/log.h"
#include "base/signal_block.h"
#include "net/ucx_calls.h"
#include "net/ucx_library.h"

namespace benchfs::net {
namespace {

struct Setting {
  const char* name;
  const char* value;
};

// Set in code and not by environment: a client whose environment differs can otherwise abort a
// server, and UCX_* variables would also reach an MPI library in the same process.
constexpr Setting kSettings[] = {
    // Without these two, error handling mode PEER silently drops shared memory and cma.
    {"MM_ERROR_HANDLING", "y"},
    {"MEMORY_INVALIDATE", "y"},
    // A keepalive is a message in the peer's FIFO; a client that computes fills it and keeps the
    // server from sleeping. Dead peers are reported by the connection's socket, frozen ones by
    // our own deadlines.
    {"KEEPALIVE_INTERVAL", "inf"},
    // Room for a full window of unread replies.
    {"MM_FIFO_SIZE", "256"},
    // One-sided differences in these abort or hang the connection set-up.
    {"CM_USE_ALL_DEVICES", "y"},
    {"PROTO_ENABLE", "n"},
    {"UNIFIED_MODE", "n"},
    {"RNDV_SCHEME", "auto"},
    {"ADAPTIVE_PROGRESS", "y"},
};

// UCX watches one descriptor a connection, and refuses more than this many in one worker; 1024 by
// default. Takes 4 bytes each.
constexpr const char* kMaxConnections = "16384";

// Segments of shared memory are smaller.
constexpr rlim_t kLargestSegment = 1U << 30;

// Descriptors that UCX opens while it starts, with room for the files that it reads.
constexpr std::size_t kContextDescriptors = 16;

std::atomic<std::uint32_t> contexts{0};  // alive in this process
std::atomic<bool> is_inherited{false};   // UCX was in use in the parent of this process

void after_fork_in_child() {
  if (contexts.load(std::memory_order_relaxed) > 0) {
    is_inherited.store(true, std::memory_order_relaxed);
  }
}

constexpr std::string_view kMemoryTransports[] = {"cma", "knem", "xpmem"};
constexpr std::string_view kSegmentTransports[] = {"posix", "sysv"};

// The transports that must not be used.
std::vector<std::string_view> excluded_transports(Sharing sharing) {
  std::vector<std::string_view> excluded;
  if (sharing < Sharing::kMemory) {
    excluded.insert(excluded.end(), std::begin(kMemoryTransports), std::end(kMemoryTransports));
  }
  rlimit file_size{};
  if (sharing < Sharing::kSegments) {
    excluded.insert(excluded.end(), std::begin(kSegmentTransports), std::end(kSegmentTransports));
  } else if (getrlimit(RLIMIT_FSIZE, &file_size) == 0 && file_size.rlim_cur < kLargestSegment) {
    excluded.emplace_back("posix");  // its segments are files: SIGXFSZ would end the process
  }
  return excluded;
}

// UCX_TLS without these transports; `wanted` is what the user has set, or null.
std::string transports_without(const char* wanted, const std::vector<std::string_view>& excluded) {
  std::string all_but = fmt::format("{}", fmt::join(excluded, ","));
  std::string_view text = wanted == nullptr ? "all" : wanted;
  if (text == "all" || text.empty()) {
    return "^" + all_but;
  }
  if (text.starts_with('^')) {
    return fmt::format("{},{}", text, all_but);
  }
  std::vector<std::string_view> kept;
  while (!text.empty()) {
    std::string_view one = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), one.size() + 1));
    if (one == "sm" || one == "shm" || one == "mm") {  // UCX's names for all of them
      std::ranges::copy(kSegmentTransports, std::back_inserter(kept));
      std::ranges::copy(kMemoryTransports, std::back_inserter(kept));
    } else {
      kept.push_back(one);
    }
  }
  std::erase_if(kept, [&](std::string_view one) {
    return std::ranges::find(excluded, one) != excluded.end();
  });
  return fmt::format("{}", fmt::join(kept, ","));
}

Status set(ucp_config_t* config, const char* name, const std::string& value) {
  ucs_status_t status = ucp_config_modify(config, name, value.c_str());
  if (status != UCS_OK) {
    return std::unexpected(ucx_error(status, fmt::format("setting UCX {} to {}", name, value)));
  }
  return {};
}

Status apply(ucp_config_t* config, const ContextConfig& wanted) {
  for (const Setting& setting : kSettings) {
    BENCHFS_TRY_VOID(set(config, setting.name, setting.value));
  }
  if (!wanted.devices.empty()) {
    BENCHFS_TRY_VOID(set(config, "NET_DEVICES", wanted.devices));
  }
  auto excluded = excluded_transports(wanted.sharing);
  if (!excluded.empty()) {
    BENCHFS_TRY_VOID(set(config, "TLS", transports_without(std::getenv("UCX_TLS"), excluded)));
  }
  return {};
}

Result<ucp_config_t*> make_config(const ContextConfig& wanted) {
  ucp_config_t* config = nullptr;
  ucs_status_t status = ucp_config_read(nullptr, nullptr, &config);
  if (status != UCS_OK) {
    return std::unexpected(ucx_error(status, "reading the UCX configuration (UCX_* variables)"));
  }
  if (Status applied = apply(config, wanted); !applied) {
    ucp_config_release(config);
    return std::unexpected(std::move(applied.error()));
  }
  return config;
}

}  // namespace

std::string ucx_version() {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  ucp_get_version(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

link::Outcome outcome_of(ucs_status_t status) {
  if (status == UCS_OK) [[likely]] {
    return {};
  }
  Errc code = Errc::kTransport;
  if (status == UCS_ERR_CONNECTION_RESET || status == UCS_ERR_ENDPOINT_TIMEOUT ||
      status == UCS_ERR_CANCELED) {
    code = Errc::kDisconnected;
  } else if (status == UCS_ERR_NOT_CONNECTED || status == UCS_ERR_UNREACHABLE) {
    code = Errc::kUnreachable;
  } else if (status == UCS_ERR_REJECTED) {
    code = Errc::kRefused;
  }
  return {code, ucs_status_string(status)};
}

Error ucx_error(ucs_status_t status, std::string what) {
  return link::error_of(outcome_of(status), std::move(what));
}

Status need_descriptors(std::size_t wanted, std::string what) {
  if (has_free_descriptors(wanted)) {
    return {};
  }
  return fail_system(
      EMFILE,
      fmt::format("{}: this process needs {} more descriptors and may open {} in all; "
                  "raise its limit (ulimit -n) or close files",
                  what,
                  wanted,
                  descriptor_limit()));
}

namespace {

// UCX aborts when it cannot start its thread, so we try it first.
Status need_thread() {
  SignalBlock block;
  pthread_t thread{};
  int error = ::pthread_create(&thread, nullptr, [](void* nothing) { return nothing; }, nullptr);
  if (error != 0) {
    return fail_system(error,
                       "starting UCX: this process may start no more threads; raise its limit "
                       "(ulimit -u, or pids.max of its cgroup)");
  }
  ::pthread_join(thread, nullptr);
  return {};
}

}  // namespace

MemoryRegion& MemoryRegion::operator=(MemoryRegion&& other) noexcept {
  std::swap(context_, other.context_);
  std::swap(handle_, other.handle_);
  return *this;
}

MemoryRegion::~MemoryRegion() {
  if (handle_ != nullptr) {
    ucp_mem_unmap(context_, handle_);
  }
}

Result<std::unique_ptr<Context>> Context::create(const ContextConfig& config) {
  BENCHFS_TRY_VOID(load_ucx());
  // Peers that die are an expected event here and reported by us; UCX would log each as an error.
  static std::once_flag once;
  std::call_once(once, [] {
    pthread_atfork(nullptr, nullptr, after_fork_in_child);
    if (std::getenv("UCX_LOG_LEVEL") == nullptr) {
      ucs_global_opts_set_value("LOG_LEVEL", "fatal");
    }
    if (std::getenv("UCX_ASYNC_MAX_EVENTS") == nullptr) {
      ucs_global_opts_set_value("ASYNC_MAX_EVENTS", kMaxConnections);
    }
  });
  if (is_inherited.load(std::memory_order_relaxed)) {
    return fail_system(ENOTSUP,
                       "this process is a child that was made by fork while its parent was "
                       "connected, and UCX does not work in it; connect only after fork (in the "
                       "child), or start a new program with exec");
  }
  BENCHFS_TRY_VOID(need_descriptors(kContextDescriptors, "starting UCX"));
  BENCHFS_TRY_VOID(need_thread());
  redirect_ucx_calls();
  BENCHFS_TRY(ucp_config_t * ucx_config, make_config(config));
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  params.name = "benchfs";
  ucp_context_h handle = nullptr;
  ucs_status_t status = ucp_init(&params, ucx_config, &handle);
  ucp_config_release(ucx_config);
  redirect_ucx_calls();  // of the modules that it has loaded
  if (status != UCS_OK) {
    return std::unexpected(
        ucx_error(status,
                  fmt::format("initialising UCX (devices \"{}\", UCX_TLS \"{}\")",
                              config.devices,
                              std::getenv("UCX_TLS") == nullptr ? "" : std::getenv("UCX_TLS"))));
  }
  return std::unique_ptr<Context>(new Context(handle));  // lint: allow new private constructor
}

Context::Context(ucp_context_h handle) : handle_(handle) {
  contexts.fetch_add(1, std::memory_order_relaxed);
}

Context::~Context() {
  ucp_cleanup(handle_);
  contexts.fetch_sub(1, std::memory_order_relaxed);
}

Result<MemoryRegion> Context::register_memory(std::span<std::byte> memory) {
  ucp_mem_map_params_t params{};
  params.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH;
  params.address = memory.data();
  params.length = memory.size();
  ucp_mem_h handle = nullptr;
  ucs_status_t status = ucp_mem_map(handle_, &params, &handle);
  if (status != UCS_OK) {
    return std::unexpected(
        ucx_error(status, fmt::format("registering {} bytes with UCX", memory.size())));
  }
  return MemoryRegion(handle_, handle);
}

}  // namespace benchfs::net
