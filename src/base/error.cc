#include "base/error.h"

#include <cerrno>
#include <system_error>

namespace benchfs {

std::string_view to_string(Errc code) {
  switch (code) {
    case Errc::kOk:
      return "ok";
    case Errc::kPosix:
      return "file system";
    case Errc::kInvalidArgument:
      return "invalid argument";
    case Errc::kDeadline:
      return "deadline exceeded";
    case Errc::kCancelled:
      return "cancelled";
    case Errc::kLimit:
      return "limit reached";
    case Errc::kSystem:
      return "system call failed";
    case Errc::kInternal:
      return "internal error";
    case Errc::kConfig:
      return "configuration error";
    case Errc::kMalformed:
      return "malformed message";
    case Errc::kUnknownOpcode:
      return "unknown operation";
    case Errc::kVersion:
      return "protocol version mismatch";
    case Errc::kStaleRun:
      return "server belongs to another run";
    case Errc::kUnreachable:
      return "server unreachable";
    case Errc::kDisconnected:
      return "connection lost";
    case Errc::kTransport:
      return "transport error";
    case Errc::kUnknownSession:
      return "unknown session";
    case Errc::kRefused:
      return "registration refused";
    case Errc::kNotReady:
      return "server not ready";
    case Errc::kBusy:
      return "busy";
    case Errc::kDataLost:
      return "data lost";
  }
  return "unknown error";
}

int Error::to_errno() const {
  if (posix > 0) {
    return posix;
  }
  switch (code) {
    case Errc::kInvalidArgument:
    case Errc::kConfig:
      return EINVAL;
    case Errc::kDeadline:
      return ETIMEDOUT;
    case Errc::kCancelled:
      return ECANCELED;
    case Errc::kLimit:
      return EOVERFLOW;
    case Errc::kMalformed:
    case Errc::kUnknownOpcode:
    case Errc::kVersion:
      return EPROTO;
    case Errc::kStaleRun:
      return ESTALE;
    case Errc::kUnreachable:
      return EHOSTUNREACH;
    case Errc::kDisconnected:
      return ECONNRESET;
    case Errc::kUnknownSession:
      return ENOTCONN;
    case Errc::kRefused:
      return ECONNREFUSED;
    case Errc::kNotReady:
      return EAGAIN;
    case Errc::kBusy:
      return EBUSY;
    case Errc::kOk:
    case Errc::kPosix:
    case Errc::kSystem:
    case Errc::kInternal:
    case Errc::kTransport:
    case Errc::kDataLost:
      return EIO;
  }
  return EIO;
}

std::string Error::message() const {
  std::string what =
      posix > 0 ? std::generic_category().message(posix) : std::string(to_string(code));
  return context.empty() ? what : context + ": " + what;
}

Error&& Error::with_prefix(std::string_view prefix) && {
  std::string text(prefix);
  if (!context.empty()) {
    text += ": ";
    text += context;
  }
  context = std::move(text);
  return std::move(*this);
}

}  // namespace benchfs
