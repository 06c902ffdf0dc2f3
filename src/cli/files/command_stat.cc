// benchfs stat: shows everything the file system knows about an inode.
#include <fmt/format.h>
#include <unistd.h>
#include "args/command.h"
#include "cli/files/attr_json.h"
#include "cli/files/commands.h"
#include "cli/files/format.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

struct Arguments {
  std::vector<std::string> paths;
  bool follow = false;
  bool json = false;
};

std::string show(std::string_view name) {
  return isatty(STDOUT_FILENO) == 1 ? printable(name) : std::string(name);
}

void print_attr(Session& session,
                const std::string& argument,
                const wire::Attr& attr,
                const std::string& target) {
  std::string arrow = attr.is_symlink() ? fmt::format(" -> {}", show(target)) : "";
  fmt::print("  File: {}{}\n", show(argument), arrow);
  fmt::print("  Size: {:<14} Type: {}\n", attr.size, type_name(attr.mode));
  fmt::print(" Inode: {:<14} Links: {}\n", attr.inode, attr.nlink);
  fmt::print("Access: ({:04o}/{})  Uid: ({}/{})  Gid: ({}/{})\n",
             attr.mode & 07777,
             format_mode(attr.mode),
             attr.uid,
             user_name(attr.uid),
             attr.gid,
             group_name(attr.gid));
  if (attr.is_regular()) {
    const auto& servers = session.client().servers().servers;
    fmt::print("Chunks: {} each, over {} shards from {}\n",
               format_bytes(attr.layout.chunk_bytes),
               attr.layout.width,
               servers.at(attr.layout.first_shard).node_id);
  }
  fmt::print("Access: {}\nModify: {}\nChange: {}\n",
             format_full_time(attr.atime_ns),
             format_full_time(attr.mtime_ns),
             format_full_time(attr.ctime_ns));
}

int run_stat(const Context& context, const Arguments& arguments) {
  std::optional<Session> session = Session::open(context, "stat");
  if (!session) {
    return kExitFailed;
  }
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const std::string& argument : arguments.paths) {
    std::optional<std::string> path = session->remote_path(argument);
    if (!path) {
      continue;
    }
    Result<wire::Attr> attr = arguments.follow ? session->run(session->fs().stat(*path))
                                               : session->run(session->fs().lstat(*path));
    if (!attr) {
      session->fail(argument, attr.error());
      continue;
    }
    std::string target;
    if (attr->is_symlink()) {
      target = session->run(session->fs().readlink(*path)).value_or("");
    }
    if (arguments.json) {
      json.push_back(to_json(argument, *attr, target));
    } else {
      print_attr(*session, argument, *attr, target);
    }
  }
  if (arguments.json) {
    fmt::print("{}\n", dump_json(json));
  }
  return session->exit_code();
}

}  // namespace

void add_stat_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  args::Command* command = app.add_subcommand("stat", "Show the attributes of files");
  command->add_option("PATH", arguments->paths, "Files and directories in BenchFS")->required();
  command->add_flag("-L,--dereference", arguments->follow, "Follow symbolic links");
  command->add_flag("--json", arguments->json, "One JSON array");
  command->footer(
      "  benchfs stat bfs:/results/out.dat\n"
      "  benchfs stat --json bfs:/a bfs:/b");
  command->callback([arguments, &context] { context.exit_code = run_stat(context, *arguments); });
}

}  // namespace benchfs::cli
