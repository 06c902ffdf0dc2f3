// A client process of the history test: history_client REGISTRY BOARD LOG NUMBER SLOT. Works
// through the C API with several threads and writes down what it does. The client of slot 0 is the
// judge, which prepares a round and looks at what is left of it.
#include <benchfs/benchfs.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "history/board.h"
#include "history/operation.h"

namespace benchfs::history {
namespace {

constexpr std::uint32_t kThreads = 2;
constexpr std::size_t kHandles = 4;
constexpr int kOperationsOfRound = 120;  // a thread; bounds the search
constexpr std::uint32_t kTimeoutMs = 8000;

void pause_for(Nanos span) {
  timespec time{.tv_sec = span.count() / 1'000'000'000, .tv_nsec = span.count() % 1'000'000'000};
  ::nanosleep(&time, nullptr);  // lint: allow sleep a client that computes
}

struct Handle {
  benchfs_file_t* file;
  std::uint64_t inode;
  bool appends;
};

class Log {
 public:
  explicit Log(const char* path)
      : fd_(::open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {}
  void write(const std::string& line) const {
    if (::write(fd_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      std::abort();
    }
  }

 private:
  int fd_;
};

class Thread {
 public:
  Thread(benchfs_context_t* fs, const Log& log, const Board& board, std::uint32_t client)
      : fs_(fs), log_(log), board_(board), client_(client) {}

  void start_round() {
    round_ = board_.round.load();
    random_ = Random(mix64(board_.seed.load() ^ round_) ^ mix64(client_));
    moves_directories_ = board_.moves_directories.load();
  }

  void set_up() {
    for (const std::string& name : directories()) {
      make_directory(name);
    }
    for (const char* name : {"s0", "s1"}) {
      open(name, kCreate | kExclusive);
    }
    close_all();
  }

  void run() {
    for (int i = 0; i < kOperationsOfRound && !board_.enough.load(); ++i) {
      one_operation();
      std::uint64_t dice = random_.below(100);
      if (dice < 4) {
        pause_for(std::chrono::milliseconds(100 + random_.below(300)));
      } else if (dice < 50) {
        pause_for(std::chrono::milliseconds(random_.below(20)));
      }
    }
  }

  void look_at_handles() {
    for (const Handle& handle : handles_) {
      file_stat(handle);
      read(handle, 0, kLargestFile);
    }
  }

  void look_at_names() {
    for (const std::string& directory : directories()) {
      list(directory);
    }
    for (const std::string& path : all_paths()) {
      stat(path);
      if (open(path, 0)) {
        file_stat(handles_.back());
        read(handles_.back(), 0, kLargestFile);
        close_at(handles_.size() - 1);
      }
    }
  }

  void close_all() {
    while (!handles_.empty()) {
      close_at(handles_.size() - 1);
    }
  }

  // These operations are not part of the history.
  void clear() {
    for (const std::string& path : all_paths()) {
      benchfs_unlink(fs_, absolute(path).c_str());
    }
    for (const std::string& directory : directories()) {
      benchfs_rmdir(fs_, absolute(directory).c_str());
    }
    benchfs_rmdir(fs_, fmt::format("/r{}", round_).c_str());
  }
  void make_root() { benchfs_mkdir(fs_, fmt::format("/r{}", round_).c_str(), 0755); }

 private:
  [[nodiscard]] std::vector<std::string> directories() const {
    return moves_directories_ ? std::vector<std::string>{"p", "q", "t"}
                              : std::vector<std::string>{"a", "b"};
  }
  [[nodiscard]] std::vector<std::string> all_paths() const {
    std::vector<std::string> paths = {"s0", "s1"};
    for (const std::string& directory : directories()) {
      for (const char* name : {"x", "y", "z"}) {
        paths.push_back(directory + "/" + name);
      }
    }
    return paths;
  }
  std::string pick_directory() { return directories()[random_.below(directories().size())]; }
  std::string pick_file() {
    return fmt::format(
        "{}/{}", pick_directory(), std::string(1, static_cast<char>('x' + random_.below(3))));
  }
  std::string pick_stable() { return random_.below(2) == 0 ? "s0" : "s1"; }
  [[nodiscard]] std::string absolute(const std::string& path) const {
    return fmt::format("/r{}/{}", round_, path);
  }

  void one_operation() {
    if (random_.below(100) < 55 && !handles_.empty()) {
      use_handle(random_.below(handles_.size()));
      return;
    }
    std::uint64_t dice = random_.below(100);
    if (dice < 40) {
      open_some();
    } else if (dice < 58) {
      stat(dice < 55 ? pick_file() : pick_stable());
    } else if (dice < 70) {
      unlink(pick_file());
    } else if (dice < 88) {
      std::string from = pick_file();
      std::string to = pick_file();
      if (from != to) {
        rename(from, to);
      }
    } else if (dice < 92) {
      truncate(pick_stable(), pick_size());
    } else if (!moves_directories_) {
      list(pick_directory());
    } else if (dice < 95) {
      make_directory(pick_directory());
    } else if (dice < 97) {
      remove_directory(pick_directory());
    } else {
      std::string from = pick_directory();
      std::string to = pick_directory();
      if (from != to) {
        rename(from, to);
      }
    }
  }

  void open_some() {
    if (handles_.size() == kHandles) {
      close_at(random_.below(kHandles));
    }
    std::uint64_t dice = random_.below(100);
    std::uint32_t appending = random_.below(3) == 0 ? kAppending : 0U;
    if (dice < 25) {
      open(pick_stable(), appending | (dice < 4 ? kCutToZero : 0U));
    } else if (dice < 60) {
      open(pick_file(), kCreate | kExclusive | appending);
    } else if (dice < 80) {
      open(pick_file(), kCreate | appending | (dice < 65 ? kCutToZero : 0U));
    } else {
      open(pick_file(), appending | (dice < 84 ? kCutToZero : 0U));
    }
  }

  void use_handle(std::size_t index) {
    const Handle& handle = handles_[index];
    std::uint64_t dice = random_.below(100);
    if (dice < 38) {
      if (handle.appends) {
        append(handle);
      } else {
        write(handle);
      }
    } else if (dice < 66) {
      std::int64_t offset = pick_offset();
      bool whole = random_.below(4) == 0;
      read(handle, whole ? 0 : offset, whole ? kLargestFile : pick_length(offset));
    } else if (dice < 78) {
      file_stat(handle);
    } else if (dice < 86) {
      file_truncate(handle);
    } else if (dice < 90) {
      sync(handle);
    } else {
      close_at(index);
    }
  }

  std::int64_t pick_cells(std::int64_t most) {
    return static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(most / kCell))) *
           kCell;
  }
  std::int64_t pick_offset() {
    std::int64_t block = pick_cells(kLargestFile) / kBlock * kBlock;
    return random_.below(3) == 0 ? pick_cells(kLargestFile) : block;
  }
  std::int64_t pick_length(std::int64_t offset) {
    std::int64_t most = random_.below(6) == 0 ? kChunk + kChunk / 2 : 3 * kBlock;
    return std::min(kCell + pick_cells(most), kLargestFile - offset);
  }
  std::int64_t pick_size() {
    return random_.below(3) == 0 ? 0 : pick_cells(kLargestFile) / kBlock * kBlock + pick_cells(64);
  }

