#include "cluster/secret.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/random.h"
#include "base/safe_dir.h"

namespace benchfs::cluster {
namespace {

static_assert(Secret::kBytes == crypto_auth_KEYBYTES);
static_assert(sizeof(Secret::Proof) == crypto_auth_BYTES);

constexpr const char* kName = "secret";

const unsigned char* bytes_of(std::span<const std::byte> message) {
  return reinterpret_cast<const unsigned char*>(message.data());
}

std::unexpected<Error> fail_file(const std::string& path, std::string_view problem) {
  return fail(Errc::kConfig, fmt::format("cluster secret {} {}", path, problem));
}

// Checks the file; an error says what is wrong and what to do about it.
Status check_file(const std::string& path, const struct stat& info) {
  if (!S_ISREG(info.st_mode)) {
    return fail_file(path, "is not a regular file; remove it, the servers make a new one");
  }
  if (info.st_uid != geteuid()) {
    return fail_file(path,
                     fmt::format("belongs to user {}, and this process runs as user {}; use a "
                                 "registry directory of your own",
                                 info.st_uid,
                                 geteuid()));
  }
  if ((info.st_mode & 077) != 0) {
    return fail_file(path,
                     fmt::format("has mode {:04o}: others may know it; remove it and start the "
                                 "servers again, or if nobody has seen it, chmod 600 it",
                                 info.st_mode & 07777));
  }
  if (info.st_size != Secret::kBytes) {
    return fail_file(path,
                     fmt::format("has {} bytes and not {}; remove it and start the servers again",
                                 info.st_size,
                                 Secret::kBytes));
  }
  return {};
}

// Reads the key. SafeDir::open_file() is not used because the advice for a secret differs.
// O_NONBLOCK keeps a pipe in place of the file from blocking the reader.
Status read_key(const SafeDir& dir, std::span<unsigned char> key) {
  std::string path = dir.path_of(kName);
  Fd fd(::openat(dir.fd(), kName, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd.is_open()) {
    return errno == ENOENT
               ? fail_file(path, "is missing; is this the registry directory of servers that run?")
           : errno == ELOOP
               ? fail_file(path, "is a symbolic link; remove it, the servers make a new one")
               : fail_system(errno, fmt::format("cluster secret {}", path));
  }
  struct stat info{};
  if (::fstat(fd.get(), &info) != 0) {
    return fail_system(errno, fmt::format("cluster secret {}", path));
  }
  BENCHFS_TRY_VOID(check_file(path, info));
  if (::read(fd.get(), key.data(), key.size()) != static_cast<ssize_t>(key.size())) {
    return fail_system(EIO, fmt::format("cluster secret {}", path));
  }
  return {};
}

// Creates the file unless it exists. It is linked into place complete, so only one process wins.
Status make_file(const SafeDir& dir) {
  std::array<unsigned char, Secret::kBytes> key;
  fill_random(std::as_writable_bytes(std::span(key)));
  std::string temporary = fmt::format("{}.{:016x}", kName, random_id());
  BENCHFS_TRY(Fd fd, dir.open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600));
  ssize_t put = ::write(fd.get(), key.data(), key.size());
  int error = put == static_cast<ssize_t>(key.size()) ? 0 : put < 0 ? errno : ENOSPC;
  if (error == 0 &&
      (::fsync(fd.get()) != 0 || ::linkat(dir.fd(), temporary.c_str(), dir.fd(), kName, 0) != 0)) {
    error = errno == EEXIST ? 0 : errno;  // another server was first
  }
  dir.remove_file(temporary);
  return error == 0
             ? Status{}
             : fail_system(error, fmt::format("making cluster secret {}", dir.path_of(kName)));
}

Result<SafeDir> open_directory(const std::string& path) {
  Result<SafeDir> dir = SafeDir::open(path);
  if (!dir) {
    return dir.error().code == Errc::kConfig
               ? std::unexpected(std::move(dir.error()).with_prefix("cluster secret"))
               : fail_system(dir.error().posix, fmt::format("cluster secret {}/{}", path, kName));
  }
  return dir;
}

}  // namespace

Result<Secret> Secret::read(const std::string& path) {
  BENCHFS_TRY(SafeDir dir, open_directory(path));
  Secret secret(dir.path_of(kName));
  BENCHFS_TRY_VOID(read_key(dir, secret.key_));
  return secret;
}

Result<Secret> Secret::read_or_make(const std::string& path) {
  BENCHFS_TRY(SafeDir dir, open_directory(path));
  if (!dir.exists(kName)) {
    BENCHFS_TRY_VOID(make_file(dir));
  }
  return read(path);
}

// Without sodium_init(): it chooses between implementations of other algorithms by what the
// processor can do, and asking that takes a virtual machine some 0.1 ms. HMAC-SHA-512-256 has one.
Secret::Proof Secret::prove(std::span<const std::byte> message) const {
  Proof proof;
  crypto_auth(reinterpret_cast<unsigned char*>(proof.data()),
              bytes_of(message),
              message.size(),
              key_.data());
  return proof;
}

bool Secret::verify(const Proof& proof, std::span<const std::byte> message) const {
  return crypto_auth_verify(reinterpret_cast<const unsigned char*>(proof.data()),
                            bytes_of(message),
                            message.size(),
                            key_.data()) == 0;
}

}  // namespace benchfs::cluster
