// Listing directories.
#include <sys/stat.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "mount/attributes.h"
#include "mount/door.h"

namespace benchfs::mount {
namespace {

// "." and ".." come first: the kernel's offset is the reader's position and these two.
constexpr std::uint64_t kDots = 2;

// Entries in the form that the kernel takes, up to `bytes`.
class Page {
 public:
  Page(fuse_req_t request, std::size_t bytes, bool with_attributes)
      : request_(request), page_(bytes), with_attributes_(with_attributes) {}

  // Without an inode in `entry` the kernel gets to know the name and the type only. False: it does
  // not fit any more.
  bool add(const char* name, const fuse_entry_param& entry, std::uint64_t next) {
    std::size_t room = page_.size() - used_;
    char* place = page_.data() + used_;
    auto offset = static_cast<off_t>(next);
    std::size_t needed = with_attributes_
                             ? fuse_add_direntry_plus(request_, place, room, name, &entry, offset)
                             : fuse_add_direntry(request_, place, room, name, &entry.attr, offset);
    if (needed > room) {
      return false;
    }
    used_ += needed;
    return true;
  }
  bool add(const char* name, wire::InodeId inode, std::uint32_t type, std::uint64_t next) {
    fuse_entry_param entry{};
    entry.attr.st_ino = inode.value;
    entry.attr.st_mode = type;
    return add(name, entry, next);
  }
  [[nodiscard]] bool is_empty() const { return used_ == 0; }
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return std::as_bytes(std::span(page_)).first(used_);
  }

 private:
  fuse_req_t request_;
  std::vector<char> page_;
  std::size_t used_ = 0;
  bool with_attributes_;
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

// A directory has one place in the kernel, which lookup() keeps track of.
const wire::Attr* Door::find_known(wire::InodeId directory, const client::DirEntry& entry) const {
  const client::NodeCache& cache = fs_.nodes().cache();
  const client::NodeCache::KnownName* name = cache.find_name(directory, entry.name);
  if (S_ISDIR(entry.type) || name == nullptr || name->inode != entry.inode) {
    return nullptr;
  }
  const client::NodeCache::KnownAttr* known = cache.find_attr(entry.inode);
  return known != nullptr ? &known->attr : nullptr;
}

rt::Task<void> Door::read_directory(fuse_req_t req,
                                    std::uint64_t handle,
                                    std::size_t bytes,
                                    std::uint64_t offset,
                                    bool with_attributes) {
  Request request(req);
  auto found = directories_.find(handle);
  if (found == directories_.end()) {
    co_return request.fail(EBADF);
  }
  auto [open, reader] = found->second;
  std::uint64_t position = offset > kDots ? offset - kDots : 0;
  Result<std::span<const client::DirectoryReader::Entry>> entries =
      co_await reader->read(position, with_attributes);
  if (!entries) {
    co_return request.fail(entries.error());
  }
  // Nothing is waited for from here on: what the kernel is told is known at the moment of the
  // reply.
  Page page(req, bytes, with_attributes);
  if (offset == 0) {
    page.add(".", reader->directory(), S_IFDIR, 1);
  }
  if (offset < kDots) {
    page.add("..", wire::InodeId{open->attr.parent}, S_IFDIR, kDots);
  }
  std::vector<wire::InodeId> told;
  for (const auto& [entry, next] : *entries) {
    const char* name = entry.name.c_str();
    const wire::Attr* attr = with_attributes ? find_known(reader->directory(), entry) : nullptr;
    if (attr == nullptr) {
      if (!page.add(name, entry.inode, entry.type, next + kDots)) {
        break;
      }
      continue;
    }
    fuse_entry_param full =
        to_entry(*attr, kernel_->name_timeout(reader->directory(), entry.name, entry.inode));
    full.attr_timeout =
        pages_->is_trusted(entry.inode) ? kernel_->attr_timeout_with_name(*attr) : 0;
    if (!page.add(name, full, next + kDots)) {
      break;
    }
    told.push_back(entry.inode);
  }
  if (request.reply_data(page.bytes()) && !told.empty()) {
    kernel_->note_listed();
    for (wire::InodeId inode : told) {
      kernel_->inodes().note_told(inode);
    }
  }
}

void Door::release_directory(fuse_req_t req, std::uint64_t handle) {
  drop_directory(handle);
  fuse_reply_err(req, 0);
}

}  // namespace benchfs::mount
