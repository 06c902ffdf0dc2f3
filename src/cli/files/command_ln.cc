// benchfs ln and readlink.
#include <fmt/format.h>
#include <unistd.h>
#include <cerrno>

#include "args/command.h"
#include "cli/files/commands.h"
#include "cli/files/remote_path.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

struct LinkArguments {
  std::string target;
  std::string link;
  bool symbolic = false;
  bool force = false;
};

// Where the link goes: LINK itself, or below it if it is a directory.
std::string place_of(Session& session, const std::string& path, std::string_view target) {
  Result<wire::Attr> attr = session.run(session.fs().stat(path));
  return attr && attr->is_directory() ? join_path(path, base_name(target)) : path;
}

Status make_link(Session& session, const LinkArguments& arguments, const std::string& place) {
  std::string target = arguments.target;
  if (is_remote(target)) {
    target.erase(0, kRemotePrefix.size());
  }
  return arguments.symbolic ? session.run(session.fs().symlink(target, place))
                            : session.run(session.fs().link(target, place));
}

// Never without the name: the new link takes it at once.
Status replace_by_link(Session& session, const LinkArguments& arguments, const std::string& place) {
  std::string aside = fmt::format("{}.ln-{}", place, ::getpid());
  BENCHFS_TRY_VOID(make_link(session, arguments, aside));
  Status renamed = session.run(session.fs().rename(aside, place));
  // A rename to another name of the same file leaves both.
  (void)session.run(session.fs().unlink(aside));
  return renamed;
}

int run_ln(const Context& context, const LinkArguments& arguments) {
  if (!arguments.symbolic && !is_remote(arguments.target)) {
    report("ln", arguments.target, "not in BenchFS: write bfs:/…, or -s for a symbolic link");
    return kExitUsage;
  }
  std::optional<Session> session = Session::open(context, "ln");
  if (!session) {
    return kExitFailed;
  }
  std::optional<std::string> path = session->remote_path(arguments.link);
  if (!path) {
    return session->exit_code();
  }
  std::string place = place_of(*session, *path, arguments.target);
  Status made = make_link(*session, arguments, place);
  if (!made && made.error().is_posix(EEXIST) && arguments.force) {
    made = replace_by_link(*session, arguments, place);
  }
  if (!made) {
    session->fail(to_argument(place), made.error());
  }
  return session->exit_code();
}

int run_readlink(const Context& context, const std::vector<std::string>& paths) {
  std::optional<Session> session = Session::open(context, "readlink");
  if (!session) {
    return kExitFailed;
  }
  for (const std::string& argument : paths) {
    std::optional<std::string> path = session->remote_path(argument);
    if (!path) {
      continue;
    }
    Result<std::string> target = session->run(session->fs().readlink(*path));
    if (!target && target.error().is_posix(EINVAL)) {
      session->fail(argument, "not a symbolic link");
    } else if (!target) {
      session->fail(argument, target.error());
    } else {
      fmt::print("{}\n", *target);
    }
  }
  return session->exit_code();
}

}  // namespace

void add_ln_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<LinkArguments>();
  args::Command* command = app.add_subcommand("ln", "Make links");
  command
      ->add_option("TARGET",
                   arguments->target,
                   "A file in BenchFS; with -s what the link shall lead to, which need not exist")
      ->required();
  command->add_option("LINK", arguments->link, "The link, or a directory for it, in BenchFS")
      ->required();
  command->add_flag(
      "-s,--symbolic", arguments->symbolic, "Make a symbolic link, not another name of the file");
  command->add_flag("-f,--force", arguments->force, "Replace LINK if it exists");
  command->footer(
      "With -s a TARGET without a leading / is relative to the directory of the link.\n"
      "\n"
      "  benchfs ln bfs:/results/out.dat bfs:/keep/out.dat\n"
      "  benchfs ln -s run-7 bfs:/results/latest\n"
      "  benchfs ln -sf bfs:/input/mesh bfs:/mesh");
  command->callback([arguments, &context] { context.exit_code = run_ln(context, *arguments); });
}

void add_readlink_command(args::Command& app, Context& context) {
  auto paths = std::make_shared<std::vector<std::string>>();
  args::Command* command = app.add_subcommand("readlink", "Show where symbolic links lead");
  command->add_option("LINK", *paths, "Symbolic links in BenchFS")->required();
  command->footer("  benchfs readlink bfs:/results/latest");
  command->callback([paths, &context] { context.exit_code = run_readlink(context, *paths); });
}

}  // namespace benchfs::cli
