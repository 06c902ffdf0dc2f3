#include "daemon/command_line.h"
#include "args/command.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

namespace benchfs::daemon {
namespace {

// An option that sets one key.
struct Shorthand {
  const char* option;
  const char* section;
  const char* key;
  const char* value;
  const char* help;
  bool alone_only;
};
constexpr Shorthand kShorthands[] = {
    {"--node-id", "node", "id", "ID", "Name of this daemon, unique in the file system", true},
    {"--registry-dir",
     "registry",
     "dir",
     "DIR",
     "Directory of the server list, shared by all",
     false},
    {"--engine", "storage", "engine", "file|memory", "Where file data is stored", false},
    {"--data-dir", "storage", "data_dir", "DIR", "File engine: directory on a local disk", false},
    {"--shards", "node", "shards", "K", "Threads that each serve a part of the file system", false},
    {"--expected-servers",
     "registry",
     "expected_servers",
     "N",
     "Shards of the whole file system",
     true},
    {"--run-id", "registry", "run_id", "HEX", "Run this daemon belongs to", true},
    {"--log-level", "log", "level", "LEVEL", "error, warn, info, debug or trace", false},
};

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

void make_absolute(std::string& path) {
  std::error_code error;
  if (!path.empty()) {
    path = std::filesystem::absolute(path, error).lexically_normal().native();
  }
}

}  // namespace

void CommandLine::define(args::Command& app, Launch launch) {
  bool together = launch == Launch::kTogether;
  static_assert(std::size(kShorthands) == kShorthandCount);
  for (std::size_t i = 0; i < kShorthandCount; ++i) {
    const Shorthand& option = kShorthands[i];
    if (together && option.alone_only) {
      continue;
    }
    bool is_registry = std::string_view(option.section) == "registry";
    app.add_option(together && is_registry ? "REGISTRY_DIR,--registry-dir" : option.option,
                   values_[i],
                   option.help)
        ->type_name(option.value);
  }
  app.add_option(
         together ? "CONFIG,--config" : "--config", config_path_, "Configuration file (TOML)")
      ->type_name("FILE");
  app.add_option("--listen", listen_, "Address to listen on; without a port, any free port")
      ->type_name("IP[:PORT]");
  app.add_option("--set", sets_, "Set any other key; may be repeated")
      ->type_name("SECTION.KEY=VALUE")
      ->expected(1)
      ->take_all();
  if (!together) {
    app.add_option("--ready-fd", ready_fd_, "Write \"ready\" to this descriptor when listening")
        ->type_name("N");
  }
  app.add_flag("--print-config", print_config_, "Print the configuration in force and exit");
}

Result<std::vector<ConfigEntry>> CommandLine::overrides() const {
  std::vector<ConfigEntry> out;
  for (std::size_t i = 0; i < kShorthandCount; ++i) {
    const Shorthand& option = kShorthands[i];
    if (values_[i]) {
      out.push_back(entry(option.section, option.key, *values_[i], option.option));
    }
  }
  if (listen_) {
    split_listen(*listen_, out);
  }
  for (const std::string& set : sets_) {
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

Status CommandLine::load(DaemonConfig& config) const {
  BENCHFS_TRY(std::vector<ConfigEntry> entries, overrides());
  return config.load(config_path_, entries);
}

Status settle_directories(DaemonConfig& config) {
  if (config.registry_dir.empty()) {
    return fail(Errc::kConfig,
                "registry.dir is missing; give --registry-dir DIR or set it in the file");
  }
  make_absolute(config.registry_dir);
  make_absolute(config.data_dir);
  return {};
}

}  // namespace benchfs::daemon
