// Listing directories.
#include <sys/stat.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "mount/door.h"

namespace benchfs::mount {
namespace {

// "." and ".." come first: the kernel's offset is the reader's position and these two.
constexpr std::uint64_t kDots = 2;

// Entries in the form that the kernel takes, up to `bytes`.
class Page {
 public:
  Page(fuse_req_t request, std::size_t bytes) : request_(request), page_(bytes) {}

  // False: it does not fit any more.
  bool add(const char* name, wire::InodeId inode, std::uint32_t type, std::uint64_t next) {
    struct stat attr{};
    attr.st_ino = inode.value;
    attr.st_mode = type;
    std::size_t room = page_.size() - used_;
    std::size_t needed = fuse_add_direntry(
        request_, page_.data() + used_, room, name, &attr, static_cast<off_t>(next));
    if (needed > room) {
      return false;
    }
    used_ += needed;
    return true;
  }
  [[nodiscard]] bool is_empty() const { return used_ == 0; }
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(page_)).first(used_);
  }

 private:
  fuse_req_t request_;
  std::vector<char> page_;
  std::size_t used_ = 0;
};

}  // namespace

rt::Task<void> Door::open_directory(fuse_req_t req, wire::InodeId inode, fuse_file_info info) {
  Request request(req, &holds_);
  constexpr std::uint32_t kFlags = wire::kOpenRead | wire::kOpenDirectory;
  Result<std::shared_ptr<client::OpenFile>> opened = co_await fs_.nodes().open(inode, kFlags);
  if (!opened) {
    co_return request.fail(opened.error());
  }
  info.fh = (*opened)->number;
  directories_.emplace(info.fh, OpenDirectory{*std::move(opened), fs_.open_directory(inode)});
  if (!request.reply_open(info)) {
    drop_directory(info.fh);
  }
}

void Door::drop_directory(std::uint64_t handle) {
  auto found = directories_.find(handle);
  if (found != directories_.end()) {
    (void)fs_.open_files().close(*found->second.file);
    directories_.erase(found);
  }
}

rt::Task<void> Door::read_directory(fuse_req_t req,
                                    std::uint64_t handle,
                                    std::size_t bytes,
                                    std::uint64_t offset) {
  Request request(req);
  auto found = directories_.find(handle);
  if (found == directories_.end()) {
    co_return request.fail(EBADF);
  }
  auto [open, reader] = found->second;
  Page page(req, bytes);
  if (offset == 0) {
    page.add(".", reader->directory(), S_IFDIR, 1);
  }
  if (offset < kDots) {
    page.add("..", wire::InodeId{open->attr.parent}, S_IFDIR, kDots);
  }
  std::uint64_t position = offset > kDots ? offset - kDots : 0;
  for (bool has_room = true; has_room;) {
    Result<std::span<const client::DirectoryReader::Entry>> entries =
        co_await reader->read(position);
    if (!entries && page.is_empty()) {
      co_return request.fail(entries.error());
    }
    if (!entries || entries->empty()) {
      break;
    }
    for (const auto& [entry, next] : *entries) {
      has_room = page.add(entry.name.c_str(), entry.inode, entry.type, next + kDots);
      if (!has_room) {
        break;
      }
      position = next;
    }
  }
  request.reply_data(page.bytes());
}

void Door::release_directory(fuse_req_t req, std::uint64_t handle) {
  drop_directory(handle);
  fuse_reply_err(req, 0);
}

}  // namespace benchfs::mount
