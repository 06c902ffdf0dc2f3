// Stands in for the functions of UCX that we call, each of which looks for the real one once. No
// program or library of ours names UCX's libraries among those that it needs.
#include "net/ucx_library.h"

#include <dlfcn.h>
#include <ucp/api/ucp.h>
#include <ucs/config/global_opts.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>

namespace benchfs::net {
namespace {

// Open MPI and others in the process may use the same libraries: they are loaded once. UCX cannot
// be unloaded, its hooks stay.
void* load(const char* library) {
  return ::dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

void* ucs_library() {
  static void* const library = load("libucs.so.0");
  return library;
}

void* ucp_library() {
  static void* const library = load("libucp.so.0");
  return library;
}

template <typename Function>
Function* find(void* library, const char* name) {
  void* function = library == nullptr ? nullptr : ::dlsym(library, name);
  if (function == nullptr) {
    std::fprintf(stderr, "benchfs: UCX has no function %s: %s\n", name, ::dlerror());
    std::abort();
  }
  return reinterpret_cast<Function*>(function);
}

}  // namespace

Status load_ucx() {
  static const bool is_loaded = ucs_library() != nullptr && ucp_library() != nullptr;
  if (!is_loaded) {
    return fail(Errc::kSystem,
                "a server of another node needs UCX, whose libraries libucp.so.0 and libucs.so.0 "
                "cannot be loaded; install it (Debian package libucx0) or set LD_LIBRARY_PATH");
  }
  return {};
}

}  // namespace benchfs::net

// Hidden, so that UCX's calls of its own functions do not come here.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define BENCHFS_STAND_IN(library, result, function, parameters, arguments)          \
  extern "C" [[gnu::visibility("hidden")]] result function parameters {             \
    static auto* const real =                                                       \
        benchfs::net::find<decltype(function)>(benchfs::net::library(), #function); \
    return real arguments;                                                          \
  }
// NOLINTEND(bugprone-macro-parentheses)
#define BENCHFS_UCP(result, function, parameters, arguments) \
  BENCHFS_STAND_IN(ucp_library, result, function, parameters, arguments)
#define BENCHFS_UCS(result, function, parameters, arguments) \
  BENCHFS_STAND_IN(ucs_library, result, function, parameters, arguments)

BENCHFS_UCS(const char*, ucs_status_string, (ucs_status_t a), (a))
BENCHFS_UCS(ucs_status_t, ucs_global_opts_set_value, (const char* a, const char* b), (a, b))

BENCHFS_UCP(void, ucp_get_version, (unsigned* a, unsigned* b, unsigned* c), (a, b, c))
BENCHFS_UCP(ucs_status_t,
            ucp_config_read,
            (const char* a, const char* b, ucp_config_t** c),
            (a, b, c))
BENCHFS_UCP(ucs_status_t,
            ucp_config_modify,
            (ucp_config_t * a, const char* b, const char* c),
            (a, b, c))
BENCHFS_UCP(void, ucp_config_release, (ucp_config_t * a), (a))
BENCHFS_UCP(
    ucs_status_t,
    ucp_init_version,
    (unsigned a, unsigned b, const ucp_params_t* c, const ucp_config_t* d, ucp_context_h* e),
    (a, b, c, d, e))
BENCHFS_UCP(void, ucp_cleanup, (ucp_context_h a), (a))
BENCHFS_UCP(ucs_status_t,
            ucp_mem_map,
            (ucp_context_h a, const ucp_mem_map_params_t* b, ucp_mem_h* c),
            (a, b, c))
BENCHFS_UCP(ucs_status_t, ucp_mem_unmap, (ucp_context_h a, ucp_mem_h b), (a, b))

BENCHFS_UCP(ucs_status_t,
            ucp_worker_create,
            (ucp_context_h a, const ucp_worker_params_t* b, ucp_worker_h* c),
            (a, b, c))
BENCHFS_UCP(void, ucp_worker_destroy, (ucp_worker_h a), (a))
BENCHFS_UCP(unsigned, ucp_worker_progress, (ucp_worker_h a), (a))
BENCHFS_UCP(ucs_status_t, ucp_worker_arm, (ucp_worker_h a), (a))
BENCHFS_UCP(ucs_status_t, ucp_worker_get_efd, (ucp_worker_h a, int* b), (a, b))
BENCHFS_UCP(ucs_status_t,
            ucp_worker_get_address,
            (ucp_worker_h a, ucp_address_t** b, std::size_t* c),
            (a, b, c))
BENCHFS_UCP(void, ucp_worker_release_address, (ucp_worker_h a, ucp_address_t* b), (a, b))
BENCHFS_UCP(ucs_status_t,
            ucp_worker_set_am_recv_handler,
            (ucp_worker_h a, const ucp_am_handler_param_t* b),
            (a, b))

BENCHFS_UCP(ucs_status_t,
            ucp_listener_create,
            (ucp_worker_h a, const ucp_listener_params_t* b, ucp_listener_h* c),
            (a, b, c))
BENCHFS_UCP(void, ucp_listener_destroy, (ucp_listener_h a), (a))
BENCHFS_UCP(ucs_status_t, ucp_listener_query, (ucp_listener_h a, ucp_listener_attr_t* b), (a, b))
BENCHFS_UCP(ucs_status_t, ucp_listener_reject, (ucp_listener_h a, ucp_conn_request_h b), (a, b))
BENCHFS_UCP(ucs_status_t,
            ucp_conn_request_query,
            (ucp_conn_request_h a, ucp_conn_request_attr_t* b),
            (a, b))

BENCHFS_UCP(ucs_status_t,
            ucp_ep_create,
            (ucp_worker_h a, const ucp_ep_params_t* b, ucp_ep_h* c),
            (a, b, c))
BENCHFS_UCP(ucs_status_ptr_t, ucp_ep_close_nbx, (ucp_ep_h a, const ucp_request_param_t* b), (a, b))
BENCHFS_UCP(ucs_status_ptr_t, ucp_ep_flush_nbx, (ucp_ep_h a, const ucp_request_param_t* b), (a, b))
BENCHFS_UCP(ucs_status_ptr_t,
            ucp_am_send_nbx,
            (ucp_ep_h a,
             unsigned b,
             const void* c,
             std::size_t d,
             const void* e,
             std::size_t f,
             const ucp_request_param_t* g),
            (a, b, c, d, e, f, g))
BENCHFS_UCP(ucs_status_ptr_t,
            ucp_am_recv_data_nbx,
            (ucp_worker_h a, void* b, void* c, std::size_t d, const ucp_request_param_t* e),
            (a, b, c, d, e))
BENCHFS_UCP(void, ucp_am_data_release, (ucp_worker_h a, void* b), (a, b))
BENCHFS_UCP(ucs_status_t, ucp_request_check_status, (void* a), (a))
BENCHFS_UCP(void, ucp_request_free, (void* a), (a))
