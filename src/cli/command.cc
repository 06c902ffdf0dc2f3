#include "cli/command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "client/environment.h"

namespace benchfs::cli {

Nanos Context::timeout(Nanos fallback) const {
  if (!timeout_s) {
    return fallback;
  }
  return std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(*timeout_s));
}

Result<std::unique_ptr<client::Client>> Context::connect(std::optional<rpc::Transport> only) const {
  client::Options options;
  BENCHFS_TRY_VOID(client::apply_environment(options));
  options.list_timeout = timeout(options.list_timeout);
  options.connect_timeout = timeout(options.connect_timeout);
  if (timeout_s) {
    options.file_system.timeouts = client::Timeouts::all(timeout({}));
  }
  return connect(std::move(options), only);
}

Result<std::unique_ptr<client::Client>> Context::connect(client::Options options,
                                                         std::optional<rpc::Transport> only) const {
  BENCHFS_TRY_VOID(rpc::apply_environment(options.pool.transport));
  options.pool.transport = only.value_or(options.pool.transport);
  options.registry_dir = registry_dir;
  options.file_system.uid = geteuid();
  options.file_system.gid = getegid();
  return client::Client::connect(std::move(options));
}

std::string_view hint_for(const Error& error) {
  if (error.posix == ENOENT && error.context.starts_with("server list ")) {
    return "; 'benchfs up' starts a cluster, BENCHFS_REGISTRY_DIR or --registry-dir names another";
  }
  bool is_about_servers = error.code == Errc::kDeadline || error.code == Errc::kUnreachable ||
                          error.code == Errc::kDisconnected;
  return is_about_servers ? "; 'benchfs status' shows the servers" : "";
}

int report(std::string_view command, std::string_view subject, std::string_view reason) {
  std::string line = subject.empty()
                         ? fmt::format("benchfs {}: {}\n", command, reason)
                         : fmt::format("benchfs {}: {}: {}\n", command, subject, reason);
  std::fputs(line.c_str(), stderr);
  return kExitFailed;
}

int report(std::string_view command, std::string_view subject, const Error& error) {
  return report(command, subject, error.message() + std::string(hint_for(error)));
}

}  // namespace benchfs::cli
