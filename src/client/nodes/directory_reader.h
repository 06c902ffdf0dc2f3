// A directory as an open handle reads it: by positions that stay valid while the directory changes.
//
// A position names the last entry that was read, not a number of entries, so a later read from it
// goes on after that name, whatever was created or removed meanwhile: an entry that exists
// throughout is seen exactly once. Every position that was handed out since the last read from the
// start can be read from again (seekdir). The reader keeps the names behind these positions: about
// 40 bytes an entry.
//
// Thread: the client's reactor. Reads may overlap; they take turns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "client/backend.h"
#include "client/inodes/listing.h"
#include "client/io/open_files.h"
#include "client/nodes/nodes.h"
#include "rt/sync.h"

namespace benchfs::client {

class DirectoryReader {
 public:
  struct Entry {
    DirEntry entry;
    std::uint64_t next = 0;  // the position after it
  };

  DirectoryReader(Backend& backend, OpenFiles& open_files, Nodes& nodes, wire::InodeId directory)
      : backend_(backend), open_files_(open_files), nodes_(nodes), directory_(directory) {}
  DirectoryReader(const DirectoryReader&) = delete;
  DirectoryReader& operator=(const DirectoryReader&) = delete;

  [[nodiscard]] wire::InodeId directory() const { return directory_; }

  // Entries from `position` on, 0 being the start; at least one unless the end is reached, valid
  // until the next read. Reading from the start forgets all earlier positions. A directory that was
  // removed has no entries. EINVAL: no such position. With attributes: what servers are asked for
  // is learned by the cache of Nodes.
  rt::CoResult<std::span<const Entry>> read(std::uint64_t position, bool with_attributes = false);

 private:
  [[nodiscard]] std::span<const Entry> buffered(std::uint64_t position) const;
  rt::CoStatus fill(std::uint64_t position, bool with_attributes);

  Backend& backend_;
  OpenFiles& open_files_;
  Nodes& nodes_;
  wire::InodeId directory_;
  std::vector<std::string> names_;  // position p is the one after names_[p - 1]
  std::vector<Entry> page_;         // as last listed; its positions follow each other
  std::uint64_t page_from_ = 0;     // the position that it was listed from
  bool is_filled_ = false;
  bool is_filling_ = false;
  rt::WaitQueue turns_;
};

}  // namespace benchfs::client
