// benchfs du: shows how much data directories hold.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include "args/command.h"
#include "cli/files/commands.h"
#include "cli/files/format.h"
#include "cli/files/listing.h"
#include "cli/files/remote_path.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

constexpr unsigned kAnyDepth = 1U << 20;

struct Arguments {
  std::vector<std::string> paths;
  bool summarize = false;
  bool all = false;
  bool human = false;
  bool bytes = false;
  unsigned depth = kAnyDepth;
};

class DuCommand {
 public:
  DuCommand(Session& session, const Arguments& arguments)
      : session_(session), arguments_(arguments), on_terminal_(isatty(STDOUT_FILENO) == 1) {}

  void run() {
    for (const std::string& argument : arguments_.paths) {
      std::optional<std::string> path = session_.remote_path(argument);
      if (!path) {
        continue;
      }
      Result<wire::Attr> attr = session_.run(session_.fs().lstat(*path));
      if (!attr) {
        session_.fail(argument, attr.error());
      } else if (attr->is_directory()) {
        measure(*path, 0);
      } else {
        print(attr->size, *path);
      }
    }
  }

 private:
  // Prints a line for everything in `directory` that is to be shown, and returns the bytes below
  // it.
  std::uint64_t measure(const std::string& directory, unsigned depth) {
    std::uint64_t total = 0;
    Result<std::vector<ListedEntry>> listed =
        list_directory(session_, directory, WithAttributes::kYes);
    if (!listed) {
      session_.fail(to_argument(directory), listed.error());
      listed.emplace();
    }
    for (const ListedEntry& entry : *listed) {
      std::string path = join_path(directory, entry.name);
      if (S_ISDIR(entry.type)) {
        total += measure(path, depth + 1);
      } else if (entry.attr) {
        total += entry.attr->size;
        if (arguments_.all && depth < arguments_.depth) {
          print(entry.attr->size, path);
        }
      }
    }
    if (depth <= arguments_.depth) {
      print(total, directory);
    }
    return total;
  }

  void print(std::uint64_t bytes, const std::string& path) const {
    std::string argument = to_argument(path);
    std::string size = arguments_.bytes   ? fmt::to_string(bytes)
                       : arguments_.human ? format_human(bytes)
                                          : fmt::to_string(bytes / 1024 + (bytes % 1024 != 0));
    fmt::print("{}\t{}\n", size, on_terminal_ ? printable(argument) : argument);
  }

  Session& session_;
  const Arguments& arguments_;
  bool on_terminal_;
};

int run_du(const Context& context, Arguments& arguments) {
  std::optional<Session> session = Session::open(context, "du");
  if (!session) {
    return kExitFailed;
  }
  arguments.depth = arguments.summarize ? 0 : arguments.depth;
  DuCommand(*session, arguments).run();
  report_losses(*session);
  return session->exit_code();
}

}  // namespace

void add_du_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  arguments->paths = {"bfs:/"};
  args::Command* command = app.add_subcommand("du", "Show the total size of directories");
  command->set_help_flag("--help", "Print this help message and exit");
  command->add_option("PATH", arguments->paths, "Files and directories in BenchFS")
      ->capture_default_str();
  auto* summarize = command->add_flag(
      "-s,--summarize", arguments->summarize, "Show only the total of each argument");
  command->add_flag("-a,--all", arguments->all, "Files too")->excludes(summarize);
  auto* human =
      command->add_flag("-h,--human-readable", arguments->human, "Sizes such as 1.5K and 2G");
  command->add_flag("-b,--bytes", arguments->bytes, "Bytes; default: units of 1024 bytes")
      ->excludes(human);
  command->add_option("-d,--max-depth", arguments->depth, "Show this many levels; all are counted")
      ->type_name("LEVELS")
      ->non_negative()
      ->excludes(summarize);
  command->footer(
      "Adds up the sizes of files as ls shows them, holes included; the servers may store less.\n"
      "\n"
      "  benchfs du -sh bfs:/results\n"
      "  benchfs du -h -d 1");
  command->callback([arguments, &context] { context.exit_code = run_du(context, *arguments); });
}

}  // namespace benchfs::cli
