#include "cli/mount/connect.h"

#include "client/environment.h"

namespace benchfs::cli {
namespace {

constexpr Nanos kListTimeout = std::chrono::milliseconds(300);
constexpr Nanos kConnectTimeout = std::chrono::milliseconds(1500);

}  // namespace

Result<std::unique_ptr<client::Client>> connect_for_mount(const Context& context) {
  client::Options options;
  BENCHFS_TRY_VOID(client::apply_environment(options));
  options.file_system.check_permissions = false;  // the kernel does
  options.list_timeout = context.timeout(kListTimeout);
  options.connect_timeout = context.timeout(kConnectTimeout);
  if (context.timeout_s) {
    options.file_system.timeouts = client::Timeouts::all(context.timeout({}));
  }
  return context.connect(std::move(options));
}

}  // namespace benchfs::cli
