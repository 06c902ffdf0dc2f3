#include "capi/open_flags.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "wire/messages.h"

namespace benchfs::capi {

namespace {

struct Translation {
  int posix;
  std::uint32_t ours;
};
constexpr Translation kTranslations[] = {
    {O_CREAT, wire::kOpenCreate},
    {O_EXCL, wire::kOpenExclusive},
    {O_TRUNC, wire::kOpenTruncate},
    {O_APPEND, wire::kOpenAppend},
    {O_NOFOLLOW, wire::kOpenNoFollow},
    {O_DIRECTORY, wire::kOpenDirectory},
};
// Promises about caching, terminals and descriptors that hold here anyway. O_LARGEFILE is 0 for
// 64-bit programs; the bit stands in the flags of 32-bit ones and of fcntl(F_GETFL).
constexpr int kLargeFile = 0100000;
constexpr int kWithoutEffect =
    O_CLOEXEC | O_DIRECT | kLargeFile | O_NOATIME | O_NOCTTY | O_NONBLOCK;

Result<std::uint32_t> access_flags(int flags) {
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      return wire::kOpenRead;
    case O_WRONLY:
      return wire::kOpenWrite;
    case O_RDWR:
      return wire::kOpenRead | wire::kOpenWrite;
    default:
      return fail_errno(EINVAL, "open flags: not one of O_RDONLY, O_WRONLY, O_RDWR");
  }
}

}  // namespace

Result<OpenMode> parse_open_flags(int flags) {
  OpenMode mode;
  BENCHFS_TRY(mode.flags, access_flags(flags));
  int rest = flags & ~(O_ACCMODE | kWithoutEffect | O_SYNC | O_DSYNC);
  mode.is_unnamed = (flags & O_TMPFILE) == O_TMPFILE;
  if (mode.is_unnamed) {
    rest &= ~O_TMPFILE;
    if ((flags & O_CREAT) != 0 || (flags & O_ACCMODE) == O_RDONLY) {
      return fail_errno(EINVAL, "open flags: O_TMPFILE needs O_WRONLY or O_RDWR, and no O_CREAT");
    }
  }
  for (const Translation& known : kTranslations) {
    if ((rest & known.posix) != 0) {
      mode.flags |= known.ours;
      rest &= ~known.posix;
    }
  }
  if (rest != 0) {
    return fail_errno(EINVAL, fmt::format("open flags {:#o} are not supported", rest));
  }
  mode.is_synchronous = (flags & (O_SYNC | O_DSYNC)) != 0;
  return mode;
}

}  // namespace benchfs::capi
