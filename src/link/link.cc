#include "link/link.h"

#include <fmt/format.h>

namespace benchfs::link {

Error error_of(const Outcome& outcome, std::string what) {
  return Error{outcome.code, outcome.posix, fmt::format("{} ({})", what, outcome.text)};
}

}  // namespace benchfs::link
