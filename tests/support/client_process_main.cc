// A client process that a test directs line by line: it reads one operation from standard input,
// carries it out through the C API and answers with one line. Tests start several, and stop, kill
// or cut off each as they like. See client_process.h for the operations.
#include <benchfs/benchfs.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cinttypes>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "door/steps.h"
#include "support/scribbler.h"

namespace benchfs::test {
namespace {

// What a halting transfer must not touch yet.
char* barred = nullptr;
std::size_t barred_bytes = 0;

// At which of the instants that come the process gets which signal.
std::atomic<std::int64_t> instants_left = 0;
int signal_at_instant = 0;

// Whether the client sleeps before its reply comes, and the shard before it is asked, differs from
// run to run; what it does in between does not.
bool comes_in_every_run(door::Step step) {
  return step != door::Step::kBellRaised && step != door::Step::kMarkedAsleep &&
         step != door::Step::kBeforeSleep;
}

void count_instant(door::Step step) {
  if (comes_in_every_run(step) && --instants_left == 0) {
    ::raise(signal_at_instant);
  }
}

class Interpreter {
 public:
  Interpreter(benchfs_context_t* fs, const benchfs_options_t& options)
      : fs_(fs), options_(options) {}

  // "RESULT\tDETAILS\tERROR"
  std::string carry_out(const std::string& line) {
    words_ = std::istringstream(line);
    details_.clear();
    std::string operation = word();
    auto found = operations().find(operation);
    std::int64_t result = found == operations().end() ? -ENOSYS : found->second(*this);
    return fmt::format("{}\t{}\t{}\n", result, details_, result < 0 ? benchfs_get_error() : "");
  }

 private:
  using Operations = std::map<std::string, std::function<std::int64_t(Interpreter&)>>;

  std::string word() {
    std::string text;
    words_ >> text;
    return text;
  }
  std::int64_t number() {
    std::int64_t value = 0;
    words_ >> value;
    return value;
  }
  benchfs_file_t* file() { return files_[static_cast<std::size_t>(number())]; }

  static int open_flags(const std::string& text) {
    static const std::map<char, int> kFlags = {{'r', O_RDONLY},
                                               {'w', O_WRONLY},
                                               {'b', O_RDWR},
                                               {'c', O_CREAT},
                                               {'x', O_EXCL},
                                               {'t', O_TRUNC},
                                               {'a', O_APPEND},
                                               {'d', O_DIRECTORY},
                                               {'u', O_TMPFILE}};
    int flags = 0;
    for (char letter : text) {
      flags |= kFlags.at(letter);
    }
    return flags;
  }

