#include "cli/files/format.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>

#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <optional>

#include "base/clock.h"

namespace benchfs::cli {

namespace {
constexpr std::int64_t kSecond = 1'000'000'000;

std::tm local_time(std::int64_t ns) {
  std::time_t seconds = ns / kSecond - (ns % kSecond < 0 ? 1 : 0);
  std::tm parts{};
  localtime_r(&seconds, &parts);
  return parts;
}

std::string format_time(const std::tm& parts, const char* format) {
  std::array<char, 64> text;
  return {text.data(), std::strftime(text.data(), text.size(), format, &parts)};
}

}  // namespace

std::string format_mode(std::uint32_t mode) {
  std::string text = "?rwxrwxrwx";
  switch (mode & S_IFMT) {
    case S_IFDIR:
      text[0] = 'd';
      break;
    case S_IFREG:
      text[0] = '-';
      break;
    case S_IFLNK:
      text[0] = 'l';
      break;
    case S_IFIFO:
      text[0] = 'p';
      break;
    case S_IFSOCK:
      text[0] = 's';
      break;
    case S_IFCHR:
      text[0] = 'c';
      break;
    case S_IFBLK:
      text[0] = 'b';
      break;
    default:
      break;
  }
  for (std::size_t i = 0; i < 9; ++i) {
    if ((mode & (0400U >> i)) == 0) {
      text[i + 1] = '-';
    }
  }
  auto special = [&](std::uint32_t bit, std::size_t place, char set, char set_without_x) {
    if ((mode & bit) != 0) {
      text[place] = text[place] == 'x' ? set : set_without_x;
    }
  };
  special(S_ISUID, 3, 's', 'S');
  special(S_ISGID, 6, 's', 'S');
  special(S_ISVTX, 9, 't', 'T');
  return text;
}

std::string_view type_name(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return "directory";
    case S_IFREG:
      return "regular file";
    case S_IFLNK:
      return "symbolic link";
    case S_IFIFO:
      return "fifo";
    case S_IFSOCK:
      return "socket";
    case S_IFCHR:
      return "character special file";
    case S_IFBLK:
      return "block special file";
    default:
      return "unknown";
  }
}

std::string format_human(std::uint64_t bytes) {
  constexpr std::string_view kUnits = "BKMGTPE";
  if (bytes < 1024) {
    return fmt::format("{}", bytes);
  }
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // 1023.5K would be shown as 1024K: use the next unit.
  while (std::ceil(value) >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  double tenths = std::ceil(value * 10) / 10;
  return tenths < 10 ? fmt::format("{:.1f}{}", tenths, kUnits[unit])
                     : fmt::format("{:.0f}{}", std::ceil(value), kUnits[unit]);
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string format_list_time(std::int64_t ns) {
  constexpr std::int64_t kHalfYear = std::int64_t{31556952} / 2 * kSecond;
  std::int64_t age = wall_now_ns() - ns;
  bool recent = age >= 0 && age < kHalfYear;
  return format_time(local_time(ns), recent ? "%b %e %H:%M" : "%b %e  %Y");
}

std::string format_full_time(std::int64_t ns) {
  std::tm parts = local_time(ns);
  std::int64_t fraction = ((ns % kSecond) + kSecond) % kSecond;
  return fmt::format(
      "{}.{:09} {}", format_time(parts, "%Y-%m-%d %H:%M:%S"), fraction, format_time(parts, "%z"));
}

std::string user_name(std::uint32_t uid) {
  passwd* entry = getpwuid(uid);
  return entry != nullptr ? std::string(entry->pw_name) : fmt::format("{}", uid);
}

std::string group_name(std::uint32_t gid) {
  group* entry = getgrgid(gid);
  return entry != nullptr ? std::string(entry->gr_name) : fmt::format("{}", gid);
}

std::string printable(std::string_view name) {
  std::string text(name);
  for (char& character : text) {
    auto byte = static_cast<unsigned char>(character);
    if (byte < 0x20 || byte == 0x7f) {
      character = '?';
    }
  }
  return text;
}

std::size_t display_width(std::string_view text) {
  std::size_t width = 0;
  for (char character : text) {
    width += (static_cast<unsigned char>(character) & 0xc0) != 0x80 ? 1 : 0;
  }
  return width;
}

// --- Times from the command line -----------------------------------------------------------------

namespace {

// Reads a text from front to back; every take returns whether it found what it expected.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool take(char wanted) {
    if (!rest_.starts_with(wanted)) {
      return false;
    }
    rest_.remove_prefix(1);
    return true;
  }
  // Exactly `digits` digits.
  std::optional<int> take_number(std::size_t digits) {
    if (rest_.size() < digits) {
      return std::nullopt;
    }
    int value = 0;
    auto [end, error] = std::from_chars(rest_.data(), rest_.data() + digits, value);
    if (error != std::errc() || end != rest_.data() + digits || rest_.starts_with('-')) {
      return std::nullopt;
    }
    rest_.remove_prefix(digits);
    return value;
  }
  // ".25" -> 250'000'000; nothing -> 0; digits after the ninth are cut.
  std::int64_t take_fraction() {
    if (!rest_.starts_with('.') && !rest_.starts_with(',')) {
      return 0;
    }
    rest_.remove_prefix(1);
    std::int64_t value = 0;
    for (std::int64_t unit = kSecond / 10; !rest_.empty() && std::isdigit(rest_.front()) != 0;
         unit /= 10, rest_.remove_prefix(1)) {
      value += unit * (rest_.front() - '0');
    }
    return value;
  }
  [[nodiscard]] std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
};

Result<std::int64_t> to_ns(std::tm parts, std::int64_t fraction, bool utc) {
  parts.tm_isdst = -1;
  std::tm normal = parts;
  std::time_t seconds = utc ? timegm(&normal) : mktime(&normal);
  if (normal.tm_mday != parts.tm_mday || normal.tm_mon != parts.tm_mon ||
      normal.tm_min != parts.tm_min) {
    return fail(Errc::kInvalidArgument, "no such date");  // such as 31 February
  }
  std::int64_t ns = 0;
  if (__builtin_mul_overflow(seconds, kSecond, &ns) || __builtin_add_overflow(ns, fraction, &ns)) {
    return fail(Errc::kInvalidArgument, "the date is outside the years 1678 to 2261");
  }
  return ns;
}

Result<std::int64_t> parse_epoch(std::string_view text) {
  std::int64_t seconds = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  Scanner scanner(text.substr(static_cast<std::size_t>(end - text.data())));
  std::int64_t fraction = scanner.take_fraction();
  std::int64_t ns = 0;
  if (error != std::errc() || !scanner.rest().empty() ||
      __builtin_mul_overflow(seconds, kSecond, &ns) || __builtin_add_overflow(ns, fraction, &ns)) {
    return fail(Errc::kInvalidArgument, "not a time: write @SECONDS");
  }
  return ns;
}

// "hh:mm[:ss[.fraction]]" into `parts`.
bool take_clock(Scanner& scanner, std::tm& parts, std::int64_t& fraction) {
  std::optional<int> hour = scanner.take_number(2);
  std::optional<int> minute = scanner.take(':') ? scanner.take_number(2) : std::nullopt;
  std::optional<int> second = 0;
  if (minute && scanner.take(':')) {
    second = scanner.take_number(2);
    fraction = scanner.take_fraction();
  }
  if (!hour || !minute || !second || *hour > 23 || *minute > 59 || *second > 60) {
    return false;
  }
  parts.tm_hour = *hour;
  parts.tm_min = *minute;
  parts.tm_sec = *second;
  return true;
}

}  // namespace

