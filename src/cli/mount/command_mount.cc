// benchfs mount and umount.
#include "args/command.h"
#include "mount/serve.h"

#include <fmt/format.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>

#include "cli/command.h"
#include "cli/mount/background.h"
#include "cli/mount/connect.h"
#include "mount/mount_point.h"

namespace benchfs::cli {
namespace {

using State = mount::MountPoint::State;

struct MountArguments {
  std::string directory;
  bool foreground = false;
  bool allow_other = false;
  bool page_cache = false;
  std::string log;
};

std::string text_of(const Error& error) {
  return error.posix != 0 ? std::generic_category().message(error.posix) : error.message();
}

// Frees the mount point of a mount whose process has died.
Status take_over(const mount::MountPoint& point) {
  BENCHFS_TRY_VOID(mount::unmount(point.path, true));
  fmt::print(stderr,
             "benchfs mount: {}: the process of the mount that was there is gone; taking it over\n",
             point.path);
  return {};
}

std::optional<std::string> why_not(const mount::MountPoint& point) {
  switch (point.state) {
    case State::kFree:
    case State::kDead:
      return std::nullopt;
    case State::kServed:
      return "BenchFS is mounted there already; 'benchfs umount' ends that mount";
    case State::kSilent:
      return "the BenchFS that is mounted there does not answer; 'benchfs umount --lazy' takes it "
             "away";
    case State::kForeign:
      return fmt::format("a file system of type {} is mounted there", point.type);
  }
  return std::nullopt;
}

int serve(const Context& context,
          const MountArguments& arguments,
          const mount::MountPoint& point,
          Background* background) {
  Result<std::unique_ptr<client::Client>> client = connect_for_mount(context);
  if (!client) {
    return report("mount", "", client.error());
  }
  if (point.state == State::kDead) {
    if (Status taken = take_over(point); !taken) {
      return report("mount", point.path, text_of(taken.error()));
    }
  }
  mount::ServeOptions serve_options;
  serve_options.mount.mount_point = point.path;
  serve_options.mount.source = "benchfs:" + context.registry_dir;
  serve_options.mount.allow_other = arguments.allow_other;
  serve_options.page_cache = arguments.page_cache;
  serve_options.on_ready = [&] {
    fmt::print("mounted on {} (process {}); 'benchfs umount {}' ends it\n",
               point.path,
               getpid(),
               point.path);
    std::fflush(stdout);
    if (background != nullptr) {
      background->ready(arguments.log);
    }
  };
  if (Status served = mount::serve(**client, std::move(serve_options)); !served) {
    return report("mount", point.path, served.error());
  }
  return kExitOk;
}

int run_mount(Context& context, MountArguments& arguments) {
  Result<mount::MountPoint> point = mount::examine(arguments.directory);
  if (!point) {
    return report("mount", arguments.directory, text_of(point.error()));
  }
  if (std::optional<std::string> reason = why_not(*point)) {
    return report("mount", arguments.directory, *reason);
  }
  if (arguments.foreground) {
    return serve(context, arguments, *point, nullptr);
  }
  // The background leaves this directory.
  std::error_code ignored;
  context.registry_dir = std::filesystem::absolute(context.registry_dir, ignored);
  if (!arguments.log.empty()) {
    arguments.log = std::filesystem::absolute(arguments.log, ignored);
  }
  Result<Background::Forked> forked = Background::fork();
  if (!forked) {
    return report("mount", "", forked.error());
  }
  if (forked->exit_code) {
    return *forked->exit_code;
  }
  return serve(context, arguments, *point, &*forked->background);
}

struct UmountArguments {
  std::string directory;
  bool lazy = false;
};

int run_umount(const UmountArguments& arguments) {
  Result<mount::MountPoint> point = mount::examine(arguments.directory);
  if (!point) {
    return report("umount", arguments.directory, text_of(point.error()));
  }
  if (point->state == State::kFree) {
    return report("umount", arguments.directory, "nothing is mounted there");
  }
  if (point->state == State::kForeign) {
    return report(
        "umount",
        arguments.directory,
        fmt::format("a file system of type {} is mounted there, not BenchFS", point->type));
  }
  // One without a process cannot be in use, and one that does not answer would not let go.
  bool is_lazy = arguments.lazy || point->state != State::kServed;
  if (Status unmounted = mount::unmount(point->path, is_lazy); !unmounted) {
    if (unmounted.error().posix == EBUSY) {
      return report("umount",
                    arguments.directory,
                    "programs are using it ('fuser -vm' lists them); --lazy takes it away at once");
    }
    return report("umount", arguments.directory, unmounted.error().message());
  }
  return kExitOk;
}

void add_mount(args::Command& app, Context& context) {
  auto arguments = std::make_shared<MountArguments>();
  args::Command* command =
      app.add_subcommand("mount", "Show the file system as a directory of this machine");
  command->add_option("DIRECTORY", arguments->directory, "An existing directory to mount on")
      ->required();
  command->add_flag(
      "-f,--foreground", arguments->foreground, "Stay in the foreground; Ctrl-C unmounts");
  command->add_flag("--allow-other",
                    arguments->allow_other,
                    "Let other users use the mount as well, as owners and modes allow. Without\n"
                    "it even root is refused unless root mounts. Ordinary users need\n"
                    "user_allow_other in /etc/fuse.conf");
  command->add_flag("--page-cache",
                    arguments->page_cache,
                    "Let the kernel cache data of files that are written through this mount,\n"
                    "too, checked by size and time before each read");
  command->add_option("--log", arguments->log, "Where the background process writes its warnings")
      ->type_name("FILE");
  command->footer(
      "Unmodified programs then work on the files below DIRECTORY. What one node writes all\n"
      "others see at once. The process that serves the mount stays in the background; SIGTERM\n"
      "unmounts too. If it was killed, programs get 'Transport endpoint is not connected':\n"
      "mount again, which takes the dead mount over.\n"
      "\n"
      "  benchfs up && mkdir /tmp/bfs && benchfs mount /tmp/bfs\n"
      "  cp -r ./input /tmp/bfs && ./my_program /tmp/bfs/input\n"
      "  benchfs umount /tmp/bfs");
  command->callback([arguments, &context] { context.exit_code = run_mount(context, *arguments); });
}

void add_umount(args::Command& app, Context& context) {
  auto arguments = std::make_shared<UmountArguments>();
  args::Command* command = app.add_subcommand("umount", "End a mount; the files stay in BenchFS");
  command->add_option("DIRECTORY", arguments->directory, "Where it is mounted")->required();
  command->add_flag("-l,--lazy",
                    arguments->lazy,
                    "Also when programs use it: the directory is free at once, and the mount ends\n"
                    "when the last of them has closed its files");
  command->footer("  benchfs umount /tmp/bfs");
  command->callback([arguments, &context] { context.exit_code = run_umount(*arguments); });
}

}  // namespace

void add_mount_commands(args::Command& app, Context& context) {
  add_mount(app, context);
  add_umount(app, context);
}

}  // namespace benchfs::cli
