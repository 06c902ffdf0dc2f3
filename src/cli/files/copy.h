// Copies trees of files, several files at a time and several parts of a large file at a time.
//
// The calling thread walks the source, makes directories and symlinks and hands files to worker
// threads, small ones many at a time. Files that fail are reported and left out; the rest is
// copied, unless the target is full: then the copy stops, removes the files it could not complete,
// and says so once.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "cli/files/file_tree.h"
#include "cli/files/progress.h"

namespace benchfs::cli {

struct CopyOptions {
  bool recursive = false;
  bool preserve = false;    // mode and times
  bool keep_owner = false;  // owner too, where possible
  bool force = false;       // remove a target that cannot be opened
  unsigned jobs = 4;        // worker threads
};

class Copier {
 public:
  // `on_error` is called from any thread, one call at a time.
  using ErrorHandler = std::function<void(const std::string& subject, const std::string& reason)>;

  Copier(CopyOptions options, Progress& progress, ErrorHandler on_error);
  Copier(const Copier&) = delete;
  Copier& operator=(const Copier&) = delete;
  ~Copier();

  // Copies `from` to the path `to` itself (not into it). Files may still be under way at return.
  void copy(FileTree& source, const std::string& from, FileTree& target, const std::string& to);
  // Waits for all files, then gives directories their modes and times. Call once, at the end.
  void finish();
  // Names copied that were further hard links to a file copied before; valid after finish().
  [[nodiscard]] std::uint64_t split_links() const { return split_links_; }

 private:
  static constexpr std::size_t kPartBytes = std::size_t{4} << 20;
  static constexpr std::size_t kZeroBlockBytes = std::size_t{64} << 10;  // smallest hole made
  static constexpr std::size_t kMaxWaiting = 1024;                       // jobs
  // Files up to this size are read and written whole, so many of them together.
  static constexpr std::size_t kSmallBytes = std::size_t{32} << 10;
  static constexpr std::size_t kSmallFiles = 32;

  struct Pair {
    FileTree& source;
    FileTree& target;
    std::string from;
    std::string to;
    FileInfo info;  // of `from`
  };
  struct Transfer;
  using Job = std::function<void(std::span<std::byte> buffer)>;

  void copy_any(const Pair& pair);
  void copy_directory(const Pair& pair);
  void copy_symlink(const Pair& pair);
  void copy_file(Pair pair, std::span<std::byte> buffer);
  [[nodiscard]] static bool is_small(const Pair& pair);
  void add_small(const Pair& pair);
  void push_small();
  void copy_small(const std::vector<Pair>& pairs, std::span<std::byte> buffer);
  Result<std::unique_ptr<File>> create_target(const Pair& pair);
  void help(const std::shared_ptr<Transfer>& transfer, std::span<std::byte> buffer);
  Status copy_part(Transfer& transfer, std::uint64_t offset, std::span<std::byte> buffer);
  Status copy_part_at_servers(Transfer& transfer, std::uint64_t offset, std::uint64_t length);
  Status copy_tail(Transfer& transfer, std::span<std::byte> buffer);
  Status complete(Transfer& transfer, std::span<std::byte> buffer);
  static Status write_data(Transfer& transfer,
                           std::uint64_t offset,
                           std::span<const std::byte> data);

  void work();
  void push(Job job, bool is_part);
  void fail(const std::string& subject, const std::string& reason);
  void fail(const std::string& subject, const Error& error);
  // True when the error says that the target is full, which is then reported in the end.
  bool note_full(const std::string& subject, const Error& error);
  void abandon(Transfer& transfer);
  void report_full();
  [[nodiscard]] bool should_stop() const;
  void note_links(const Pair& pair);
  [[nodiscard]] Keep keep() const {
    return options_.keep_owner ? Keep::kOwnerToo : Keep::kModeAndTimes;
  }

  CopyOptions options_;
  Progress& progress_;
  ErrorHandler on_error_;
  std::vector<Pair> directories_;  // made or entered; parents first
  std::vector<Pair> small_files_;  // found, but not given to a worker yet; of the same trees
  // Directories that were copied to. The walk must not enter them, or a copy into itself never
  // ends.
  std::vector<FileInfo> target_roots_;
  bool at_root_ = false;  // the next directory is one that copy() was given
  std::set<std::pair<std::uint64_t, std::uint64_t>> linked_files_;  // with more than one name
  std::uint64_t split_links_ = 0;

  std::atomic<bool> is_full_{false};
  std::atomic<std::uint64_t> removed_files_{0};
  std::string full_target_;  // guarded by error_mutex_
  Error full_error_;         // guarded by error_mutex_

  std::mutex error_mutex_;
  std::mutex mutex_;
  std::condition_variable has_job_;
  std::condition_variable has_room_;
  std::condition_variable is_idle_;
  std::deque<Job> jobs_;
  unsigned running_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace benchfs::cli
