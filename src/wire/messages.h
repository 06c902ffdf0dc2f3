// The fixed part of every operation's request and reply. See wire/header.h for what surrounds them.
//
// Each request type names its opcode and its reply type, so that a call and its handler cannot
// disagree. Names follow the fixed part in the order of their length fields.
#pragma once

#include <cstdint>

#include "wire/attr.h"
#include "wire/header.h"

namespace benchfs::wire {

struct NoReply {};

template <Opcode kOp, typename ReplyT>
struct Message {
  static constexpr Opcode kOpcode = kOp;
  using Reply = ReplyT;
};

// --- Chunks --------------------------------------------------------------------------------------

// In place of a file's size: it is not told.
inline constexpr std::uint64_t kSizeUntold = UINT64_MAX;

struct ReadChunkReply {
  std::uint64_t bytes = 0;  // stored bytes from offset on, at most `length`; they are the data part
  // When they are fewer and the shard is the file's home: its size in the moment of these bytes.
  std::uint64_t file_size = kSizeUntold;
};
static_assert(sizeof(ReadChunkReply) == 16);
struct ReadChunkRequest : Message<Opcode::kReadChunk, ReadChunkReply> {
  std::uint64_t inode = 0;
  std::uint64_t index = 0;
  std::uint32_t offset = 0;  // within the chunk
  std::uint32_t length = 0;
};

// A write that belongs to no truncation in particular.
inline constexpr std::uint64_t kAnyTruncation = UINT64_MAX;

// Answers: kBusy when a cut overtook the write (send it again), ESTALE when the file is gone.
struct WriteChunkRequest : Message<Opcode::kWriteChunk, NoReply> {  // data part: the bytes
  std::uint64_t inode = 0;
  std::uint64_t index = 0;
  std::uint32_t offset = 0;
  std::uint32_t length = 0;  // must equal the size of the data part
  // Appends: that of AppendReply. The write is refused with EAGAIN when the shard has applied
  // a later one; the client asks the home what is left of the range.
  std::uint64_t truncation = kAnyTruncation;
};

struct FsyncChunksRequest : Message<Opcode::kFsyncChunks, NoReply> {
  std::uint64_t inode = 0;
};

enum TruncateChunksFlags : std::uint32_t {
  kTruncateGone = 1U << 0,  // the inode is gone: free everything and drop the mark
};

// Drops every stored byte at or beyond `size`. Acknowledged without effect when the shard has
// already applied `truncation` or a later one: a late copy must not cut newer bytes.
struct TruncateChunksRequest : Message<Opcode::kTruncateChunks, NoReply> {
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::uint64_t truncation = 0;  // number of this truncation (Attr::truncation once it is done)
  std::uint32_t chunk_bytes = 0;
  std::uint32_t flags = 0;  // TruncateChunksFlags
};

struct QueryChunksReply {
  std::uint64_t end = 0;      // highest byte stored + 1, as an offset in the file; 0 if none
  std::int64_t mtime_ns = 0;  // last write to a chunk here; 0 if none
  std::uint64_t chunk_count = 0;
  std::uint64_t stamp = 0;  // with kQueryClear: of the mark that was cleared; 0: still marked
};
enum QueryChunksFlags : std::uint32_t {
  kQueryClear = 1U << 0,  // drop the mark, unless a write of the inode is under way
  kQuerySync = 1U << 1,   // make the chunks durable first
};
struct QueryChunksRequest : Message<Opcode::kQueryChunks, QueryChunksReply> {
  std::uint64_t inode = 0;
  std::uint32_t chunk_bytes = 0;
  std::uint32_t flags = 0;  // QueryChunksFlags
};

// Sent by a chunk shard to an inode's home before it acknowledges the first byte that the home does
// not know of (docs/adr: sizes by marks). ESTALE: the inode is gone.
enum MarkFlags : std::uint32_t { kMarkAppend = 1U << 0 };  // the write is part of an append
struct MarkReply {
  std::uint64_t life = 0;           // of the home
  std::uint64_t truncation = 0;     // in force; during a cut that of the cut
  std::uint64_t cut_size = kNoCut;  // a cut under way: apply it before anything is stored
  std::uint32_t chunk_bytes = 0;    // of the file
  std::uint32_t padding = 0;
  static constexpr std::uint64_t kNoCut = UINT64_MAX;
};
struct MarkRequest : Message<Opcode::kMark, MarkReply> {
  std::uint64_t inode = 0;
  std::uint64_t stamp = 0;  // grows with every mark of this shard, beyond its restarts too
  std::uint32_t shard = 0;  // the sender
  std::uint32_t flags = 0;  // MarkFlags
};

// Sent by a shard that starts to all others: what it held in an earlier life is gone.
struct NewLifeRequest : Message<Opcode::kNewLife, NoReply> {
  std::uint64_t life = 0;           // grows with every start
  std::uint64_t first_counter = 0;  // of the inodes it makes from now on
  std::uint32_t shard = 0;          // the sender
  std::uint32_t padding = 0;
};

// Stored bytes of the range become zeros; nothing is stored that was not, and the chunk keeps its
// end.
struct PunchChunkRequest : Message<Opcode::kPunchChunk, NoReply> {
  std::uint64_t inode = 0;
  std::uint64_t index = 0;
  std::uint32_t offset = 0;  // within the chunk
  std::uint32_t length = 0;
};
static_assert(sizeof(PunchChunkRequest) == 24);

struct CopyChunkReply {
  std::uint64_t bytes = 0;  // copied; fewer than asked where the source has no stored bytes
};
// To the shard of the chunk that is written. It brings the stored bytes of another chunk, its own
// or another shard's, and writes them. Not idempotent: a copy that is late must not bring back what
// was overwritten since.
struct CopyChunkRequest : Message<Opcode::kCopyChunk, CopyChunkReply> {
  std::uint64_t inode = 0;
  std::uint64_t index = 0;
  std::uint32_t offset = 0;  // within the chunk
  std::uint32_t length = 0;
  std::uint64_t from_inode = 0;
  std::uint64_t from_index = 0;
  std::uint32_t from_offset = 0;  // within its chunk
  std::uint32_t from_shard = 0;   // that has it
};
static_assert(sizeof(CopyChunkRequest) == 48);

// Programs of the shard's node that have its slots (slot_state.h) read and fill chunks by
// themselves.
inline constexpr std::uint32_t kNoSlot = UINT32_MAX;

struct LocateChunkReply {
  std::uint64_t generation = 0;
  std::uint32_t slot = kNoSlot;  // kNoSlot: it can only be asked for
  std::uint32_t padding = 0;
};
struct LocateChunkRequest : Message<Opcode::kLocateChunk, LocateChunkReply> {
  std::uint64_t inode = 0;
  std::uint64_t index = 0;
};

// A write as WriteChunk in two steps. Of one place the request with the highest number counts; what
// an earlier one left there ends without effect, and so does it when the program ends. Answers as
// WriteChunk.
//
// If all of the range is stored already, the program may overwrite it, and whatever else is stored
// of the chunk, again and again without a second step: it has a write loan while the slot has this
// generation, for `loan_ms` from when it asked. The loan has a place of its own; what was lent
// there before has ended.
struct BeginFillReply {
  std::uint32_t slot = kNoSlot;    // kNoSlot: to be sent as a WriteChunk
  std::uint32_t existing_end = 0;  // of the slot's memory that is there
  std::uint64_t generation = 0;    // with a loan
  std::uint32_t loan_ms = 0;       // 0: no loan
  std::uint32_t padding = 0;
};
inline constexpr std::uint32_t kNoPlace = UINT32_MAX;
inline constexpr std::uint32_t kLoanForEver = UINT32_MAX;
struct BeginFillRequest : Message<Opcode::kBeginFill, BeginFillReply> {
  std::uint64_t inode = 0;
  std::uint64_t index = 0;
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
  std::uint64_t truncation = kAnyTruncation;
  std::uint64_t number = 0;
  std::uint32_t place = 0;        // below kMaxLoans; kNoPlace: a loan, or nothing
  std::uint32_t loan = kNoPlace;  // below kMaxWriteLoans; kNoPlace: no loan
};

enum EndFillFlags : std::uint32_t {
  kFillGivenUp = 1U << 0,  // nothing is stored
};
struct EndFillReply {
  std::uint32_t is_stored = 0;  // 0: to be sent as a WriteChunk
  std::uint32_t padding = 0;
};
struct EndFillRequest : Message<Opcode::kEndFill, EndFillReply> {
  std::uint64_t number = 0;  // of the BeginFill
  std::uint32_t place = 0;
  std::uint32_t flags = 0;
};

// The chunks of an inode on this shard from `first` on, by index. The data part holds a ChunkEnd
// for each.
struct ChunkEnd {
  std::uint64_t index = 0;
  std::uint32_t end = 0;  // of the stored bytes, within the chunk
  std::uint32_t padding = 0;
};
static_assert(sizeof(ChunkEnd) == 16);
inline constexpr std::uint32_t kMaxListedChunks = 4096;
struct ListChunksReply {
  std::uint32_t count = 0;
  std::uint32_t at_end = 0;  // 1 when no chunk follows
};
struct ListChunksRequest : Message<Opcode::kListChunks, ListChunksReply> {
  std::uint64_t inode = 0;
  std::uint64_t first = 0;
  std::uint32_t max_count = 0;  // 1 to kMaxListedChunks
  std::uint32_t padding = 0;
};
static_assert(sizeof(ListChunksRequest) == 24);

// --- Names ---------------------------------------------------------------------------------------

enum EntryFlags : std::uint32_t {
  kEntryRemote = 1U << 0,   // attr holds only inode and file type; ask the inode's home
  kEntryCreated = 1U << 1,  // this request created the file
  // What the client may use without asking until it is told otherwise, for kMaxExactLeaseMs at
  // most:
  kEntryLeased = 1U << 2,  // that the name leads to this inode
  kAttrLeased = 1U << 3,   // the attributes
  // Only with kEntryLeased: there is no such name, and attr is empty.
  kEntryMissing = 1U << 4,
  // Only with kEntryCreated: mtime and ctime of the directory are now the ctime of the inode. So
  // who has a lease of the directory's attributes still knows them.
  kDirectoryTimed = 1U << 5,
};

struct EntryReply {
  Attr attr;
  std::uint32_t flags = 0;         // EntryFlags
  std::uint32_t target_bytes = 0;  // symlinks: length of the target in the data part
};
static_assert(sizeof(EntryReply) == 88);

enum LookupFlags : std::uint16_t {
  kLookupName = 1U << 0,   // on the way: times and links of a directory may be those of before
  kLookupLease = 1U << 1,  // the client takes leases (kEntryLeased, kAttrLeased)
};
struct LookupRequest : Message<Opcode::kLookup, EntryReply> {
  std::uint64_t parent = 0;
  std::uint16_t name_bytes = 0;
  std::uint16_t flags = 0;  // LookupFlags
  std::uint32_t padding = 0;
};
static_assert(sizeof(LookupRequest) == 16);

enum OpenFlags : std::uint32_t {
  kOpenRead = 1U << 0,
  kOpenWrite = 1U << 1,
  kOpenCreate = 1U << 2,
  kOpenExclusive = 1U << 3,
  kOpenTruncate = 1U << 4,
  kOpenAppend = 1U << 5,
  kOpenNoFollow = 1U << 6,
  kOpenDirectory = 1U << 7,
  kOpenUnlinked = 1U << 8,  // OpenInode: also a file without a name that somebody has open
  kOpenLease =
      1U << 9,  // Open: the client takes leases of a file that is made, as with kLookupLease
};

// Opens or creates. A regular file whose inode is here is registered as open by this client; a
// directory or a symlink is only returned.
struct OpenRequest : Message<Opcode::kOpen, EntryReply> {
  std::uint64_t parent = 0;
  std::uint32_t flags = 0;  // OpenFlags
  std::uint32_t mode = 0;   // permission bits for a new file
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t chunk_bytes = 0;  // of a new file; 0 = the file system's
  std::uint16_t name_bytes = 0;
  std::uint16_t padding = 0;
  // The number of the client's open, counted from 1 and never reused by it. A repeated number means
  // the same open.
  std::uint64_t open_number = 0;
};

struct OpenInodeRequest : Message<Opcode::kOpenInode, EntryReply> {
  std::uint64_t inode = 0;
  std::uint32_t flags = 0;
  std::uint32_t padding = 0;
  std::uint64_t open_number = 0;
};

// Makes a file without a name on the receiving shard, whichever that is, and opens it. It ends with
// its last open, unless a Link names it; with kOpenExclusive nothing can.
struct OpenUnnamedRequest : Message<Opcode::kOpenUnnamed, EntryReply> {
  std::uint64_t parent = 0;  // the directory in which it was asked for
  std::uint32_t flags = 0;   // OpenFlags
  std::uint32_t mode = 0;    // permission bits
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t chunk_bytes = 0;  // 0 = the file system's
  std::uint32_t padding = 0;
  std::uint64_t open_number = 0;
};
static_assert(sizeof(OpenUnnamedRequest) == 40);

// Everything written to the file so far is made durable: the home asks the shards that it knows to
// hold bytes. The reply holds the exact attributes.
struct FsyncRequest : Message<Opcode::kFsync, EntryReply> {
  std::uint64_t inode = 0;
};

struct AppendReply {
  std::uint64_t offset = 0;  // the reserved range is [offset, offset + length)
  std::uint64_t truncation = 0;
  std::uint64_t length = 0;  // after a truncation: what it has left of the range
};
// Reserves a range at the end of the file. With a `truncation`: says what the truncations since
// then have left of a range that was reserved before them. EIO: that is not known any more.
struct AppendRequest : Message<Opcode::kAppend, AppendReply> {
  std::uint64_t inode = 0;
  std::uint64_t length = 0;
  std::uint64_t offset = 0;                   // of the range that was reserved
  std::uint64_t truncation = kAnyTruncation;  // any: a new range
};

struct MkdirRequest : Message<Opcode::kMkdir, EntryReply> {
  std::uint64_t parent = 0;
  std::uint32_t mode = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint16_t name_bytes = 0;
  std::uint16_t padding = 0;
};

struct SymlinkRequest : Message<Opcode::kSymlink, EntryReply> {  // data part: the target
  std::uint64_t parent = 0;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint16_t target_bytes = 0;
  std::uint16_t name_bytes = 0;
  std::uint32_t padding = 0;
};

// One more name of an inode that has one, or the first of a file made without. The entry comes back
// remote when the inode does not live with it.
struct LinkRequest : Message<Opcode::kLink, EntryReply> {
  std::uint64_t inode = 0;
  std::uint64_t parent = 0;
  std::uint16_t name_bytes = 0;
  std::uint16_t padding[3] = {};
};
static_assert(sizeof(LinkRequest) == 24);

// A fifo, a socket or a device: an inode without data.
struct MakeSpecialRequest : Message<Opcode::kMakeSpecial, EntryReply> {
  std::uint64_t parent = 0;
  std::uint32_t mode = 0;  // type (S_IFMT) and permission bits
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::uint32_t device = 0;  // of devices
  std::uint16_t name_bytes = 0;
  std::uint16_t padding[3] = {};
};

struct UnlinkReply {
  // Mtime and ctime of the directory now, for who has a lease of its attributes; 0: not told.
  std::int64_t directory_ns = 0;
};

enum UnlinkFlags : std::uint16_t {
  kUnlinkTimes = 1U << 0,  // the client has a lease of the directory's attributes
};
struct UnlinkRequest : Message<Opcode::kUnlink, UnlinkReply> {
  std::uint64_t parent = 0;
  // The inode that the name leads to, as the client knows: it uses nothing of its attributes any
  // more, so that they need not be called back from it if the inode ends. 0: it does not know.
  std::uint64_t forgotten = 0;
  std::uint16_t name_bytes = 0;
  std::uint16_t flags = 0;  // UnlinkFlags
  std::uint32_t padding = 0;
};

struct RmdirRequest : Message<Opcode::kRmdir, NoReply> {
  std::uint64_t parent = 0;
  std::uint16_t name_bytes = 0;
  std::uint16_t padding[3] = {};
};

enum RenameFlags : std::uint32_t {
  kRenameNoReplace = 1U << 0,
  kRenameExchange = 1U << 1,  // both names must exist; not with kRenameNoReplace
  kRenameLease = 1U << 2,     // the client takes a lease of the new name, as with kLookupLease
};

// Sent to the shard of the old name. Old name, then new name.
struct RenameRequest : Message<Opcode::kRename, NoReply> {
  std::uint64_t old_parent = 0;
  std::uint64_t new_parent = 0;
  std::uint32_t flags = 0;
  std::uint16_t old_name_bytes = 0;
  std::uint16_t new_name_bytes = 0;
};

// A page of a directory's entries on this shard, in byte order of the names, after `cursor` (the
// name bytes; empty = from the start). The data part holds packed DirEntryHeader + name, and an
// Attr after the name of an entry that has kDirEntryAttr.
struct ReaddirReply {
  std::uint32_t entry_count = 0;
  std::uint32_t at_end = 0;  // 1 when no entry follows
};
enum ReaddirFlags : std::uint16_t {
  kReaddirAttr = 1U << 0,   // with the attributes that the shard knows without waiting
  kReaddirLease = 1U << 1,  // with kReaddirAttr: the client takes leases, as with kLookupLease
};
struct ReaddirRequest : Message<Opcode::kReaddir, ReaddirReply> {
  std::uint64_t directory = 0;
  std::uint32_t max_bytes = 0;  // of the data part, at most kMaxReaddirBytes
  std::uint16_t cursor_bytes = 0;
  std::uint16_t flags = 0;  // ReaddirFlags
};
enum DirEntryFlags : std::uint16_t {
  kDirEntryAttr = 1U << 0,        // an Attr follows the name
  kDirEntryLeased = 1U << 1,      // as kEntryLeased
  kDirEntryAttrLeased = 1U << 2,  // as kAttrLeased, with kDirEntryAttr
};
struct DirEntryHeader {
  std::uint64_t inode = 0;
  std::uint32_t type = 0;  // S_IFMT bits
  std::uint16_t name_bytes = 0;
  std::uint16_t flags = 0;  // DirEntryFlags
};
static_assert(sizeof(DirEntryHeader) == 16);

// --- Inodes --------------------------------------------------------------------------------------

enum GetAttrFlags : std::uint32_t {
  kGetAttrLease = 1U << 0,  // the client takes a lease (kAttrLeased)
  kGetAttrRest =
      1U << 1,  // with kGetAttrLease: bring it to rest, that they can be leased next time
};
struct GetAttrRequest : Message<Opcode::kGetAttr, EntryReply> {
  std::uint64_t inode = 0;
  std::uint32_t flags = 0;  // GetAttrFlags
  std::uint32_t padding = 0;
};

struct ReadlinkRequest : Message<Opcode::kReadlink, EntryReply> {
  std::uint64_t inode = 0;
};

struct SetAttrRequest : Message<Opcode::kSetAttr, EntryReply> {
  std::uint64_t inode = 0;
  std::uint64_t size = 0;
  std::int64_t atime_ns = 0;
  std::int64_t mtime_ns = 0;
  std::uint32_t mask = 0;  // SetAttrMask
  std::uint32_t mode = 0;  // permission bits
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

// Extended attributes of an inode, which are kept at its home. Names come as the program gave them,
// with their namespace. EOPNOTSUPP: not of user.
struct GetXattrReply {
  std::uint64_t value_bytes = 0;  // the data part
};
// Without a name: all names, with a NUL behind each. ENODATA.
struct GetXattrRequest : Message<Opcode::kGetXattr, GetXattrReply> {
  std::uint64_t inode = 0;
  std::uint16_t name_bytes = 0;
  std::uint16_t padding[3] = {};
};
static_assert(sizeof(GetXattrRequest) == 16);

enum SetXattrFlags : std::uint32_t {
  kXattrCreate = 1U << 0,   // EEXIST when it is there
  kXattrReplace = 1U << 1,  // ENODATA when it is not
  kXattrRemove = 1U << 2,   // ENODATA when it is not; there is no value
};
// ENOSPC: beyond the limits of wire/limits.h.
struct SetXattrRequest : Message<Opcode::kSetXattr, NoReply> {  // data part: the value
  std::uint64_t inode = 0;
  std::uint32_t flags = 0;  // SetXattrFlags
  std::uint32_t value_bytes = 0;
  std::uint16_t name_bytes = 0;
  std::uint16_t padding[3] = {};
};
static_assert(sizeof(SetXattrRequest) == 24);

// --- Locks of files ------------------------------------------------------------------------------

enum class LockMode : std::uint32_t { kNone, kShared, kExclusive };
enum LockFlags : std::uint32_t {
  kLockWholeFile = 1U << 0,  // a lock of flock(), which record locks know nothing of
  kLockTest = 1U << 1,       // nothing is locked
  kLockWait = 1U << 2,       // for up to half a second
  // The owner is an open file that processes share: `owner` is the number of the open, and
  // `opener_uid` the client that made it. Whoever locks for it becomes a sharer of it, and the
  // opener too while it has it open. Its locks end with the last sharer.
  kLockShared = 1U << 3,
  kLockJoin = 1U << 4,   // with kLockShared: the client becomes a sharer; nothing is locked
  kLockLeave = 1U << 5,  // with kLockShared: it no longer is one
};
inline constexpr std::uint64_t kLockToEnd = UINT64_MAX;  // the end of a lock: that of the file

// A lock that is in the way, or kNone: it was done, or would be.
struct LockReply {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint32_t mode = 0;  // LockMode
  std::uint32_t pid = 0;
};
static_assert(sizeof(LockReply) == 24);
// Sent to the file's home. What the owner had locked in the range becomes `mode`; kNone unlocks it.
struct LockRequest : Message<Opcode::kLock, LockReply> {
  std::uint64_t inode = 0;
  std::uint64_t owner = 0;  // a number of the client's choice
  std::uint64_t begin = 0;
  std::uint64_t end = kLockToEnd;  // behind the last byte
  std::uint32_t mode = 0;          // LockMode
  std::uint32_t flags = 0;         // LockFlags
  std::uint32_t pid = 0;           // shown to others
  std::uint32_t padding = 0;
  std::uint64_t opener_uid = 0;  // with kLockShared
  std::uint64_t former_uid = 0;  // with kLockJoin: a sharer that is no longer, 0: none
};
static_assert(sizeof(LockRequest) == 64);

// --- Notices: one way, no reply, served in order with the requests of the connection -------------
// A notice is a NoticeHeader (wire/header.h), then its fixed part, then what that says.

template <Opcode kOp>
struct Notice {
  static constexpr Opcode kOpcode = kOp;
};

struct CloseNotice : Notice<Opcode::kCloseNotice> {
  std::uint64_t inode = 0;
  std::uint64_t open_number = 0;
};

// Said after every registration, before any request: of this client's open numbers n with
// from <= n < to, the server keeps those that follow (`count` of std::uint64_t, ascending) and
// closes the others.
inline constexpr std::uint32_t kMaxOpensInNotice = 112;
struct OpensNotice : Notice<Opcode::kOpensNotice> {
  std::uint64_t from = 0;
  std::uint64_t to = 0;
  std::uint32_t count = 0;
  std::uint32_t padding = 0;
};
static_assert(sizeof(NoticeHeader) + sizeof(OpensNotice) +
                  kMaxOpensInNotice * sizeof(std::uint64_t) <=
              kMaxHeaderBytes);

// --- Administration and benchmarks ---------------------------------------------------------------

// Data part of request and reply: any bytes; the reply returns reply_bytes of the request's data
// (or of zeros beyond it). A ping may come without this struct and then wants nothing back.
struct PingRequest : Message<Opcode::kPing, NoReply> {
  std::uint32_t reply_bytes = 0;
};

// Changes how many clients the shard registers at a time.
struct SetCapacityRequest : Message<Opcode::kSetCapacity, NoReply> {
  std::uint32_t max_clients = 0;  // 1 to kMaxClients
  std::uint32_t padding = 0;
};

struct StatfsReply {
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;  // available to an unprivileged user
  std::uint64_t inode_count = 0;
  std::uint64_t entry_count = 0;
  std::uint64_t device = 0;  // identifies the device: shards on one device share its space
};
struct StatfsRequest : Message<Opcode::kStatfs, StatfsReply> {
  std::uint64_t unused = 0;
};

enum class StatsSection : std::uint32_t {
  kCounters = 0,
  kRequests = 1,  // those under way, oldest first
};

struct StatsReply {
  std::uint64_t text_bytes = 0;  // the data part: one JSON object, at most kMaxStatsBytes
};
struct StatsRequest : Message<Opcode::kStats, StatsReply> {
  std::uint32_t section = 0;  // StatsSection
  std::uint32_t limit = 0;    // of the requests listed
};

inline constexpr std::uint64_t kShutdownMagic = 0xDEADBEEFCAFEBABEULL;
struct ShutdownRequest : Message<Opcode::kShutdown, NoReply> {
  std::uint64_t magic = 0;
};

// --- Shard to shard ------------------------------------------------------------------------------

// Second half of a rename: put (parent, name) -> inode, replacing what POSIX allows. The ticket is
// the sender's number for it, growing for each receiver; the sender knows what became of all below
// `settled`.
enum InstallFlags : std::uint32_t {
  kInstallSame = 1U << 0,   // nothing was done: the name leads to the inode already
  kInstallOther = 1U << 1,  // an exchange; nothing was done: the name leads to another inode
};
struct InstallEntryReply {
  // The inode that lost this name and lives on another shard, or none (0): the receiver owes its
  // home to say so, with this life and ticket, and the sender waits until the home knows.
  std::uint64_t replaced = 0;
  std::uint64_t life = 0;
  std::uint64_t ticket = 0;
  std::uint32_t flags = 0;  // InstallFlags; kInstallOther: `replaced` is the inode that is there
  std::uint32_t type = 0;   // of that inode, S_IFMT bits
};
static_assert(sizeof(InstallEntryReply) == 32);
struct InstallEntryRequest : Message<Opcode::kInstallEntry, InstallEntryReply> {
  std::uint64_t parent = 0;
  std::uint64_t inode = 0;
  std::uint32_t type = 0;   // S_IFMT bits
  std::uint32_t flags = 0;  // RenameFlags
  std::uint64_t ticket = 0;
  std::uint64_t settled = 0;
  std::uint64_t life = 0;    // of the sender; grows with its starts
  std::uint32_t sender = 0;  // shard
  std::uint16_t name_bytes = 0;
  std::uint16_t padding = 0;
  std::uint64_t client_uid = 0;  // who renames: its own leases of the name do not matter
  // kRenameExchange: the inode that the name must lead to; it goes to the old name. 0 only asks.
  std::uint64_t expected = 0;
};
static_assert(sizeof(InstallEntryRequest) == 72);

// Asks for the outcome of an InstallEntry that was not answered. If it has not been executed yet,
// it never will be.
struct SettleInstallReply {
  std::uint32_t installed = 0;
  std::uint32_t padding = 0;
};
struct SettleInstallRequest : Message<Opcode::kSettleInstall, SettleInstallReply> {
  std::uint64_t ticket = 0;
  std::uint64_t life = 0;    // of the sender
  std::uint32_t sender = 0;  // shard
  std::uint32_t padding = 0;
};

// First half of rmdir, on every shard: refuse new entries in an empty directory until the second.
struct FreezeDirectoryRequest : Message<Opcode::kFreezeDirectory, NoReply> {
  std::uint64_t directory = 0;
  std::uint64_t owner = 0;  // unique id of this rmdir
  std::uint32_t shard = 0;  // which removes it
  std::uint32_t padding = 0;
};

// Second half: either allow entries again, or remember that the directory is gone.
struct ThawDirectoryRequest : Message<Opcode::kThawDirectory, NoReply> {
  std::uint64_t directory = 0;
  std::uint64_t owner = 0;
  std::uint32_t removed = 0;
  std::uint32_t padding = 0;
};

// Numbers one change of a link count: it is made once, however often and by whom it is told.
struct LinkChange {
  std::uint64_t life = 0;     // of the shard that has the name; grows with its starts
  std::uint64_t ticket = 0;   // of that shard at the inode's home
  std::uint64_t settled = 0;  // it needs none below; 0: another shard tells it
  std::uint32_t shard = 0;    // that has the name
  std::uint32_t padding = 0;
};
static_assert(sizeof(LinkChange) == 32);

// Sent to an inode's home before it gets another name elsewhere. The reply has the attributes that
// do not need other shards: the size is that of the last settling.
struct LinkInodeRequest : Message<Opcode::kLinkInode, EntryReply> {
  std::uint64_t inode = 0;
  LinkChange change;
};

// Sent to an inode's home when a name of it went away elsewhere.
enum ForgetInodeFlags : std::uint32_t {
  kForgetLink = 1U << 0,    // takes the LinkInode with this ticket back, or rules it out
  kForgetUnmade = 1U << 1,  // the name was counted, but never made
};
struct ForgetInodeRequest : Message<Opcode::kForgetInode, NoReply> {
  std::uint64_t inode = 0;
  LinkChange change;
  std::uint32_t flags = 0;  // ForgetInodeFlags
  std::uint32_t padding = 0;
};
static_assert(sizeof(ForgetInodeRequest) == 48);

// Sent to a directory's home before the sender changes entries of it, unless the home knows that it
// may.
struct MarkDirectoryRequest : Message<Opcode::kMarkDirectory, NoReply> {
  std::uint64_t directory = 0;
  std::uint64_t stamp = 0;  // grows with every mark of this shard, beyond its restarts too
  std::uint32_t shard = 0;  // the sender
  std::uint32_t padding = 0;
};

// Asks a shard that has marked a directory what it did. The mark ends when nothing changed between
// two questions; the home forgets it if it still has the stamp of the question.
enum QueryDirectoryFlags : std::uint32_t {
  kDirectoryUnmarked = 1U << 0,  // the mark with the stamp of the question has ended
};
struct QueryDirectoryReply {
  std::uint64_t stamp = 0;        // of the mark
  std::uint64_t changes = 0;      // of entries, since the mark
  std::int64_t changed_ns = 0;    // when the last of them was made; 0: none
  std::uint32_t directories = 0;  // entries here that are directories
  std::uint32_t flags = 0;        // QueryDirectoryFlags
};
static_assert(sizeof(QueryDirectoryReply) == 32);
struct QueryDirectoryRequest : Message<Opcode::kQueryDirectory, QueryDirectoryReply> {
  std::uint64_t directory = 0;
  std::uint64_t stamp = 0;    // of the mark
  std::uint64_t changes = 0;  // of which the home knows
};

// Sent to a directory's home after a rename moved it. If there are several, the highest number
// counts.
struct SetParentRequest : Message<Opcode::kSetParent, NoReply> {
  std::uint64_t inode = 0;
  std::uint64_t parent = 0;
  std::uint64_t move = 0;  // LockRenamesReply
};

// Directory renames are serialised by shard 0, so that no two of them can form a loop.
struct LockRenamesReply {
  std::uint64_t move = 0;  // number of the owner's move; grows from owner to owner
};
struct LockRenamesRequest : Message<Opcode::kLockRenames, LockRenamesReply> {
  std::uint64_t owner = 0;
  std::uint32_t lease_ms = 0;
  std::uint32_t shard = 0;  // the owner's
};
struct UnlockRenamesRequest : Message<Opcode::kUnlockRenames, NoReply> {
  std::uint64_t owner = 0;
};

// Which inodes the shard has made in this life: those with begin <= InodeId::counter() < end.
struct InodeRangeReply {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};
struct InodeRangeRequest : Message<Opcode::kInodeRange, InodeRangeReply> {
  std::uint64_t unused = 0;
};

}  // namespace benchfs::wire
