// Names and data by path, the same loops through the C API and through the calls of libc, so that
// what a door costs can be told: the preload library, the mount, and file systems to compare with.
//
//   path_bench [--api] [--files N] [--bytes N] [--threads N,…] DIRECTORY
//
// Prints one JSON object: rates per second, p50 in us, MiB/s. Every page that is written has its
// number at its beginning, which is compared when it is read.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "benchfs/benchfs.h"

namespace benchfs {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kLargest = std::size_t{4} << 20;
constexpr int kRandomOperations = 20'000;
constexpr int kThreadsOperations = 200'000;  // of all threads together, twice

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

[[noreturn]] void fail(const std::string& what) {
  fmt::print(stderr, "path_bench: {}\n", what);
  std::exit(1);
}

// An open file.
class File {
 public:
  virtual ~File() = default;
  virtual bool read(char* into, std::size_t bytes, std::int64_t at) = 0;
  virtual bool write(const char* from, std::size_t bytes, std::int64_t at) = 0;
  virtual bool close() = 0;
};

class Api {
 public:
  virtual ~Api() = default;
  virtual std::unique_ptr<File> open(const char* path, int flags) = 0;
  // Without a File, for the loops that measure nothing else.
  virtual bool open_and_close(const char* path, int flags) = 0;
  virtual bool stat(const char* path) = 0;
  virtual bool unlink(const char* path) = 0;
  virtual bool mkdir(const char* path) = 0;
  virtual bool rmdir(const char* path) = 0;
};

class LibcFile final : public File {
 public:
  explicit LibcFile(int fd) : fd_(fd) {}
  bool read(char* into, std::size_t bytes, std::int64_t at) override {
    return ::pread(fd_, into, bytes, at) == static_cast<ssize_t>(bytes);
  }
  bool write(const char* from, std::size_t bytes, std::int64_t at) override {
    return ::pwrite(fd_, from, bytes, at) == static_cast<ssize_t>(bytes);
  }
  bool close() override { return ::close(fd_) == 0; }

 private:
  int fd_;
};

class Libc final : public Api {
 public:
  std::unique_ptr<File> open(const char* path, int flags) override {
    int fd = ::open(path, flags, 0644);
    return fd < 0 ? nullptr : std::make_unique<LibcFile>(fd);
  }
  bool open_and_close(const char* path, int flags) override {
    int fd = ::open(path, flags, 0644);
    return fd >= 0 && ::close(fd) == 0;
  }
  bool stat(const char* path) override {
    struct stat found{};
    return ::stat(path, &found) == 0;
  }
  bool unlink(const char* path) override { return ::unlink(path) == 0; }
  bool mkdir(const char* path) override { return ::mkdir(path, 0755) == 0; }
  bool rmdir(const char* path) override { return ::rmdir(path) == 0; }
};

class CApiFile final : public File {
 public:
  explicit CApiFile(benchfs_file_t* file) : file_(file) {}
  bool read(char* into, std::size_t bytes, std::int64_t at) override {
    return benchfs_pread(file_, into, bytes, at) == static_cast<ssize_t>(bytes);
  }
  bool write(const char* from, std::size_t bytes, std::int64_t at) override {
    return benchfs_pwrite(file_, from, bytes, at) == static_cast<ssize_t>(bytes);
  }
  bool close() override { return benchfs_close(file_) == 0; }

 private:
  benchfs_file_t* file_;
};

class CApi final : public Api {
 public:
  CApi() {
    benchfs_options_t options{};
    options.struct_size = sizeof options;
    context_ = benchfs_connect(&options);
    if (context_ == nullptr) {
      fail(benchfs_get_error());
    }
  }
  CApi(const CApi&) = delete;
  CApi& operator=(const CApi&) = delete;
  ~CApi() override { benchfs_finalize(context_); }
  std::unique_ptr<File> open(const char* path, int flags) override {
    benchfs_file_t* file = benchfs_open(context_, path, flags, 0644);
    return file == nullptr ? nullptr : std::make_unique<CApiFile>(file);
  }
  bool open_and_close(const char* path, int flags) override {
    benchfs_file_t* file = benchfs_open(context_, path, flags, 0644);
    return file != nullptr && benchfs_close(file) == 0;
  }
  bool stat(const char* path) override {
    benchfs_stat_t found;
    return benchfs_stat(context_, path, &found) == 0;
  }
  bool unlink(const char* path) override { return benchfs_unlink(context_, path) == 0; }
  bool mkdir(const char* path) override { return benchfs_mkdir(context_, path, 0755) == 0; }
  bool rmdir(const char* path) override { return benchfs_rmdir(context_, path) == 0; }

