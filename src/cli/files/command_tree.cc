// benchfs tree: draws a directory tree.
#include <fmt/format.h>
#include <unistd.h>
#include "args/command.h"
#include "cli/files/commands.h"
#include "cli/files/format.h"
#include "cli/files/listing.h"
#include "cli/files/remote_path.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

struct Arguments {
  std::vector<std::string> paths;
  bool all = false;
  bool sizes = false;
  unsigned depth = 1U << 20;
};

class TreeCommand {
 public:
  TreeCommand(Session& session, const Arguments& arguments)
      : session_(session), arguments_(arguments), on_terminal_(isatty(STDOUT_FILENO) == 1) {}

  void run() {
    for (const std::string& argument : arguments_.paths) {
      if (std::optional<std::string> path = session_.remote_path(argument)) {
        Result<wire::Attr> attr = session_.run(session_.fs().stat(*path));
        if (!attr) {
          session_.fail(argument, attr.error());
          continue;
        }
        fmt::print("{}\n", show(argument));
        if (attr->is_directory()) {
          draw(*path, "", 1);
        }
      }
    }
    fmt::print("\n{} {}, {} {}\n",
               directories_,
               directories_ == 1 ? "directory" : "directories",
               files_,
               files_ == 1 ? "file" : "files");
  }

 private:
  void draw(const std::string& directory, const std::string& margin, unsigned depth) {
    Result<std::vector<ListedEntry>> listed = list_directory(
        session_, directory, arguments_.sizes ? WithAttributes::kYes : WithAttributes::kNo);
    if (!listed) {
      session_.fail(to_argument(directory), listed.error());
      return;
    }
    if (!arguments_.all) {
      std::erase_if(*listed, [](const ListedEntry& entry) { return entry.name.starts_with('.'); });
    }
    for (std::size_t i = 0; i < listed->size(); ++i) {
      const ListedEntry& entry = (*listed)[i];
      bool is_last = i + 1 == listed->size();
      std::string path = join_path(directory, entry.name);
      fmt::print("{}{}── {}\n", margin, is_last ? "└" : "├", label(entry, path));
      if (!S_ISDIR(entry.type)) {
        ++files_;
        continue;
      }
      ++directories_;
      if (depth < arguments_.depth) {
        draw(path, margin + (is_last ? "    " : "│   "), depth + 1);
      }
    }
  }

  std::string label(const ListedEntry& entry, const std::string& path) {
    std::string text;
    if (arguments_.sizes && S_ISREG(entry.type)) {
      text = fmt::format("[{:>5}]  ", format_human(entry.attr ? entry.attr->size : 0));
    }
    text += show(entry.name);
    if (S_ISLNK(entry.type)) {
      text += " -> " + show(session_.run(session_.fs().readlink(path)).value_or(""));
    }
    return text;
  }

  [[nodiscard]] std::string show(std::string_view name) const {
    return on_terminal_ ? printable(name) : std::string(name);
  }

  Session& session_;
  const Arguments& arguments_;
  bool on_terminal_;
  std::uint64_t directories_ = 0;
  std::uint64_t files_ = 0;
};

int run_tree(const Context& context, const Arguments& arguments) {
  std::optional<Session> session = Session::open(context, "tree");
  if (!session) {
    return kExitFailed;
  }
  TreeCommand(*session, arguments).run();
  report_losses(*session);
  return session->exit_code();
}

}  // namespace

void add_tree_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  arguments->paths = {"bfs:/"};
  args::Command* command = app.add_subcommand("tree", "Draw directory trees");
  command->add_option("DIRECTORY", arguments->paths, "Directories in BenchFS")
      ->capture_default_str();
  command->add_flag("-a", arguments->all, "Also show names that begin with a dot");
  command->add_flag("-s", arguments->sizes, "Show the sizes of files");
  command->add_option("-L", arguments->depth, "Descend this many levels")
      ->type_name("LEVELS")
      ->positive();
  command->footer("  benchfs tree -L 2 bfs:/results");
  command->callback([arguments, &context] { context.exit_code = run_tree(context, *arguments); });
}

}  // namespace benchfs::cli