  std::int64_t open() {
    std::string path = word();
    benchfs_file_t* file = benchfs_open(fs_, path.c_str(), open_flags(word()), 0644);
    if (file == nullptr) {
      return -errno;
    }
    files_.push_back(file);
    return static_cast<std::int64_t>(files_.size()) - 1;
  }
  std::int64_t pwrite() {
    benchfs_file_t* to = file();
    std::int64_t offset = number();
    std::vector<char> bytes(static_cast<std::size_t>(number()), word().at(0));
    return benchfs_pwrite(to, bytes.data(), bytes.size(), offset);
  }
  // The process stops itself when it comes to the second half of the buffer.
  std::int64_t halting(const std::function<std::int64_t(char*, std::size_t)>& transfer,
                       std::size_t size,
                       char filler) {
    void* bytes = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memset(bytes, filler, size);
    barred = static_cast<char*>(bytes) + size / 2;
    barred_bytes = size - size / 2;
    mprotect(barred, barred_bytes, PROT_NONE);
    std::signal(SIGSEGV, [](int) {
      ::raise(SIGSTOP);
      mprotect(barred, barred_bytes, PROT_READ | PROT_WRITE);
    });
    std::int64_t result = transfer(static_cast<char*>(bytes), size);
    std::signal(SIGSEGV, SIG_DFL);
    munmap(bytes, size);
    return result;
  }
  std::int64_t halting_pwrite() {
    benchfs_file_t* to = file();
    std::int64_t offset = number();
    auto size = static_cast<std::size_t>(number());
    auto write = [&](char* bytes, std::size_t length) {
      return benchfs_pwrite(to, bytes, length, offset);
    };
    return halting(write, size, word().at(0));
  }
  std::int64_t halting_pread() {
    benchfs_file_t* from = file();
    std::int64_t offset = number();
    auto size = static_cast<std::size_t>(number());
    auto read = [&](char* bytes, std::size_t length) {
      return benchfs_pread(from, bytes, length, offset);
    };
    return halting(read, size, '?');
  }
  std::int64_t append() {
    benchfs_file_t* to = file();
    std::vector<char> bytes(static_cast<std::size_t>(number()), word().at(0));
    return benchfs_write(to, bytes.data(), bytes.size());
  }
  // Details: the runs of equal bytes, "a*100 0*28".
  std::int64_t pread() {
    benchfs_file_t* from = file();
    std::int64_t offset = number();
    std::vector<char> bytes(static_cast<std::size_t>(number()), '?');
    std::int64_t got = benchfs_pread(from, bytes.data(), bytes.size(), offset);
    for (std::int64_t i = 0; i < got;) {
      std::int64_t begin = i;
      char byte = bytes[static_cast<std::size_t>(i)];
      while (i < got && bytes[static_cast<std::size_t>(i)] == byte) {
        ++i;
      }
      details_ += fmt::format(
          "{}{}*{}", begin == 0 ? "" : " ", byte == '\0' ? "0" : std::string(1, byte), i - begin);
    }
    return got;
  }
  // Details: the size.
  std::int64_t tell(int result, const benchfs_stat_t& found) {
    if (result == 0) {
      details_ = fmt::to_string(found.st_size);
    }
    return result;
  }
  std::int64_t stat() {
    benchfs_stat_t found{};
    int result = benchfs_stat(fs_, word().c_str(), &found);
    return tell(result, found);
  }
  std::int64_t fstat() {
    benchfs_stat_t found{};
    int result = benchfs_fstat(file(), &found);
    return tell(result, found);
  }
  // Details: bytes in use.
  std::int64_t statfs() {
    benchfs_statfs_t found{};
    int result = benchfs_statfs(fs_, &found);
    details_ = fmt::to_string((found.f_blocks - found.f_bfree) * found.f_bsize);
    return result;
  }
  std::int64_t list() {
    return benchfs_readdir(
        fs_,
        word().c_str(),
        [](void* arg, const char* name, std::uint32_t, std::uint64_t) {
          static_cast<Interpreter*>(arg)->details_ += fmt::format("{} ", name);
          return 0;
        },
        this);
  }
  // Renames a new file over a name again and again: replace DIRECTORY NAME ROUNDS.
  std::int64_t replace() {
    std::string directory = word();
    std::string name = fmt::format("{}/{}", directory, word());
    std::int64_t rounds = number();
    for (std::int64_t i = 0; i < rounds; ++i) {
      // Temporary names on different servers.
      std::string other = fmt::format("{}/temporary_{}", directory, i % 50);
      benchfs_file_t* file = benchfs_open(fs_, other.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0644);
      if (file == nullptr) {
        return -errno;
      }
      std::int64_t written = benchfs_pwrite(file, "12345678", 8, 0);
      int closed = benchfs_close(file);
      int renamed = benchfs_rename(fs_, other.c_str(), name.c_str());
      for (std::int64_t result : {written, std::int64_t{closed}, std::int64_t{renamed}}) {
        if (result < 0) {
          return result;
        }
      }
    }
    return rounds;
  }
  // Repeats an operation: repeat ROUNDS OPERATION…; details: how often which result came.
  std::int64_t repeat() {
    std::int64_t rounds = number();
    std::string rest((std::istreambuf_iterator<char>(words_)), {});
    std::map<std::string, int> results;
    for (std::int64_t i = 0; i < rounds; ++i) {
      std::string answer = carry_out(rest);
      std::string result = answer.substr(0, answer.find('\t'));
      if (rest.find(" open ") == 0 || rest.find("open ") == 0 || rest.find(" open") == 0) {
        if (result[0] != '-') {
          benchfs_close(files_.back());
          files_.pop_back();
          result = "0";
        }
      }
      ++results[result];
    }
    details_.clear();
    for (const auto& [result, count] : results) {
      details_ += fmt::format("{}:{} ", result, count);
    }
    return 0;
  }

  // Carries out an operation and gets a signal at one of its instants, the first is 1:
  // at-instant NUMBER SIGNAL OPERATION… Without one there: -ERANGE, after the operation.
  std::int64_t at_instant() {
    std::int64_t instant = number();
    signal_at_instant = static_cast<int>(number());
    std::string rest((std::istreambuf_iterator<char>(words_)), {});
    instants_left = instant;
    door::step_hook = count_instant;
    std::string answer = carry_out(rest);
    door::step_hook = nullptr;
    return instants_left > 0 ? -ERANGE : std::strtoll(answer.c_str(), nullptr, 10);
  }
  // Files of this process end there, as pwrite() sees it.
  std::int64_t limit_files() {
    rlim_t most = static_cast<rlim_t>(number());
    rlimit limit{.rlim_cur = most, .rlim_max = RLIM_INFINITY};
    return ::setrlimit(RLIMIT_FSIZE, &limit) == 0 ? 0 : -errno;
  }

  // In a child of fork, which makes a context of its own: child OPERATION…
  std::int64_t child() {
    std::string rest((std::istreambuf_iterator<char>(words_)), {});
    pid_t child = ::fork();
    if (child == 0) {
      benchfs_context_t* own = benchfs_connect(&options_);
      std::int64_t result = own == nullptr ? -errno : 0;
      if (own != nullptr) {
        std::string answer = Interpreter(own, options_).carry_out(rest);
        result = std::strtoll(answer.c_str(), nullptr, 10);
        benchfs_finalize(own);
      }
      ::_exit(static_cast<int>(result < 0 ? -result : 0));
    }
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) {
      return -ECHILD;
    }
    return -WEXITSTATUS(status);
  }