  Operation begin(Kind kind) {
    Operation operation;
    operation.id = (client_ << 16U) | ++sequence_;
    operation.round = round_;
    operation.kind = kind;
    return operation;
  }
  void write_begin(Operation& operation) {
    operation.begin = mono_now().time_since_epoch().count();
    log_.write(begin_line(operation));
  }
  static void set_end(Operation& operation, std::int64_t result) {
    operation.end = mono_now().time_since_epoch().count();
    operation.result = result;
  }

  bool open(const std::string& path, std::uint32_t flags) {
    Operation operation = begin(Kind::kOpen);
    operation.path = path;
    operation.flags = flags;
    write_begin(operation);
    int posix =
        O_RDWR | ((flags & kCreate) != 0 ? O_CREAT : 0) | ((flags & kExclusive) != 0 ? O_EXCL : 0) |
        ((flags & kCutToZero) != 0 ? O_TRUNC : 0) | ((flags & kAppending) != 0 ? O_APPEND : 0);
    benchfs_file_t* file = benchfs_open(fs_, absolute(path).c_str(), posix, 0644);
    set_end(operation, file == nullptr ? -errno : 0);
    benchfs_stat_t found;
    if (file != nullptr && benchfs_fstat(file, &found) == 0) {
      operation.inode = found.st_ino;
    }
    log_.write(end_line(operation));
    if (file == nullptr) {
      return false;
    }
    if (operation.inode == 0) {
      benchfs_close(file);
      return false;
    }
    handles_.push_back({file, operation.inode, (flags & kAppending) != 0});
    return true;
  }

