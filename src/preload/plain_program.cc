#include "preload/plain_program.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace benchfs::preload {
namespace {

// A file in memory, of which no byte beyond its end is touched.
struct Image {
  const char* bytes = nullptr;
  std::size_t size = 0;

  // nullptr when the part is not all there.
  template <typename T>
  const T* at(std::uint64_t offset, std::uint64_t count = 1) const {
    bool fits = offset <= size && count <= (size - offset) / sizeof(T) && offset % alignof(T) == 0;
    return fits ? reinterpret_cast<const T*>(bytes + offset) : nullptr;
  }
};

bool has_our_linker(const Image& image, const Elf64_Ehdr& header) {
  const auto* segments = image.at<Elf64_Phdr>(header.e_phoff, header.e_phnum);
  for (int i = 0; segments != nullptr && i < header.e_phnum; ++i) {
    if (segments[i].p_type == PT_INTERP && segments[i].p_filesz > 0) {
      const char* text = image.at<char>(segments[i].p_offset, segments[i].p_filesz);
      bool is_text = text != nullptr && text[segments[i].p_filesz - 1] == '\0';
      return is_text && std::strstr(text, "ld-linux") != nullptr;
    }
  }
  return false;
}

bool may_be_go(const Image& image, const Elf64_Ehdr& header) {
  const auto* sections = image.at<Elf64_Shdr>(header.e_shoff, header.e_shnum);
  if (sections == nullptr || header.e_shstrndx >= header.e_shnum) {
    return true;
  }
  const Elf64_Shdr& names = sections[header.e_shstrndx];
  const char* text = image.at<char>(names.sh_offset, names.sh_size);
  return text == nullptr ||
         memmem(text, names.sh_size, ".go.buildinfo", sizeof ".go.buildinfo") != nullptr;
}

bool is_plain_image(const Image& image) {
  const auto* header = image.at<Elf64_Ehdr>(0);
  return header != nullptr && std::memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
         header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB &&
         header->e_phentsize == sizeof(Elf64_Phdr) && header->e_shentsize == sizeof(Elf64_Shdr) &&
         has_our_linker(image, *header) && !may_be_go(image, *header);
}

}  // namespace

bool is_plain_program(const char* path) {
  int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  struct stat info{};
  if (fd < 0 || ::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= 0 ||
      (info.st_mode & (S_ISUID | S_ISGID)) != 0 ||
      ::fgetxattr(fd, "security.capability", nullptr, 0) > 0) {
    if (fd >= 0) {
      ::close(fd);
    }
    return false;
  }
  auto size = static_cast<std::size_t>(info.st_size);
  void* bytes = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  ::close(fd);
  if (bytes == MAP_FAILED) {
    return false;
  }
  bool is_plain = is_plain_image({static_cast<const char*>(bytes), size});
  ::munmap(bytes, size);
  return is_plain;
}

}  // namespace benchfs::preload
