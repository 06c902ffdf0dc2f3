// benchfs help and completion.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "args/command.h"
#include "cli/command.h"
#include "cli/help/completion.h"
#include "cli/help/man_page.h"

namespace benchfs::cli {
namespace {

struct Arguments {
  std::vector<std::string> words;  // of the command
  bool man = false;
  std::string man_directory;
};

CLI::App* find_command(CLI::App& app, const std::vector<std::string>& words) {
  std::string wanted = app.get_name();
  for (const std::string& word : words) {
    wanted += " " + word;
  }
  for (CLI::App* command : all_commands(app)) {
    if (full_name(*command) == wanted) {
      return command;
    }
  }
  return nullptr;
}

int run_help(CLI::App& app, const Arguments& arguments) {
  if (!arguments.man_directory.empty()) {
    Status written = write_man_pages(app, arguments.man_directory);
    return written ? kExitOk : report("help", "", written.error());
  }
  CLI::App* command = find_command(app, arguments.words);
  if (command == nullptr) {
    report("help",
           fmt::format("{}", fmt::join(arguments.words, " ")),
           "no such command; 'benchfs help' lists them");
    return kExitUsage;
  }
  if (arguments.man) {
    fmt::print("{}", man_page(*command));
    return kExitOk;
  }
  fmt::print("{}",
             command->get_formatter()->make_help(
                 command, full_name(*command), CLI::AppFormatMode::Normal));
  return kExitOk;
}

}  // namespace

void add_help_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  args::Command* command = app.add_subcommand("help", "Explain a command");
  command->add_option(
      "COMMAND", arguments->words, "Such as cp, or bench io; without it: all commands");
  command->add_flag("--man", arguments->man, "Print the manual page for man(1)");
  command
      ->add_option("--man-directory",
                   arguments->man_directory,
                   "Write the manual pages of all commands there")
      ->type_name("DIR");
  command->footer(
      "  benchfs help bench io\n"
      "  benchfs help --man cp | man -l -\n"
      "  benchfs help --man-directory ~/.local/share/man/man1");
  command->callback(
      [arguments, &app, &context] { context.exit_code = run_help(app.cli11(), *arguments); });
}

void add_completion_command(args::Command& app, Context& context) {
  auto shell = std::make_shared<std::string>();
  args::Command* command =
      app.add_subcommand("completion", "Print a script that completes commands");
  command->add_option("SHELL", *shell, "bash; zsh reads it after bashcompinit")
      ->required()
      ->one_of({"bash", "zsh"});
  command->footer(
      "Completes commands, options, files, and paths in BenchFS.\n"
      "\n"
      "  source <(benchfs completion bash)\n"
      "  autoload -U +X bashcompinit && bashcompinit && source <(benchfs completion zsh)");
  command->callback([shell, &app, &context] {
    fmt::print("{}", bash_completion(app.cli11()));
    context.exit_code = kExitOk;
  });
}

}  // namespace benchfs::cli
