#include "cli/files/remote_tree.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "cli/files/fan_out.h"
#include "cli/files/remote_path.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

constexpr std::size_t kListPageEntries = 4096;

FileInfo to_info(const wire::Attr& attr) {
  FileInfo info;
  info.mode = attr.mode;
  info.uid = attr.uid;
  info.gid = attr.gid;
  info.size = attr.size;
  info.atime_ns = attr.atime_ns;
  info.mtime_ns = attr.mtime_ns;
  info.inode = attr.inode;
  info.may_have_holes = true;  // servers do not say
  return info;
}

wire::SetAttrRequest to_request(const FileInfo& info, Keep keep) {
  wire::SetAttrRequest request;
  request.mask = wire::kSetAtime | wire::kSetMtime;
  if (!S_ISLNK(info.mode)) {
    request.mask |= wire::kSetMode;
    request.mode = info.mode & 07777;
  }
  request.atime_ns = info.atime_ns;
  request.mtime_ns = info.mtime_ns;
  if (keep == Keep::kOwnerToo) {
    request.mask |= wire::kSetUid | wire::kSetGid;
    request.uid = info.uid;
    request.gid = info.gid;
  }
  return request;
}

template <typename T>
Status drop_value(Result<T> result) {
  BENCHFS_TRY_VOID(std::move(result));
  return {};
}

constexpr std::uint32_t kCreateFlags = wire::kOpenWrite | wire::kOpenCreate | wire::kOpenTruncate;

// All the files of one call at a time.
rt::Task<void> read_whole(client::FileSystem* fs, WholeFile* file) {
  Result<std::shared_ptr<client::OpenFile>> in = co_await fs->open(file->path, wire::kOpenRead, 0);
  if (!in) {
    file->status = std::unexpected(std::move(in.error()));
    co_return;
  }
  Result<std::size_t> count = co_await fs->read(**in, 0, file->data);
  file->data.resize(count.value_or(0));
  Status closed = co_await fs->close(std::move(*in));
  file->status = count ? std::move(closed) : std::unexpected(std::move(count.error()));
}

rt::CoStatus fill(client::FileSystem* fs,
                  client::OpenFile& out,
                  const WholeFile& file,
                  std::optional<Keep> keep) {
  if (!file.data.empty()) {
    BENCHFS_CO_TRY_VOID(co_await fs->write(out, 0, file.data));
  }
  if (keep) {
    BENCHFS_CO_TRY_VOID(co_await fs->set_attr(out, to_request(file.info, *keep)));
  }
  co_return Status{};
}

rt::Task<void> write_whole(client::FileSystem* fs,
                           WholeFile* file,
                           std::uint32_t mode,
                           std::optional<Keep> keep) {
  Result<std::shared_ptr<client::OpenFile>> out =
      co_await fs->open(file->path, kCreateFlags | wire::kOpenExclusive, mode);
  if (!out) {
    file->status = std::unexpected(std::move(out.error()));
    co_return;
  }
  file->is_created = true;
  Status filled = co_await fill(fs, **out, *file, keep);
  Status closed = co_await fs->close(std::move(*out));
  file->status = filled ? std::move(closed) : std::move(filled);
}

rt::CoResult<File::Copied> copy_data(client::FileSystem* fs,
                                     client::OpenFile& from,
                                     client::OpenFile& to,
                                     std::uint64_t offset,
                                     std::uint64_t end,
                                     bool& source_failed) {
  // The end also when nothing follows, or the file has become shorter.
  auto up_to_end = [end](Result<std::uint64_t> found) -> Result<std::uint64_t> {
    if (!found && !found.error().is_posix(ENXIO)) {
      return found;
    }
    return std::min(found.value_or(end), end);
  };
  const std::uint64_t begin = offset;
  File::Copied copied{.end = end};
  while (offset < end) {
    source_failed = true;
    BENCHFS_CO_TRY(std::uint64_t data, up_to_end(co_await fs->holes().seek_data(from, offset)));
    copied.has_hole = copied.has_hole || data > offset;
    offset = data;
    if (offset == end) {  // a hole up to there, or up to the end of a file that has become shorter
      copied.end = std::clamp(from.attr.size, begin, end);  // as the search for data has heard
      break;
    }
    BENCHFS_CO_TRY(std::uint64_t hole, up_to_end(co_await fs->holes().seek_hole(from, offset)));
    while (offset < hole) {
      source_failed = false;
      BENCHFS_CO_TRY(
          std::size_t got,
          co_await fs->data().copy(from, offset, to, offset, hole - offset, &source_failed));
      if (got == 0) {
        copied.end = offset;
        co_return copied;
      }
      offset += got;
    }
  }
  co_return copied;
}

