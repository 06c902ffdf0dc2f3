// benchfs df: shows the space of the file system.
#include <fmt/format.h>
#include <algorithm>

#include "args/command.h"
#include "cli/files/attr_json.h"
#include "cli/files/commands.h"
#include "cli/files/format.h"
#include "cli/files/session.h"

namespace benchfs::cli {
namespace {

struct Arguments {
  bool human = false;
  bool json = false;
};

void print_table(const client::Statfs& whole, bool human) {
  std::uint64_t used = whole.total_bytes - std::min(whole.free_bytes, whole.total_bytes);
  auto show = [human](std::uint64_t bytes) {
    return human ? format_human(bytes) : fmt::to_string(bytes / 1024 + (bytes % 1024 != 0));
  };
  // Rounded up, as df does: 1 byte used is not 0 %.
  std::uint64_t percent = whole.total_bytes == 0
                              ? 0
                              : (used / 1024 * 100 + whole.total_bytes / 1024 - 1) /
                                    std::max<std::uint64_t>(1, whole.total_bytes / 1024);
  fmt::print("{:<10} {:>12} {:>12} {:>12} {:>4} {:>10} {:>6}\n",
             "Filesystem",
             human ? "Size" : "1K-blocks",
             "Used",
             "Available",
             "Use%",
             "Inodes",
             "Shards");
  fmt::print("{:<10} {:>12} {:>12} {:>12} {:>3}% {:>10} {:>6}\n",
             "bfs:/",
             show(whole.total_bytes),
             show(used),
             show(whole.free_bytes),
             percent,
             whole.inode_count,
             whole.shard_count);
}

int run_df(const Context& context, const Arguments& arguments) {
  std::optional<Session> session = Session::open(context, "df");
  if (!session) {
    return kExitFailed;
  }
  Result<client::Statfs> whole = session->run(session->fs().statfs());
  if (!whole) {
    session->fail("", whole.error());
    return session->exit_code();
  }
  if (!arguments.json) {
    print_table(*whole, arguments.human);
    return session->exit_code();
  }
  nlohmann::ordered_json json;
  json["total_bytes"] = whole->total_bytes;
  json["free_bytes"] = whole->free_bytes;
  json["inodes"] = whole->inode_count;
  json["chunk_bytes"] = whole->chunk_bytes;
  json["shards"] = whole->shard_count;
  fmt::print("{}\n", dump_json(json));
  return session->exit_code();
}

}  // namespace

void add_df_command(args::Command& app, Context& context) {
  auto arguments = std::make_shared<Arguments>();
  args::Command* command = app.add_subcommand("df", "Show the space of the file system");
  command->set_help_flag("--help", "Print this help message and exit");
  command->add_flag("-h,--human-readable", arguments->human, "Sizes such as 1.5K and 2G");
  command->add_flag("--json", arguments->json, "One JSON object, in bytes");
  command->footer(
      "Devices that several servers share are counted once.\n"
      "\n"
      "  benchfs df -h");
  command->callback([arguments, &context] { context.exit_code = run_df(context, *arguments); });
}

}  // namespace benchfs::cli
