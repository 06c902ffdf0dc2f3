#include "rpc/transport.h"

#include <fmt/format.h>

#include "base/environment.h"

namespace benchfs::rpc {

Result<Transport> parse_transport(std::string_view text) {
  if (text == "ucx") {
    return Transport::kUcx;
  }
  if (text == "node") {
    return Transport::kNode;
  }
  if (text == "auto") {
    return Transport::kAuto;
  }
  return fail(Errc::kConfig, fmt::format("\"{}\" is not ucx, node or auto", text));
}

Status apply_environment(Transport& transport) {
  const char* text = environment("BENCHFS_TRANSPORT");
  if (text == nullptr) {
    return {};
  }
  auto parsed = parse_transport(text);
  if (!parsed) {
    return std::unexpected(std::move(parsed.error()).with_prefix("environment: BENCHFS_TRANSPORT"));
  }
  transport = *parsed;
  return {};
}

}  // namespace benchfs::rpc
