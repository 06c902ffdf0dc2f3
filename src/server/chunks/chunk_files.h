// What a chunk shard knows of the files whose bytes it stores: whether their home knows that it
// does (the mark), and which truncations it has applied.
//
// A byte is stored only while the home knows that this shard may have bytes of the file beyond the
// settled size. So a write passes three gates: it begins (begin_write()), it waits until the home
// has taken a mark (may_commit()), and when its bytes are stored no cut has overtaken it (check()).
// Marks are asked for while the bytes of the write arrive. A home on this shard is asked directly.
//
// Entries exist while a file has chunks here, a mark, or a write under way; without chunks nothing
// needs to be remembered, because the next mark brings the truncation in force.
//
// Thread: the shard's.
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "chunk/chunk_store.h"
#include "rt/sync.h"
#include "server/chunks/mark_home.h"
#include "server/chunks/mark_times.h"
#include "server/chunks/older_files.h"
#include "server/peers.h"
#include "wire/ids.h"
#include "wire/messages.h"

namespace benchfs::server {

class ChunkFiles {
  struct File;
  using Files = std::unordered_map<wire::InodeId, File>;

 public:
  ChunkFiles(chunk::ChunkStore& store,
             OlderFiles& older,
             const Peers& peers,
             MarkHome& home,
             MarkTimes times);
  ChunkFiles(const ChunkFiles&) = delete;
  ChunkFiles& operator=(const ChunkFiles&) = delete;

  // A write of one file under way, from its arrival until it is answered.
  class Write {
   public:
    Write(ChunkFiles* owner, wire::InodeId inode, File* file, std::uint64_t truncation);
    Write(Write&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          inode_(other.inode_),
          file_(other.file_),
          truncation_(other.truncation_),
          cuts_(other.cuts_) {}
    Write& operator=(Write&&) = delete;
    ~Write() {
      if (owner_ != nullptr) {
        owner_->end_write(inode_, *file_);
      }
    }

   private:
    friend class ChunkFiles;
    [[nodiscard]] bool is_append() const { return truncation_ != wire::kAnyTruncation; }

    ChunkFiles* owner_;
    wire::InodeId inode_;
    File* file_;
    std::uint64_t truncation_;  // wire::WriteChunkRequest::truncation
    std::uint32_t cuts_;        // applied when it arrived
  };

  // A write that lasts: a program overwrites a chunk by itself (write_loan.h). The chunk store ends
  // it, and what it holds here is given up when the file is looked at next.
  class Loan : public chunk::SlotLoan {
   public:
    explicit Loan(Write write);

   private:
    friend class ChunkFiles;
    void give_up() {
      of_file_.unlink();
      write_.reset();
    }
    std::optional<Write> write_;
    boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>
        of_file_;
  };

  // Asks the home for a mark if that is needed.
  [[nodiscard]] Write begin_write(wire::InodeId inode, std::uint64_t truncation);
  // Returns when the home knows of the write. Errors as check(), and kDeadline when the home does
  // not answer.
  rt::CoStatus may_commit(const Write& write, Deadline deadline);
  // For how long this holds from now on, without asking again; wire::kLoanForEver.
  [[nodiscard]] std::uint32_t trusted_ms(const Write& write) const;
  // kBusy: a cut overtook it, to be sent again. ESTALE: the file is gone. EAGAIN: an append whose
  // range was cut.
  [[nodiscard]] Status check(const Write& write) const;

  rt::CoStatus cut(wire::TruncateChunksRequest body);
  rt::CoResult<wire::QueryChunksReply> query(wire::QueryChunksRequest body);
  // The same without kQuerySync, for the home on this shard; at once.
  Result<wire::QueryChunksReply> query_now(const wire::QueryChunksRequest& body);
  // Of all files, since this shard started.
  [[nodiscard]] std::uint64_t cuts() const { return cuts_; }
  // See MarkHome.
  [[nodiscard]] std::optional<std::uint64_t> size_now(wire::InodeId inode) {
    return home_.size_now(inode);
  }
  // The inode is gone: writes under way fail from now on. cut() frees the chunks afterwards.
  void forget(wire::InodeId inode);
  // The home says that it started again, and numbers its inodes from `first_counter` on.
  void on_new_life(wire::ShardId home, std::uint64_t life, std::uint64_t first_counter);

  // Files with a mark, a write under way, or chunks whose home is another shard.
  [[nodiscard]] std::size_t size() const { return files_.size(); }

 private:
  struct File {
    std::uint64_t applied = 0;      // the latest truncation
    std::uint32_t cuts = 0;         // applied in this life
    std::uint32_t writes = 0;       // under way
    bool is_marked = false;         // the home has confirmed a mark
    bool is_plain = false;          // one for writes that are no appends
    bool is_gone = false;           // the home said so
    bool asks_plain = false;        // the mark under way
    std::uint64_t asked_stamp = 0;  // of the mark under way; 0: none
    BootTime confirmed_at{};        // when the confirmed mark was sent
    rt::WaitQueue answered;         // a mark was answered, or a cut applied
    boost::intrusive::list<
        Loan,
        boost::intrusive::member_hook<Loan, decltype(Loan::of_file_), &Loan::of_file_>,
        boost::intrusive::constant_time_size<false>>
        loans;
  };

  [[nodiscard]] bool is_home_here(wire::InodeId inode) const {
    return peers_.is_self(inode.home());
  }
  // Whether a write may be committed, and whether the home should be asked.
  [[nodiscard]] bool is_trusted(wire::InodeId inode, const File& file, bool is_append) const;
  void ask_home(wire::InodeId inode, File& file, bool is_append);
  rt::Task<void> keep_asking(wire::InodeId inode, std::uint64_t stamp);
  rt::CoResult<wire::MarkReply> send_mark(wire::InodeId inode, std::uint64_t stamp, bool plain);
  // The entry whose mark with this stamp is under way; null when it is no longer waited for.
  File* asking(wire::InodeId inode, std::uint64_t stamp);
  // A home has been heard of in this life. True: what it had in an earlier life is dropped, but for
  // `asked_about`.
  bool on_life(wire::ShardId home, std::uint64_t life, wire::InodeId asked_about);
  void unmark(File& file);
  void note_cut(File& file);
  void take_back_loans(File& file);
  // Gives up what loans hold that are over. May erase the entry.
  void drop_loans(wire::InodeId inode);
  void end_write(wire::InodeId inode, File& file);
  void erase_if_unneeded(wire::InodeId inode);
  rt::Task<void> drop_chunks(wire::InodeId inode);

  chunk::ChunkStore& store_;
  OlderFiles& older_;
  const Peers& peers_;
  MarkHome& home_;
  MarkTimes times_;
  Files files_;
  std::uint64_t cuts_ = 0;
  std::uint64_t stamp_;               // the last one sent
  std::vector<std::uint64_t> lives_;  // of the homes, by shard; 0: not heard of
};

}  // namespace benchfs::server
