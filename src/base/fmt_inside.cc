// What {fmt} has in its library and not in its headers, for who does not load that: libfmt.so loads
// libstdc++.so (docs/adr/0078-run-times-inside.md).
//
// Without locales, which nothing here formats with: libstdc++'s would be a third of the library,
// and made anew in each process.
#define FMT_STATIC_THOUSANDS_SEPARATOR ','
#include <fmt/format-inl.h>

namespace fmt::detail {
template thousands_sep_result<char> thousands_sep_impl<char>(locale_ref);
template char decimal_point_impl<char>(locale_ref);
}  // namespace fmt::detail
