#include "client/nodes/directory_reader.h"

#include <cerrno>
#include <utility>

namespace benchfs::client {
namespace {

constexpr std::size_t kPageEntries = 1024;

}  // namespace

std::span<const DirectoryReader::Entry> DirectoryReader::buffered(std::uint64_t position) const {
  if (position == page_from_) {
    return page_;
  }
  if (page_.empty() || position < page_.front().next || position > page_.back().next) {
    return {};
  }
  return std::span(page_).subspan(position - page_.front().next + 1);
}

rt::CoStatus DirectoryReader::fill(std::uint64_t position, bool with_attributes) {
  if (position == 0) {
    names_.clear();
  }
  page_.clear();
  is_filled_ = false;
  if (position > names_.size()) {
    co_return fail_errno(EINVAL);
  }
  std::string after = position == 0 ? std::string() : names_[position - 1];
  Deadline by = backend_.metadata_deadline();
  Result<std::vector<DirEntry>> listed =
      with_attributes
          ? co_await nodes_.list(directory_, std::move(after), kPageEntries, by)
          : co_await list_page(backend_, directory_, std::move(after), kPageEntries, by);
  if (!listed && listed.error().is_posix(ESTALE)) {
    Error why = co_await open_files_.explain_gone(directory_, std::move(listed.error()), by);
    if (!why.is_posix(ESTALE)) {
      co_return std::unexpected(std::move(why));
    }
    listed = std::vector<DirEntry>{};
  }
  if (!listed) {
    co_return std::unexpected(std::move(listed.error()));
  }
  page_from_ = position;
  for (DirEntry& entry : *listed) {
    names_.push_back(entry.name);
    page_.push_back({.entry = std::move(entry), .next = names_.size()});
  }
  is_filled_ = true;
  co_return Status{};
}

rt::CoResult<std::span<const DirectoryReader::Entry>> DirectoryReader::read(std::uint64_t position,
                                                                            bool with_attributes) {
  Deadline by = backend_.metadata_deadline();
  while (is_filling_) {
    BENCHFS_CO_TRY_VOID(rt::wake_status(co_await turns_.wait(by), "reading the directory"));
  }
  if (is_filled_ && position != 0) {
    std::span<const Entry> known = buffered(position);
    if (!known.empty()) {
      co_return known;
    }
  }
  is_filling_ = true;
  Status filled = co_await fill(position, with_attributes);
  is_filling_ = false;
  turns_.wake_all();
  BENCHFS_CO_TRY_VOID(std::move(filled));
  co_return page_;
}

}  // namespace benchfs::client
