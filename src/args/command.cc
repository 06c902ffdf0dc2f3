#include "args/command.h"

#include <CLI/CLI.hpp>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace benchfs::args {

Option* Option::required() {
  option_->required();
  return this;
}

Option* Option::expected(int count) {
  option_->expected(count);
  return this;
}

Option* Option::expected(int least, int most) {
  option_->expected(least, most);
  return this;
}

Option* Option::type_name(const std::string& name) {
  option_->type_name(name);
  return this;
}

Option* Option::envname(const std::string& name) {
  option_->envname(name);
  return this;
}

Option* Option::delimiter(char separator) {
  option_->delimiter(separator);
  return this;
}

Option* Option::allow_extra_args(bool may) {
  option_->allow_extra_args(may);
  return this;
}

Option* Option::capture_default_str() {
  option_->capture_default_str();
  return this;
}

Option* Option::excludes(Option* other) {
  option_->excludes(other->option_);
  return this;
}

Option* Option::needs(Option* other) {
  option_->needs(other->option_);
  return this;
}

template <typename T>
Option* Option::range(T least, T most) {
  option_->check(CLI::Range(least, most));
  return this;
}

template Option* Option::range(int, int);
template Option* Option::range(unsigned, unsigned);
template Option* Option::range(std::uint64_t, std::uint64_t);
template Option* Option::range(double, double);

Option* Option::check(std::function<std::string(const std::string&)> complaint) {
  option_->check(std::move(complaint));
  return this;
}

Option* Option::positive() {
  option_->check(CLI::PositiveNumber);
  return this;
}

Option* Option::non_negative() {
  option_->check(CLI::NonNegativeNumber);
  return this;
}

Option* Option::one_of(std::initializer_list<const char*> values) {
  option_->check(CLI::IsMember(std::vector<std::string>(values.begin(), values.end())));
  return this;
}

Option* Option::as_size() {
  option_->transform(CLI::AsSizeValue(false));
  return this;
}

Option* Option::take_all() {
  option_->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return this;
}

Command::Command(const std::string& description, const std::string& name)
    : own_(std::make_unique<CLI::App>(description, name)), app_(own_.get()) {}

Command::Command(CLI::App* subcommand) : app_(subcommand) {}

Command::~Command() = default;

Option* Command::keep(CLI::Option* option) {
  return &options_.emplace_back(option);
}

Command* Command::add_subcommand(const std::string& name, const std::string& description) {
  return &subcommands_.emplace_back(app_->add_subcommand(name, description));
}

template <typename T>
Option* Command::add_option(const std::string& names, T& value, const std::string& description) {
  return keep(app_->add_option(names, value, description));
}

#define BENCHFS_OPTION(...) \
  template Option* Command::add_option(const std::string&, __VA_ARGS__&, const std::string&)
BENCHFS_OPTION(int);
BENCHFS_OPTION(unsigned);
BENCHFS_OPTION(std::uint64_t);
BENCHFS_OPTION(double);
BENCHFS_OPTION(std::string);
BENCHFS_OPTION(std::optional<double>);
BENCHFS_OPTION(std::optional<std::string>);
BENCHFS_OPTION(std::vector<std::string>);
BENCHFS_OPTION(std::vector<std::uint32_t>);
BENCHFS_OPTION(std::vector<std::uint64_t>);
#undef BENCHFS_OPTION

Option* Command::add_option_function(const std::string& names,
                                     std::function<void(const std::string&)> take,
                                     const std::string& description) {
  return keep(app_->add_option_function<std::string>(names, std::move(take), description));
}

Option* Command::add_flag(const std::string& names, bool& value, const std::string& description) {
  return keep(app_->add_flag(names, value, description));
}

Option* Command::add_flag_callback(const std::string& names,
                                   std::function<void()> set,
                                   const std::string& description) {
  return keep(app_->add_flag_callback(names, std::move(set), description));
}

void Command::set_help_flag(const std::string& names, const std::string& description) {
  app_->set_help_flag(names, description);
}

void Command::set_version_flag(const std::string& names, const std::string& version) {
  app_->set_version_flag(names, version);
}

void Command::footer(const std::string& text) {
  app_->footer(text);
}

void Command::group(const std::string& name) {
  app_->group(name);
}

void Command::callback(std::function<void()> run) {
  app_->callback(std::move(run));
}

Parsed Command::parse(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app_->exit(error) == 0 ? Parsed::kAnswered : Parsed::kWrong;
  }
  return Parsed::kDone;
}

void Command::require_subcommand(int count) {
  app_->require_subcommand(count);
}

void Command::fallthrough() {
  app_->fallthrough();
}

void refuse(const std::string& option, const std::string& reason) {
  throw CLI::ValidationError(option, reason);
}

}  // namespace benchfs::args
