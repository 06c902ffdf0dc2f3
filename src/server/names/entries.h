// The operations on one entry of a directory, all of whose parts are on this shard.
//
// A name that is replaced is found at every moment: a look-up answers what the name led to before
// or what it leads to now. So when the inode that was found is gone, the name is looked up again.
//
// Thread: the shard's.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "rpc/request.h"
#include "server/leases/directory_leases.h"
#include "server/names/shared.h"

namespace benchfs::server {

class Entries {
 public:
  // `chunk_bytes`: of new files, unless the request says otherwise.
  Entries(NamesShared& shared, DirectoryLeases& leases, std::uint32_t chunk_bytes)
      : shared_(shared), leases_(leases), chunk_bytes_(chunk_bytes) {}

  // Serve what is usual and need not wait (rpc::Service::serve_at_once()). False, and nothing has
  // changed, for everything else: the functions below serve that.
  bool lookup_at_once(rpc::Request& request);
  bool open_at_once(rpc::Request& request);
  bool unlink_at_once(rpc::Request& request);

  rt::Task<void> lookup(rpc::Request& request);
  rt::Task<void> open(rpc::Request& request);
  rt::Task<void> open_unnamed(rpc::Request& request);
  rt::Task<void> mkdir(rpc::Request& request);
  rt::Task<void> symlink(rpc::Request& request);
  rt::Task<void> link(rpc::Request& request);
  rt::Task<void> make_special(rpc::Request& request);
  rt::Task<void> unlink(rpc::Request& request);
  rt::Task<void> readdir(rpc::Request& request);

 private:
  struct Found {
    wire::Attr attr;
    std::uint32_t flags = 0;  // wire::EntryFlags
  };
  // kBusy, here and below: not done, because the directory is being removed.
  rt::CoResult<Found> try_open(EntryRef key,
                               const wire::OpenRequest& body,
                               OpenKey open,
                               Deadline deadline);
  // Checks the chunk size that was asked for, or puts in the file system's, and the number.
  Status check_new_file(std::uint32_t& chunk_bytes, std::uint64_t open_number) const;
  [[nodiscard]] meta::NewInode file_inode(std::uint32_t mode,
                                          std::uint32_t uid,
                                          std::uint32_t gid,
                                          std::uint32_t chunk_bytes) const;
  [[nodiscard]] bool is_possible(std::uint32_t chunk_bytes) const {
    return chunk_bytes >= wire::kMinChunkBytes && chunk_bytes <= chunk_bytes_ &&
           (chunk_bytes & (chunk_bytes - 1)) == 0;
  }
  // Adds what is known of the entries of a page, and what the client may keep of it.
  std::vector<std::byte> add_attributes(const rpc::Request& request,
                                        const wire::ReaddirRequest& body,
                                        std::span<const std::byte> page);
  // What the client may keep of the answer (wire::EntryFlags): the name, to be called when the
  // entry is found; the attributes, when they are known.
  std::uint32_t lease_name(const rpc::Request& request,
                           std::uint16_t flags,
                           EntryRef key,
                           const meta::Entry& entry);
  std::uint32_t lease_attributes(const rpc::Request& request,
                                 std::uint16_t flags,
                                 wire::InodeId inode);
  // The client may keep that there is no such entry; `why` it was not found.
  bool lease_missing(const rpc::Request& request,
                     std::uint16_t flags,
                     EntryRef key,
                     const Error& why);
  // A file whose entry may_change(); otherwise as InodeDoor::create_open().
  Result<Found> create_file(EntryRef key,
                            const wire::OpenRequest& body,
                            OpenKey open,
                            rpc::Request* asker);
  // An entry whose inode lives on this shard.
  rt::MaybeTask<Result<wire::Attr>> open_existing(meta::Entry entry,
                                                  std::uint32_t flags,
                                                  OpenKey open,
                                                  Deadline deadline);
  // Waits until no operation is changing the entry or removing its directory.
  rt::MaybeTask<Result<meta::Entry>> find(EntryRef key, Deadline deadline);
  rt::CoResult<meta::Entry> try_find(EntryRef key, Deadline deadline);
  rt::CoResult<wire::Attr> try_create(EntryRef key,
                                      meta::NewInode inode,
                                      std::uint64_t client_uid,
                                      Deadline deadline);
  rt::CoResult<wire::Attr> create(rpc::Request& request, EntryRef key, meta::NewInode inode);
  rt::CoResult<wire::Attr> try_link(EntryRef key,
                                    wire::InodeId inode,
                                    std::uint64_t client_uid,
                                    Deadline deadline);
  // Of a file, which may_change() and may_drop().
  Result<wire::UnlinkReply> remove(EntryRef key,
                                   const wire::UnlinkRequest& body,
                                   std::uint64_t client_uid);
  // True when the name no longer leads to `entry`.
  [[nodiscard]] bool is_replaced(EntryRef key, meta::Entry entry) const;

  NamesShared& shared_;
  DirectoryLeases& leases_;
  std::uint32_t chunk_bytes_;
};

}  // namespace benchfs::server
