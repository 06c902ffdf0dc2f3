// benchfs find: searches directory trees by name, type, size and time.
#include <fmt/format.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cctype>

#include "args/command.h"
#include "base/clock.h"
#include "base/config.h"
#include "cli/files/commands.h"
#include "cli/files/format.h"
#include "cli/files/listing.h"
#include "cli/files/remote_path.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

constexpr std::int64_t kNanosPerDay = 86'400'000'000'000;

struct Arguments {
  std::vector<std::string> paths;
  std::vector<std::string> names;  // any of these patterns
  bool ignore_case = false;
  std::string types;  // letters
  std::string size;
  std::string days;
  std::string newer;
  unsigned min_depth = 0;
  unsigned max_depth = 1U << 20;
  bool count = false;
  bool zero = false;
};

// "N" exactly, "+N" more, "-N" less.
struct Bound {
  char sign = '=';
  std::uint64_t value = 0;

  [[nodiscard]] bool admits(std::uint64_t found) const {
    return sign == '+' ? found > value : sign == '-' ? found < value : found == value;
  }
};

Bound split_sign(std::string_view& text) {
  Bound bound;
  if (text.starts_with('+') || text.starts_with('-')) {
    bound.sign = text.front();
    text.remove_prefix(1);
  }
  return bound;
}

Result<Bound> parse_size_bound(std::string_view text) {
  Bound bound = split_sign(text);
  bool is_short = !text.empty() && std::string_view("KMGT").contains(text.back());
  BENCHFS_TRY(bound.value, parse_size(is_short ? std::string(text) + "iB" : std::string(text)));
  return bound;
}

Result<Bound> parse_days(std::string_view text) {
  Bound bound = split_sign(text);
  if (text.empty() || text.size() > 6 ||
      !std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; })) {
    return fail_errno(EINVAL);
  }
  bound.value = std::stoul(std::string(text));
  return bound;
}

char letter_of(std::uint32_t type) {
  return S_ISDIR(type) ? 'd' : S_ISLNK(type) ? 'l' : S_ISREG(type) ? 'f' : '?';
}

struct Tests {
  std::optional<Bound> size;
  std::optional<Bound> days;
  std::optional<std::int64_t> newer_than_ns;
  std::int64_t now_ns = 0;

  [[nodiscard]] bool need_attributes() const { return size || days || newer_than_ns; }
};

class FindCommand {
 public:
  FindCommand(Session& session, const Arguments& arguments, const Tests& tests)
      : session_(session),
        arguments_(arguments),
        tests_(tests),
        on_terminal_(isatty(STDOUT_FILENO) == 1) {}

  void search(const std::string& argument) {
    std::optional<std::string> path = session_.remote_path(argument);
    if (!path) {
      return;
    }
    Result<wire::Attr> attr = session_.run(session_.fs().lstat(*path));
    if (!attr) {
      session_.fail(argument, attr.error());
      return;
    }
    ListedEntry entry{.name = base_name(*path), .type = attr->mode & S_IFMT, .attr = *attr};
    consider(entry, *path, 0);
    if (attr->is_directory()) {
      descend(*path, 1);
    }
  }
  [[nodiscard]] std::uint64_t found() const { return found_; }

 private:
  void descend(const std::string& directory, unsigned depth) {
    if (depth > arguments_.max_depth || InterruptGuard::is_interrupted()) {
      return;
    }
    Result<std::vector<ListedEntry>> entries = list_directory(
        session_, directory, tests_.need_attributes() ? WithAttributes::kYes : WithAttributes::kNo);
    if (!entries) {
      if (!entries.error().is_posix(ENOENT)) {  // removed meanwhile
        session_.fail(to_argument(directory), entries.error());
      }
      return;
    }
    for (const ListedEntry& entry : *entries) {
      std::string path = join_path(directory, entry.name);
      consider(entry, path, depth);
      if (S_ISDIR(entry.type)) {
        descend(path, depth + 1);
      }
    }
  }

  void consider(const ListedEntry& entry, const std::string& path, unsigned depth) {
    if (depth < arguments_.min_depth || !matches(entry)) {
      return;
    }
    ++found_;
    if (arguments_.count) {
      return;
    }
    std::string argument = to_argument(path);
    fmt::print("{}{}",
               on_terminal_ && !arguments_.zero ? printable(argument) : argument,
               arguments_.zero ? '\0' : '\n');
  }

  [[nodiscard]] bool matches(const ListedEntry& entry) const {
    int flags = arguments_.ignore_case ? FNM_CASEFOLD : 0;
    bool has_name = arguments_.names.empty() ||
                    std::ranges::any_of(arguments_.names, [&](const std::string& pattern) {
                      return ::fnmatch(pattern.c_str(), entry.name.c_str(), flags) == 0;
                    });
    bool has_type = arguments_.types.empty() || arguments_.types.contains(letter_of(entry.type));
    if (!has_name || !has_type) {
      return false;
    }
    if (!tests_.need_attributes()) {
      return true;
    }
    return entry.attr && has_wanted_attributes(*entry.attr);
  }