Result<std::int64_t> parse_date(std::string_view text) {
  if (text.starts_with('@')) {
    return parse_epoch(text.substr(1));
  }
  auto bad = [] {
    return fail(Errc::kInvalidArgument, "not a date: write YYYY-MM-DD hh:mm:ss or @SECONDS");
  };
  Scanner scanner(text);
  std::optional<int> year = scanner.take_number(4);
  std::optional<int> month = scanner.take('-') ? scanner.take_number(2) : std::nullopt;
  std::optional<int> day = scanner.take('-') ? scanner.take_number(2) : std::nullopt;
  if (!year || !month || !day) {
    return bad();
  }
  std::tm parts{};
  parts.tm_year = *year - 1900;
  parts.tm_mon = *month - 1;
  parts.tm_mday = *day;
  std::int64_t fraction = 0;
  if ((scanner.take('T') || scanner.take(' ')) && !take_clock(scanner, parts, fraction)) {
    return bad();
  }
  bool utc = scanner.take('Z');
  return scanner.rest().empty() ? to_ns(parts, fraction, utc) : bad();
}

Result<std::int64_t> parse_stamp(std::string_view text) {
  auto bad = [] { return fail(Errc::kInvalidArgument, "not a time: write [[CC]YY]MMDDhhmm[.SS]"); };
  std::size_t digits = text.find('.') == std::string_view::npos ? text.size() : text.find('.');
  if (digits != 8 && digits != 10 && digits != 12) {
    return bad();
  }
  Scanner scanner(text);
  std::tm parts = local_time(wall_now_ns());
  parts.tm_sec = 0;
  std::optional<int> year = parts.tm_year + 1900;
  if (digits == 12) {
    year = scanner.take_number(4);
  } else if (digits == 10) {
    year = scanner.take_number(2);
    year = year ? std::optional(*year + (*year < 69 ? 2000 : 1900)) : year;  // as POSIX says
  }
  std::optional<int> month = scanner.take_number(2);
  std::optional<int> day = scanner.take_number(2);
  std::optional<int> hour = scanner.take_number(2);
  std::optional<int> minute = scanner.take_number(2);
  std::optional<int> second = scanner.take('.') ? scanner.take_number(2) : std::optional(0);
  if (!year || !month || !day || !hour || !minute || !second || *hour > 23 || *minute > 59 ||
      *second > 60 || !scanner.rest().empty()) {
    return bad();
  }
  parts.tm_year = *year - 1900;
  parts.tm_mon = *month - 1;
  parts.tm_mday = *day;
  parts.tm_hour = *hour;
  parts.tm_min = *minute;
  parts.tm_sec = *second;
  return to_ns(parts, 0, false);
}

}  // namespace benchfs::cli
