#include "doors/frames.h"

#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace benchfs::test {
namespace {

bool send_all(int fd, const char* bytes, std::size_t size) {
  while (size > 0) {
    ssize_t sent = ::write(fd, bytes, size);
    if (sent < 0 && errno == EINTR) {
      continue;
    }
    if (sent <= 0) {
      return false;
    }
    bytes += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

bool receive_all(int fd, char* bytes, std::size_t size) {
  while (size > 0) {
    ssize_t got = ::read(fd, bytes, size);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return false;
    }
    bytes += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

bool send_frame(int fd, std::string_view bytes) {
  std::uint64_t size = bytes.size();
  return send_all(fd, reinterpret_cast<const char*>(&size), sizeof size) &&
         send_all(fd, bytes.data(), bytes.size());
}

std::optional<std::string> receive_frame(int fd) {
  std::uint64_t size = 0;
  if (!receive_all(fd, reinterpret_cast<char*>(&size), sizeof size)) {
    return std::nullopt;
  }
  std::string bytes(size, '\0');
  if (!receive_all(fd, bytes.data(), size)) {
    return std::nullopt;
  }
  return bytes;
}

}  // namespace benchfs::test
