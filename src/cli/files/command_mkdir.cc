// benchfs mkdir and rmdir.
#include <sys/stat.h>
#include <cerrno>
#include <charconv>

#include "args/command.h"
#include "cli/files/commands.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

struct Arguments {
  std::vector<std::string> paths;
  bool parents = false;
  std::string mode;
};

std::optional<std::uint32_t> parse_octal(const std::string& text) {
  std::uint32_t mode = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), mode, 8);
  bool is_good = error == std::errc() && end == text.data() + text.size() && mode <= 07777;
  return is_good ? std::optional(mode) : std::nullopt;
}

// Makes the missing directories above the last component of a path.
Status make_parents(Session& session, const std::string& path, std::uint32_t mode) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    if (path.find_first_not_of('/', slash) == std::string::npos) {
      break;  // only slashes follow: this is the last component
    }
    auto made = session.run(session.fs().mkdir(path.substr(0, slash), mode));
    if (!made && !made.error().is_posix(EEXIST)) {
      return std::unexpected(std::move(made.error()));
    }
  }
  return {};
}

Status make_directory(Session& session,
                      const std::string& path,
                      bool parents,
                      std::optional<std::uint32_t> given) {
  std::uint32_t mask = process_umask();
  if (parents) {
    // The owner must be able to create files below the new directories, as POSIX demands.
    BENCHFS_TRY_VOID(make_parents(session, path, (0777 & ~mask) | S_IWUSR | S_IXUSR));
  }
  auto made = session.run(session.fs().mkdir(path, given.value_or(0777 & ~mask)));
  if (made) {
    return {};
  }
  if (parents && made.error().is_posix(EEXIST)) {
    auto present = session.run(session.fs().stat(path));
    if (present && present->is_directory()) {
      return {};
    }
  }
  return std::unexpected(std::move(made.error()));
}

int run_mkdir(const Context& context, const Arguments& arguments) {
  std::optional<std::uint32_t> mode;
  if (!arguments.mode.empty()) {
    mode = parse_octal(arguments.mode);
    if (!mode) {
      report("mkdir", arguments.mode, "not a mode: write it as an octal number, such as 755");
      return kExitUsage;
    }
  }
  std::optional<Session> session = Session::open(context, "mkdir");
  if (!session) {
    return kExitFailed;
  }
  for (const std::string& argument : arguments.paths) {
    if (std::optional<std::string> path = session->remote_path(argument)) {
      Status made = make_directory(*session, *path, arguments.parents, mode);
      if (!made) {
        session->fail(argument, made.error());
      }
    }
  }
  return session->exit_code();
}

int run_rmdir(const Context& context, const Arguments& arguments) {
  std::optional<Session> session = Session::open(context, "rmdir");
  if (!session) {
    return kExitFailed;
  }
  for (const std::string& argument : arguments.paths) {
    if (std::optional<std::string> path = session->remote_path(argument)) {
      Status removed = session->run(session->fs().rmdir(*path));
      if (!removed) {
        session->fail(argument, removed.error());
      }
    }
  }
  return session->exit_code();
}

}  // namespace

void add_mkdir_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  args::Command* command = app.add_subcommand("mkdir", "Make directories");
  command->add_option("DIRECTORY", arguments->paths, "Directories in BenchFS")->required();
  command->add_flag("-p,--parents",
                    arguments->parents,
                    "Also make missing parents; existing directories are no error");
  command->add_option("-m,--mode", arguments->mode, "Mode of the new directory, such as 755")
      ->type_name("OCTAL");
  command->footer("  benchfs mkdir -p bfs:/run/7/out");
  command->callback([arguments, &context] { context.exit_code = run_mkdir(context, *arguments); });
}

void add_rmdir_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  args::Command* command = app.add_subcommand("rmdir", "Remove empty directories");
  command->add_option("DIRECTORY", arguments->paths, "Directories in BenchFS")->required();
  command->footer("  benchfs rmdir bfs:/run/7/out");
  command->callback([arguments, &context] { context.exit_code = run_rmdir(context, *arguments); });
}

}  // namespace benchfs::cli
