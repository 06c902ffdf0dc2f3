#include "base/config.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <utility>

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace benchfs {
namespace {

using Kind = ConfigValue::Kind;

constexpr std::size_t kMaxFileBytes = 1U << 20;

struct Unit {
  std::string_view name;
  std::uint64_t bytes;
};
constexpr std::array<Unit, 4> kUnits{{{"TiB", std::uint64_t{1} << 40},
                                      {"GiB", std::uint64_t{1} << 30},
                                      {"MiB", std::uint64_t{1} << 20},
                                      {"KiB", std::uint64_t{1} << 10}}};

std::string position(std::string_view name, const toml::source_position& at) {
  return fmt::format("{}:{}:{}", name, at.line, at.column);
}

std::unexpected<Error> fail_config(std::string text) {
  return fail(Errc::kConfig, std::move(text));
}

std::optional<std::uint64_t> parse_number(std::string_view text, int base = 10) {
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::optional<ConfigValue> scalar(const toml::node& node) {
  if (const auto* text = node.as_string()) {
    return ConfigValue{Kind::kString, text->get()};
  }
  if (const auto* number = node.as_integer()) {
    return ConfigValue{Kind::kInteger, fmt::to_string(number->get())};
  }
  if (const auto* number = node.as_floating_point()) {
    return ConfigValue{Kind::kFloat, fmt::format("{}", number->get())};
  }
  if (const auto* flag = node.as_boolean()) {
    return ConfigValue{Kind::kBool, flag->get() ? "true" : "false"};
  }
  return std::nullopt;
}

Status read_section(std::string_view name,
                    std::string_view section,
                    const toml::table& table,
                    std::vector<ConfigEntry>& out) {
  for (const auto& [key, node] : table) {
    std::string origin = position(name, key.source().begin);
    std::optional<ConfigValue> value = scalar(node);
    if (!value) {
      return fail_config(fmt::format(
          "{}: {}.{}: must be a text, a number, true or false", origin, section, key.str()));
    }
    out.push_back(
        {std::string(section), std::string(key.str()), *std::move(value), std::move(origin)});
  }
  return {};
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

Setting make(SettingName name, std::string type) {
  Setting setting;
  setting.section = std::move(name.section);
  setting.key = std::move(name.key);
  setting.meaning = std::move(name.meaning);
  setting.type = std::move(type);
  return setting;
}

Setting finish(Setting setting) {
  setting.standard = setting.get();
  return setting;
}

Result<std::uint64_t> number_in_range(const ConfigValue& value,
                                      std::uint64_t min,
                                      std::uint64_t max,
                                      std::string_view unit) {
  bool typed = value.kind == Kind::kInteger || value.kind == Kind::kUntyped;
  std::optional<std::uint64_t> number = typed ? parse_number(value.text) : std::nullopt;
  if (!number || *number < min || *number > max) {
    return fail_config(
        fmt::format("must be a whole number from {} to {}{}{}, not {}",
                    min,
                    max,
                    unit.empty() ? "" : " ",
                    unit,
                    value.kind == Kind::kString ? in_quotes(value.text) : value.text));
  }
  return *number;
}

}  // namespace

// --- Reading -------------------------------------------------------------------------------------

Result<std::vector<ConfigEntry>> parse_config(std::string_view text, std::string_view name) {
  toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const toml::parse_error& error = parsed.error();
    return fail_config(
        fmt::format("{}: {}", position(name, error.source().begin), error.description()));
  }
  std::vector<ConfigEntry> entries;
  for (const auto& [key, node] : parsed.table()) {
    const toml::table* section = node.as_table();
    if (section == nullptr) {
      return fail_config(fmt::format(
          "{}: {}: belongs into a [section]", position(name, key.source().begin), key.str()));
    }
    if (section->empty()) {
      entries.push_back({std::string(key.str()), {}, {}, position(name, key.source().begin)});
    }
    BENCHFS_TRY_VOID(read_section(name, key.str(), *section, entries));
  }
  return entries;
}

Result<std::vector<ConfigEntry>> read_config_file(const std::string& path) {
  // O_NONBLOCK: a pipe in place of the file must not hang the reader.
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    return fail_system(errno, fmt::format("configuration file {}", path));
  }
  std::string text;
  std::array<char, 16384> buffer{};
  ssize_t got = 0;
  while (text.size() <= kMaxFileBytes && (got = ::read(fd, buffer.data(), buffer.size())) > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  int error = got < 0 ? errno : 0;
  ::close(fd);
  if (error == 0 && text.size() > kMaxFileBytes) {
    error = EFBIG;
  }
  if (error != 0) {
    return fail_system(error, fmt::format("configuration file {}", path));
  }
  return parse_config(text, path);
}

// --- Kinds of settings ---------------------------------------------------------------------------

Setting text_setting(SettingName name, std::string& target, std::string type) {
  Setting setting = make(std::move(name), std::move(type));
  setting.set = [&target](const ConfigValue& value) -> Status {
    if (value.kind != Kind::kString && value.kind != Kind::kUntyped) {
      return fail_config(fmt::format("must be a text in quotes, not {}", value.text));
    }
    if (value.text.find('\0') != std::string::npos) {
      return fail_config("must not contain a NUL byte");
    }
    target = value.text;
    return {};
  };
  setting.get = [&target] { return in_quotes(target); };
  return finish(std::move(setting));
}

Setting flag_setting(SettingName name, bool& target) {
  Setting setting = make(std::move(name), "true or false");
  setting.set = [&target](const ConfigValue& value) -> Status {
    bool is_flag = value.text == "true" || value.text == "false";
    if (!is_flag || (value.kind != Kind::kBool && value.kind != Kind::kUntyped)) {
      return fail_config(fmt::format("must be true or false, not {}", value.text));
    }
    target = value.text == "true";
    return {};
  };
  setting.get = [&target] { return std::string(target ? "true" : "false"); };
  return finish(std::move(setting));
}

Setting number_setting(SettingName name,
                       std::uint64_t& target,
                       std::uint64_t min,
                       std::uint64_t max,
                       std::string unit) {
  Setting setting =
      make(std::move(name), fmt::format("{} to {}{}{}", min, max, unit.empty() ? "" : " ", unit));
  setting.set = [&target, min, max, unit](const ConfigValue& value) -> Status {
    BENCHFS_TRY(target, number_in_range(value, min, max, unit));
    return {};
  };
  setting.get = [&target] { return fmt::to_string(target); };
  return finish(std::move(setting));
}

Setting size_setting(SettingName name,
                     std::uint64_t& target,
                     std::uint64_t min,
                     std::uint64_t max) {
  Setting setting =
      make(std::move(name), fmt::format("size, {} to {}", format_size(min), format_size(max)));
  setting.set = [&target, min, max](const ConfigValue& value) -> Status {
    bool typed = value.kind != Kind::kBool && value.kind != Kind::kFloat;
    Result<std::uint64_t> bytes = parse_size(value.text);
    if (!typed || !bytes || *bytes < min || *bytes > max) {
      return fail_config(fmt::format("must be a size from {} to {}, such as \"{}\", not {}",
                                     format_size(min),
                                     format_size(max),
                                     format_size(target),
                                     value.text));
    }
    target = *bytes;
    return {};
  };
  setting.get = [&target] {
    std::string text = format_size(target);
    return parse_number(text) ? text : in_quotes(text);
  };
  return finish(std::move(setting));
}

Setting time_setting(
    SettingName name, Nanos& target, std::uint64_t min, std::uint64_t max, TimeUnit unit) {
  Setting setting = make(std::move(name), fmt::format("{} to {} {}", min, max, unit.name));
  setting.set = [&target, min, max, unit](const ConfigValue& value) -> Status {
    BENCHFS_TRY(std::uint64_t count, number_in_range(value, min, max, unit.name));
    target = unit.length * static_cast<Nanos::rep>(count);
    return {};
  };
  setting.get = [&target, unit] { return fmt::to_string(target / unit.length); };
  return finish(std::move(setting));
}

Setting choice_setting(SettingName name, std::size_t& target, std::vector<std::string> words) {
  std::string list;
  for (const std::string& word : words) {
    list += fmt::format("{}\"{}\"", list.empty() ? "" : " | ", word);
  }
  Setting setting = make(std::move(name), list);
  setting.set = [&target, words, list](const ConfigValue& value) -> Status {
    for (std::size_t i = 0; i < words.size(); ++i) {
      if (words[i] == value.text) {
        target = i;
        return {};
      }
    }
    return fail_config(fmt::format("must be one of {}, not {}", list, in_quotes(value.text)));
  };
  setting.get = [&target, words] { return in_quotes(words[target]); };
  return finish(std::move(setting));
}

Setting hex_setting(SettingName name, std::uint64_t& target, std::string type) {
  Setting setting = make(std::move(name), std::move(type));
  setting.set = [&target](const ConfigValue& value) -> Status {
    std::optional<std::uint64_t> number =
        value.text.empty() ? std::uint64_t{0} : parse_number(value.text, 16);
    if (!number || (value.kind != Kind::kString && value.kind != Kind::kUntyped)) {
      return fail_config(fmt::format("must be a text of up to 16 hexadecimal digits, not {}",
                                     in_quotes(value.text)));
    }
    target = *number;
    return {};
  };
  setting.get = [&target] {
    return target == 0 ? std::string("\"\"") : fmt::format("\"{:016x}\"", target);
  };
  return finish(std::move(setting));
}

// --- The table -----------------------------------------------------------------------------------

namespace {

// "known: a, b, c"
std::string known_names(std::span<const Setting> settings, const std::string* section) {
  std::string list;
  std::string last;
  for (const Setting& setting : settings) {
    const std::string& name = section == nullptr ? setting.section : setting.key;
    if ((section == nullptr || setting.section == *section) && name != last) {
      list += fmt::format("{}{}", list.empty() ? "" : ", ", name);
      last = name;
    }
  }
  return list;
}

Status apply_entry(std::span<const Setting> settings, const ConfigEntry& entry) {
  bool section_known = false;
  for (const Setting& setting : settings) {
    if (setting.section != entry.section) {
      continue;
    }
    section_known = true;
    if (entry.key.empty()) {
      return {};
    }
    if (setting.key == entry.key) {
      Status stored = setting.set(entry.value);
      if (!stored) {
        return fail_config(fmt::format(
            "{}: {}.{}: {}", entry.origin, entry.section, entry.key, stored.error().context));
      }
      return {};
    }
  }
  if (!section_known) {
    return fail_config(fmt::format("{}: unknown section [{}]; known: {}",
                                   entry.origin,
                                   entry.section,
                                   known_names(settings, nullptr)));
  }
  return fail_config(fmt::format("{}: unknown key {} in [{}]; known: {}",
                                 entry.origin,
                                 entry.key,
                                 entry.section,
                                 known_names(settings, &entry.section)));
}

}  // namespace

Status apply_config(std::span<const Setting> settings, std::span<const ConfigEntry> entries) {
  for (const ConfigEntry& entry : entries) {
    BENCHFS_TRY_VOID(apply_entry(settings, entry));
  }
  return {};
}

std::string format_config(std::span<const Setting> settings) {
  std::string out;
  std::string_view section;
  for (const Setting& setting : settings) {
    if (setting.section != section) {
      section = setting.section;
      out += fmt::format("{}[{}]\n", out.empty() ? "" : "\n", section);
    }
    out += fmt::format("# {}\n# {}; default {}\n{} = {}\n",
                       setting.meaning,
                       setting.type,
                       setting.standard,
                       setting.key,
                       setting.get());
  }
  return out;
}

std::string format_size(std::uint64_t bytes) {
  for (const Unit& unit : kUnits) {
    if (bytes >= unit.bytes && bytes % unit.bytes == 0) {
      return fmt::format("{}{}", bytes / unit.bytes, unit.name);
    }
  }
  return fmt::to_string(bytes);
}

Result<std::uint64_t> parse_size(std::string_view text) {
  std::uint64_t factor = 1;
  std::string_view digits = text;
  for (const Unit& unit : kUnits) {
    if (text.ends_with(unit.name)) {
      factor = unit.bytes;
      digits = text.substr(0, text.size() - unit.name.size());
      while (digits.ends_with(' ')) {
        digits.remove_suffix(1);
      }
    }
  }
  std::optional<std::uint64_t> number = parse_number(digits);
  std::uint64_t bytes = 0;
  if (!number || __builtin_mul_overflow(*number, factor, &bytes)) {
    return fail(Errc::kInvalidArgument,
                fmt::format("{} is not a size such as 4096, 64KiB, 4MiB or 2GiB", in_quotes(text)));
  }
  return bytes;
}

}  // namespace benchfs
