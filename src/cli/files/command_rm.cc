// benchfs rm: files, and trees with -r.
#include <cerrno>

#include "args/command.h"
#include "cli/files/commands.h"
#include "cli/files/remote_path.h"
#include "cli/files/remove_tree.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

struct Arguments {
  std::vector<std::string> paths;
  bool recursive = false;
  bool force = false;
};

class RemoveCommand {
 public:
  RemoveCommand(Session& session, const Arguments& arguments)
      : session_(session), arguments_(arguments) {}

  void remove(const std::string& argument) {
    std::optional<std::string> path = session_.remote_path(argument);
    if (!path) {
      return;
    }
    std::string name = base_name(*path);
    if (name == "/" || name == "." || name == "..") {
      session_.fail(argument, "refusing to remove '/', '.' or '..'");
      return;
    }
    Status removed = session_.run(session_.fs().unlink(*path));
    if (!removed && removed.error().is_posix(EISDIR) && arguments_.recursive) {
      remove_tree(session_, *path);
    } else if (!removed && removed.error().is_posix(EISDIR)) {
      session_.fail(argument, "is a directory (-r removes directories)");
    } else if (!removed && !(arguments_.force && removed.error().is_posix(ENOENT))) {
      session_.fail(argument, removed.error());
    }
  }

 private:
  Session& session_;
  const Arguments& arguments_;
};

int run_rm(const Context& context, const Arguments& arguments) {
  std::optional<Session> session = Session::open(context, "rm");
  if (!session) {
    return kExitFailed;
  }
  InterruptGuard guard;
  RemoveCommand command(*session, arguments);
  for (const std::string& argument : arguments.paths) {
    if (InterruptGuard::is_interrupted()) {
      return kExitInterrupted;
    }
    command.remove(argument);
  }
  return InterruptGuard::is_interrupted() ? kExitInterrupted : session->exit_code();
}

}  // namespace

void add_rm_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  args::Command* command = app.add_subcommand("rm", "Remove files and trees");
  command->add_option("PATH", arguments->paths, "Files and directories in BenchFS")->required();
  command->add_flag(
      "-r,-R,--recursive", arguments->recursive, "Remove directories and their contents");
  command->add_flag("-f,--force", arguments->force, "Ignore files that do not exist");
  command->footer(
      "  benchfs rm bfs:/out.dat\n"
      "  benchfs rm -r bfs:/run/7");
  command->callback([arguments, &context] { context.exit_code = run_rm(context, *arguments); });
}

}  // namespace benchfs::cli
