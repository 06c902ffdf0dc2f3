// benchfsd: one daemon of a BenchFS file system. Exit codes are those of sysexits.h.
#include <CLI/CLI.hpp>

#include <fmt/format.h>
#include <sysexits.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/daemon_config.h"

namespace benchfs::daemon {
namespace {

// An option that sets one key.
struct Shorthand {
  const char* option;
  const char* section;
  const char* key;
  const char* value;
  const char* help;
};
constexpr std::array<Shorthand, 8> kShorthands{{
    {"--node-id", "node", "id", "ID", "Name of this daemon, unique in the file system"},
    {"--registry-dir", "registry", "dir", "DIR", "Directory of the server list, shared by all"},
    {"--engine", "storage", "engine", "file|memory", "Where the bytes of files live"},
    {"--data-dir", "storage", "data_dir", "DIR", "File engine: directory on a local disk"},
    {"--shards", "node", "shards", "K", "Threads that each serve a part of the file system"},
    {"--expected-servers", "registry", "expected_servers", "N", "Shards of the whole file system"},
    {"--run-id", "registry", "run_id", "HEX", "Run this daemon belongs to"},
    {"--log-level", "log", "level", "LEVEL", "error, warn, info, debug or trace"},
}};

struct CommandLine {
  std::string config_path;
  std::array<std::optional<std::string>, kShorthands.size()> values;
  std::optional<std::string> listen;
  std::vector<std::string> sets;
  int ready_fd = -1;
  bool print_config = false;
};

void define(CLI::App& app, CommandLine& line) {
  app.set_version_flag("--version", "benchfsd " BENCHFS_VERSION);
  app.add_option("--config", line.config_path, "Configuration file (TOML)")->type_name("FILE");
  for (std::size_t i = 0; i < kShorthands.size(); ++i) {
    const Shorthand& option = kShorthands[i];
    app.add_option(option.option, line.values[i], option.help)->type_name(option.value);
  }
  app.add_option("--listen", line.listen, "Address to listen on; without a port any free one")
      ->type_name("IP[:PORT]");
  app.add_option("--set", line.sets, "Set any other key; may be repeated")
      ->type_name("SECTION.KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--ready-fd", line.ready_fd, "Write \"ready\" to this descriptor when listening")
      ->type_name("N");
  app.add_flag("--print-config", line.print_config, "Print the configuration in force and end");
  app.footer(
      "SIGTERM and SIGINT stop it cleanly, a second one at once.\n"
      "Example: benchfsd --node-id node_0 --registry-dir /tmp/reg --engine memory");
}

ConfigEntry entry(std::string section, std::string key, std::string text, std::string origin) {
  return {std::move(section),
          std::move(key),
          {ConfigValue::Kind::kUntyped, std::move(text)},
          std::move(origin)};
}

// "IP", "IP:PORT", "[IPV6]", "[IPV6]:PORT".
void split_listen(const std::string& text, std::vector<ConfigEntry>& out) {
  std::string ip = text;
  std::string port;
  std::size_t colon = text.rfind(':');
  bool is_bracketed = text.starts_with('[');
  bool has_port = colon != std::string::npos &&
                  (is_bracketed ? text[colon - 1] == ']' : text.find(':') == colon);
  if (has_port) {
    ip = text.substr(0, colon);
    port = text.substr(colon + 1);
    out.push_back(entry("network", "port", port, "--listen"));
  }
  if (is_bracketed && ip.ends_with(']')) {
    ip = ip.substr(1, ip.size() - 2);
  }
  out.push_back(entry("network", "listen", ip, "--listen"));
}

Result<std::vector<ConfigEntry>> overrides(const CommandLine& line) {
  std::vector<ConfigEntry> out;
  for (std::size_t i = 0; i < kShorthands.size(); ++i) {
    const Shorthand& option = kShorthands[i];
    if (line.values[i]) {
      out.push_back(entry(option.section, option.key, *line.values[i], option.option));
    }
  }
  if (line.listen) {
    split_listen(*line.listen, out);
  }
  for (const std::string& set : line.sets) {
    std::size_t equals = set.find('=');
    std::size_t dot = set.find('.');
    if (equals == std::string::npos || dot == std::string::npos || dot > equals) {
      return fail(Errc::kConfig,
                  fmt::format("--set {}: must have the form SECTION.KEY=VALUE", set));
    }
    out.push_back(entry(set.substr(0, dot),
                        set.substr(dot + 1, equals - dot - 1),
                        set.substr(equals + 1),
                        "--set"));
  }
  return out;
}

int fail_start(const Error& error) {
  std::fprintf(stderr,
               "benchfsd: %s\n",
               error.code == Errc::kConfig ? error.context.c_str() : error.message().c_str());
  return error.code == Errc::kConfig ? EX_CONFIG : EX_NOINPUT;
}

// Daemons outlive the directory they were started in.
void make_absolute(std::string& path) {
  std::error_code error;
  if (!path.empty()) {
    path = std::filesystem::absolute(path, error).lexically_normal().native();
  }
}

Status check_required(const DaemonConfig& config) {
  if (config.node_id.empty()) {
    return fail(Errc::kConfig, "node.id is missing; give --node-id ID or set it in the file");
  }
  if (config.registry_dir.empty()) {
    return fail(Errc::kConfig,
                "registry.dir is missing; give --registry-dir DIR or set it in the file");
  }
  return {};
}

int run(int argc, char** argv) {
  CLI::App app("One daemon of a BenchFS file system.", "benchfsd");
  CommandLine line;
  define(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EX_OK : EX_USAGE;
  }
  DaemonConfig config;
  Result<std::vector<ConfigEntry>> entries = overrides(line);
  if (!entries) {
    return fail_start(entries.error());
  }
  if (Status loaded = config.load(line.config_path, *entries); !loaded) {
    return fail_start(loaded.error());
  }
  if (line.print_config) {
    std::fputs(format_config(config.settings()).c_str(), stdout);
    return std::fflush(stdout) == 0 ? EX_OK : EX_IOERR;
  }
  if (Status complete = check_required(config); !complete) {
    return fail_start(complete.error());
  }
  make_absolute(config.registry_dir);
  make_absolute(config.data_dir);
  set_log_name("benchfsd");
  init_log(static_cast<LogLevel>(config.log_level));
  Daemon daemon(config, line.ready_fd);
  return daemon.run();
}

}  // namespace
}  // namespace benchfs::daemon

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  return benchfs::daemon::run(argc, argv);
}
