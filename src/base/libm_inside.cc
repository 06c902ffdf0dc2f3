// The only function of libm that is needed outside the tests and benchmarks, so that libm is not
// loaded (docs/adr/0078-run-times-inside.md).
#include <cmath>
#include <cstdint>

extern "C" [[gnu::visibility("hidden")]] double ceil(double value) noexcept {
  constexpr double kAllWhole = 0x1p52;  // all numbers from here on, infinity, and what is none
  if (!(std::fabs(value) < kAllWhole)) {
    return value;
  }
  auto whole = static_cast<double>(static_cast<std::int64_t>(value));
  return std::copysign(whole < value ? whole + 1 : whole, value);
}
