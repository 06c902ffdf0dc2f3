// Formats attributes for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace benchfs::cli {

// "drwxr-xr-x" of a st_mode.
std::string format_mode(std::uint32_t mode);
// "directory", "regular file", "symbolic link".
std::string_view type_name(std::uint32_t mode);
// "512", "1.5K", "12M": at most four characters and rounded up, as ls -h.
std::string format_human(std::uint64_t bytes);
// "1.5 GiB".
std::string format_bytes(std::uint64_t bytes);
// The format of ls -l: "Nov 23 04:38", or with the year if it is more than half a year away.
std::string format_list_time(std::int64_t ns);
// The format of stat: "2024-11-23 04:38:00.123456789 +0000".
std::string format_full_time(std::int64_t ns);
std::string user_name(std::uint32_t uid);
std::string group_name(std::uint32_t gid);
// A name for a terminal: control characters are shown as '?'.
std::string printable(std::string_view name);
// Characters a UTF-8 text takes on a terminal, roughly: its code points.
std::size_t display_width(std::string_view text);

// "-t" of touch: [[CC]YY]MMDDhhmm[.SS]; "-d": "YYYY-MM-DD[ T]hh:mm[:ss[.fraction]][Z]" or
// "YYYY-MM-DD" or "@SECONDS[.fraction]". Local time unless Z. Nanoseconds since the epoch.
Result<std::int64_t> parse_stamp(std::string_view text);
Result<std::int64_t> parse_date(std::string_view text);

}  // namespace benchfs::cli