  // An operation whose answer is a number.
  template <typename Call>
  void record(Operation operation, const Call& call) {
    write_begin(operation);
    std::int64_t result = call(operation);
    set_end(operation, result);
    log_.write(end_line(operation));
  }
  template <typename Call>
  void on_path(Kind kind, const std::string& path, const Call& call) {
    Operation operation = begin(kind);
    operation.path = path;
    record(operation, call);
  }
  template <typename Call>
  void on_handle(Kind kind, const Handle& handle, const Call& call) {
    Operation operation = begin(kind);
    operation.inode = handle.inode;
    record(operation, call);
  }

  void stat(const std::string& path) {
    on_path(Kind::kStat, path, [&](Operation& operation) {
      benchfs_stat_t found;
      int result = benchfs_stat(fs_, absolute(path).c_str(), &found);
      if (result == 0) {
        operation.inode = found.st_ino;
        operation.size = found.st_size;
      }
      return result;
    });
  }
  void unlink(const std::string& path) {
    on_path(Kind::kUnlink, path, [&](Operation&) {
      return benchfs_unlink(fs_, absolute(path).c_str());
    });
  }
  void rename(const std::string& from, const std::string& to) {
    Operation operation = begin(Kind::kRename);
    operation.path = from;
    operation.target = to;
    record(operation, [&](Operation&) {
      return benchfs_rename(fs_, absolute(from).c_str(), absolute(to).c_str());
    });
  }
  void make_directory(const std::string& path) {
    on_path(Kind::kMakeDirectory, path, [&](Operation&) {
      return benchfs_mkdir(fs_, absolute(path).c_str(), 0755);
    });
  }
  void remove_directory(const std::string& path) {
    on_path(Kind::kRemoveDirectory, path, [&](Operation&) {
      return benchfs_rmdir(fs_, absolute(path).c_str());
    });
  }
  void list(const std::string& path) {
    on_path(Kind::kList, path, [&](Operation& operation) {
      return benchfs_readdir(
          fs_,
          absolute(path).c_str(),
          [](void* arg, const char* name, std::uint32_t, std::uint64_t inode) {
            static_cast<Operation*>(arg)->entries[name] = inode;
            return 0;
          },
          &operation);
    });
  }
  void truncate(const std::string& path, std::int64_t size) {
    Operation operation = begin(Kind::kTruncate);
    operation.path = path;
    operation.length = size;
    record(operation,
           [&](Operation&) { return benchfs_truncate(fs_, absolute(path).c_str(), size); });
  }
  void file_truncate(const Handle& handle) {
    Operation operation = begin(Kind::kFileTruncate);
    operation.inode = handle.inode;
    operation.length = pick_size();
    record(operation, [&](Operation&) { return benchfs_ftruncate(handle.file, operation.length); });
  }
  void file_stat(const Handle& handle) {
    on_handle(Kind::kFileStat, handle, [&](Operation& operation) {
      benchfs_stat_t found;
      int result = benchfs_fstat(handle.file, &found);
      operation.size = result == 0 ? found.st_size : -1;
      return result;
    });
  }
  void sync(const Handle& handle) {
    on_handle(Kind::kSync, handle, [&](Operation&) { return benchfs_fsync(handle.file); });
  }
  void close_at(std::size_t index) {
    Handle handle = handles_[index];
    handles_.erase(handles_.begin() + static_cast<std::ptrdiff_t>(index));
    on_handle(Kind::kClose, handle, [&](Operation&) { return benchfs_close(handle.file); });
  }
  void write(const Handle& handle) {
    Operation operation = begin(Kind::kWrite);
    operation.inode = handle.inode;
    operation.offset = pick_offset();
    operation.length = pick_length(operation.offset);
    buffer_.resize(static_cast<std::size_t>(operation.length));
    fill(buffer_, operation.offset, operation.id);
    record(operation, [&](Operation&) {
      return benchfs_pwrite(handle.file, buffer_.data(), buffer_.size(), operation.offset);
    });
  }
  void append(const Handle& handle) {
    Operation operation = begin(Kind::kAppend);
    operation.inode = handle.inode;
    operation.length = kCell + pick_cells(2 * kBlock);
    buffer_.resize(static_cast<std::size_t>(operation.length));
    fill_append(buffer_, operation.id);
    record(operation, [&](Operation& done) {
      std::int64_t result = benchfs_write(handle.file, buffer_.data(), buffer_.size());
      if (result >= 0) {
        done.size = benchfs_lseek(handle.file, 0, SEEK_CUR);
      }
      return result;
    });
  }
  void read(const Handle& handle, std::int64_t offset, std::int64_t length) {
    Operation operation = begin(Kind::kRead);
    operation.inode = handle.inode;
    operation.offset = offset;
    operation.length = length;
    // Bytes that the read leaves untouched must not look like a hole.
    buffer_.assign(static_cast<std::size_t>(length), std::byte{0xee});
    record(operation, [&](Operation& done) {
      std::int64_t result = benchfs_pread(handle.file, buffer_.data(), buffer_.size(), offset);
      if (result > 0) {
        done.tags = tags_of(std::span(buffer_).first(static_cast<std::size_t>(result)), offset);
      }
      return result;
    });
  }

