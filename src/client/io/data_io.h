// Reading and writing an open file: a request is cut by chunk and transfer size, and its parts run
// side by side.
//
// Thread: the client's reactor. Buffers are borrowed until the task completes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "client/backend.h"
#include "client/inodes/inodes.h"
#include "client/io/open_file.h"
#include "cluster/placement.h"

namespace benchfs::client {

class DataIo {
 public:
  DataIo(Backend& backend, Inodes& inodes) : backend_(backend), inodes_(inodes) {}
  DataIo(const DataIo&) = delete;
  DataIo& operator=(const DataIo&) = delete;

  // Bytes read; fewer than asked only at the end of the file. Holes read as zeros.
  rt::CoResult<std::size_t> read(OpenFile& file, std::uint64_t offset, std::span<std::byte> into);
  // Writes all of it or fails. ENOSPC, EFBIG.
  rt::CoStatus write(OpenFile& file, std::uint64_t offset, std::span<const std::byte> from);
  // Atomically at the end of the file, whoever else appends; returns the offset it went to.
  rt::CoResult<std::uint64_t> append(OpenFile& file, std::span<const std::byte> from);

 private:
  struct Transfer;
  rt::CoStatus run_transfer(Transfer& transfer, std::size_t spans);
  rt::Task<void> transfer_spans(Transfer* transfer);
  rt::CoStatus transfer_span(Transfer& transfer, cluster::ChunkSpan span);
  rt::CoStatus read_span(Transfer& transfer, cluster::ChunkSpan span);
  rt::CoStatus write_span(Transfer& transfer, cluster::ChunkSpan span);
  [[nodiscard]] std::uint32_t max_transfer() const;

  Backend& backend_;
  Inodes& inodes_;
};

}  // namespace benchfs::client
