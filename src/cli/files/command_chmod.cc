// benchfs chmod and chown.
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <cerrno>
#include <charconv>
#include <functional>
#include <system_error>

#include "args/command.h"
#include "cli/files/commands.h"
#include "cli/files/fan_out.h"
#include "cli/files/listing.h"
#include "cli/files/mode_text.h"
#include "cli/files/remote_path.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

constexpr std::size_t kParallelChanges = 32;

struct Arguments {
  std::string change;  // MODE or OWNER[:GROUP]
  std::vector<std::string> paths;
  bool recursive = false;
  bool no_dereference = false;
};

// What to ask of a file with these attributes; a mask of 0 leaves it alone.
using RequestFor = std::function<wire::SetAttrRequest(const wire::Attr&)>;

rt::Task<void> change_one(client::FileSystem* fs,
                          std::string path,
                          wire::SetAttrRequest request,
                          Status* result) {
  Result<wire::Attr> changed = co_await fs->set_attr(std::move(path), request, false);
  if (!changed) {
    *result = std::unexpected(std::move(changed.error()));
  }
}

class ChangeCommand {
 public:
  ChangeCommand(Session& session, const Arguments& arguments, RequestFor request_for)
      : session_(session), arguments_(arguments), request_for_(std::move(request_for)) {}

  void change(const std::string& argument) {
    std::optional<std::string> path = session_.remote_path(argument);
    if (!path) {
      return;
    }
    bool follow = !arguments_.no_dereference;
    Result<wire::Attr> attr =
        session_.run(follow ? session_.fs().stat(*path) : session_.fs().lstat(*path));
    if (!attr) {
      session_.fail(argument, attr.error());
      return;
    }
    wire::SetAttrRequest request = request_for_(*attr);
    if (request.mask != 0) {
      Result<wire::Attr> changed = session_.run(session_.fs().set_attr(*path, request, follow));
      if (!changed) {
        session_.fail(argument, changed.error());
      }
    }
    if (arguments_.recursive && attr->is_directory()) {
      change_below(*path);
    }
  }

 private:
  // Links below an argument are neither followed nor changed, as in chmod -R.
  void change_below(const std::string& directory) {
    Result<std::vector<ListedEntry>> entries =
        list_directory(session_, directory, WithAttributes::kYes);
    if (!entries) {
      session_.fail(to_argument(directory), entries.error());
      return;
    }
    std::erase_if(*entries, [](const ListedEntry& e) { return !e.attr || S_ISLNK(e.type); });
    std::vector<Status> results(entries->size());
    client::FileSystem* fs = &session_.fs();
    (void)session_.run(fan_out(entries->size(), kParallelChanges, [&](std::size_t i) {
      const ListedEntry& entry = (*entries)[i];
      return change_one(
          fs, join_path(directory, entry.name), request_for_(*entry.attr), &results[i]);
    }));
    for (std::size_t i = 0; i < results.size() && !InterruptGuard::is_interrupted(); ++i) {
      std::string path = join_path(directory, (*entries)[i].name);
      if (!results[i] && !results[i].error().is_posix(ENOENT)) {
        session_.fail(to_argument(path), results[i].error());
      }
      if (S_ISDIR((*entries)[i].type)) {
        change_below(path);
      }
    }
  }

  Session& session_;
  const Arguments& arguments_;
  RequestFor request_for_;
};

int change_all(const Context& context,
               std::string_view command,
               const Arguments& arguments,
               RequestFor request_for) {
  std::optional<Session> session = Session::open(context, command);
  if (!session) {
    return kExitFailed;
  }
  InterruptGuard guard;
  ChangeCommand change(*session, arguments, std::move(request_for));
  for (const std::string& argument : arguments.paths) {
    if (InterruptGuard::is_interrupted()) {
      break;
    }
    change.change(argument);
  }
  report_losses(*session);
  return InterruptGuard::is_interrupted() ? kExitInterrupted : session->exit_code();
}

// --- chmod ---------------------------------------------------------------------------------------

