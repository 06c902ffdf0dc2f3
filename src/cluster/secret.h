// The cluster secret: random bytes that the servers and clients of one file system share, and the
// proof of knowing them (HMAC-SHA-512-256 of libsodium).
//
// It is the file "secret" in the registry directory, readable by its owner alone. The first server
// makes it, clients only read it: anybody who may read the owner's files may join the file system.
//
// Thread: any; a Secret does not change. read() and read_or_make() block on files: start-up only.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>

#include "base/error.h"

namespace benchfs::cluster {

class Secret {
 public:
  static constexpr std::size_t kBytes = 32;
  using Proof = std::array<std::byte, 32>;

  // Errors name the file and what to do. kConfig: missing, or its size, type, mode or owner are
  // wrong; kSystem.
  static Result<Secret> read(const std::string& dir);
  // The same; makes the file when it is missing. Several processes may try at once: all get the
  // secret of one of them.
  static Result<Secret> read_or_make(const std::string& dir);

  [[nodiscard]] Proof prove(std::span<const std::byte> message) const;
  // Takes as long for a wrong proof as for the right one.
  [[nodiscard]] bool verify(const Proof& proof, std::span<const std::byte> message) const;

  // Of the file.
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit Secret(std::string path) : path_(std::move(path)) {}
  std::string path_;
  std::array<unsigned char, kBytes> key_{};
};

}  // namespace benchfs::cluster
