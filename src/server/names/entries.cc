#include "server/names/entries.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.h"
#include "cluster/placement.h"
#include "server/decode.h"
#include "server/names/retry.h"
#include "server/reply_entry.h"

namespace benchfs::server {
namespace {

constexpr std::uint32_t kPermissionBits = 07777;
constexpr wire::EntryReply kMissingUnderLease{
    .attr = {}, .flags = wire::kEntryLeased | wire::kEntryMissing, .target_bytes = 0};

// What is known of an inode whose home is another shard.
wire::Attr remote_attr(const meta::Entry& entry) {
  wire::Attr attr;
  attr.inode = entry.inode.value;
  attr.mode = entry.type;
  return attr;
}

// The client, if it uses nothing of the inode's attributes any more.
std::uint64_t forgetting(const rpc::Request& request,
                         const wire::UnlinkRequest& body,
                         const meta::Entry& entry) {
  return body.forgotten == entry.inode.value ? request.client_uid() : 0;
}

bool is_gone(const Error& error) {
  return error.is_posix(ENOENT) || error.is_posix(ESTALE);
}

std::unexpected<Error> lost_inode() {
  return fail_errno(EIO, "the name leads to an inode that no longer exists");
}

}  // namespace

bool Entries::is_replaced(EntryRef key, meta::Entry entry) const {
  Result<meta::Entry> now = shared_.store.find(key.parent, key.name);
  return !now || now->inode != entry.inode;
}

// --- At once -------------------------------------------------------------------------------------

namespace {
bool answer_attr(rpc::Request& request, const Result<wire::Attr>& attr, std::uint32_t flags) {
  if (!attr || attr->is_symlink()) {
    return false;
  }
  request.answer(wire::EntryReply{*attr, flags, 0});
  return true;
}
}  // namespace

std::uint32_t Entries::lease_name(const rpc::Request& request,
                                  std::uint16_t flags,
                                  EntryRef key,
                                  const meta::Entry& entry) {
  if ((flags & wire::kLookupLease) != 0 &&
      shared_.leases.grant(key, request.client_uid(), mono_now())) {
    return wire::kEntryLeased;
  }
  if (S_ISDIR(entry.type)) {
    leases_.grant(key.key(), request.client_uid(), mono_now());
  }
  return 0;
}

bool Entries::lease_missing(const rpc::Request& request,
                            std::uint16_t flags,
                            EntryRef key,
                            const Error& why) {
  return why.is_posix(ENOENT) && (flags & wire::kLookupLease) != 0 &&
         shared_.leases.grant_missing(key, request.client_uid(), mono_now());
}

std::uint32_t Entries::lease_attributes(const rpc::Request& request,
                                        std::uint16_t flags,
                                        wire::InodeId inode) {
  bool is_granted =
      (flags & wire::kLookupLease) != 0 && shared_.inodes.is_settled(inode) &&
      shared_.leases.grant(ExactLeases::attributes(inode), request.client_uid(), mono_now());
  return is_granted ? std::uint32_t{wire::kAttrLeased} : 0U;
}

bool Entries::lookup_at_once(rpc::Request& request) {
  wire::LookupRequest body;
  Result<EntryRef> key = decode_entry(request, body);
  if (!key || shared_.is_locked(*key)) {
    return false;
  }
  Result<meta::Entry> entry = shared_.find(*key);
  if (!entry) {
    if (is_busy(entry)) {
      return false;
    }
    if (lease_missing(request, body.flags, *key, entry.error())) {
      request.answer(kMissingUnderLease);
    } else {
      request.answer_error(entry.error());
    }
    return true;
  }
  std::uint32_t leased = lease_name(request, body.flags, *key, *entry);
  if (!shared_.peers.is_self(entry->inode.home())) {
    request.answer(wire::EntryReply{remote_attr(*entry), wire::kEntryRemote | leased, 0});
    return true;
  }
  if (S_ISDIR(entry->type) && (body.flags & wire::kLookupName) != 0) {
    return answer_attr(request, shared_.store.attr(entry->inode), leased);
  }
  auto attr = shared_.inodes.exact_attr(entry->inode, request.deadline());
  if (!attr.await_ready()) {
    return false;
  }
  leased |= lease_attributes(request, body.flags, entry->inode);
  return answer_attr(request, attr.await_resume(), leased);
}

bool Entries::open_at_once(rpc::Request& request) {
  wire::OpenRequest body;
  Result<EntryRef> key = decode_entry(request, body);
  body.chunk_bytes = body.chunk_bytes == 0 ? chunk_bytes_ : body.chunk_bytes;
  OpenKey open{request.client_uid(), body.open_number, request.session_id()};
  if (!key || !is_possible(body.chunk_bytes) || body.open_number == 0 || shared_.is_locked(*key) ||
      shared_.inodes.find_open(open)) {
    return false;
  }
  bool may_create = (body.flags & wire::kOpenCreate) != 0;
  Result<meta::Entry> entry = shared_.find(*key);
  if (!entry) {
    if (!may_create || !entry.error().is_posix(ENOENT) ||
        !shared_.may_change(*key, request.client_uid())) {
      return false;
    }
    return create_file(*key, body, open, &request).has_value();
  }
  bool must_create = may_create && (body.flags & wire::kOpenExclusive) != 0;
  if (must_create || !S_ISREG(entry->type) || !shared_.peers.is_self(entry->inode.home())) {
    return false;
  }
  auto opened = shared_.inodes.open(entry->inode, open, body.flags, request.deadline());
  if (!opened.await_ready()) {
    return false;
  }
  Result<wire::Attr> attr = opened.await_resume();
  if (!attr) {
    return false;
  }
  request.answer(wire::EntryReply{*attr, 0, 0});
  return true;
}

bool Entries::unlink_at_once(rpc::Request& request) {
  wire::UnlinkRequest body;
  Result<EntryRef> key = decode_entry(request, body);
  if (!key || shared_.is_locked(*key)) {
    return false;
  }
  Result<meta::Entry> entry = shared_.find(*key);
  if (!entry || S_ISDIR(entry->type) || !shared_.peers.is_self(entry->inode.home()) ||
      !shared_.may_change(*key, request.client_uid()) ||
      !shared_.may_drop(entry->inode, forgetting(request, body, *entry))) {
    return false;
  }
  Result<wire::UnlinkReply> removed = remove(*key, body, request.client_uid());
  if (!removed) {
    return false;
  }
  request.answer(*removed);  // the shard serves nobody before the inode has ended, too
  shared_.drop(entry->inode, forgetting(request, body, *entry));
  return true;
}

// --- Finding and opening -------------------------------------------------------------------------

rt::CoResult<meta::Entry> Entries::try_find(EntryRef key, Deadline deadline) {
  if (shared_.is_locked(key)) {
    BENCHFS_CO_TRY_VOID(co_await shared_.locks.wait_unlocked(key.key(), deadline));
  }
  co_return shared_.find(key);
}

rt::MaybeTask<Result<meta::Entry>> Entries::find(EntryRef key, Deadline deadline) {
  if (!shared_.is_locked(key)) {
    Result<meta::Entry> entry = shared_.find(key);
    if (!is_busy(entry)) {
      return entry;
    }
  }
  return retry_while_busy([this, key, deadline] { return try_find(key, deadline); }, deadline);
}

rt::Task<void> Entries::lookup(rpc::Request& request) {
  wire::LookupRequest body;
  BENCHFS_SERVE_TRY(EntryRef key, request, decode_entry(request, body));
  for (;;) {
    Result<meta::Entry> found = co_await find(key, request.deadline());
    if (!found && lease_missing(request, body.flags, key, found.error())) {
      co_await request.reply(kMissingUnderLease);
      co_return;
    }
    BENCHFS_SERVE_TRY(meta::Entry entry, request, std::move(found));
    std::uint32_t leased = lease_name(request, body.flags, key, entry);
    if (!shared_.peers.is_self(entry.inode.home())) {
      co_await request.reply(wire::EntryReply{remote_attr(entry), wire::kEntryRemote | leased, 0});
      co_return;
    }
    bool is_name = S_ISDIR(entry.type) && (body.flags & wire::kLookupName) != 0;
    Result<wire::Attr> attr =
        is_name ? shared_.store.attr(entry.inode)
                : co_await shared_.inodes.exact_attr(entry.inode, request.deadline());
    if (!attr && is_gone(attr.error())) {
      if (is_replaced(key, entry)) {
        continue;
      }
      attr = lost_inode();
    }
    BENCHFS_SERVE_TRY_VOID(request, attr);
    if (!is_name) {
      leased |= lease_attributes(request, body.flags, entry.inode);
    }
    co_await reply_entry(request, shared_.store, *attr, leased);
    co_return;
  }
}

Status Entries::check_new_file(std::uint32_t& chunk_bytes, std::uint64_t open_number) const {
  chunk_bytes = chunk_bytes == 0 ? chunk_bytes_ : chunk_bytes;
  if (!is_possible(chunk_bytes)) {
    return fail_errno(
        EINVAL,
        fmt::format("a chunk size of {} is not a power of two between {} and {}, which this "
                    "file system has (storage.chunk_bytes)",
                    chunk_bytes,
                    wire::kMinChunkBytes,
                    chunk_bytes_));
  }
  return open_number == 0 ? Status(std::unexpected(malformed())) : Status{};
}

rt::Task<void> Entries::open(rpc::Request& request) {
  wire::OpenRequest body;
  BENCHFS_SERVE_TRY(EntryRef key, request, decode_entry(request, body));
  BENCHFS_SERVE_TRY_VOID(request, check_new_file(body.chunk_bytes, body.open_number));
  OpenKey open{request.client_uid(), body.open_number, request.session_id()};
  Deadline deadline = request.deadline();
  if (std::optional<meta::Open> known = shared_.inodes.find_open(open)) {
    // Repeated: the same open, whatever became of the name meanwhile.
    BENCHFS_SERVE_TRY(
        wire::Attr attr, request, co_await shared_.inodes.exact_attr(known->inode, deadline));
    co_await reply_entry(request, shared_.store, attr, 0);
    co_return;
  }
  Result<Found> tried = co_await try_open(key, body, open, deadline);
  if (is_busy(tried)) [[unlikely]] {
    tried =
        co_await retry_while_busy([&] { return try_open(key, body, open, deadline); }, deadline);
  }
  BENCHFS_SERVE_TRY(Found found, request, std::move(tried));
  co_await reply_entry(request, shared_.store, found.attr, found.flags);
}

rt::CoResult<Entries::Found> Entries::try_open(EntryRef key,
                                               const wire::OpenRequest& body,
                                               OpenKey open,
                                               Deadline deadline) {
  for (;;) {
    if (shared_.is_locked(key)) {
      BENCHFS_CO_TRY_VOID(co_await shared_.locks.wait_unlocked(key.key(), deadline));
    }
    Result<meta::Entry> entry = shared_.find(key);
    if (!entry) {
      if (!entry.error().is_posix(ENOENT) || (body.flags & wire::kOpenCreate) == 0) {
        co_return std::unexpected(std::move(entry.error()));
      }
      if (!shared_.may_change(key, open.client_uid)) [[unlikely]] {
        BENCHFS_CO_TRY_VOID(co_await shared_.prepare(key.key(), open.client_uid, deadline));
        continue;
      }
      co_return create_file(key, body, open, nullptr);
    }
    if ((body.flags & wire::kOpenCreate) != 0 && (body.flags & wire::kOpenExclusive) != 0) {
      co_return fail_errno(EEXIST);
    }
    if (!shared_.peers.is_self(entry->inode.home())) {
      co_return Found{remote_attr(*entry), wire::kEntryRemote};
    }
    Result<wire::Attr> attr = co_await open_existing(*entry, body.flags, open, deadline);
    if (attr) {
      co_return Found{*attr, 0};
    }
    if (!is_gone(attr.error())) {
      co_return std::unexpected(std::move(attr.error()));
    }
    if (!is_replaced(key, *entry)) {
      co_return lost_inode();
    }
  }
}

rt::Task<void> Entries::open_unnamed(rpc::Request& request) {
  BENCHFS_SERVE_TRY(auto body, request, decode<wire::OpenUnnamedRequest>(request));
  BENCHFS_SERVE_TRY_VOID(request, check_new_file(body.chunk_bytes, body.open_number));
  OpenKey open{request.client_uid(), body.open_number, request.session_id()};
  std::optional<meta::Open> known = shared_.inodes.find_open(open);
  BENCHFS_SERVE_TRY(wire::Attr attr,
                    request,
                    known ? co_await shared_.inodes.exact_attr(known->inode, request.deadline())
                          : shared_.inodes.create_unnamed(
                                wire::InodeId{body.parent},
                                file_inode(body.mode, body.uid, body.gid, body.chunk_bytes),
                                open,
                                body.flags));
  co_await request.reply(wire::EntryReply{attr, wire::kEntryCreated, 0});
}

meta::NewInode Entries::file_inode(std::uint32_t mode,
                                   std::uint32_t uid,
                                   std::uint32_t gid,
                                   std::uint32_t chunk_bytes) const {
  return {
      .mode = S_IFREG | (mode & kPermissionBits),
      .uid = uid,
      .gid = gid,
      .layout = cluster::make_layout(shared_.peers.self, shared_.peers.shard_count, chunk_bytes),
      .target = {}};
}

Result<Entries::Found> Entries::create_file(EntryRef key,
                                            const wire::OpenRequest& body,
                                            OpenKey open,
                                            rpc::Request* asker) {
  meta::NewInode inode = file_inode(body.mode, body.uid, body.gid, body.chunk_bytes);
  bool is_leased = (body.flags & wire::kOpenLease) != 0 &&
                   shared_.leases.grant(key, open.client_uid, mono_now());
  std::uint32_t leased = is_leased ? std::uint32_t{wire::kEntryLeased} : 0U;
  Result<wire::Attr> attr = shared_.explain_busy(
      key.parent, shared_.inodes.create_open(key, inode, open, body.flags, asker, leased));
  if (!attr) {  // a lease stays: that the name is missing may be what the client uses
    return std::unexpected(std::move(attr.error()));
  }
  shared_.changed(key, attr->ctime_ns, open.client_uid, is_leased);
  return Found{*attr, wire::kEntryCreated | leased};
}

rt::MaybeTask<Result<wire::Attr>> Entries::open_existing(meta::Entry entry,
                                                         std::uint32_t flags,
                                                         OpenKey open,
                                                         Deadline deadline) {
  bool is_opened = S_ISREG(entry.type) || (S_ISDIR(entry.type) && open.number != 0);
  if (!is_opened) {
    Result<wire::Attr> attr = shared_.store.attr(entry.inode);
    if (attr && attr->is_special()) {
      attr = fail_errno(ENXIO);  // only a kernel could open it
    }
    return attr;
  }
  return shared_.inodes.open(entry.inode, open, flags, deadline);
}

// --- Making and removing -------------------------------------------------------------------------

rt::CoResult<wire::Attr> Entries::try_create(EntryRef key,
                                             meta::NewInode inode,
                                             std::uint64_t client_uid,
                                             Deadline deadline) {
  for (;;) {
    if (shared_.is_locked(key)) {
      BENCHFS_CO_TRY_VOID(co_await shared_.locks.wait_unlocked(key.key(), deadline));
    }
    if (shared_.may_change(key, client_uid) || shared_.store.find(key.parent, key.name)) {
      co_return shared_.change(
          meta::Create{key.parent, key.name, inode, wall_now_ns(), mono_now_coarse()}, client_uid);
    }
    BENCHFS_CO_TRY_VOID(co_await shared_.prepare(key.key(), client_uid, deadline));
  }
}

rt::CoResult<wire::Attr> Entries::create(rpc::Request& request,
                                         EntryRef key,
                                         meta::NewInode inode) {
  Deadline deadline = request.deadline();
  std::uint64_t client_uid = request.client_uid();
  return retry_while_busy(
      [this, key, inode, client_uid, deadline] {
        return try_create(key, inode, client_uid, deadline);
      },
      deadline);
}

rt::Task<void> Entries::mkdir(rpc::Request& request) {
  wire::MkdirRequest body;
  BENCHFS_SERVE_TRY(EntryRef key, request, decode_entry(request, body));
  meta::NewInode inode{.mode = S_IFDIR | (body.mode & kPermissionBits),
                       .uid = body.uid,
                       .gid = body.gid,
                       .layout = {},
                       .target = {}};
  BENCHFS_SERVE_TRY(wire::Attr attr, request, co_await create(request, key, inode));
  leases_.grant(key.key(), request.client_uid(), mono_now());
  co_await request.reply(wire::EntryReply{attr, wire::kEntryCreated, 0});
}

rt::Task<void> Entries::symlink(rpc::Request& request) {
  wire::SymlinkRequest body;
  BENCHFS_SERVE_TRY(EntryRef key, request, decode_entry(request, body));
  if (body.target_bytes != request.data_bytes() || body.target_bytes > wire::kMaxPathBytes) {
    co_await request.reply_error(malformed());
    co_return;
  }
  std::string target(body.target_bytes, '\0');
  BENCHFS_SERVE_TRY_VOID(request,
                         co_await request.receive(std::as_writable_bytes(std::span(target))));
  if (target.empty() || target.find('\0') != std::string::npos) {
    co_await request.reply_error(Error::from_errno(target.empty() ? ENOENT : EINVAL));
    co_return;
  }
  meta::NewInode inode{
      .mode = S_IFLNK | 0777U, .uid = body.uid, .gid = body.gid, .layout = {}, .target = target};
  BENCHFS_SERVE_TRY(wire::Attr attr, request, co_await create(request, key, inode));
  co_await request.reply(wire::EntryReply{attr, wire::kEntryCreated, 0});
}

// The inode counts the name before the name is there: another name that goes meanwhile does not
// take the inode along.
rt::CoResult<wire::Attr> Entries::try_link(EntryRef key,
                                           wire::InodeId inode,
                                           std::uint64_t client_uid,
                                           Deadline deadline) {
  BENCHFS_CO_TRY_VOID(co_await shared_.prepare(key.key(), client_uid, deadline));
  BENCHFS_CO_TRY(EntryLocks::Guard guard, co_await shared_.locks.lock(key.key(), deadline));
  Result<meta::Entry> there = shared_.find(key);
  if (there) {
    co_return fail_errno(EEXIST);
  }
  if (!there.error().is_posix(ENOENT)) {
    co_return std::unexpected(std::move(there.error()));
  }
  shared_.linking[key.parent].push_back(inode.home());
  Result<wire::Attr> linked = co_await shared_.inodes.add_link(inode, deadline);
  if (linked) {
    Status put = co_await shared_.prepare(key.key(), client_uid, deadline);
    if (put) {
      meta::Entry entry{inode, linked->mode & S_IFMT};
      put = shared_.change(
          meta::PutEntry{key.parent, key.name, entry, wall_now_ns(), mono_now_coarse()},
          client_uid);
    }
    if (!put) {
      (void)co_await shared_.prepare_drop(inode, Deadline::never());
      shared_.inodes.drop_unmade(inode);
      linked = std::unexpected(std::move(put.error()));
    }
  }
  auto linking = shared_.linking.find(key.parent);
  linking->second.erase(std::ranges::find(linking->second, inode.home()));
  if (linking->second.empty()) {
    shared_.linking.erase(linking);
  }
  co_return linked;
}

rt::Task<void> Entries::link(rpc::Request& request) {
  wire::LinkRequest body;
  BENCHFS_SERVE_TRY(EntryRef key, request, decode_entry(request, body));
  wire::InodeId inode{body.inode};
  Deadline deadline = request.deadline();
  if (inode.home().value >= shared_.peers.shard_count) {
    co_await request.reply_error(Error::from_errno(ENOENT));
    co_return;
  }
  BENCHFS_SERVE_TRY(
      wire::Attr attr,
      request,
      co_await retry_while_busy(
          [&] { return try_link(key, inode, request.client_uid(), deadline); }, deadline));
  if (!shared_.peers.is_self(inode.home())) {
    co_await request.reply(wire::EntryReply{attr, wire::kEntryCreated | wire::kEntryRemote, 0});
    co_return;
  }
  BENCHFS_SERVE_TRY(attr, request, co_await shared_.inodes.exact_attr(inode, deadline));
  co_await reply_entry(request, shared_.store, attr, wire::kEntryCreated);
}

rt::Task<void> Entries::make_special(rpc::Request& request) {
  wire::MakeSpecialRequest body;
  BENCHFS_SERVE_TRY(EntryRef key, request, decode_entry(request, body));
  meta::NewInode inode{.mode = body.mode & (S_IFMT | kPermissionBits),
                       .uid = body.uid,
                       .gid = body.gid,
                       .layout = {},
                       .target = {},
                       .device = body.device};
  if (!wire::Attr{.mode = inode.mode}.is_special()) {
    co_await request.reply_error(Error::from_errno(EINVAL));
    co_return;
  }
  BENCHFS_SERVE_TRY(wire::Attr attr, request, co_await create(request, key, inode));
  co_await request.reply(wire::EntryReply{attr, wire::kEntryCreated, 0});
}

Result<wire::UnlinkReply> Entries::remove(EntryRef key,
                                          const wire::UnlinkRequest& body,
                                          std::uint64_t client_uid) {
  std::int64_t now_ns = wall_now_ns();
  bool is_told =
      (body.flags & wire::kUnlinkTimes) != 0 && shared_.store.is_timed(key.parent, now_ns);
  BENCHFS_TRY_VOID(shared_.change(meta::RemoveEntry{key.parent, key.name, now_ns}, client_uid));
  return wire::UnlinkReply{is_told ? now_ns : 0};
}

rt::Task<void> Entries::unlink(rpc::Request& request) {
  wire::UnlinkRequest body;
  BENCHFS_SERVE_TRY(EntryRef key, request, decode_entry(request, body));
  Deadline deadline = request.deadline();
  BENCHFS_SERVE_TRY(meta::Entry entry, request, co_await find(key, deadline));
  std::uint64_t client_uid = request.client_uid();
  while (!S_ISDIR(entry.type) &&
         !(shared_.may_change(key, client_uid) &&
           shared_.may_drop(entry.inode, forgetting(request, body, entry)))) {
    BENCHFS_SERVE_TRY_VOID(request, co_await shared_.prepare(key.key(), client_uid, deadline));
    BENCHFS_SERVE_TRY_VOID(
        request,
        co_await shared_.prepare_drop(entry.inode, deadline, forgetting(request, body, entry)));
    BENCHFS_SERVE_TRY(entry, request, co_await find(key, deadline));
  }
  if (S_ISDIR(entry.type)) {
    co_await request.reply_error(Error::from_errno(EISDIR));
    co_return;
  }
  BENCHFS_SERVE_TRY(wire::UnlinkReply removed, request, remove(key, body, client_uid));
  Dropped dropped = shared_.drop(entry.inode, forgetting(request, body, entry));
  if (dropped.inode.is_valid()) {
    co_await shared_.inodes.wait_dropped(dropped, request.deadline());
  }
  co_await request.reply(removed);
}

namespace {
// An entry with attributes is at most this many times as long as without.
constexpr std::size_t kAttrGrowth = 6;
static_assert(sizeof(wire::DirEntryHeader) + 1 + sizeof(wire::Attr) <=
              kAttrGrowth * (sizeof(wire::DirEntryHeader) + 1));

void append(std::vector<std::byte>& page, std::span<const std::byte> part) {
  page.insert(page.end(), part.begin(), part.end());
}
}  // namespace

std::vector<std::byte> Entries::add_attributes(const rpc::Request& request,
                                               const wire::ReaddirRequest& body,
                                               std::span<const std::byte> page) {
  std::uint16_t lookup = (body.flags & wire::kReaddirLease) != 0 ? wire::kLookupLease : 0;
  std::vector<std::byte> out;
  out.reserve(body.max_bytes);
  wire::Reader reader(page);
  wire::DirEntryHeader header;
  while (reader.read(header)) {
    std::string_view name = reader.read_text(header.name_bytes);
    EntryRef key{wire::InodeId{body.directory}, name};
    wire::InodeId inode{header.inode};
    Result<wire::Attr> attr = fail_errno(ENOENT);
    // A symlink's target would have to come along.
    if (shared_.peers.is_self(inode.home()) && !S_ISLNK(header.type) && !shared_.is_locked(key)) {
      auto exact = shared_.inodes.exact_attr(inode, request.deadline());
      if (exact.await_ready()) {
        attr = exact.await_resume();
      }
    }
    if (attr) {
      header.flags = wire::kDirEntryAttr;
      MonoTime now = mono_now();
      std::uint64_t client = request.client_uid();
      if (lookup != 0 && shared_.leases.grant_listed(key, client, now)) {
        header.flags |= wire::kDirEntryLeased;
      }
      if (lookup != 0 && shared_.inodes.is_settled(inode) &&
          shared_.leases.grant_listed(ExactLeases::attributes(inode), client, now)) {
        header.flags |= wire::kDirEntryAttrLeased;
      }
    }
    append(out, std::as_bytes(std::span(&header, 1)));
    append(out, std::as_bytes(std::span(name)));
    if (attr) {
      append(out, std::as_bytes(std::span(&*attr, 1)));
    }
  }
  return out;
}

rt::Task<void> Entries::readdir(rpc::Request& request) {
  wire::ReaddirRequest body;
  wire::Reader reader = request.reader();
  reader.read(body);
  std::string_view cursor = reader.read_text(body.cursor_bytes);
  if (!reader.ok() || body.max_bytes > wire::kMaxReaddirBytes ||
      cursor.size() > wire::kMaxNameBytes) {
    co_await request.reply_error(malformed());
    co_return;
  }
  bool has_attributes = (body.flags & wire::kReaddirAttr) != 0;
  std::size_t room = has_attributes ? body.max_bytes / kAttrGrowth : body.max_bytes;
  std::vector<std::byte> entries;
  BENCHFS_SERVE_TRY(meta::MetaStore::Page page,
                    request,
                    shared_.store.list(wire::InodeId{body.directory}, cursor, room, entries));
  if (has_attributes) {
    entries = add_attributes(request, body, entries);
  }
  co_await request.reply(wire::ReaddirReply{page.entry_count, page.at_end ? 1U : 0U}, entries);
}

}  // namespace benchfs::server
