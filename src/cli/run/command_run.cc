// benchfs run: starts a program that sees the cluster's files below a directory.
// benchfs check: says what of a program the preload library would not see.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "args/command.h"
#include "cli/command.h"
#include "cli/run/elf_program.h"
#include "cli/run/mount_namespace.h"

namespace benchfs::cli {
namespace {

constexpr const char* kLibrary = "libbenchfs_preload.so";

struct RunOptions {
  std::string prefix = "/bfs";
  bool has_namespace = false;
  std::string log;
  std::vector<std::string> command;
};

// Beside the program as built, or as installed.
Result<std::string> find_library() {
  std::error_code ignored;
  std::filesystem::path directory =
      std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path().parent_path();
  for (const char* below : {"lib", BENCHFS_LIBDIR}) {
    std::filesystem::path candidate = directory / below / kLibrary;
    if (std::filesystem::exists(candidate, ignored)) {
      return candidate.string();
    }
  }
  return fail_errno(ENOENT, fmt::format("{} is not in {}/lib", kLibrary, directory.string()));
}

Status check_prefix(const std::string& prefix) {
  bool is_plain =
      prefix.size() > 1 && prefix.front() == '/' && prefix.back() != '/' && prefix.size() < 200;
  std::string closed = prefix + '/';
  if (!is_plain || closed.find("/../") != std::string::npos ||
      closed.find("/./") != std::string::npos || prefix.find("//") != std::string::npos) {
    return fail_errno(EINVAL, "the prefix must be an absolute path without '.', '..' and '//'");
  }
  std::error_code ignored;
  if (std::filesystem::exists(prefix, ignored) && !std::filesystem::is_empty(prefix, ignored)) {
    return fail_errno(EEXIST, "there are files below the prefix; choose another with --mount");
  }
  return {};
}

// What the user should know before the program runs.
void warn(const std::string& program) {
  Result<std::string> path = find_program(program);
  if (!path) {
    return;
  }
  Result<std::vector<Bypass>> found = find_bypasses(*path);
  for (std::size_t i = 0; found && i < found->size(); ++i) {
    const Bypass& bypass = (*found)[i];
    if (bypass.is_whole) {
      report("run", program, bypass.reason + ": it does not see the cluster's files");
    }
  }
}

// The program's calls go to the preload library.
std::optional<int> prepare_preload(const RunOptions& options) {
  if (Status usable = check_prefix(options.prefix); !usable) {
    return report("run", options.prefix, usable.error());
  }
  Result<std::string> library = find_library();
  if (!library) {
    return report("run", "", library.error());
  }
  warn(options.command.front());
  const char* others = std::getenv("LD_PRELOAD");
  std::string preload =
      others != nullptr && *others != '\0' ? fmt::format("{}:{}", *library, others) : *library;
  setenv("LD_PRELOAD", preload.c_str(), 1);
  setenv("BENCHFS_MOUNT", options.prefix.c_str(), 1);
  return std::nullopt;
}

int run(Context& context, RunOptions& options) {
  while (options.prefix.size() > 1 && options.prefix.back() == '/') {
    options.prefix.pop_back();
  }
  std::error_code ignored;
  context.registry_dir = std::filesystem::absolute(context.registry_dir, ignored);
  std::optional<int> failed;
  if (options.has_namespace) {
    std::string log = options.log.empty() ? "" : std::filesystem::absolute(options.log, ignored);
    failed = mount_for_program(context, {.directory = options.prefix, .log = log});
  } else {
    failed = prepare_preload(options);
  }
  if (failed) {
    return *failed;
  }
  setenv("BENCHFS_REGISTRY_DIR", context.registry_dir.c_str(), 1);
  std::vector<char*> arguments;
  for (const std::string& argument : options.command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  std::signal(SIGPIPE, SIG_DFL);
  execvp(arguments.front(), arguments.data());
  int error = errno;
  report("run", options.command.front(), Error::from_errno(error));
  return error == ENOENT ? kExitNotFound : kExitNotExecutable;
}

int check(const std::string& name) {
  Result<std::string> path = find_program(name);
  if (!path) {
    return report("check", name, path.error());
  }
  Result<std::vector<Bypass>> found = find_bypasses(*path);
  if (!found) {
    return report("check", *path, found.error());
  }
  if (found->empty()) {
    fmt::print("{}: everything it does through libc is seen\n", *path);
    return kExitOk;
  }
  int exit_code = kExitOk;
  for (const Bypass& bypass : *found) {
    fmt::print("{}: {}: {}\n", *path, bypass.is_whole ? "not usable" : "take care", bypass.reason);
    exit_code = bypass.is_whole ? int{kExitFailed} : exit_code;
  }
  return exit_code;
}

}  // namespace

void add_run_command(args::Command& app, Context& context) {
  auto options = std::make_shared<RunOptions>();
  args::Command* command = app.add_subcommand(
      "run", "Run a program that sees the cluster's files below a directory, /bfs by default");
  command->add_option("--mount", options->prefix, "The directory; it should not exist")
      ->type_name("PREFIX")
      ->capture_default_str();
  command->add_flag(
      "--mount-namespace",
      options->has_namespace,
      "Mount on that directory, which must exist, for the program alone: for programs\n"
      "that the preload library cannot serve (static, Go, io_uring). Needs /dev/fuse\n"
      "and user namespaces, but no fusermount3");
  command
      ->add_option("--log",
                   options->log,
                   "With --mount-namespace: where the process that serves it writes its warnings")
      ->type_name("FILE");
  command->add_option("command", options->command, "The program and its arguments, after --")
      ->type_name("PROGRAM")
      ->required();
  command->footer(
      "The program need not be changed or compiled again: libbenchfs_preload.so takes its calls "
      "of\n"
      "libc (docs/preload.md). With BENCHFS_REPORT=1 it says at its end what was served.\n"
      "With BENCHFS_CHECK_PERMISSIONS=1 modes and owners are enforced.\n"
      "\n"
      "  benchfs run -- cp -r input /bfs/\n"
      "  benchfs run -- bash -c 'sort /bfs/input/a > /bfs/sorted'\n"
      "  mkdir /tmp/bfs && benchfs run --mount-namespace --mount /tmp/bfs -- ./static_program "
      "/tmp/bfs\n"
      "\n"
      "With --mount-namespace nobody but the program and its children sees the mount; it ends "
      "with\n"
      "the last of them. The program keeps its user, its process number, signals and exit code.\n"
      "Programs with set-user-id (sudo, fusermount3) do not get other users there.");
  command->callback([&context, options] { context.exit_code = run(context, *options); });

  auto program = std::make_shared<std::string>();
  command = app.add_subcommand("check", "Say what of a program 'benchfs run' would not see");
  command->add_option("program", *program, "The program")->type_name("PROGRAM")->required();
  command->footer("Exit code 1: the program would not see the cluster's files at all.");
  command->callback([&context, program] { context.exit_code = check(*program); });
}

}  // namespace benchfs::cli
