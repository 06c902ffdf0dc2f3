// Command lines with subcommands and --help, on top of CLI11.
//
// CLI11 is a library of headers whose code every file that includes them compiles again, for
// seconds. Files that only declare options include this header instead; what a method does is in
// the documentation of the method of CLI11 of the same name. Single-threaded. Variables that
// options write to must outlive parse().
#pragma once

#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace benchfs::args {

// An option or a flag of a command, which owns it.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option* required();
  Option* expected(int count);
  Option* expected(int least, int most);  // -1: any number
  Option* type_name(const std::string& name);
  Option* envname(const std::string& name);
  Option* delimiter(char separator);   // of a list in one argument
  Option* allow_extra_args(bool may);  // several values after one name of a list's option
  Option* capture_default_str();       // show the value that the variable has now as the default
  Option* excludes(Option* other);
  Option* needs(Option* other);

  // The value must be in [least, most]. T: int, unsigned, std::uint64_t, double.
  template <typename T>
  Option* range(T least, T most);
  // `complaint` says what is wrong with a value, or nothing.
  Option* check(std::function<std::string(const std::string&)> complaint);
  Option* positive();
  Option* non_negative();
  Option* one_of(std::initializer_list<const char*> values);
  Option* as_size();   // 4K, 1MiB: both are powers of 2
  Option* take_all();  // repeated: every value counts

 private:
  CLI::Option* option_;
};

// What parse() did: ran the command; printed what --help or --version asks for; printed what is
// wrong.
enum class Parsed { kDone, kAnswered, kWrong };

// A program or one of its subcommands.
class Command {
 public:
  // A whole program.
  Command(const std::string& description, const std::string& name);
  explicit Command(CLI::App* subcommand);  // which outlives it
  ~Command();
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  // Lives as long as this one.
  Command* add_subcommand(const std::string& name, const std::string& description);
  // T: std::string, integers, floating point, std::optional and std::vector of them; a type that
  // no file has used before is added to the list in command.cc.
  template <typename T>
  Option* add_option(const std::string& names, T& value, const std::string& description);
  Option* add_option_function(const std::string& names,
                              std::function<void(const std::string&)> take,
                              const std::string& description);
  Option* add_flag(const std::string& names, bool& value, const std::string& description);
  Option* add_flag_callback(const std::string& names,
                            std::function<void()> set,
                            const std::string& description);
  void set_help_flag(const std::string& names, const std::string& description);
  void set_version_flag(const std::string& names, const std::string& version);
  void footer(const std::string& text);  // of the help
  void group(const std::string& name);   // "": hidden
  void callback(std::function<void()> run);
  // Of a whole program: reads its arguments and runs the callback of the command that was given.
  Parsed parse(int argc, char** argv);
  void require_subcommand(int count);
  void fallthrough();  // its options may follow a subcommand

  // What walks over commands and options (help, manual pages, completion, parsing) uses CLI11
  // itself.
  CLI::App& cli11() { return *app_; }

 private:
  Option* keep(CLI::Option* option);

  std::unique_ptr<CLI::App> own_;  // of a whole program
  CLI::App* app_;
  std::deque<Command> subcommands_;
  std::deque<Option> options_;
};

// In a callback: the value of `option` is refused as wrong usage, for `reason`.
[[noreturn]] void refuse(const std::string& option, const std::string& reason);

}  // namespace benchfs::args
