#include "client/file_system.h"

#include <unistd.h>

#include <cerrno>

namespace benchfs::client {

FileSystem::FileSystem(rpc::ConnectionPool& pool, FileSystemConfig config)
    : backend_{.pool = pool, .config = config},
      inodes_(backend_),
      open_files_(backend_, inodes_),
      locks_(backend_, open_files_),
      data_(backend_, open_files_),
      lists_(backend_, data_),
      holes_(backend_, open_files_),
      paths_(backend_, inodes_, open_files_),
      nodes_(backend_, inodes_, open_files_, paths_.cache()),
      administration_(backend_) {
  pool.set_notice_handler(this);
}

FileSystem::~FileSystem() {
  backend_.pool.set_notice_handler(nullptr);
}

rt::CoResult<std::vector<DirEntry>> FileSystem::list(wire::InodeId directory,
                                                     std::string cursor,
                                                     std::size_t max_entries,
                                                     std::uint16_t flags) {
  Deadline by = backend_.metadata_deadline();
  Result<std::vector<DirEntry>> page =
      co_await list_page(backend_, directory, std::move(cursor), max_entries, by, flags);
  if (page || !page.error().is_posix(ESTALE)) {
    co_return page;
  }
  Error why = co_await open_files_.explain_gone(directory, std::move(page.error()), by);
  if (why.is_posix(ESTALE)) {
    co_return std::vector<DirEntry>{};
  }
  co_return std::unexpected(std::move(why));
}

rt::CoResult<std::shared_ptr<OpenFile>> FileSystem::open(wire::InodeId inode, std::uint32_t flags) {
  if (inode.home().value >= shard_count()) {
    co_return fail_errno(ESTALE, "no server has inodes of this number");
  }
  BENCHFS_CO_TRY(
      OpenedEntry opened,
      co_await open_files_.open(inode, flags | wire::kOpenUnlinked, backend_.metadata_deadline()));
  if (opened.file == nullptr) {
    co_return fail_errno(ELOOP);
  }
  co_return std::move(opened.file);
}

rt::CoStatus FileSystem::write(OpenFile& file,
                               std::uint64_t offset,
                               std::span<const std::byte> from) {
  while (!from.empty()) {
    BENCHFS_CO_TRY(std::size_t written, co_await data_.write(file, offset, from));
    offset += written;
    from = from.subspan(written);
  }
  co_return Status{};
}

rt::CoResult<wire::Attr> FileSystem::set_attr(OpenFile& file, wire::SetAttrRequest request) {
  return backend_.config.check_permissions ? check_and_set_attr(file, request)
                                           : open_files_.set_attr(file, request);
}

rt::CoResult<wire::Attr> FileSystem::check_and_set_attr(OpenFile& file,
                                                        wire::SetAttrRequest request) {
  BENCHFS_CO_TRY(wire::Attr before, co_await open_files_.stat(file));
  Credentials caller = Credentials::of_process(Ids::kEffective);
  BENCHFS_CO_TRY_VOID(check_change(before, caller, request));
  BootTime asked_at = boot_now();
  BENCHFS_CO_TRY(wire::Attr attr, co_await open_files_.set_attr(file, request));
  if (attr.is_directory()) {
    paths_.remember(attr, asked_at);
  }
  co_return attr;
}

rt::CoResult<std::string> FileSystem::get_xattr(OpenFile& file, std::string_view name) {
  if (backend_.config.check_permissions) {
    BENCHFS_CO_TRY(wire::Attr attr, co_await open_files_.stat(file));
    BENCHFS_CO_TRY_VOID(check_xattr(attr, Credentials::of_process(Ids::kEffective), name, R_OK));
  }
  co_return co_await open_files_.get_xattr(file, name);
}

rt::CoStatus FileSystem::set_xattr(OpenFile& file,
                                   std::string_view name,
                                   std::string_view value,
                                   std::uint32_t flags) {
  if (backend_.config.check_permissions) {
    BENCHFS_CO_TRY(wire::Attr attr, co_await open_files_.stat(file));
    BENCHFS_CO_TRY_VOID(check_xattr(attr, Credentials::of_process(Ids::kEffective), name, W_OK));
  }
  co_return co_await open_files_.set_xattr(file, name, value, flags);
}

Status FileSystem::check_access(const Permissions& inode, std::uint32_t wanted) const {
  return backend_.config.check_permissions
             ? client::check_access(inode, Credentials::of_process(Ids::kEffective), wanted)
             : Status{};
}

rt::Task<void> FileSystem::leave() {
  co_await come_back();
  backend_.scope.close();
  backend_.pool.close();
  co_await backend_.scope.join();
}

// A server that evicted this client, or was silent for a while, keeps opens and locks of it for
// long: only a session can say goodbye.
rt::Task<void> FileSystem::come_back() {
  constexpr Nanos kPatience = std::chrono::milliseconds(500);
  Deadline by = Deadline::after(kPatience);
  rt::Group group(backend_.scope);
  for (std::uint32_t i = 0; i < backend_.pool.size(); ++i) {
    wire::ShardId shard{i};
    backend_.pool.at(shard).look();  // nobody has, if the program did something else
    if (open_files_.has_left_behind(shard) || locks_.has_left_behind(shard)) {
      group.add(connect(shard, by));
    }
  }
  (void)co_await group.wait();
}

rt::Task<void> FileSystem::connect(wire::ShardId shard, Deadline by) {
  (void)co_await backend_.pool.connect(shard, by);
}

bool FileSystem::on_invalidate(wire::InodeId parent,
                               std::string_view name,
                               const rpc::Revocation& revocation) {
  if (!parent.is_valid()) {
    paths_.cache().clear();
    return true;
  }
  if (name.empty()) {
    return nodes_.cache().on_attr_revoked(parent, revocation);
  }
  paths_.cache().forget(parent, name);
  return nodes_.cache().on_name_revoked(parent, name, revocation);
}

void FileSystem::on_registered(wire::ShardId shard, rpc::Registered how) {
  paths_.cache().on_connected(shard, backend_.pool.at(shard).validity_words());
  open_files_.on_registered(shard, how);
  if (how == rpc::Registered::kForgotten) {
    Error why = Error::from_errno(
        EIO, backend_.node(shard) + " gave this client up, and the locks of the file with it");
    for (wire::InodeId inode : locks_.on_forgotten(shard)) {
      open_files_.make_stale(inode, why);
    }
  }
}

void FileSystem::on_connection_lost(wire::ShardId shard) {
  paths_.cache().on_connection_lost(shard);
  nodes_.cache().on_connection_lost(shard);
  open_files_.on_connection_lost(shard);
  locks_.on_connection_lost(shard);
}

}  // namespace benchfs::client