  [[nodiscard]] bool has_wanted_attributes(const wire::Attr& attr) const {
    if (tests_.size && !(attr.is_regular() && tests_.size->admits(attr.size))) {
      return false;
    }
    if (tests_.newer_than_ns && attr.mtime_ns <= *tests_.newer_than_ns) {
      return false;
    }
    std::int64_t age_ns = std::max<std::int64_t>(tests_.now_ns - attr.mtime_ns, 0);
    return !tests_.days || tests_.days->admits(static_cast<std::uint64_t>(age_ns / kNanosPerDay));
  }

  Session& session_;
  const Arguments& arguments_;
  const Tests& tests_;
  bool on_terminal_;
  std::uint64_t found_ = 0;
};

std::optional<Tests> parse_tests(const Arguments& arguments) {
  Tests tests;
  tests.now_ns = wall_now_ns();
  if (!arguments.size.empty()) {
    Result<Bound> size = parse_size_bound(arguments.size);
    if (!size) {
      report("find", arguments.size, "not a size: write +1GiB, -4096 or 0");
      return std::nullopt;
    }
    tests.size = *size;
  }
  if (!arguments.days.empty()) {
    Result<Bound> days = parse_days(arguments.days);
    if (!days) {
      report("find", arguments.days, "not a number of days: write +7, -1 or 0");
      return std::nullopt;
    }
    tests.days = *days;
  }
  return tests;
}

int run_find(const Context& context, const Arguments& arguments) {
  std::optional<Tests> tests = parse_tests(arguments);
  if (!tests) {
    return kExitUsage;
  }
  std::optional<Session> session = Session::open(context, "find");
  if (!session) {
    return kExitFailed;
  }
  if (!arguments.newer.empty()) {
    std::optional<std::string> path = session->remote_path(arguments.newer);
    if (!path) {
      return session->exit_code();
    }
    Result<wire::Attr> attr = session->run(session->fs().stat(*path));
    if (!attr) {
      session->fail(arguments.newer, attr.error());
      return session->exit_code();
    }
    tests->newer_than_ns = attr->mtime_ns;
  }
  InterruptGuard guard;
  FindCommand command(*session, arguments, *tests);
  for (const std::string& argument : arguments.paths) {
    command.search(argument);
  }
  if (arguments.count) {
    fmt::print("{}\n", command.found());
  }
  report_losses(*session);
  return InterruptGuard::is_interrupted() ? kExitInterrupted : session->exit_code();
}

}  // namespace

void add_find_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  arguments->paths = {"bfs:/"};
  args::Command* command = app.add_subcommand("find", "Search directory trees");
  command->add_option("PATH", arguments->paths, "Where to begin, in BenchFS")
      ->capture_default_str();
  command->add_option("-n,--name", arguments->names, "Names that match, such as '*.dat'")
      ->type_name("PATTERN")
      ->allow_extra_args(false);
  command->add_flag("-i,--ignore-case", arguments->ignore_case, "--name ignores case");
  command
      ->add_option(
          "-t,--type", arguments->types, "f files, d directories, l links; or several, such as fl")
      ->type_name("LETTERS")
      ->check([](const std::string& text) {
        return text.find_first_not_of("fdl") == std::string::npos
                   ? std::string()
                   : "'" + text + "' has letters other than f, d and l";
      });
  command
      ->add_option("-s,--size", arguments->size, "Files of this size; +SIZE larger, -SIZE smaller")
      ->type_name("SIZE");
  command
      ->add_option(
          "-m,--mtime", arguments->days, "Modified this many days ago; +DAYS earlier, -DAYS later")
      ->type_name("DAYS");
  command->add_option("--newer", arguments->newer, "Modified after this file in BenchFS")
      ->type_name("PATH");
  command->add_option("--min-depth", arguments->min_depth, "Leave out what is less deep")
      ->type_name("LEVELS")
      ->non_negative();
  command->add_option("-d,--max-depth", arguments->max_depth, "Descend this many levels")
      ->type_name("LEVELS")
      ->non_negative();
  auto* count = command->add_flag("-c,--count", arguments->count, "Print only how many were found");
  command->add_flag("-0,--print0", arguments->zero, "End each path with a NUL, for xargs -0")
      ->excludes(count);
  command->footer(
      "Prints the paths for which all tests hold. Sizes count in bytes, or with KiB, MiB, GiB.\n"
      "\n"
      "  benchfs find bfs:/results -n '*.dat' -s +1GiB\n"
      "  benchfs find -t f --newer bfs:/start -c\n"
      "  benchfs find bfs:/tmp -t f -m +7 -0 | xargs -0 benchfs rm");
  command->callback([arguments, &context] { context.exit_code = run_find(context, *arguments); });
}

}  // namespace benchfs::cli