 private:
  benchfs_context_t* context_;
};

// --- Names ---------------------------------------------------------------------------------------

class Bench {
 public:
  Bench(Api& api, std::string directory) : api_(api), directory_(std::move(directory)) {}

  void measure_names(std::uint64_t files) {
    std::vector<std::string> paths;
    for (std::uint64_t i = 0; i < files; ++i) {
      paths.push_back(fmt::format("{}/file.{:08}", directory_, i));
    }
    time_each("create+close", paths, [this](const char* path) {
      return api_.open_and_close(path, O_WRONLY | O_CREAT | O_EXCL);
    });
    time_each("stat", paths, [this](const char* path) { return api_.stat(path); });
    time_each("open+close", paths, [this](const char* path) {
      return api_.open_and_close(path, O_RDONLY);
    });
    time_each("unlink", paths, [this](const char* path) { return api_.unlink(path); });
  }

  // Files of `bytes`, which are removed at the end. The first is written once before it is timed:
  // memory that nobody has used is the machine's, not the door's.
  void measure_data(std::uint64_t bytes) {
    std::string path = directory_ + "/data";
    std::vector<char> buffer(kLargest);
    pass(path, bytes, kLargest, true, buffer);
    for (std::size_t request : {std::size_t{1} << 20, kLargest}) {
      results_[fmt::format("write {} MiB", request >> 20)] =
          pass(path, bytes, request, true, buffer);
      results_[fmt::format("read {} MiB", request >> 20)] =
          pass(path, bytes, request, false, buffer);
    }
    std::unique_ptr<File> file = open(path, O_RDWR);
    results_["random read 4 KiB"] = random_operations(*file, bytes, kRandomOperations, false, 1);
    results_["random write 4 KiB"] = random_operations(*file, bytes, kRandomOperations, true, 1);
    check(file->close(), "close", path);
    check(api_.unlink(path.c_str()), "unlink", path);
  }

  // Reads and writes of 4 KiB at random, each thread in a file of its own, of the same bytes in
  // all; operations a second.
  void measure_threads(unsigned threads, std::uint64_t bytes) {
    std::vector<std::unique_ptr<File>> files;
    std::vector<char> buffer(kLargest);
    for (unsigned i = 0; i < threads; ++i) {
      std::string path = fmt::format("{}/thread.{}", directory_, i);
      pass(path, bytes, kLargest, true, buffer);
      files.push_back(open(path, O_RDWR));
    }
    const int each = kThreadsOperations / static_cast<int>(threads);
    std::vector<std::thread> running;
    Clock::time_point begin = Clock::now();
    for (unsigned i = 0; i < threads; ++i) {
      running.emplace_back([&, i] {
        random_operations(*files[i], bytes, each, false, i);
        random_operations(*files[i], bytes, each, true, i);
      });
    }
    for (std::thread& thread : running) {
      thread.join();
    }
    results_[fmt::format("{} threads", threads)] = 2.0 * each * threads / seconds_since(begin);
    for (unsigned i = 0; i < threads; ++i) {
      std::string path = fmt::format("{}/thread.{}", directory_, i);
      check(files[i]->close(), "close", path);
      check(api_.unlink(path.c_str()), "unlink", path);
    }
  }

  [[nodiscard]] const nlohmann::ordered_json& results() const { return results_; }

 private:
  static void check(bool is_ok, std::string_view what, const std::string& path) {
    if (!is_ok) {
      fail(fmt::format("{} {}: {}", what, path, std::strerror(errno)));
    }
  }

  std::unique_ptr<File> open(const std::string& path, int flags) {
    std::unique_ptr<File> file = api_.open(path.c_str(), flags);
    check(file != nullptr, "open", path);
    return file;
  }

  template <typename Operation>
  void time_each(const std::string& name,
                 const std::vector<std::string>& paths,
                 Operation operation) {
    std::vector<double> times(paths.size());
    Clock::time_point begin = Clock::now();
    for (std::size_t i = 0; i < paths.size(); ++i) {
      Clock::time_point one = Clock::now();
      check(operation(paths[i].c_str()), name, paths[i]);
      times[i] = seconds_since(one);
    }
    results_[name] = static_cast<double>(paths.size()) / seconds_since(begin);
    std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
    results_[name + ", p50 us"] = times[times.size() / 2] * 1e6;
  }

  static void stamp(std::vector<char>& buffer, std::size_t bytes, std::uint64_t at) {
    for (std::size_t page = 0; page < bytes; page += kPage) {
      std::uint64_t number = (at + page) / kPage;
      std::memcpy(buffer.data() + page, &number, sizeof number);
    }
  }
  static void compare(const std::vector<char>& buffer, std::size_t bytes, std::uint64_t at) {
    for (std::size_t page = 0; page < bytes; page += kPage) {
      std::uint64_t number = 0;
      std::memcpy(&number, buffer.data() + page, sizeof number);
      if (number != (at + page) / kPage) {
        fail(fmt::format("wrong data at {}: page {}", at + page, number));
      }
    }
  }

