#include "cluster/secret.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/check.h"
#include "base/random.h"

namespace benchfs::cluster {
namespace {

namespace fs = std::filesystem;

static_assert(Secret::kBytes == crypto_auth_KEYBYTES);
static_assert(sizeof(Secret::Proof) == crypto_auth_BYTES);

fs::path secret_path(const fs::path& dir) {
  return dir / "secret";
}

void start_sodium() {
  static const bool started = sodium_init() >= 0;
  BENCHFS_CHECK(started);
}

const unsigned char* bytes_of(std::span<const std::byte> message) {
  return reinterpret_cast<const unsigned char*>(message.data());
}

std::unexpected<Error> fail_file(const std::string& path, std::string_view problem) {
  return fail(Errc::kConfig, fmt::format("cluster secret {} {}", path, problem));
}

// What is wrong with the file, and the way out.
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

// Reads the key. O_NONBLOCK: a pipe in place of the file must not hang the reader.
Status read_key(const std::string& path, std::span<unsigned char> key) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) {
    return errno == ENOENT
               ? fail_file(path, "is missing; is this the registry directory of servers that run?")
           : errno == ELOOP
               ? fail_file(path, "is a symbolic link; remove it, the servers make a new one")
               : fail_system(errno, fmt::format("cluster secret {}", path));
  }
  struct stat info{};
  Status status = ::fstat(fd, &info) == 0
                      ? check_file(path, info)
                      : fail_system(errno, fmt::format("cluster secret {}", path));
  if (status && ::read(fd, key.data(), key.size()) != static_cast<ssize_t>(key.size())) {
    status = fail_system(EIO, fmt::format("cluster secret {}", path));
  }
  ::close(fd);
  return status;
}

// Makes the file unless it is there. It appears whole, under a name that only one can give.
Status make_file(const std::string& path) {
  std::array<unsigned char, Secret::kBytes> key;
  randombytes_buf(key.data(), key.size());
  std::string temporary = fmt::format("{}.{:016x}", path, random_id());
  int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) {
    return fail_system(errno, fmt::format("making cluster secret {}", temporary));
  }
  ssize_t put = ::write(fd, key.data(), key.size());
  int error = put == static_cast<ssize_t>(key.size()) ? 0 : put < 0 ? errno : ENOSPC;
  if (error == 0 && (::fsync(fd) != 0 || ::link(temporary.c_str(), path.c_str()) != 0)) {
    error = errno == EEXIST ? 0 : errno;  // another server was first
  }
  ::close(fd);
  ::unlink(temporary.c_str());
  return error == 0 ? Status{} : fail_system(error, fmt::format("making cluster secret {}", path));
}

}  // namespace

Result<Secret> Secret::read(const fs::path& dir) {
  start_sodium();
  Secret secret(secret_path(dir).native());
  BENCHFS_TRY_VOID(read_key(secret.path_, secret.key_));
  return secret;
}

Result<Secret> Secret::read_or_make(const fs::path& dir) {
  start_sodium();
  std::string path = secret_path(dir).native();
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0 && errno == ENOENT) {
    BENCHFS_TRY_VOID(make_file(path));
  }
  return read(dir);
}

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

void fill_random(std::span<std::byte> out) {
  start_sodium();
  randombytes_buf(out.data(), out.size());
}

}  // namespace benchfs::cluster