  static const Operations& operations() {
    static const Operations kAll = {
        {"open", [](Interpreter& in) { return in.open(); }},
        {"close", [](Interpreter& in) { return benchfs_close(in.file()); }},
        {"pwrite", [](Interpreter& in) { return in.pwrite(); }},
        {"halting-pwrite", [](Interpreter& in) { return in.halting_pwrite(); }},
        {"halting-pread", [](Interpreter& in) { return in.halting_pread(); }},
        {"append", [](Interpreter& in) { return in.append(); }},
        {"pread", [](Interpreter& in) { return in.pread(); }},
        {"fsync", [](Interpreter& in) { return benchfs_fsync(in.file()); }},
        {"lock",
         [](Interpreter& in) {
           benchfs_lock_t whole = {
               .mode = BENCHFS_LOCK_EXCLUSIVE, .pid = 1, .start = 0, .length = 0};
           return benchfs_lock(in.file(), 1, 0, &whole, 0);
         }},
        {"fstat", [](Interpreter& in) { return in.fstat(); }},
        {"ftruncate",
         [](Interpreter& in) {
           benchfs_file_t* file = in.file();
           return benchfs_ftruncate(file, in.number());
         }},
        {"stat", [](Interpreter& in) { return in.stat(); }},
        {"statfs", [](Interpreter& in) { return in.statfs(); }},
        {"truncate",
         [](Interpreter& in) {
           std::string path = in.word();
           return benchfs_truncate(in.fs_, path.c_str(), in.number());
         }},
        {"access", [](Interpreter& in) { return benchfs_access(in.fs_, in.word().c_str(), F_OK); }},
        {"chmod", [](Interpreter& in) { return benchfs_chmod(in.fs_, in.word().c_str(), 0600); }},
        {"utimens",
         [](Interpreter& in) { return benchfs_utimens(in.fs_, in.word().c_str(), nullptr); }},
        {"unlink", [](Interpreter& in) { return benchfs_unlink(in.fs_, in.word().c_str()); }},
        {"mkdir", [](Interpreter& in) { return benchfs_mkdir(in.fs_, in.word().c_str(), 0755); }},
        {"rmdir", [](Interpreter& in) { return benchfs_rmdir(in.fs_, in.word().c_str()); }},
        {"rename",
         [](Interpreter& in) {
           std::string from = in.word();
           return benchfs_rename(in.fs_, from.c_str(), in.word().c_str());
         }},
        {"link",
         [](Interpreter& in) {
           std::string from = in.word();
           return benchfs_link(in.fs_, from.c_str(), in.word().c_str());
         }},
        {"links",
         [](Interpreter& in) {
           benchfs_stat_t found;
           int result = benchfs_stat(in.fs_, in.word().c_str(), &found);
           return result < 0 ? result : static_cast<int>(found.st_nlink);
         }},
        {"chroot",
         [](Interpreter& in) {
           std::string directory = in.word();
           return ::chroot(directory.c_str()) == 0 && ::chdir("/") == 0 ? 0 : -errno;
         }},
        {"list", [](Interpreter& in) { return in.list(); }},
        {"replace", [](Interpreter& in) { return in.replace(); }},
        {"repeat", [](Interpreter& in) { return in.repeat(); }},
        {"at-instant", [](Interpreter& in) { return in.at_instant(); }},
        {"limit-files", [](Interpreter& in) { return in.limit_files(); }},
        {"scribble",
         [](Interpreter& in) { return start_scribbling(static_cast<std::uint64_t>(in.number())); }},
        {"child", [](Interpreter& in) { return in.child(); }},
    };
    return kAll;
  }

  benchfs_context_t* fs_;
  benchfs_options_t options_;
  std::istringstream words_;
  std::string details_;
  std::vector<benchfs_file_t*> files_;
};

int run(const char* registry, const char* timeout_ms) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  benchfs_options_t options{};
  options.struct_size = sizeof options;
  options.registry_dir = registry;
  options.timeout_ms = static_cast<std::uint32_t>(std::strtoul(timeout_ms, nullptr, 10));
  benchfs_context_t* fs = benchfs_connect(&options);
  fmt::print("{}\t\t{}\n", fs == nullptr ? -errno : 0, fs == nullptr ? benchfs_get_error() : "");
  std::fflush(stdout);
  if (fs == nullptr) {
    return 1;
  }
  Interpreter interpreter(fs, options);
  char* text = nullptr;
  std::size_t capacity = 0;
  for (ssize_t size = 0; (size = ::getline(&text, &capacity, stdin)) > 0;) {
    std::string line(text, static_cast<std::size_t>(size) - 1);
    if (line == "finalize") {
      std::free(text);
      int result = benchfs_finalize(fs);
      fmt::print("{}\t\t{}\n", result, result < 0 ? benchfs_get_error() : "");
      return 0;
    }
    fmt::print("{}", interpreter.carry_out(line));
    std::fflush(stdout);
  }
  std::free(text);
  return 0;
}

}  // namespace
}  // namespace benchfs::test

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: test_client REGISTRY TIMEOUT_MS\n");
    return 2;
  }
  return benchfs::test::run(argv[1], argv[2]);
}
