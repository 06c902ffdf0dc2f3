// The one error type of the project.
//
// An Error says what failed (`code`), the POSIX errno a file-system caller should see (`posix`),
// and a sentence of context that names file, node and operation. The sentence is built only on
// failure. Three kinds of trouble have three answers: a wrong program is a BENCHFS_CHECK
// (base/check.h), an expected failure is a Result, an impossible start-up is one log line and an
// exit code. No exception crosses a folder.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace benchfs {

// Stable on the wire: never renumber. One block of numbers a layer.
enum class Errc : std::uint16_t {
  kOk = 0,
  // A file-system answer; Error::posix holds the errno. Retrying gives the same answer.
  kPosix = 1,

  kInvalidArgument = 100,  // the caller's argument; never retry
  kDeadline = 101,         // the deadline passed; the effect may have happened
  kCancelled = 102,        // the operation was asked to stop
  kLimit = 103,            // a configured or protocol limit was reached
  kSystem = 104,           // a system call failed; Error::posix holds its errno
  kInternal = 105,         // a bug on the answering side
  kConfig = 106,           // configuration file or server list is wrong

  kMalformed = 200,      // a message that does not parse; never retry
  kUnknownOpcode = 201,  // the server does not know the operation
  kVersion = 202,        // protocol versions differ
  kStaleRun = 203,       // the server belongs to another run than the server list

  kUnreachable = 300,   // no connection could be made; retry may help
  kDisconnected = 301,  // the connection broke; the effect may have happened
  kTransport = 302,     // UCX reported another failure

  kUnknownSession = 400,  // not registered, or evicted; register again and retry
  kRefused = 401,         // registration refused (identity, secret, capacity)
  kNotReady = 402,        // the server is starting or stopping; retry after a pause
  kBusy = 403,            // a conflicting operation is under way; retry after a pause
  kDataLost = 404,        // the server started again, and what it held of the file may be lost
};

// Short English name of a code, e.g. "deadline".
std::string_view to_string(Errc code);

struct [[nodiscard]] Error {
  Errc code = Errc::kInternal;
  int posix = 0;  // errno; 0 means "derive it from code"
  std::string context;

  // A file-system answer such as ENOENT.
  static Error from_errno(int posix_errno, std::string context = {}) {
    return Error{Errc::kPosix, posix_errno, std::move(context)};
  }
  // A failed system call of our own.
  static Error from_system(int posix_errno, std::string context) {
    return Error{Errc::kSystem, posix_errno, std::move(context)};
  }

  // The errno to hand to a C caller: always > 0.
  [[nodiscard]] int to_errno() const;
  // "context: code (errno text)", ready for a user.
  [[nodiscard]] std::string message() const;
  // Puts "prefix: " before the context.
  Error&& with_prefix(std::string_view prefix) &&;
  [[nodiscard]] bool is_posix(int posix_errno) const {
    return code == Errc::kPosix && posix == posix_errno;
  }
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = Result<void>;

inline std::unexpected<Error> fail(Errc code, std::string context) {
  return std::unexpected(Error{code, 0, std::move(context)});
}
inline std::unexpected<Error> fail_errno(int posix_errno, std::string context = {}) {
  return std::unexpected(Error::from_errno(posix_errno, std::move(context)));
}
inline std::unexpected<Error> fail_system(int posix_errno, std::string context) {
  return std::unexpected(Error::from_system(posix_errno, std::move(context)));
}

}  // namespace benchfs

#define BENCHFS_CONCAT_INNER(a, b) a##b
#define BENCHFS_CONCAT(a, b) BENCHFS_CONCAT_INNER(a, b)

// BENCHFS_TRY(auto value, expression); returns the error of a failed Result, else binds its value.
#define BENCHFS_TRY(decl, ...) \
  BENCHFS_TRY_IMPL(BENCHFS_CONCAT(benchfs_try_, __COUNTER__), return, decl, __VA_ARGS__)
// The same inside a coroutine: BENCHFS_CO_TRY(auto value, co_await task()).
#define BENCHFS_CO_TRY(decl, ...) \
  BENCHFS_TRY_IMPL(BENCHFS_CONCAT(benchfs_try_, __COUNTER__), co_return, decl, __VA_ARGS__)
#define BENCHFS_TRY_IMPL(tmp, ret, decl, ...)    \
  auto tmp = (__VA_ARGS__);                      \
  if (!tmp) [[unlikely]]                         \
    ret std::unexpected(std::move(tmp).error()); \
  decl = *std::move(tmp)

// The same for a Status, or for a Result whose value is not wanted.
#define BENCHFS_TRY_VOID(...) \
  BENCHFS_TRY_VOID_IMPL(BENCHFS_CONCAT(benchfs_try_, __COUNTER__), return, __VA_ARGS__)
#define BENCHFS_CO_TRY_VOID(...) \
  BENCHFS_TRY_VOID_IMPL(BENCHFS_CONCAT(benchfs_try_, __COUNTER__), co_return, __VA_ARGS__)
#define BENCHFS_TRY_VOID_IMPL(tmp, ret, ...)       \
  if (auto tmp = (__VA_ARGS__); !tmp) [[unlikely]] \
  ret std::unexpected(std::move(tmp).error())
