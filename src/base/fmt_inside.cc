// What {fmt} has in its library and not in its headers, for who does not load that: libfmt.so loads
// libstdc++.so (docs/adr/0078-run-times-inside.md).
#include <fmt/format-inl.h>

#include <locale>

namespace fmt::detail {
template thousands_sep_result<char> thousands_sep_impl<char>(locale_ref);
template char decimal_point_impl<char>(locale_ref);
template std::locale locale_ref::get<std::locale>() const;
}  // namespace fmt::detail