class RemoteFile final : public File {
 public:
  RemoteFile(client::Client& client, std::shared_ptr<client::OpenFile> file)
      : client_(client), file_(std::move(file)) {}
  RemoteFile(const RemoteFile&) = delete;
  RemoteFile& operator=(const RemoteFile&) = delete;
  ~RemoteFile() override { (void)close(); }

  Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> into) override {
    return client_.run(client_.fs().read(*file_, offset, into));
  }
  Status write(std::uint64_t offset, std::span<const std::byte> from) override {
    return client_.run(client_.fs().write(*file_, offset, from));
  }
  Result<Copied> copy_from(File& source,
                           std::uint64_t offset,
                           std::uint64_t length,
                           bool& source_failed) override {
    auto& from = static_cast<RemoteFile&>(source);
    return client_.run(
        copy_data(&client_.fs(), *from.file_, *file_, offset, offset + length, source_failed));
  }
  Status truncate(std::uint64_t size) override {
    wire::SetAttrRequest request;
    request.mask = wire::kSetSize;
    request.size = size;
    return drop_value(client_.run(client_.fs().set_attr(*file_, request)));
  }
  Status set_attributes(const FileInfo& info, Keep keep) override {
    return drop_value(client_.run(client_.fs().set_attr(*file_, to_request(info, keep))));
  }
  Status close() override {
    if (file_ == nullptr) {
      return {};
    }
    return client_.run(client_.fs().close(std::exchange(file_, nullptr)));
  }

 private:
  client::Client& client_;
  std::shared_ptr<client::OpenFile> file_;
};

}  // namespace

RemoteTree::RemoteTree(client::Client& client) : client_(client), umask_(process_umask()) {}

std::string RemoteTree::argument(const std::string& path) const {
  return to_argument(path);
}

Result<FileInfo> RemoteTree::stat(const std::string& path) {
  BENCHFS_TRY(wire::Attr attr, client_.run(client_.fs().stat(path)));
  return to_info(attr);
}

Result<FileInfo> RemoteTree::lstat(const std::string& path) {
  BENCHFS_TRY(wire::Attr attr, client_.run(client_.fs().lstat(path)));
  return to_info(attr);
}

Result<std::vector<std::string>> RemoteTree::list(const std::string& path) {
  std::vector<std::string> names;
  while (true) {
    std::string cursor = names.empty() ? std::string() : names.back();
    BENCHFS_TRY(std::vector<client::DirEntry> page,
                client_.run(client_.fs().list(path, std::move(cursor), kListPageEntries)));
    if (page.empty()) {
      return names;
    }
    for (client::DirEntry& entry : page) {
      names.push_back(std::move(entry.name));
    }
  }
}

Result<std::string> RemoteTree::readlink(const std::string& path) {
  return client_.run(client_.fs().readlink(path));
}

Result<std::unique_ptr<File>> RemoteTree::open(const std::string& path) {
  BENCHFS_TRY(std::shared_ptr<client::OpenFile> file,
              client_.run(client_.fs().open(path, wire::kOpenRead, 0)));
  return std::make_unique<RemoteFile>(client_, std::move(file));
}

Result<std::unique_ptr<File>> RemoteTree::create(const std::string& path, std::uint32_t mode) {
  BENCHFS_TRY(std::shared_ptr<client::OpenFile> file,
              client_.run(client_.fs().open(path, kCreateFlags, mode & 0777 & ~umask_)));
  return std::make_unique<RemoteFile>(client_, std::move(file));
}

void RemoteTree::read_files(std::span<WholeFile> files) {
  auto read = [fs = &client_.fs(), files](std::size_t index) {
    return read_whole(fs, &files[index]);
  };
  (void)client_.run(fan_out(files.size(), files.size(), read));
}

void RemoteTree::write_files(std::span<WholeFile> files, std::optional<Keep> keep) {
  auto write = [fs = &client_.fs(), files, keep, umask = umask_](std::size_t index) {
    return write_whole(fs, &files[index], files[index].info.mode & 0777 & ~umask, keep);
  };
  (void)client_.run(fan_out(files.size(), files.size(), write));
}

Status RemoteTree::mkdir(const std::string& path, std::uint32_t mode) {
  return drop_value(client_.run(client_.fs().mkdir(path, mode & 07777 & ~umask_)));
}

Status RemoteTree::symlink(const std::string& target, const std::string& path) {
  return client_.run(client_.fs().symlink(target, path));
}

Status RemoteTree::unlink(const std::string& path) {
  return client_.run(client_.fs().unlink(path));
}

Status RemoteTree::set_attributes(const std::string& path, const FileInfo& info, Keep keep) {
  return drop_value(client_.run(client_.fs().set_attr(path, to_request(info, keep), false)));
}

}  // namespace benchfs::cli
