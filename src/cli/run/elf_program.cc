#include "cli/run/elf_program.h"

#include <elf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "base/fd.h"

namespace benchfs::cli {
namespace {

constexpr int kMaxInterpreters = 4;

// A file in memory, read with bounds: the file may be anything.
class Image {
 public:
  explicit Image(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  [[nodiscard]] std::optional<T> at(std::uint64_t offset) const {
    if (offset > bytes_.size() || bytes_.size() - offset < sizeof(T)) {
      return std::nullopt;
    }
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }
  [[nodiscard]] std::string_view part(std::uint64_t offset, std::uint64_t size) const {
    if (offset > bytes_.size()) {
      return {};
    }
    return bytes_.substr(offset, size);
  }
  [[nodiscard]] std::string_view all() const { return bytes_; }

 private:
  std::string_view bytes_;
};

struct Mapped {
  Mapped() = default;
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;
  ~Mapped() {
    if (data != nullptr) {
      munmap(data, size);
    }
  }
  void* data = nullptr;
  std::size_t size = 0;
  [[nodiscard]] std::string_view bytes() const {
    return {static_cast<const char*>(data), data != nullptr ? size : 0};
  }
};

Status map_file(const std::string& path, Mapped& mapped, struct stat& info) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open() || fstat(fd.get(), &info) != 0) {
    return fail_errno(errno);
  }
  if (!S_ISREG(info.st_mode)) {
    return fail_errno(EACCES, "not a regular file");
  }
  if (info.st_size == 0) {
    return {};
  }
  void* data =
      mmap(nullptr, static_cast<std::size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) {
    return fail_errno(errno);
  }
  mapped.data = data;
  mapped.size = static_cast<std::size_t>(info.st_size);
  return {};
}

std::size_t occurrences(std::string_view text, std::string_view wanted) {
  std::size_t found = 0;
  for (std::size_t at = text.find(wanted); at != std::string_view::npos;
       at = text.find(wanted, at + wanted.size())) {
    ++found;
  }
  return found;
}

struct Findings {
  std::string interpreter;
  std::size_t system_calls = 0;  // instructions
};

Findings read_segments(const Image& image, const Elf64_Ehdr& header) {
  Findings findings;
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    auto segment = image.at<Elf64_Phdr>(header.e_phoff + i * sizeof(Elf64_Phdr));
    if (!segment) {
      break;
    }
    std::string_view part = image.part(segment->p_offset, segment->p_filesz);
    if (segment->p_type == PT_INTERP) {
      findings.interpreter = part.substr(0, part.find('\0'));
    }
    if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) != 0 &&
        header.e_machine == EM_X86_64) {
      findings.system_calls += occurrences(part, "\x0f\x05");
    }
  }
  return findings;
}

void check_elf(const Image& image, std::vector<Bypass>& found) {
  auto ident = image.at<unsigned char>(EI_CLASS);
  if (ident == ELFCLASS32) {
    found.push_back({true, "it is a 32-bit program; the library is a 64-bit one"});
    return;
  }
  auto header = image.at<Elf64_Ehdr>(0);
  if (!header) {
    found.push_back({true, "its header is cut short"});
    return;
  }
  Findings findings = read_segments(image, *header);
  bool is_go = image.all().find("\xff Go buildinf:") != std::string_view::npos;
  if (is_go) {
    found.push_back({true, "it is a Go program; Go makes system calls without libc"});
  }
  if (findings.interpreter.empty()) {
    found.push_back({true, "it is statically linked; nothing is preloaded into it"});
    return;
  }
  if (findings.interpreter.find("ld-linux") == std::string::npos) {
    found.push_back(
        {true, fmt::format("it uses {} and not glibc's dynamic linker", findings.interpreter)});
  }
  if (findings.system_calls > 0 && !is_go) {
    found.push_back({false,
                     fmt::format("it may make system calls of its own: {} instructions in its "
                                 "code look like one",
                                 findings.system_calls)});
  }
  if (image.all().find(std::string_view("\0syscall\0", 9)) != std::string_view::npos) {
    found.push_back(
        {false, "it calls syscall(): usual calls for files are seen, others fail with ENOSYS"});
  }
  if (image.all().find("io_uring_queue_init") != std::string_view::npos) {
    found.push_back({false, "it uses io_uring; files that it uses that way are not seen"});
  }
}

void check_privileges(const std::string& path,
                      const struct stat& info,
                      std::vector<Bypass>& found) {
  bool is_other_user = (info.st_mode & S_ISUID) != 0 && info.st_uid != geteuid();
  bool is_other_group = (info.st_mode & S_ISGID) != 0 && info.st_gid != getegid();
  if (is_other_user || is_other_group) {
    found.push_back({true, "it is set-user-id or set-group-id; nothing is preloaded into it"});
  } else if (getxattr(path.c_str(), "security.capability", nullptr, 0) > 0 && geteuid() != 0) {
    found.push_back({true, "it has capabilities; nothing is preloaded into it"});
  }
}

std::string_view interpreter_of(std::string_view script) {
  std::string_view line = script.substr(2, script.find('\n') - 2);
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  return line.substr(0, line.find_first_of(" \t"));
}

}  // namespace

Result<std::vector<Bypass>> find_bypasses(const std::string& path) {
  std::string file = path;
  std::vector<Bypass> found;
  for (int depth = 0; depth < kMaxInterpreters; ++depth) {
    Mapped mapped;
    struct stat info{};
    BENCHFS_TRY_VOID(map_file(file, mapped, info));
    std::string_view bytes = mapped.bytes();
    if (bytes.starts_with(ELFMAG)) {
      check_privileges(file, info, found);
      check_elf(Image(bytes), found);
      return found;
    }
    if (!bytes.starts_with("#!")) {
      return fail_errno(ENOEXEC, "neither a program nor a script");
    }
    file = interpreter_of(bytes);
  }
  return fail_errno(ELOOP);
}

Result<std::string> find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) {
    return name;
  }
  const char* path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/bin:/usr/bin";
  while (!rest.empty()) {
    std::string_view directory = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(directory.size() + 1, rest.size()));
    std::string candidate = fmt::format("{}/{}", directory.empty() ? "." : directory, name);
    if (access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
  }
  return fail_errno(ENOENT);
}

}  // namespace benchfs::cli
