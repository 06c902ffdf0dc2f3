// benchfs cp: to, from and within BenchFS.
#include <fmt/format.h>
#include <sys/stat.h>
#include <algorithm>
#include <set>
#include <thread>

#include "args/command.h"
#include "cli/files/commands.h"
#include "cli/files/copy.h"
#include "cli/files/local_tree.h"
#include "cli/files/remote_path.h"
#include "cli/files/remote_tree.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

struct Arguments {
  std::vector<std::string> paths;
  bool recursive = false;
  bool preserve = false;
  bool force = false;
  bool progress = false;
  bool quiet = false;
  unsigned jobs = std::clamp(2 * std::thread::hardware_concurrency(), 4U, 16U);
};

struct Place {
  FileTree* tree = nullptr;
  std::string path;
};

class CopyCommand {
 public:
  CopyCommand(Session& session, const Arguments& arguments)
      : session_(session),
        arguments_(arguments),
        remote_(session.client()),
        progress_(Progress::choose_style(arguments.progress, arguments.quiet)),
        copier_({.recursive = arguments.recursive,
                 .preserve = arguments.preserve || arguments.recursive,
                 .keep_owner = arguments.preserve,
                 .force = arguments.force,
                 .jobs = arguments.jobs},
                progress_,
                [this](const std::string& subject, const std::string& reason) {
                  progress_.clear_line();
                  session_.fail(subject, reason);
                }) {}

  int run() {
    InterruptGuard guard;
    std::optional<Place> target = place_of(arguments_.paths.back());
    if (!target) {
      return session_.exit_code();
    }
    copy_all(*target);
    copier_.finish();
    if (copier_.split_links() > 0) {
      progress_.clear_line();
      fmt::print(stderr,
                 "benchfs cp: {} hard {} became {} of {} own\n",
                 copier_.split_links(),
                 copier_.split_links() == 1 ? "link" : "links",
                 copier_.split_links() == 1 ? "a file" : "files",
                 copier_.split_links() == 1 ? "its" : "their");
    }
    if (InterruptGuard::is_interrupted()) {
      progress_.clear_line();
      session_.fail("", fmt::format("interrupted after {} files", progress_.done_files()));
      return kExitInterrupted;
    }
    return session_.exit_code();
  }

 private:
  std::optional<Place> place_of(const std::string& argument) {
    if (!is_remote(argument)) {
      return Place{&local_, argument};
    }
    std::optional<std::string> path = session_.remote_path(argument);
    return path ? std::optional(Place{&remote_, std::move(*path)}) : std::nullopt;
  }

  void copy_all(const Place& target) {
    const std::string& name = arguments_.paths.back();
    Result<FileInfo> info = target.tree->stat(target.path);
    bool is_directory = info && S_ISDIR(info->mode);
    bool must_be_directory = arguments_.paths.size() > 2;
    if (must_be_directory && !is_directory) {
      session_.fail(name, info ? Error::from_errno(ENOTDIR) : info.error());
      return;
    }
    std::set<std::string> targets;
    for (std::size_t i = 0; i + 1 < arguments_.paths.size(); ++i) {
      const std::string& argument = arguments_.paths[i];
      std::optional<Place> source = place_of(argument);
      if (!source) {
        continue;
      }
      if (!source->tree->is_remote() && !target.tree->is_remote()) {
        session_.fail(argument, "neither this nor the target is in BenchFS (bfs:/…)");
        continue;
      }
      std::string base(base_name(source->path));
      bool is_inside = is_directory && base != "." && base != "..";
      std::string to = is_inside ? join_path(target.path, base) : target.path;
      if (is_inside && !targets.insert(to).second) {
        session_.fail(argument,
                      fmt::format("another source has just been copied to {}; left out",
                                  target.tree->argument(to)));
        continue;
      }
      copier_.copy(*source->tree, source->path, *target.tree, to);
    }
  }

  Session& session_;
  const Arguments& arguments_;
  LocalTree local_;
  RemoteTree remote_;
  Progress progress_;
  Copier copier_;
};

int run_cp(const Context& context, const Arguments& arguments) {
  std::optional<Session> session = Session::open(context, "cp");
  if (!session) {
    return kExitFailed;
  }
  return CopyCommand(*session, arguments).run();
}

}  // namespace

void add_cp_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  args::Command* command = app.add_subcommand("cp", "Copy files to, from and within BenchFS");
  command->add_option("PATH", arguments->paths, "Sources, then the target")
      ->required()
      ->expected(2, -1);
  command->add_flag("-r,-R,--recursive",
                    arguments->recursive,
                    "Copy directories; keeps modes, times and symbolic links");
  command->add_flag("-p,--preserve", arguments->preserve, "Keep modes, times and owners");
  command->add_flag("-f,--force", arguments->force, "Remove a target that cannot be written");
  command
      ->add_option(
          "-j,--jobs", arguments->jobs, "Concurrent transfers; of small files, 32 at a time each")
      ->range(1U, 256U)
      ->capture_default_str();
  command->add_flag(
      "--progress", arguments->progress, "Show progress even if standard error is not a terminal");
  command->add_flag("-q,--quiet", arguments->quiet, "Do not show progress");
  command->footer(
      "Paths that begin with bfs: are in BenchFS, others are local. A file that cannot be copied "
      "is\nreported and left out; the exit code is then 1. When the target is full, the copy stops "
      "and\nremoves the files that it could not complete. Ctrl-C stops between two parts of a file "
      "(exit\ncode 130) and leaves the files being copied incomplete. Each name of a hard-linked "
      "file becomes\na separate file.\n"
      "\n"
      "  benchfs cp input.dat bfs:/input.dat        into BenchFS\n"
      "  benchfs cp -r /usr/include bfs:/           a whole tree, as bfs:/include\n"
      "  benchfs cp -r bfs:/results ./              out again, with modes and times\n"
      "  benchfs cp bfs:/a bfs:/b                   within BenchFS");
  command->callback([arguments, &context] { context.exit_code = run_cp(context, *arguments); });
}

}  // namespace benchfs::cli