int run_chmod(const Context& context, const Arguments& arguments) {
  std::uint32_t umask = process_umask();
  if (!apply_mode(arguments.change, 0, false, umask)) {
    report("chmod", arguments.change, "not a mode: write 644, u+x, go-w or a=rX");
    return kExitUsage;
  }
  return change_all(context, "chmod", arguments, [&arguments, umask](const wire::Attr& attr) {
    wire::SetAttrRequest request;
    request.mask = wire::kSetMode;
    request.mode =
        apply_mode(arguments.change, attr.mode, attr.is_directory(), umask).value_or(attr.mode);
    return request;
  });
}

// --- chown ---------------------------------------------------------------------------------------

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool is_number = error == std::errc() && end == text.data() + text.size();
  return is_number ? std::optional(value) : std::nullopt;
}

Result<wire::SetAttrRequest> parse_owner(const std::string& text) {
  wire::SetAttrRequest request;
  std::size_t colon = text.find(':');
  std::string owner = text.substr(0, colon);
  std::string group = colon == std::string::npos ? "" : text.substr(colon + 1);
  const passwd* user = owner.empty() ? nullptr : ::getpwnam(owner.c_str());
  if (!owner.empty()) {
    std::optional<std::uint32_t> id = user != nullptr ? user->pw_uid : number(owner);
    if (!id) {
      return fail_errno(EINVAL, "no user has the name '" + owner + "'");
    }
    request.mask |= wire::kSetUid;
    request.uid = *id;
  }
  if (!group.empty()) {
    const struct group* found = ::getgrnam(group.c_str());
    std::optional<std::uint32_t> id = found != nullptr ? found->gr_gid : number(group);
    if (!id) {
      return fail_errno(EINVAL, "no group has the name '" + group + "'");
    }
    request.mask |= wire::kSetGid;
    request.gid = *id;
  } else if (colon != std::string::npos && user != nullptr) {  // "OWNER:": the owner's group
    request.mask |= wire::kSetGid;
    request.gid = user->pw_gid;
  }
  return request;
}

int run_chown(const Context& context, const Arguments& arguments) {
  Result<wire::SetAttrRequest> wanted = parse_owner(arguments.change);
  if (!wanted) {
    report("chown", arguments.change, wanted.error().context);
    return kExitUsage;
  }
  return change_all(
      context, "chown", arguments, [request = *wanted](const wire::Attr&) { return request; });
}

}  // namespace

void add_chmod_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  args::Command* command = app.add_subcommand("chmod", "Change the modes of files");
  command->add_option("MODE", arguments->change, "Such as 644, u+x, go-w or a=rX")->required();
  command->add_option("PATH", arguments->paths, "Files and directories in BenchFS")->required();
  command->add_flag("-R,--recursive", arguments->recursive, "All below directories, too");
  command->footer(
      "  benchfs chmod 640 bfs:/results/out.dat\n"
      "  benchfs chmod -R g+rX bfs:/results\n"
      "  benchfs chmod -- -w bfs:/results/out.dat");
  command->callback([arguments, &context] { context.exit_code = run_chmod(context, *arguments); });
}

void add_chown_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  args::Command* command = app.add_subcommand("chown", "Change the owners and groups of files");
  command->set_help_flag("--help", "Print this help message and exit");
  command
      ->add_option(
          "OWNER", arguments->change, "OWNER, OWNER:GROUP, OWNER: or :GROUP; names or numbers")
      ->required();
  command->add_option("PATH", arguments->paths, "Files and directories in BenchFS")->required();
  command->add_flag("-R,--recursive", arguments->recursive, "All below directories, too");
  command->add_flag("-h,--no-dereference",
                    arguments->no_dereference,
                    "A symbolic link itself, not what it leads to");
  command->footer(
      "Owners are stored and shown, and the mount lets the kernel check them; BenchFS itself does "
      "not.\n"
      "\n"
      "  benchfs chown alice:staff bfs:/results\n"
      "  benchfs chown -R :staff bfs:/results");
  command->callback([arguments, &context] { context.exit_code = run_chown(context, *arguments); });
}

}  // namespace benchfs::cli