  benchfs_context_t* fs_;
  const Log& log_;
  const Board& board_;
  std::uint32_t client_;
  std::uint32_t sequence_ = 0;
  std::uint32_t round_ = 0;
  bool moves_directories_ = false;
  Random random_{0};
  std::vector<Handle> handles_;
  std::vector<std::byte> buffer_;
};

template <typename Work>
void in_parallel(std::vector<Thread>& threads, const Work& work) {
  std::vector<std::thread> running;
  for (Thread& thread : threads) {
    running.emplace_back([&] { work(thread); });
  }
  for (std::thread& thread : running) {
    thread.join();
  }
}

void carry_out(Task task, bool is_judge, std::vector<Thread>& threads) {
  if (is_judge) {
    Thread& judge = threads.front();
    judge.start_round();
    switch (task) {
      case Task::kSetUp:
        judge.make_root();
        judge.set_up();
        break;
      case Task::kLook:
      case Task::kLookAgain:
        judge.look_at_names();
        break;
      case Task::kClear:
        judge.clear();
        break;
      case Task::kRun:
      case Task::kClose:
      case Task::kQuit:
        break;
    }
    return;
  }
  if (task == Task::kRun) {
    in_parallel(threads, [](Thread& thread) {
      thread.start_round();
      thread.run();
    });
  } else if (task == Task::kLook) {
    in_parallel(threads, [](Thread& thread) { thread.look_at_handles(); });
  } else if (task == Task::kClose) {
    in_parallel(threads, [](Thread& thread) { thread.close_all(); });
  }
}

int run(char** arguments) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  Board* board = map_board(arguments[2]);
  Log log(arguments[3]);
  auto number = static_cast<std::uint32_t>(std::strtoul(arguments[4], nullptr, 10));
  auto slot = static_cast<std::uint32_t>(std::strtoul(arguments[5], nullptr, 10));
  std::string name = fmt::format("history-{}", number);
  benchfs_options_t options{};
  options.struct_size = sizeof options;
  options.registry_dir = arguments[1];
  options.client_id = name.c_str();
  options.timeout_ms = kTimeoutMs;
  benchfs_context_t* fs = nullptr;
  for (int attempt = 0; fs == nullptr && attempt < 5; ++attempt) {
    fs = benchfs_connect(&options);
  }
  if (board == nullptr || fs == nullptr) {
    fmt::print(stderr, "history_client: {}\n", benchfs_get_error());
    return 1;
  }
  std::vector<Thread> threads;
  for (std::uint32_t i = 0; i < (slot == 0 ? 1 : kThreads); ++i) {
    threads.emplace_back(fs, log, *board, number * kThreads + i);
  }
  for (Task task = Task::kSetUp; task != Task::kQuit;) {
    std::uint32_t step = board->step.load();
    if (step == board->done[slot].load()) {
      pause_for(std::chrono::milliseconds(1));
      continue;
    }
    task = board->task.load();
    carry_out(task, slot == 0, threads);
    board->done[slot].store(step);
  }
  return -benchfs_finalize(fs);
}

}  // namespace
}  // namespace benchfs::history

int main(int argc, char** argv) {
  if (argc != 6) {
    fmt::print(stderr, "usage: history_client REGISTRY BOARD LOG NUMBER SLOT\n");
    return 2;
  }
  return benchfs::history::run(argv);
}