  // MiB/s from open to close.
  double pass(const std::string& path,
              std::uint64_t bytes,
              std::size_t request,
              bool writes,
              std::vector<char>& buffer) {
    Clock::time_point begin = Clock::now();
    std::unique_ptr<File> file = open(path, writes ? O_WRONLY | O_CREAT : O_RDONLY);
    for (std::uint64_t at = 0; at < bytes; at += request) {
      if (writes) {
        stamp(buffer, request, at);
        check(file->write(buffer.data(), request, static_cast<std::int64_t>(at)), "write", path);
      } else {
        check(file->read(buffer.data(), request, static_cast<std::int64_t>(at)), "read", path);
        compare(buffer, request, at);
      }
    }
    check(file->close(), "close", path);
    return static_cast<double>(bytes >> 20) / seconds_since(begin);
  }

  static double random_operations(
      File& file, std::uint64_t bytes, int count, bool writes, unsigned seed) {
    std::vector<char> buffer(kPage);
    std::minstd_rand random(seed + 1);
    Clock::time_point begin = Clock::now();
    for (int i = 0; i < count; ++i) {
      std::uint64_t at = random() % (bytes / kPage) * kPage;
      if (writes) {
        stamp(buffer, kPage, at);
        check(file.write(buffer.data(), kPage, static_cast<std::int64_t>(at)), "write", "4 KiB");
      } else {
        check(file.read(buffer.data(), kPage, static_cast<std::int64_t>(at)), "read", "4 KiB");
        compare(buffer, kPage, at);
      }
    }
    return count / seconds_since(begin);
  }

  Api& api_;
  std::string directory_;
  nlohmann::ordered_json results_;
};

struct Arguments {
  bool by_api = false;
  std::uint64_t files = 5000;
  std::uint64_t bytes = std::uint64_t{128} << 20;
  std::vector<unsigned> threads;
  std::string directory;
};

Arguments parse(int count, char** values) {
  Arguments arguments;
  for (int i = 1; i < count; ++i) {
    std::string_view name = values[i];
    if (name == "--api") {
      arguments.by_api = true;
    } else if (i + 1 == count && !name.starts_with("-")) {
      arguments.directory = name;
    } else if (i + 1 < count && name == "--files") {
      arguments.files = std::strtoull(values[++i], nullptr, 10);
    } else if (i + 1 < count && name == "--bytes") {
      arguments.bytes = std::strtoull(values[++i], nullptr, 10);
    } else if (i + 1 < count && name == "--threads") {
      char* at = values[++i];
      do {
        arguments.threads.push_back(static_cast<unsigned>(std::strtoul(at, &at, 10)));
      } while (*at++ == ',');
    } else {
      arguments.directory.clear();
      break;
    }
  }
  bool is_possible = !arguments.directory.empty() && arguments.bytes > 0 &&
                     arguments.bytes % kLargest == 0 &&
                     std::ranges::count(arguments.threads, 0U) == 0;
  if (!is_possible) {
    fmt::print(stderr,
               "Usage: path_bench [--api] [--files N] [--bytes MULTIPLE OF 4 MiB] [--threads N,…] "
               "DIRECTORY\n");
    std::exit(64);
  }
  return arguments;
}

int run(int count, char** values) {
  Arguments arguments = parse(count, values);
  std::unique_ptr<Api> api;
  if (arguments.by_api) {
    api = std::make_unique<CApi>();
  } else {
    api = std::make_unique<Libc>();
  }
  std::string directory = fmt::format("{}/path_bench.{}", arguments.directory, getpid());
  if (!api->mkdir(directory.c_str())) {
    fail(fmt::format("mkdir {}: {}", directory, std::strerror(errno)));
  }
  Bench bench(*api, directory);
  if (arguments.files > 0) {
    bench.measure_names(arguments.files);
  }
  if (arguments.threads.empty()) {
    bench.measure_data(arguments.bytes);
  }
  for (unsigned threads : arguments.threads) {
    bench.measure_threads(threads,
                          std::max(kLargest, arguments.bytes / threads / kLargest * kLargest));
  }
  if (!api->rmdir(directory.c_str())) {
    fail(fmt::format("rmdir {}: {}", directory, std::strerror(errno)));
  }
  fmt::print("{}\n", bench.results().dump());
  return 0;
}

}  // namespace
}  // namespace benchfs

int main(int count, char** values) {
  return benchfs::run(count, values);
}
