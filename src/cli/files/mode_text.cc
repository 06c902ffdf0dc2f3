#include "cli/files/mode_text.h"

#include <sys/stat.h>

#include <cerrno>
#include <charconv>
#include <optional>
#include <system_error>

namespace benchfs::cli {
namespace {

constexpr std::uint32_t kAll = 07777;

// All bits that belong to some of user, group and others.
constexpr std::uint32_t kUser = S_ISUID | S_IRWXU;
constexpr std::uint32_t kGroup = S_ISGID | S_IRWXG;
constexpr std::uint32_t kOthers = S_ISVTX | S_IRWXO;

std::optional<std::uint32_t> octal(std::string_view text) {
  std::uint32_t mode = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  if (error != std::errc() || end != text.data() + text.size() || mode > kAll) {
    return std::nullopt;
  }
  return mode;
}

// The bits of a letter for user, group and others alike; of one that is no permission: nothing.
std::optional<std::uint32_t> permission(char letter, std::uint32_t mode, bool is_directory) {
  auto same_for_all = [](std::uint32_t bits) { return bits * 0111; };
  switch (letter) {
    case 'r':
      return same_for_all(4);
    case 'w':
      return same_for_all(2);
    case 'x':
      return same_for_all(1);
    case 'X':
      return is_directory || (mode & 0111) != 0 ? same_for_all(1) : 0U;
    case 's':
      return S_ISUID | S_ISGID;
    case 't':
      return S_ISVTX;
    case 'u':
      return same_for_all((mode >> 6U) & 7U);
    case 'g':
      return same_for_all((mode >> 3U) & 7U);
    case 'o':
      return same_for_all(mode & 7U);
    default:
      return std::nullopt;
  }
}

std::uint32_t whom(std::string_view& text) {
  std::uint32_t bits = 0;
  for (; !text.empty(); text.remove_prefix(1)) {
    switch (text.front()) {
      case 'u':
        bits |= kUser;
        break;
      case 'g':
        bits |= kGroup;
        break;
      case 'o':
        bits |= kOthers;
        break;
      case 'a':
        bits |= kAll;
        break;
      default:
        return bits;
    }
  }
  return bits;
}

// One change such as "go-w"; nothing if it is none.
std::optional<std::uint32_t> apply_change(std::string_view text,
                                          std::uint32_t mode,
                                          bool is_directory,
                                          std::uint32_t umask) {
  std::uint32_t bits = whom(text);
  std::uint32_t allowed = bits != 0 ? bits : kAll & ~umask;
  if (text.empty()) {
    return std::nullopt;
  }
  while (!text.empty()) {
    char sign = text.front();
    if (sign != '+' && sign != '-' && sign != '=') {
      return std::nullopt;
    }
    text.remove_prefix(1);
    std::uint32_t changed = 0;
    while (!text.empty() && text.front() != '+' && text.front() != '-' && text.front() != '=') {
      std::optional<std::uint32_t> one = permission(text.front(), mode, is_directory);
      if (!one) {
        return std::nullopt;
      }
      changed |= *one;
      text.remove_prefix(1);
    }
    changed &= allowed;
    if (sign == '-') {
      mode &= ~changed;
    } else if (sign == '+') {
      mode |= changed;
    } else {
      // As in chmod(1), set-id bits of directories are only taken away when they are named.
      std::uint32_t replaced = bits != 0 ? bits : kAll;
      std::uint32_t kept = is_directory ? mode & (S_ISUID | S_ISGID) : 0;
      mode = (mode & ~replaced) | changed | (kept & replaced);
    }
  }
  return mode;
}

}  // namespace

Result<std::uint32_t> apply_mode(std::string_view text,
                                 std::uint32_t mode,
                                 bool is_directory,
                                 std::uint32_t umask) {
  mode &= kAll;
  if (std::optional<std::uint32_t> exact = octal(text)) {
    return *exact;
  }
  for (bool is_last = false; !is_last;) {
    std::size_t comma = text.find(',');
    is_last = comma == std::string_view::npos;
    std::optional<std::uint32_t> changed =
        apply_change(text.substr(0, comma), mode, is_directory, umask);
    if (!changed) {
      return fail_errno(EINVAL);
    }
    mode = *changed;
    text.remove_prefix(is_last ? text.size() : comma + 1);
  }
  return mode;
}

}  // namespace benchfs::cli
