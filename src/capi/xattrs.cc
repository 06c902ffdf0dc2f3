// The functions of benchfs.h about extended attributes.

#include <sys/xattr.h>

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "capi/context.h"
#include "capi/last_error.h"
#include "client/linux_flags.h"

namespace benchfs::capi {
namespace {

// An inode by path, or an open file.
struct Subject {
  benchfs_context* context = nullptr;
  const char* path = nullptr;
  bool follow = true;
  bool is_open = false;
  benchfs_file* file = nullptr;

  [[nodiscard]] const char* name() const { return file != nullptr ? file->path.c_str() : path; }
};

Subject open_file(benchfs_file* file) {
  return {.context = file != nullptr ? file->context : nullptr, .is_open = true, .file = file};
}

// `name` "": all names.
Result<std::string> read_value(const Subject& subject, std::string_view name) {
  if (subject.is_open) {
    BENCHFS_TRY_VOID(check(subject.file));
    client::FileSystem& fs = subject.context->client->fs();
    return run(subject.context, fs.get_xattr(*subject.file->open_file, name));
  }
  BENCHFS_TRY_VOID(check(subject.context));
  client::FileSystem& fs = subject.context->client->fs();
  return run(subject.context, fs.get_xattr(subject.path, std::string(name), subject.follow));
}

Status write_value(const Subject& subject,
                   std::string_view name,
                   std::string_view value,
                   std::uint32_t flags) {
  if (subject.is_open) {
    BENCHFS_TRY_VOID(check(subject.file));
    client::FileSystem& fs = subject.context->client->fs();
    return run(subject.context, fs.set_xattr(*subject.file->open_file, name, value, flags));
  }
  BENCHFS_TRY_VOID(check(subject.context));
  client::FileSystem& fs = subject.context->client->fs();
  return run(
      subject.context,
      fs.set_xattr(subject.path, std::string(name), std::string(value), flags, subject.follow));
}

Status check_arguments(const Subject& subject, const char* name) {
  if (name == nullptr || (!subject.is_open && subject.path == nullptr)) {
    return fail_errno(EINVAL, "an argument is NULL");
  }
  return *name != '\0' ? Status{} : Status(fail_errno(ERANGE, "the attribute has no name"));
}

Result<std::size_t> copy_out(const std::string& value, void* buffer, std::size_t size) {
  if (size == 0) {
    return value.size();
  }
  if (buffer == nullptr) {
    return fail_errno(EINVAL, "the buffer is NULL");
  }
  if (value.size() > size) {
    return fail_errno(ERANGE, "the buffer is too small");
  }
  std::memcpy(buffer, value.data(), value.size());
  return value.size();
}

int set(const char* operation,
        const Subject& subject,
        const char* name,
        const void* value,
        std::size_t size,
        int flags) noexcept {
  return answer<int>({operation, subject.name()}, [&]() -> Status {
    BENCHFS_TRY_VOID(check_arguments(subject, name));
    if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) != 0) {
      return fail_errno(EINVAL, "flags: not XATTR_CREATE or XATTR_REPLACE");
    }
    if (value == nullptr && size > 0) {
      return fail_errno(EINVAL, "the value is NULL");
    }
    std::string_view bytes(static_cast<const char*>(value), size);
    return write_value(subject, name, bytes, client::xattr_flags(flags));
  });
}

ssize_t get(const char* operation,
            const Subject& subject,
            const char* name,
            void* buffer,
            std::size_t size) noexcept {
  return answer<ssize_t>({operation, subject.name()}, [&]() -> Result<std::size_t> {
    BENCHFS_TRY_VOID(check_arguments(subject, name));
    BENCHFS_TRY(std::string value, read_value(subject, name));
    return copy_out(value, buffer, size);
  });
}

ssize_t list(const char* operation,
             const Subject& subject,
             char* buffer,
             std::size_t size) noexcept {
  return answer<ssize_t>({operation, subject.name()}, [&]() -> Result<std::size_t> {
    BENCHFS_TRY_VOID(check_arguments(subject, "names"));
    BENCHFS_TRY(std::string names, read_value(subject, {}));
    return copy_out(names, buffer, size);
  });
}

int remove(const char* operation, const Subject& subject, const char* name) noexcept {
  return answer<int>({operation, subject.name()}, [&]() -> Status {
    BENCHFS_TRY_VOID(check_arguments(subject, name));
    return write_value(subject, name, {}, wire::kXattrRemove);
  });
}

}  // namespace
}  // namespace benchfs::capi

namespace capi = benchfs::capi;

extern "C" {

int benchfs_setxattr(benchfs_context_t* context,
                     const char* path,
                     const char* name,
                     const void* value,
                     size_t size,
                     int flags) noexcept {
  return capi::set("setxattr", {context, path}, name, value, size, flags);
}

int benchfs_lsetxattr(benchfs_context_t* context,
                      const char* path,
                      const char* name,
                      const void* value,
                      size_t size,
                      int flags) noexcept {
  return capi::set("lsetxattr", {context, path, false}, name, value, size, flags);
}

int benchfs_fsetxattr(
    benchfs_file_t* file, const char* name, const void* value, size_t size, int flags) noexcept {
  return capi::set("fsetxattr", capi::open_file(file), name, value, size, flags);
}

ssize_t benchfs_getxattr(benchfs_context_t* context,
                         const char* path,
                         const char* name,
                         void* buffer,
                         size_t size) noexcept {
  return capi::get("getxattr", {context, path}, name, buffer, size);
}

ssize_t benchfs_lgetxattr(benchfs_context_t* context,
                          const char* path,
                          const char* name,
                          void* buffer,
                          size_t size) noexcept {
  return capi::get("lgetxattr", {context, path, false}, name, buffer, size);
}

ssize_t benchfs_fgetxattr(benchfs_file_t* file,
                          const char* name,
                          void* buffer,
                          size_t size) noexcept {
  return capi::get("fgetxattr", capi::open_file(file), name, buffer, size);
}

ssize_t benchfs_listxattr(benchfs_context_t* context,
                          const char* path,
                          char* buffer,
                          size_t size) noexcept {
  return capi::list("listxattr", {context, path}, buffer, size);
}

ssize_t benchfs_llistxattr(benchfs_context_t* context,
                           const char* path,
                           char* buffer,
                           size_t size) noexcept {
  return capi::list("llistxattr", {context, path, false}, buffer, size);
}

ssize_t benchfs_flistxattr(benchfs_file_t* file, char* buffer, size_t size) noexcept {
  return capi::list("flistxattr", capi::open_file(file), buffer, size);
}

int benchfs_removexattr(benchfs_context_t* context, const char* path, const char* name) noexcept {
  return capi::remove("removexattr", {context, path}, name);
}

int benchfs_lremovexattr(benchfs_context_t* context, const char* path, const char* name) noexcept {
  return capi::remove("lremovexattr", {context, path, false}, name);
}

int benchfs_fremovexattr(benchfs_file_t* file, const char* name) noexcept {
  return capi::remove("fremovexattr", capi::open_file(file), name);
}
}
