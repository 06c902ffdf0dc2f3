// benchfs rm: files, and trees with -r.
#include <CLI/CLI.hpp>

#include <cerrno>

#include "cli/files/commands.h"
#include "cli/files/fan_out.h"
#include "cli/files/listing.h"
#include "cli/files/remote_path.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

constexpr std::size_t kParallelUnlinks = 32;

struct Arguments {
  std::vector<std::string> paths;
  bool recursive = false;
  bool force = false;
};

rt::Task<void> unlink_one(client::FileSystem* fs, std::string path, Status* result) {
  *result = co_await fs->unlink(std::move(path));
}

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
      remove_tree(*path);
    } else if (!removed && removed.error().is_posix(EISDIR)) {
      session_.fail(argument, "is a directory (-r removes directories)");
    } else if (!removed && !(arguments_.force && removed.error().is_posix(ENOENT))) {
      session_.fail(argument, removed.error());
    }
  }

 private:
  void remove_tree(const std::string& directory) {
    Result<std::vector<ListedEntry>> entries =
        list_directory(session_, directory, WithAttributes::kNo);
    if (!entries) {
      session_.fail(to_argument(directory), entries.error());
      return;
    }
    std::vector<std::string> files;
    for (const ListedEntry& entry : *entries) {
      if (InterruptGuard::is_interrupted()) {
        return;
      }
      std::string path = join_path(directory, entry.name);
      if (S_ISDIR(entry.type)) {
        remove_tree(path);
      } else {
        files.push_back(std::move(path));
      }
    }
    unlink_all(files);
    if (InterruptGuard::is_interrupted()) {
      return;
    }
    Status removed = session_.run(session_.fs().rmdir(directory));
    if (!removed && !removed.error().is_posix(ENOENT)) {
      session_.fail(to_argument(directory), removed.error());
    }
  }

  void unlink_all(const std::vector<std::string>& files) {
    std::vector<Status> results(files.size());
    client::FileSystem* fs = &session_.fs();
    auto unlink = [fs, &files, &results](std::size_t index) {
      return unlink_one(fs, files[index], &results[index]);
    };
    (void)session_.run(fan_out(files.size(), kParallelUnlinks, unlink));
    for (std::size_t i = 0; i < files.size(); ++i) {
      // Somebody else was faster: what was wanted is done.
      if (!results[i] && !results[i].error().is_posix(ENOENT)) {
        session_.fail(to_argument(files[i]), results[i].error());
      }
    }
  }

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

void add_rm_command(CLI::App& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("rm", "Remove files and trees");
  command->add_option("PATH", arguments->paths, "Files and directories in BenchFS")->required();
  command->add_flag("-r,-R,--recursive", arguments->recursive, "Remove directories with content");
  command->add_flag("-f,--force", arguments->force, "Do not complain of files that do not exist");
  command->footer(
      "  benchfs rm bfs:/out.dat\n"
      "  benchfs rm -r bfs:/run/7");
  command->callback([arguments, &context] { context.exit_code = run_rm(context, *arguments); });
}

}  // namespace benchfs::cli
