// The entries of extended attributes.
#include "preload/descriptions.h"
#include "preload/entry.h"
#include "preload/places.h"
#include "preload/real.h"

namespace benchfs::preload {

#define XATTR_PATH(type, name, follow, parameters, ...)                                 \
  ENTRY(type, name, const char* path, parameters) {                                     \
    COUNTER(name);                                                                      \
    return at_place(                                                                    \
        counter,                                                                        \
        AT_FDCWD,                                                                       \
        path,                                                                           \
        follow,                                                                         \
        [&](const char* ours) -> type {                                                 \
          Cluster here = cluster();                                                     \
          return here ? here.api->name(here.context, ours, __VA_ARGS__) : type{-errno}; \
        },                                                                              \
        [&](int, const char* theirs) { return real().name(theirs, __VA_ARGS__); });     \
  }
#define XATTR_FD(type, name, parameters, ...)                                           \
  ENTRY(type, name, int fd, parameters) {                                               \
    COUNTER(name);                                                                      \
    OpenRef open(fd);                                                                   \
    if (!open) {                                                                        \
      return real().name(fd, __VA_ARGS__);                                              \
    }                                                                                   \
    if (open->shared->kind == Kind::kPath) {                                            \
      return counter.refuse(EBADF);                                                     \
    }                                                                                   \
    counter.served();                                                                   \
    Errno keep;                                                                         \
    Handle handle = handle_of(*open);                                                   \
    return keep.finish(handle ? handle->name(handle.file, __VA_ARGS__) : type{-errno}); \
  }
#define COMMA ,
#define SET_PARAMETERS const char* name COMMA const void* value COMMA size_t size COMMA int flags
#define GET_PARAMETERS const char* name COMMA void* value COMMA size_t size
#define LIST_PARAMETERS char* list COMMA size_t size
XATTR_PATH(int, setxattr, Follow::kYes, SET_PARAMETERS, name, value, size, flags)
XATTR_PATH(int, lsetxattr, Follow::kNo, SET_PARAMETERS, name, value, size, flags)
XATTR_FD(int, fsetxattr, SET_PARAMETERS, name, value, size, flags)
XATTR_PATH(ssize_t, getxattr, Follow::kYes, GET_PARAMETERS, name, value, size)
XATTR_PATH(ssize_t, lgetxattr, Follow::kNo, GET_PARAMETERS, name, value, size)
XATTR_FD(ssize_t, fgetxattr, GET_PARAMETERS, name, value, size)
XATTR_PATH(ssize_t, listxattr, Follow::kYes, LIST_PARAMETERS, list, size)
XATTR_PATH(ssize_t, llistxattr, Follow::kNo, LIST_PARAMETERS, list, size)
XATTR_FD(ssize_t, flistxattr, LIST_PARAMETERS, list, size)
XATTR_PATH(int, removexattr, Follow::kYes, const char* name, name)
XATTR_PATH(int, lremovexattr, Follow::kNo, const char* name, name)
XATTR_FD(int, fremovexattr, const char* name, name)

}  // namespace benchfs::preload
