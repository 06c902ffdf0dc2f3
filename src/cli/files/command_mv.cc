// benchfs mv: renames within BenchFS.
#include <fmt/format.h>

#include <cerrno>
#include <set>

#include "args/command.h"
#include "cli/files/commands.h"
#include "cli/files/remote_path.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

struct Arguments {
  std::vector<std::string> paths;
  bool no_replace = false;
};

void move_all(Session& session, const Arguments& arguments) {
  const std::string& target_argument = arguments.paths.back();
  std::optional<std::string> target = session.remote_path(target_argument);
  if (!target) {
    return;
  }
  Result<wire::Attr> attr = session.run(session.fs().stat(*target));
  bool is_directory = attr && attr->is_directory();
  if (arguments.paths.size() > 2 && !is_directory) {
    session.fail(target_argument, attr ? Error::from_errno(ENOTDIR) : attr.error());
    return;
  }
  std::set<std::string> targets;
  for (std::size_t i = 0; i + 1 < arguments.paths.size(); ++i) {
    const std::string& argument = arguments.paths[i];
    std::optional<std::string> from = session.remote_path(argument);
    if (!from) {
      continue;
    }
    std::string to = is_directory ? join_path(*target, base_name(*from)) : *target;
    if (!targets.insert(to).second) {
      session.fail(
          argument,
          fmt::format("another source has just been moved to {}; left out", to_argument(to)));
      continue;
    }
    Status moved = session.run(session.fs().rename(
        *from, to, arguments.no_replace ? wire::kRenameNoReplace : std::uint32_t{0}));
    if (moved) {
      continue;
    }
    if (moved.error().is_posix(EINVAL) && to.starts_with(join_path(*from, ""))) {
      session.fail(argument, "cannot be moved into itself");
      continue;
    }
    bool is_target = moved.error().is_posix(EEXIST) || moved.error().is_posix(ENOTEMPTY) ||
                     moved.error().is_posix(EISDIR);
    session.fail(is_target ? to_argument(to) : argument, moved.error());
  }
}

int run_mv(const Context& context, const Arguments& arguments) {
  for (const std::string& argument : arguments.paths) {
    if (!is_remote(argument)) {
      report("mv", argument, "a local path; use 'benchfs cp' and remove the source");
      return kExitUsage;
    }
  }
  std::optional<Session> session = Session::open(context, "mv");
  if (!session) {
    return kExitFailed;
  }
  move_all(*session, arguments);
  return session->exit_code();
}

}  // namespace

void add_mv_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  args::Command* command = app.add_subcommand("mv", "Rename or move files and directories");
  command->add_option("PATH", arguments->paths, "Sources, then the target; all in BenchFS")
      ->required()
      ->expected(2, -1);
  command->add_flag("-n,--no-clobber", arguments->no_replace, "Fail rather than replace a file");
  command->footer(
      "Others see the old name or the new one, and a replaced file at every moment.\n"
      "\n"
      "  benchfs mv bfs:/out.tmp bfs:/out\n"
      "  benchfs mv bfs:/a bfs:/b bfs:/directory");
  command->callback([arguments, &context] { context.exit_code = run_mv(context, *arguments); });
}

}  // namespace benchfs::cli
