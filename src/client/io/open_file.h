// One open of a file or directory by this client.
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/error.h"
#include "wire/attr.h"
#include "wire/messages.h"

namespace benchfs::client {

struct OpenFile : std::enable_shared_from_this<OpenFile> {
  // As the table of open files keeps it (io/open_table.h).
  using Hook = boost::intrusive::list_member_hook<
      boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;

  OpenFile(std::uint64_t open_number, std::uint32_t open_flags)
      : number(open_number), flags(open_flags) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() = default;

  std::uint64_t number;  // that the inode's home knows this open by
  std::uint32_t flags;   // wire::OpenFlags
  wire::Attr attr;       // as last heard from the home; inode 0 until the home has opened it
  // How far it may reach, by that and by what was read and written since: a guess.
  std::uint64_t size_hint = 0;
  bool is_open = false;
  bool must_reopen = false;    // the home has forgotten this client
  std::optional<Error> stale;  // why the file is gone: every use of it fails with that
  Hook hook;

  void hear(const wire::Attr& now) {
    attr = now;
    size_hint = now.size;
  }
  [[nodiscard]] wire::InodeId id() const { return attr.id(); }
  [[nodiscard]] const wire::Layout& layout() const { return attr.layout; }
  [[nodiscard]] bool can_read() const { return (flags & wire::kOpenRead) != 0; }
  [[nodiscard]] bool can_write() const { return (flags & wire::kOpenWrite) != 0; }
  [[nodiscard]] bool is_append() const { return (flags & wire::kOpenAppend) != 0; }
};

}  // namespace benchfs::client
