// Many ranges of one open file in one call, side by side: as many reads or writes (data_io.h), of
// which a few are under way at a time.
//
// Thread: the client's reactor. Extents and their memory are borrowed until the task completes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/error.h"
#include "client/backend.h"
#include "client/io/data_io.h"
#include "client/io/open_file.h"

namespace benchfs::client {

// A range of a file, and the memory that it is read into or written from.
struct Extent {
  std::uint64_t offset = 0;
  std::span<std::byte> bytes;  // writes leave them alone
  Result<std::size_t> done = 0;
};

class ListIo {
 public:
  ListIo(Backend& backend, DataIo& data) : backend_(backend), data_(data) {}
  ListIo(const ListIo&) = delete;
  ListIo& operator=(const ListIo&) = delete;

  // Sets `done` of each extent to what DataIo::read() or write() says of it. The order is not told:
  // extents that overlap may be written in any. Errors: kCancelled, the client is closing.
  rt::CoStatus read(OpenFile& file, std::span<Extent> extents);
  rt::CoStatus write(OpenFile& file, std::span<Extent> extents);

 private:
  struct List;
  rt::CoStatus run(List& list);
  rt::Task<void> take_extents(List* list);

  Backend& backend_;
  DataIo& data_;
};

}  // namespace benchfs::client
