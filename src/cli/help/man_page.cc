#include "cli/help/man_page.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>

namespace benchfs::cli {
namespace {

// Text that troff shows as it is.
std::string escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

// A line that begins with a dot or a quote would be a command.
std::string line(std::string_view text) {
  bool is_command = text.starts_with('.') || text.starts_with('\'');
  return (is_command ? "\\&" : "") + escape(text) + "\n";
}

// Paragraphs, separated by empty lines; what is indented stays as it is.
std::string prose(const std::string& text) {
  std::string out;
  bool is_example = false;
  std::istringstream lines(text);
  for (std::string one; std::getline(lines, one);) {
    bool is_indented = one.starts_with(' ');
    if (is_indented != is_example) {
      out += is_indented ? ".PP\n.nf\n" : ".fi\n.PP\n";
      is_example = is_indented;
    }
    out += one.empty() ? ".PP\n" : line(one);
  }
  return out + (is_example ? ".fi\n" : "");
}

std::string option_text(const CLI::Option& option) {
  std::string type = option.get_items_expected_max() == 0 ? "" : " " + option.get_type_name();
  std::string description;
  std::istringstream lines(option.get_description());
  for (std::string one; std::getline(lines, one);) {
    description += line(one);
  }
  return fmt::format(
      ".TP\n.B {}{}", line(option.get_name(option.get_positional(), true) + type), description);
}

std::string options_of(const CLI::App& command, bool is_positional) {
  std::string out;
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_positional() == is_positional && !option->get_group().empty()) {
      out += option_text(*option);
    }
  }
  return out;
}

std::string synopsis(const CLI::App& command) {
  std::string out = ".B " + line(full_name(command));
  out += line("[OPTIONS]");
  for (const CLI::Option* option : command.get_options()) {
    if (option->get_positional()) {
      std::string name = option->get_name(true, false);
      name += option->get_items_expected_max() > 1 ? "..." : "";
      out += line(option->get_required() ? name : "[" + name + "]");
    }
  }
  bool has_commands = !command.get_subcommands([](const CLI::App*) { return true; }).empty();
  return out + (has_commands ? line("COMMAND ...") : "");
}

std::string section(std::string_view title, const std::string& content) {
  return content.empty() ? "" : fmt::format(".SH {}\n{}", title, content);
}

void add_commands_below(CLI::App& app, std::vector<CLI::App*>& out) {
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!command->get_name().empty() && !command->get_group().empty()) {
      out.push_back(command);
      add_commands_below(*command, out);
    }
  }
}

}  // namespace

std::vector<CLI::App*> all_commands(CLI::App& app) {
  std::vector<CLI::App*> all = {&app};
  add_commands_below(app, all);
  return all;
}

std::string full_name(const CLI::App& command, char separator) {
  const CLI::App* parent = command.get_parent();
  return parent == nullptr ? command.get_name()
                           : full_name(*parent, separator) + separator + command.get_name();
}

std::string man_page(CLI::App& command) {
  std::string name = full_name(command, '-');
  std::string commands;
  for (const CLI::App* below : command.get_subcommands([](const CLI::App*) { return true; })) {
    commands += fmt::format(
        ".TP\n.BR {} (1)\n{}", escape(full_name(*below, '-')), line(below->get_description()));
  }
  std::string related = command.get_parent() == nullptr
                            ? ""
                            : fmt::format(".BR {} (1)\n", full_name(*command.get_parent(), '-'));
  return fmt::format(".TH {} 1 \"\" \"BenchFS {}\" \"User Commands\"\n",
                     escape(CLI::detail::to_lower(name)),
                     BENCHFS_VERSION) +
         section("NAME", escape(name) + " \\- " + line(command.get_description())) +
         section("SYNOPSIS", synopsis(command)) +
         section("DESCRIPTION", prose(command.get_footer())) + section("COMMANDS", commands) +
         section("ARGUMENTS", options_of(command, true)) +
         section("OPTIONS", options_of(command, false)) + section("SEE ALSO", related);
}

Status write_man_pages(CLI::App& app, const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    return fail_system(error.value(), directory);
  }
  for (CLI::App* command : all_commands(app)) {
    std::string path = fmt::format("{}/{}.1", directory, full_name(*command, '-'));
    errno = 0;
    std::ofstream file(path, std::ios::trunc);
    file << man_page(*command);
    file.close();
    if (!file) {
      return fail_system(errno != 0 ? errno : EIO, path);
    }
  }
  return {};
}

}  // namespace benchfs::cli
