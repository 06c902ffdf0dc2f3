// Decoding of request bodies, the same way for every operation.
#pragma once

#include "rpc/request.h"
#include "server/entry_key.h"
#include "wire/name.h"

namespace benchfs::server {

inline Error malformed() {
  return Error{Errc::kMalformed, 0, {}};
}

// The fixed struct alone.
template <typename Body>
Result<Body> decode(const rpc::Request& request) {
  Body body;
  wire::Reader reader = request.reader();
  if (!reader.read(body)) {
    return std::unexpected(malformed());
  }
  return body;
}

// The fixed struct and the entry (parent, name) it is about, whose name is the request's.
template <typename Body>
Result<EntryRef> decode_entry(const rpc::Request& request, Body& body) {
  wire::Reader reader = request.reader();
  if (!reader.read(body)) {
    return std::unexpected(malformed());
  }
  std::string_view name = reader.read_text(body.name_bytes);
  if (!reader.ok()) {
    return std::unexpected(malformed());
  }
  if (int code = wire::check_name(name); code != 0) {
    return fail_errno(code);
  }
  return EntryRef{wire::InodeId{body.parent}, name};
}

}  // namespace benchfs::server

// Binds the value of a Result, or answers the request with its error and ends the handler.
#define BENCHFS_SERVE_TRY(decl, request, ...) \
  BENCHFS_SERVE_TRY_IMPL(BENCHFS_CONCAT(benchfs_serve_, __COUNTER__), decl, request, __VA_ARGS__)
#define BENCHFS_SERVE_TRY_IMPL(tmp, decl, request, ...) \
  auto tmp = (__VA_ARGS__);                             \
  if (!tmp) [[unlikely]] {                              \
    co_await (request).reply_error(tmp.error());        \
    co_return;                                          \
  }                                                     \
  decl = *std::move(tmp)
// The same for a Status.
#define BENCHFS_SERVE_TRY_VOID(request, ...) \
  BENCHFS_SERVE_TRY_VOID_IMPL(BENCHFS_CONCAT(benchfs_serve_, __COUNTER__), request, __VA_ARGS__)
#define BENCHFS_SERVE_TRY_VOID_IMPL(tmp, request, ...) \
  if (auto tmp = (__VA_ARGS__); !tmp) [[unlikely]] {   \
    co_await (request).reply_error(tmp.error());       \
    co_return;                                         \
  }
