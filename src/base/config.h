// Configuration: a table of settings that parsing, validation, printing and documentation share.
//
// A program describes its configuration as a list of Settings, each bound to a variable that holds
// the default. ConfigFile reads TOML ([section] and key = value) and apply_config() stores it;
// format_config() prints all settings, commented, as a file that reads back the same. Every error
// names file, line and column, or the option it came from. Any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace benchfs {

// A value as written: TOML knows its kind, a command line does not.
struct ConfigValue {
  enum class Kind : std::uint8_t { kBool, kInteger, kFloat, kString, kUntyped };
  Kind kind = Kind::kUntyped;
  std::string text;  // without quotes
};

struct ConfigEntry {
  std::string section;
  std::string key;  // empty: a section without keys
  ConfigValue value;
  std::string origin;  // "file:line:column" or "--option", for messages
};

// Errors: kSystem (the file cannot be read), kConfig (not TOML, or more than sections of values).
Result<std::vector<ConfigEntry>> read_config_file(const std::string& path);
// The same for a text; `name` stands for the file in messages.
Result<std::vector<ConfigEntry>> parse_config(std::string_view text, std::string_view name);

struct Setting {
  std::string section;
  std::string key;
  std::string meaning;   // one line
  std::string type;      // "text", "size", "64 to 4096", …: what may be written
  std::string standard;  // the default as TOML
  // Stores a value, or says what is wrong with it ("must be 1 to 10").
  std::function<Status(const ConfigValue&)> set;
  // The present value as TOML.
  std::function<std::string()> get;
};

// Factories. `target` is borrowed, holds the default, and must outlive the setting.
struct SettingName {
  std::string section;
  std::string key;
  std::string meaning;
};
Setting text_setting(SettingName name, std::string& target, std::string type = "text");
Setting flag_setting(SettingName name, bool& target);
// Inclusive range.
Setting number_setting(SettingName name,
                       std::uint64_t& target,
                       std::uint64_t min,
                       std::uint64_t max,
                       std::string unit);
// Bytes: a number or text such as "64KiB", "4MiB", "4GiB".
Setting size_setting(SettingName name, std::uint64_t& target, std::uint64_t min, std::uint64_t max);
// A span written as a number of `unit` (1 ms, 1 us, …), named `unit_name`.
struct TimeUnit {
  Nanos length;
  std::string name;
};
Setting time_setting(
    SettingName name, Nanos& target, std::uint64_t min, std::uint64_t max, TimeUnit unit);
// One of `words`; the target holds its index.
Setting choice_setting(SettingName name, std::size_t& target, std::vector<std::string> words);
// A 64-bit number written as hexadecimal text; 0 is written "".
Setting hex_setting(SettingName name, std::uint64_t& target, std::string type);

// Stores every entry. Errors: kConfig, at the first unknown section or key, wrong type or range.
Status apply_config(std::span<const Setting> settings, std::span<const ConfigEntry> entries);

// A complete, commented TOML file with the present values.
std::string format_config(std::span<const Setting> settings);

// "4MiB" where that is exact, else the number of bytes.
std::string format_size(std::uint64_t bytes);
Result<std::uint64_t> parse_size(std::string_view text);

}  // namespace benchfs
