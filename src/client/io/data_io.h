// Reading and writing an open file: a request is cut by chunk and transfer size, and its parts run
// side by side; those of shards that share their memory are copied by the program (direct_io.h).
//
// A write that has returned is part of the file, whoever asks for its size and whatever becomes of
// this client: the servers have told the file's home before they answered. A file that is gone
// makes its handle stale (OpenFiles::on_error).
//
// Thread: the client's reactor. Buffers are borrowed until the task completes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "client/backend.h"
#include "client/io/direct_io.h"
#include "client/io/open_file.h"
#include "client/io/open_files.h"
#include "cluster/placement.h"
#include "rt/sync.h"

namespace benchfs::client {

// Where appended bytes went, and how many of them were stored.
struct Appended {
  std::uint64_t offset = 0;
  std::size_t bytes = 0;
};

class DataIo {
 public:
  DataIo(Backend& backend, OpenFiles& open_files)
      : backend_(backend), open_files_(open_files), direct_(backend) {}
  DataIo(const DataIo&) = delete;
  DataIo& operator=(const DataIo&) = delete;

  // Finds bytes that this program can copy by itself, without asking anybody: the first of a range,
  // at most to the end of their chunk. Suspends nowhere; see Driver::run_now().
  void find_to_read(const OpenFile& file,
                    std::uint64_t offset,
                    std::size_t length,
                    link::SlotRange& found);
  void find_to_write(const OpenFile& file,
                     std::uint64_t offset,
                     std::size_t length,
                     link::SlotRange& found);
  // Copies a range in such parts: find(done, left, found) and copy(done, found) are called for
  // each, until one is not found or not copied. Then it is of no use that others could be: half of
  // a read with the other half by requests would be of two moments, between which the file may have
  // been cut. False: it is left to the calls below; of a write, some bytes may be there.
  template <typename Find, typename Copy>
  static bool copy_now(std::size_t length, Find find, Copy copy) {
    for (std::size_t done = 0; done < length;) {
      link::SlotRange found;
      find(done, length - done, found);
      if (found.slots == nullptr || copy(done, found) != link::SlotCopy::kDone) {
        return false;
      }
      done += found.bytes.size();
    }
    return true;
  }
  // Both, by the reactor's thread.
  bool read_now(const OpenFile& file, std::uint64_t offset, std::span<std::byte> into);
  bool write_now(const OpenFile& file, std::uint64_t offset, std::span<const std::byte> from);

  // Bytes read; fewer than asked only at the end of the file. Holes read as zeros.
  rt::CoResult<std::size_t> read(OpenFile& file, std::uint64_t offset, std::span<std::byte> into);
  // Bytes written: fewer than asked when the space ran out after them, as write(2). ENOSPC, EDQUOT,
  // EFBIG. After an error some of the bytes may have been stored.
  rt::CoResult<std::size_t> write(OpenFile& file,
                                  std::uint64_t offset,
                                  std::span<const std::byte> from);
  // Atomically at the end of the file, whoever else appends. What a truncation overtakes has been
  // appended before it: what it left is stored, the rest is cut.
  rt::CoResult<Appended> append(OpenFile& file, std::span<const std::byte> from);
  // Bytes copied from one file to another, or within one: fewer than asked at the end of `from`,
  // and when they are many. EINVAL: the ranges overlap. EBADF: also when `to` is for appending. The
  // servers copy what is long enough (copies.cc). `source_failed` tells which file an error is of.
  rt::CoResult<std::size_t> copy(OpenFile& from,
                                 std::uint64_t from_offset,
                                 OpenFile& to,
                                 std::uint64_t to_offset,
                                 std::uint64_t length,
                                 bool* source_failed = nullptr);
  // Less is read and written sooner than it is copied by a server.
  static constexpr std::uint64_t kLeastAtServers = std::uint64_t{128} << 10;

 private:
  struct Transfer;
  // The parts of an append that are stored: offset in the file, length.
  using Stored = std::unordered_map<std::uint64_t, std::uint64_t>;
  rt::Task<void> run(Transfer& transfer);
  rt::Task<void> transfer_spans(Transfer* transfer);
  rt::CoStatus transfer_span(Transfer& transfer, cluster::ChunkSpan span);
  rt::CoStatus read_span(Transfer& transfer, cluster::ChunkSpan span);
  rt::CoStatus write_span(Transfer& transfer, cluster::ChunkSpan span);
  rt::CoResult<std::size_t> read_range(OpenFile& file,
                                       std::uint64_t offset,
                                       std::span<std::byte> whole);
  rt::CoResult<std::size_t> write_range(OpenFile& file,
                                        std::uint64_t offset,
                                        std::span<const std::byte> from,
                                        std::uint64_t truncation,
                                        Stored* stored = nullptr);
  // Asks the home of the file.
  rt::CoResult<wire::AppendReply> ask_place(OpenFile& file,
                                            wire::AppendRequest request,
                                            Deadline by);
  // The beginning of a range of a file, in one chunk.
  struct Part {
    wire::ShardId shard;
    wire::ChunkKey key;
    std::uint32_t inside = 0;  // the chunk
    std::size_t length = 0;
  };
  static std::optional<Part> first_part(const OpenFile& file,
                                        std::uint64_t offset,
                                        std::size_t length);
  struct Copying;
  rt::CoResult<std::size_t> copy_at_servers(Copying& copying);
  rt::Task<void> copy_parts(Copying* copying);
  // `reading`: whether an error is the source's.
  rt::CoResult<std::size_t> copy_chunk(
      Copying& copying, std::uint64_t at, Part from, Part to, std::size_t length, bool& reading);
  // By a read and a write.
  rt::CoResult<std::size_t> copy_through(Copying& copying,
                                         std::uint64_t at,
                                         std::size_t length,
                                         bool& reading);
  // Copies at one server that are under way are bounded: those that wait for another server must
  // not take up the window that all other requests to it need.
  rt::CoStatus begin_copy(wire::ShardId shard, Deadline by);
  void end_copy(wire::ShardId shard);
  [[nodiscard]] std::uint32_t max_transfer() const;

  Backend& backend_;
  OpenFiles& open_files_;
  DirectIo direct_;
  std::vector<std::uint32_t> copies_;  // under way, by the shard that copies
  rt::WaitQueue copy_ended_;
};

}  // namespace benchfs::client
